"""The Java client 4.3.0 in transactions: these of the checks of java-clients, for CI."""
from harness.main import load

ALL = load("java-clients")
SETTINGS = ALL.SETTINGS
LIMIT = 600


def run(suite):
    ALL.run(suite, "txn.")
