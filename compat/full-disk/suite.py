"""A disk that is full: a tmpfs of 48 MB in a mount namespace of the broker's own.

Producers are refused with an error that they may retry; reads, deletions, commits and topics go on; once there is space,
so do writes, without a restart. Apache Kafka takes the directory offline and halts there: these are Dohle's alone.
"""
import json
import pathlib
import subprocess
import time

from harness import librdkafka
from harness.kcat import fresh
from harness.process import must

BROKER = False
LIMIT = 300
SIZE = "48m"
SETTINGS = {"log.segment.bytes": "1048576", "offsets.topic.num.partitions": "1"}
MOUNT = 'mkdir -p "$0" && mount -t tmpfs -o size=%s tmpfs "$0" && exec "$@"' % SIZE
NAMESPACES = (["unshare", "-Urm"], ["unshare", "-m"])
BEGIN, END = "too little space", "there is space again"
CASES = ["a-full-disk-refuses-with-a-retriable-error", "what-was-acknowledged-is-read", "groups-and-topics-go-on",
         "deleted-records-make-space", "a-deleted-topic-makes-space", "a-disk-that-others-fill",
         "told-once-at-its-begin-and-end"]


def run(suite):
    namespace = next((argv for argv in NAMESPACES if can_mount(argv)), None)
    scenario = Scenario(suite, namespace) if namespace else None
    try:
        for case in CASES:
            test = getattr(scenario, case.replace("-", "_"), None)
            suite.case(case, test or (lambda: "no mount namespace can be made here"), tries=1)
    finally:
        if scenario:
            scenario.broker.stop()


def can_mount(argv):
    shell = ["sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    try:
        return subprocess.run([*argv, *shell], stderr=subprocess.DEVNULL).returncode == 0
    except FileNotFoundError:
        return False


class Scenario:
    def __init__(self, suite, namespace):
        self.suite = suite
        self.broker = suite.broker = suite.new_broker()
        command = self.broker.command()
        self.broker.command = lambda: [*namespace, "sh", "-c", MOUNT, self.broker.data, *command]
        self.broker.start()
        self.python = librdkafka.python()
        self.keep, self.bulk, self.group = fresh("keep"), fresh("bulk"), fresh("group")
        self.kept = self.client("fill", self.keep, "20")["acknowledged"]
        self.episodes = 0

    def client(self, *args):
        return json.loads(must([self.python, "-B", self.suite.folder / "client.py", self.broker.address, *args], limit=90))

    def disk(self):
        """The broker's file system, as it is seen from outside of its namespace."""
        return pathlib.Path(f"/proc/{self.broker.process.pid}/root{self.broker.data}")

    def fill(self):
        """Writes until the broker takes no more; the number of acknowledged records."""
        seen = self.client("fill", self.bulk, "100000")
        assert seen["error"] == "KAFKA_STORAGE_ERROR" and seen["retriable"], seen
        assert self.broker.alive(), self.broker.log_tail()
        self.episodes += 1
        return seen["acknowledged"]

    def a_full_disk_refuses_with_a_retriable_error(self):
        self.bulk_acknowledged = self.fill()
        assert self.bulk_acknowledged > 200, self.bulk_acknowledged

    def what_was_acknowledged_is_read(self):
        for topic, acknowledged in ((self.keep, self.kept), (self.bulk, self.bulk_acknowledged)):
            seen = self.client("read", topic)
            assert seen["records"] == acknowledged and seen["in_order"], (seen, acknowledged)

    def groups_and_topics_go_on(self):
        seen = self.client("commit", self.keep, self.group)
        assert seen["committed"] == self.kept, seen
        seen = self.client("create", fresh("more"))
        assert seen["created"], seen

    def deleted_records_make_space(self):
        self.client("delete-records", self.bulk)
        self.client("write", self.bulk, "50")

    def a_deleted_topic_makes_space(self):
        self.fill()
        self.client("delete-topic", self.bulk)
        self.client("write", self.keep, "50")
        self.kept += 50

    def a_disk_that_others_fill(self):
        ballast = self.disk() / "ballast"
        with open(ballast, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65536))
            except OSError:
                pass
        seen = self.client("fill", self.keep, "1000")
        assert seen["error"] == "KAFKA_STORAGE_ERROR" and seen["retriable"], seen
        self.kept += seen["acknowledged"]
        self.episodes += 1
        assert self.client("read", self.keep)["records"] == self.kept
        ballast.unlink()
        self.client("write", self.keep, "50")
        self.kept += 50
        seen = self.client("read", self.keep)
        assert seen["records"] == self.kept and seen["in_order"], (seen, self.kept)
        assert self.client("commit", self.keep, self.group)["committed"] == self.kept

    def told_once_at_its_begin_and_end(self):
        deadline = time.monotonic() + 10
        while self.broker.log_text().count(END) < self.episodes and time.monotonic() < deadline:
            time.sleep(0.1)
        text = self.broker.log_text()
        assert (text.count(BEGIN), text.count(END)) == (self.episodes,) * 2, text[-2000:]
