"""What an application does with librdkafka 2.16.0, through confluent-kafka 2.16.1 from PyPI: confluent_kafka_test.py."""
import shutil

from harness import librdkafka, python_tests

SETTINGS = {"log.retention.check.interval.ms": "2000", "log.cleaner.backoff.ms": "2000"}
LIMIT = 1200


def run(suite):
    folder = suite.work / "tests"
    folder.mkdir()
    shutil.copy(suite.folder / "confluent_kafka_test.py", folder)
    python_tests.run(suite, librdkafka.python(), folder, ["confluent_kafka_test.py"], {}, timeout=150)
