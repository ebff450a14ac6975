"""Compaction, switched on under a topic that is full of versions: what is left is the last record of each key.

40 MB with 5,000 keys, 5 GB with 1,000,000 keys with --full. Printed beside it: the CPU seconds and the peak memory of the broker.
COMPACTION_MB sets another size.
"""
import json
import os
import pathlib
import re

from harness import broker, librdkafka
from harness.kcat import fresh
from harness.process import must, until

LIMIT = 900
SETTINGS = {"log.cleaner.backoff.ms": "200"}
SIZE = {False: 1000, True: 1000}       # bytes of a value
KEYS = {False: 5_000, True: 1_000_000}
MB = {False: 40, True: 5000}
SEGMENT = {False: 1 << 20, True: 100 << 20}
SEED = 7


def run(suite):
    if suite.full:
        suite.deadline += 3600
    scenario = Scenario(suite)
    suite.case("last-record-of-each-key", scenario.compact, tries=1)
    suite.case("tombstones-go", scenario.tombstones, tries=1)
    suite.case("console-consumer", scenario.console_consumer, tries=1)
    suite.case("files", scenario.files, tries=1)
    suite.case("after-a-restart", scenario.restart, tries=1)
    suite.case("opened-by-kafka", scenario.opened_by_kafka, tries=1)


class Successor(broker.PlainKafka):
    """Apache Kafka with another node's settings, on its directory."""

    def __init__(self, folder, other):
        super().__init__(folder)
        self.settings, self.data, self.port, self.address = other.settings, other.data, other.port, other.address


class Scenario:
    def __init__(self, suite):
        self.suite, self.broker, self.full = suite, suite.broker, suite.full
        self.topic, self.python = fresh("compacted"), librdkafka.python()
        mb = int(os.environ.get("COMPACTION_MB", MB[self.full]))
        self.keys, self.count = KEYS[self.full], mb * (1 << 20) // SIZE[self.full]
        self.written = 0

    # ---- steps

    def load(self, act, *numbers):
        argv = [self.python, "-B", self.suite.folder / "load.py", act, self.broker.address, self.topic, *map(str, numbers)]
        return json.loads(must(argv, limit=3600))

    def produce(self, count):
        said = self.load("produce", self.written, count, self.keys, SIZE[self.full], SEED)
        assert not said["failed"], said
        self.written += count

    def check(self):
        said = self.load("check", self.written, self.keys, SEED, self.cleaned())
        assert not said["wrong"], said["wrong"]
        return said

    def alter(self, **settings):
        given = ",".join(f"{name.replace('_', '.')}={value}" for name, value in settings.items())
        status, output = self.suite.tools("configs", "--alter", "--topic", self.topic, "--add-config", given)
        assert status == 0, output

    def cleaned(self):
        """Up to where the partition is compacted."""
        file = pathlib.Path(self.broker.data) / "cleaner-offset-checkpoint"
        lines = file.read_text().splitlines() if file.exists() else []
        return next((int(line.split()[2]) for line in lines if line.startswith(f"{self.topic} 0 ")), -1)

    def compact_all(self):
        """Seals all that is written with one record more, and waits until it is compacted."""
        sealed = self.written
        self.produce(1)
        until(lambda: self.cleaned() >= sealed, 1200 if self.full else 240, f"compaction up to {sealed}")

    def peak_mb(self):
        status = pathlib.Path(f"/proc/{self.broker.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024

    # ---- tests

    def compact(self):
        segment = str(SEGMENT[self.full])
        status, output = self.suite.tools("topics", "--create", "--topic", self.topic, "--partitions", "1",
                                          "--replication-factor", "1", "--config", f"segment.bytes={segment}",
                                          "--config", "min.cleanable.dirty.ratio=0",
                                          "--config", "delete.retention.ms=0")
        assert status == 0, output
        self.produce(self.count)
        pathlib.Path(f"/proc/{self.broker.process.pid}/clear_refs").write_text("5")  # the peak from here on
        before = self.broker.cpu_seconds()
        self.alter(cleanup_policy="compact", segment_ms=1)
        self.compact_all()
        cpu, peak = self.broker.cpu_seconds() - before, self.peak_mb()
        said = self.check()
        print(f"{self.count} records of {SIZE[self.full]} bytes, {said['keys']} keys left: {cpu:.1f} s of CPU, "
              f"peak RSS {peak:.0f} MB", flush=True)

    def tombstones(self):
        """The first run has set their horizon; the next one drops them. Those of the last records are met then."""
        before = self.check()["tombstones"]
        new = 100
        self.produce(new)
        self.compact_all()
        after = self.check()["tombstones"]
        assert after <= new / 10 < before, f"{before} became {after}"

    def console_consumer(self):
        most = 20_000
        status, output = self.suite.tools("console-consumer", "--topic", self.topic, "--from-beginning", "--timeout-ms", "8000",
                                          "--max-messages", str(most),
                                          "--formatter-property", "print.key=true", "--formatter-property",
                                          "print.offset=true", merge=False, limit=120)
        rows = [re.match(r"Offset:(\d+)\t(\d+)\t(\d+:|null)", line) for line in output.splitlines()]
        rows = [row for row in rows if row]
        below = [row.group(2) for row in rows if int(row.group(1)) < self.cleaned()]
        assert len(below) > min(self.keys, most) / 2 and len(below) == len(set(below)), f"{len(below)} rows, {len(set(below))} keys"

    def files(self):
        folder = pathlib.Path(self.broker.data) / f"{self.topic}-0"
        logs = sorted(folder.glob("*.log"))
        assert len(logs) > 1, logs
        for options, files in ((["--deep-iteration"], logs[:3]), (["--verify-index-only"], sorted(folder.glob("*index"))),
                               (["--index-sanity-check"], sorted(folder.glob("*index")))):
            files = [file for file in files if file.stat().st_size > 0][:12]
            status, output = self.suite.tools("dump-log", *options, "--files", ",".join(map(str, files)), limit=300)
            assert status == 0, output[-500:]
            assert not re.search("(?i)mismatch|exception|corrupt|isvalid: false", output), output[-500:]

    def restart(self):
        assert self.broker.stop(), "not stopped cleanly"
        self.broker.start()
        cleaned = self.cleaned()
        assert cleaned >= self.written - 1, cleaned
        self.check()
        self.broker.kill()
        self.broker.start()
        self.check()

    def opened_by_kafka(self):
        """It finds all that is left, and compacts on."""
        if self.suite.kind == "kafka":
            return "it is Kafka's already"
        assert self.broker.stop(), "not stopped cleanly"
        kafka = Successor(self.suite.work / "kafka", self.broker).quick()
        self.suite.brokers.append(kafka)
        kafka.start()
        self.check()
        self.produce(100)
        self.compact_all()
        self.check()
        assert kafka.stop(), "not stopped cleanly"
        self.broker.start()
        self.check()
