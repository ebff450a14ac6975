"""librdkafka 2.16.0, as confluent-kafka 2.16.1 from PyPI brings it: for its own suite and for the scenarios."""
from . import cache
from .python_tests import PYTEST


def python():
    """The interpreter that has the client, and pytest."""
    return cache.python_packages("confluent-kafka-2.16.1", "confluent-kafka==2.16.1", *PYTEST) / "venv/bin/python"
