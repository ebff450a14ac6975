"""Append-only transactions over several partitions by several producers, and consume-transform-produce in groups, while the
broker and its clients are killed, clients are held up until they have been given up, requests come late or twice, answers get
lost, and clients lose patience.

No lost write, no aborted read, no duplicate, no torn transaction, no disorder (G0), no cycle (G1c), each input once in the
output, and nothing stays open when the producers are gone. One minute, ten with --full.

    isolation.py, cycles.py, transformed.py   what is asked; test_checks.py: that its absence would be found
    history.py                                what producers say of their transactions
    proxy.py, frames.py                       the network, and which requests may be repeated in it
    worker.py, transform.py, clients.py       the clients with librdkafka, which knows nothing of transaction.version 2,
    java/                                     and with the Java client, which does
    scenario.py                               one run of all of them
"""
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from scenario import Scenario  # noqa: E402 (beside this file)

LIMIT = 900
BROKER = False      # it gets a listener for the proxy first
SETTINGS = {"log.segment.bytes": "1048576", "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
            "transaction.state.log.num.partitions": "3", "offsets.topic.num.partitions": "3",
            # Small: the dump-log suite reads them after us, and Kafka's tool checks a time index in quadratic time.
            "transaction.state.log.segment.bytes": "1048576"}
SECONDS = {False: 60, True: 600}


def run(suite):
    if suite.full:
        suite.deadline += 1200
    suite.case("the-checker-finds-seeded-faults", lambda: faults(suite), tries=1)
    scenario = Scenario(suite, SECONDS[suite.full])
    suite.case("transactions-under-kills", scenario.transactions, tries=1)
    suite.case("each-input-once-in-the-output-under-kills", scenario.transformed, tries=1)


def faults(suite):
    done = subprocess.run([sys.executable, "-B", "-m", "unittest", "discover"], cwd=suite.folder, capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0, done.stderr
