"""kill -9 under load, again and again, while an idempotent acks=all producer goes on.

After each restart every acknowledged record is there exactly once and in order, and the offsets that a group committed
are still committed. 5 kills, 20 with --full.
"""
import json
import random
import re

from harness import librdkafka
from harness.kcat import fresh
from harness.process import Child, must

LIMIT = 600
SETTINGS = {"log.segment.bytes": "1048576"}  # so that the broker dies in all stages of a segment's life
KILLS = {False: 5, True: 20}
PARTITIONS = 3
ACKS = (300, 6000)  # acknowledgements between a restart and the next kill


def run(suite):
    if suite.full:
        suite.deadline += 1200
    scenario = Scenario(suite)
    suite.case("acknowledged-records-once-in-order", scenario.kill_again_and_again, tries=1)
    suite.case("committed-offsets-survive", scenario.offsets_survived, tries=1)
    suite.case("clean-restart-keeps-all", scenario.clean_restart, tries=1)


class Scenario:
    def __init__(self, suite):
        self.suite, self.broker = suite, suite.broker
        self.topic, self.group = fresh("kill9"), fresh("kill9-group")
        self.python = librdkafka.python()
        self.committed = []  # (what a check committed, what the next one found) for each restart
        self.last = None

    def kill_again_and_again(self):
        _, output = self.suite.tools("topics", "--create", "--topic", self.topic, "--partitions", str(PARTITIONS),
                                     "--replication-factor", "1")
        assert "Created topic" in output, output
        with open(self.suite.logs / "producer.log", "ab") as log:
            producer = Child([self.python, "-B", self.suite.folder / "producer.py", self.broker.address, self.topic,
                              str(PARTITIONS)], errors=log)
        try:
            print(f"seed {self.suite.seed}", flush=True)
            some = random.Random(self.suite.seed)
            for _ in range(KILLS[self.suite.full]):
                target = len(producer.lines) + some.randint(*ACKS)
                producer.wait_for(lambda lines, n=target: len(lines) >= n, 90, "acknowledgements")
                self.broker.kill()
                acknowledged = self.acknowledged(producer)
                self.broker.start()
                self.check(acknowledged)
            producer.process.terminate()
            sent = producer.wait_for(lambda lines: lines and lines[-1].startswith("sent"), 90, "the producer's end")
            assert sent
        finally:
            producer.kill()
        acknowledged = self.acknowledged(producer)
        assert self.check(acknowledged) == acknowledged, "the log holds other records than were acknowledged"

    def acknowledged(self, producer):
        """How many records of each partition are acknowledged; they have to be each partition's first, at their offsets."""
        count = [0] * PARTITIONS
        for line in list(producer.lines):
            if line.startswith("sent"):
                continue
            found = re.fullmatch(r"ack (\d+) (\d+) (-?\d+)", line)
            assert found, f"the producer says: {line}"
            p, n, offset = map(int, found.groups())
            # A duplicate that the broker no longer remembers is acknowledged without its offset.
            assert n == count[p] and offset in (n, -1), f"record {n} of partition {p} acknowledged at offset {offset}"
            count[p] += 1
        return count

    def check(self, acknowledged):
        """Reads all; the ends of the partitions."""
        argv = [self.python, "-B", self.suite.folder / "check.py", self.broker.address, self.topic, str(PARTITIONS), self.group]
        seen = json.loads(must(argv, limit=120))
        assert not seen["wrong"], seen["wrong"]
        missing = [(p, a, e) for p, (a, e) in enumerate(zip(acknowledged, seen["ends"])) if e < a]
        assert not missing, f"(partition, acknowledged, there): {missing}"
        if self.last is not None:
            self.committed.append((self.last, seen["committed"]))
        self.last = seen["ends"]
        return seen["ends"]

    def offsets_survived(self):
        assert len(self.committed) == KILLS[self.suite.full], f"{len(self.committed)} checks had one before them"
        lost = [pair for pair in self.committed if pair[0] != pair[1]]
        assert not lost, f"(committed, found after the restart): {lost[0]}"

    def clean_restart(self):
        def listed():
            return (sorted(self.suite.tools("topics", "--list", merge=False)[1].split()),
                    sorted(self.suite.tools("consumer-groups", "--list", merge=False)[1].split()))
        before = listed()
        assert self.topic in before[0] and self.group in before[1], before
        assert self.broker.stop(), "the broker did not stop cleanly"
        self.broker.start()
        assert listed() == before, f"{before} became {listed()}"
        self.check(self.last)
        assert self.committed[-1][0] == self.committed[-1][1], self.committed[-1]
