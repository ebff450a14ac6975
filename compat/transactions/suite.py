"""Append-only transactions over several partitions by several producers, while the broker and the producers are killed.

No lost write, no aborted read, no duplicate, no torn transaction, no disorder, and nothing stays open when the producers
are gone. One minute, ten with --full. `isolation.py` says what is asked, `test_isolation.py` that it would be found.
"""
import pathlib
import random
import subprocess
import sys
import time

from harness import librdkafka
from harness.kcat import fresh
from harness.process import Child, must

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import isolation  # noqa: E402 (beside this file)

LIMIT = 420
SETTINGS = {"log.segment.bytes": "1048576", "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
            "transaction.state.log.num.partitions": "3", "offsets.topic.num.partitions": "3",
            # Small: the dump-log suite reads them after us, and Kafka's tool checks a time index in quadratic time.
            "transaction.state.log.segment.bytes": "1048576"}
SECONDS = {False: 60, True: 600}
PARTITIONS, PRODUCERS = 4, 4
PAUSE = (1.0, 5.0)      # seconds between two kills
OPEN_AT_MOST = 40       # seconds until what was left open has timed out and is aborted


def run(suite):
    if suite.full:
        suite.deadline += 900
    suite.case("the-checker-finds-seeded-faults", lambda: faults(suite), tries=1)
    suite.case("transactions-under-kills", lambda: Scenario(suite).run(), tries=1)


def faults(suite):
    done = subprocess.run([sys.executable, "-B", "test_isolation.py"], cwd=suite.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


class Scenario:
    def __init__(self, suite):
        self.suite, self.broker, self.topic = suite, suite.broker, fresh("txn-check")
        self.python = librdkafka.python()
        self.seed = random.randrange(1 << 32)
        self.some = random.Random(self.seed)
        self.history = isolation.History()
        self.incarnation = [0] * PRODUCERS
        self.log = open(suite.logs / "workers.log", "ab")

    def child(self, script, *arguments):
        return Child([self.python, "-B", self.suite.folder / script, self.broker.address, self.topic, str(PARTITIONS), *arguments],
                     errors=self.log)

    def worker(self, n):
        self.incarnation[n] += 1
        return self.child("worker.py", f"p{n}", str(self.incarnation[n]), str(self.seed))

    def run(self):
        print(f"seed {self.seed}", flush=True)
        _, output = self.suite.tools("topics", "--create", "--topic", self.topic, "--partitions", str(PARTITIONS),
                                     "--replication-factor", "1")
        assert "Created topic" in output, output
        reader = self.child("reader.py", "live", "read_committed")
        workers = [self.worker(n) for n in range(PRODUCERS)]
        try:
            self.kill_again_and_again(workers)
            for worker in workers:
                worker.process.terminate()
            for worker in workers:
                worker.process.wait(90)     # also one that was terminated before it could begin
        finally:
            for worker in workers:
                self.take(worker)
        try:
            self.settle()
            committed, ends = self.read("read_committed")
            everything, _ = self.read("read_uncommitted")
            total = sum(map(len, committed.values()))
            reader.wait_for(lambda lines: len(lines) >= total, 60, "who reads along to come to the end")
        finally:
            reader.kill()
        live = records(reader.lines)
        wrong = isolation.problems(self.history, committed, everything, live, ends)
        outcomes = list(self.history.outcome.values())
        told = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
        print(f"{total} records; transactions: {told}", flush=True)
        assert not wrong, "; ".join(wrong[:5])
        assert told.get("committed", 0) > 20, f"too few were committed to say anything: {told}"

    def kill_again_and_again(self, workers):
        end = time.monotonic() + SECONDS[self.suite.full]
        while time.monotonic() < end:
            time.sleep(self.some.uniform(*PAUSE))
            if self.some.random() < 0.5:
                self.broker.kill()
                self.broker.start()
            else:
                n = self.some.randrange(PRODUCERS)
                workers[n].kill()
                self.take(workers[n])
                workers[n] = self.worker(n)

    def take(self, worker):
        """What a producer said, once it has ended."""
        worker.kill()
        for line in worker.lines:
            self.history.add(line)

    def read(self, level):
        output = must([self.python, "-B", self.suite.folder / "reader.py", self.broker.address, self.topic, str(PARTITIONS),
                       "all", level], limit=120).splitlines()
        ends = [line.split()[1:] for line in output if line.startswith("end")]
        return records(line for line in output if not line.startswith("end")), {int(p): (int(s), int(h)) for p, s, h in ends}

    def settle(self):
        """Waits until the transactions of producers that were killed have timed out."""
        end = time.monotonic() + OPEN_AT_MOST
        while time.monotonic() < end:
            _, ends = self.read("read_committed")
            if all(stable == high for stable, high in ends.values()):
                return
            time.sleep(1)


def records(lines):
    found = {p: [] for p in range(PARTITIONS)}
    for line in lines:
        p, offset, value = line.split()
        found[int(p)].append((int(offset), value))
    return found
