"""Kafka Streams 4.3.0 counts words with exactly_once_v2 while it and the broker are killed: every count comes once.

The counts are kept in memory, so each start reads them back from the changelog, which has to hold what was committed and
nothing else.
"""
import random
import re
import time
from collections import defaultdict

from harness import cache, librdkafka
from harness.kcat import fresh
from harness.process import Child, must

LIMIT = 600
SETTINGS = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000", "offsets.topic.num.partitions": "3",
            "transaction.state.log.num.partitions": "3", "group.initial.rebalance.delay.ms": "0"}
LINES = {False: 6000, True: 60000}
WORDS = 5           # in a line
PARTITIONS = 2
PAUSE = (4.0, 9.0)  # seconds between two kills; the program takes some of them to start


def run(suite):
    if suite.full:
        suite.deadline += 900
    suite.case("word-count-exactly-once-under-kills", lambda: Scenario(suite).run(), tries=1)


class Scenario:
    def __init__(self, suite):
        self.suite, self.broker = suite, suite.broker
        self.home = compiled(suite.folder)
        self.python = librdkafka.python()
        self.input, self.output, self.id = fresh("words"), fresh("counts"), fresh("word-count")
        self.seed = suite.seed
        self.some = random.Random(self.seed)
        self.log = open(suite.logs / "streams.log", "ab")

    def start(self):
        return Child(["java", "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                      "-Dorg.slf4j.simpleLogger.showDateTime=true", "-cp", f"{self.home}/target/classes:{self.home}/libs/*",
                      "WordCount", self.broker.address, self.input, self.output, self.id, self.suite.work / "state"],
                     errors=self.log)

    def run(self):
        print(f"seed {self.seed}", flush=True)
        for topic in (self.input, self.output):
            _, output = self.suite.tools("topics", "--create", "--topic", topic, "--partitions", str(PARTITIONS),
                                         "--replication-factor", "1")
            assert "Created topic" in output, output
        lines = LINES[self.suite.full]
        feeder = Child([self.python, "-B", self.suite.folder / "feed.py", self.broker.address, self.input, str(PARTITIONS),
                        str(lines), str(self.seed)], errors=self.log)
        program = self.start()
        kills = {"program": 0, "broker": 0}
        try:
            while not (feeder.ended or feeder.lines[-1:] == [f"fed {lines}"]):
                time.sleep(self.some.uniform(*PAUSE))
                if kills["program"] > 2 * kills["broker"] or self.some.random() < 0.4:
                    kills["broker"] += 1
                    self.broker.kill()
                    self.broker.start()
                else:
                    kills["program"] += 1
                    program.kill()
                    program = self.start()
            assert feeder.lines[-1:] == [f"fed {lines}"], f"the input was not fed: {feeder.lines[-1:]}"
            counts = self.counted(lines * WORDS)
        finally:
            feeder.kill()
            program.stop()
        print(f"{lines * WORDS} words; kills: {kills}", flush=True)
        some = random.Random(str(self.seed))
        wanted = defaultdict(int)
        for _ in range(lines):
            for word in (f"word{some.randrange(30)}" for _ in range(WORDS)):
                wanted[word] += 1
        wrong = [f"{word}: {len(counts[word])} counts, {wanted[word]} wanted; the first that is not next: "
                 f"{next((n for i, n in enumerate(counts[word], 1) if n != i), None)}"
                 for word in sorted({*wanted, *counts}) if counts[word] != list(range(1, wanted[word] + 1))]
        assert not wrong, "; ".join(wrong[:5])

    def counted(self, total):
        """word -> its counts in order, once as many as there are words have been committed, or no more come."""
        last, still = -1, 0
        while True:
            output = must([self.python, "-B", self.suite.folder / "read.py", self.broker.address, self.output, str(PARTITIONS)],
                          limit=120)
            counts = defaultdict(list)
            for line in output.splitlines():
                word, count = re.fullmatch(r"(\S+) (\d+)", line).groups()
                counts[word].append(int(count))
            there = sum(map(len, counts.values()))
            still = still + 1 if there == last else 0
            if there >= total or still > 30:
                return counts
            last = there
            time.sleep(1)


def compiled(folder):
    """The program and the jars it needs, by Maven."""
    sources = tuple((str(f.relative_to(folder)), f.read_text()) for f in sorted([folder / "pom.xml", *folder.glob("src/**/*.java")]))

    def make(target):
        for name, text in sources:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_text(text)
        must(["mvn", "-q", "-B", "-f", target / "pom.xml", "compile", "dependency:copy-dependencies",
              f"-DoutputDirectory={target}/libs"])
    return cache.once("streams", sources, make)
