"""Kafka Connect 4.3.0's file source and file sink, from the released jars, while workers and the broker are killed.

A file that grows is read into a topic, the topic is written to another file. `standalone`: one worker, at least once: each
line is in the sink's file, first comings in order, and nothing that is no line. `distributed`: two workers, whose group,
configurations, offsets and statuses are in the broker, and `exactly.once.source.support`: read_committed, the topic has
each line once, in order, and the offset committed for the source is the file's end. The sink is at least once there too.
"""
import pathlib
import re
import sys
import threading
import time

from harness.kcat import Kcat, fresh
from harness.process import until

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from connect_worker import Worker  # noqa: E402 (beside this file)

LIMIT = 900
SETTINGS = {"offsets.topic.num.partitions": "3", "transaction.state.log.num.partitions": "3", "group.min.session.timeout.ms": "1000"}
SESSION = {"session.timeout.ms": "4000", "heartbeat.interval.ms": "500"}  # a killed member is waited for that long
RATE = 400       # lines a second
WAIT = 120       # seconds for something to arrive
AHEAD = 400      # lines that have to come out between two kills
BEHIND = 4000    # lines that the sink's file may lack before no more are written
STRINGS = "org.apache.kafka.connect.storage.StringConverter"
JSON = "org.apache.kafka.connect.json.JsonConverter"
HOIST = "org.apache.kafka.connect.transforms.HoistField$Value"
EXTRACT = "org.apache.kafka.connect.transforms.ExtractField$Value"
LINE = re.compile(rb"<(\d+) a line of the file>")


def run(suite):
    suite.case("standalone-at-least-once-under-kills", lambda: Standalone(suite, "standalone").run(), tries=1)
    suite.case("distributed-exactly-once-source-under-kills", lambda: Distributed(suite, "distributed").run(), tries=1)


class Scenario:
    def __init__(self, suite, name):
        self.suite, self.broker, self.name = suite, suite.broker, name
        self.topic, self.group = fresh(f"{name}-lines"), fresh("connect")
        self.input, self.output = suite.work / f"{name}.in", suite.work / f"{name}.out"
        self.input.touch()
        self.numbers, self.read = [], 0  # of the lines in the sink's file, up to where it was read
        self.workers, self.written, self.kills = [], 0, {"worker": 0, "broker": 0}
        self.source = {"name": f"{name}-source", "connector.class": "FileStreamSource", "tasks.max": "1", "file": str(self.input),
                       "topic": self.topic, "topic.creation.default.partitions": "1", "topic.creation.default.replication.factor": "1"}
        self.sink = {"name": f"{name}-sink", "connector.class": "FileStreamSink", "tasks.max": "1", "file": str(self.output),
                     "topics": self.topic, "consumer.override.auto.offset.reset": "earliest",
                     **{f"consumer.override.{key}": value for key, value in SESSION.items()}}

    def run(self):
        stopped = threading.Event()
        feeder = threading.Thread(target=self.feed, args=(stopped,))
        begin = time.monotonic()
        try:
            self.start()
            feeder.start()
            for event in self.events():
                self.advance()
                event()
            self.advance()
            stopped.set()
            feeder.join()
            until(lambda: len(set(self.lines())) == self.written, WAIT, f"all {self.written} lines in the sink's file", 0.3)
            self.check()
        finally:
            stopped.set()
            for worker in self.workers:
                worker.kill()
        print(f"{self.name}: {self.written} lines, {len(self.lines())} in the sink's file; kills: {self.kills}; "
              f"{time.monotonic() - begin:.0f} s", flush=True)

    def feed(self, stopped):
        """Appends lines to the source's file, now and then only a part of one for a moment."""
        with open(self.input, "a") as file:
            while not stopped.wait(0.05):
                if self.written - self.last() > BEHIND:
                    continue
                for n in range(self.written, self.written + RATE // 20):
                    line = f"<{n} a line of the file>\n"
                    file.write(line[:9])
                    if n % 7 == 0:
                        file.flush()
                    file.write(line[9:])
                file.flush()
                self.written += RATE // 20

    def lines(self):
        """The numbers of the lines in the sink's file, as they come. A line that a kill has torn is no line."""
        if self.output.exists():
            with open(self.output, "rb") as file:
                file.seek(self.read)
                whole = file.read()
            whole = whole[:whole.rfind(b"\n") + 1]
            self.numbers += map(int, LINE.findall(whole))
            self.read += len(whole)
        return self.numbers

    def last(self):
        return self.numbers[-1] if self.numbers else -1

    def advance(self):
        """Waits until lines that are written from now on have gone all the way."""
        wanted = self.written + AHEAD
        until(lambda: self.lines() and self.last() >= wanted, WAIT, f"line {wanted} in the sink's file", 0.1)

    def kill_broker(self):
        self.kills["broker"] += 1
        self.broker.kill()
        self.broker.start()

    def check_sink(self):
        """Each line came, for the first time in order, and what is in between is no more than a torn line for each kill."""
        firsts = list(dict.fromkeys(self.lines()))
        assert firsts == list(range(self.written)), f"{self.written} lines, {len(firsts)} came, or not in order"
        other = [line for line in self.output.read_bytes().splitlines() if not LINE.fullmatch(line)]
        assert len(other) <= self.kills["worker"], f"no lines of the input: {other[:5]}"

    def records(self):
        """The values in the topic, read_committed."""
        kcat = Kcat(self.broker.address, self.suite.logs / "kcat.log")
        return [record["payload"] for record in kcat.consume(self.topic, "-X", "isolation.level=read_committed")]


class Standalone(Scenario):
    """Offsets of the source are in a file of the worker's. The lines pass through JSON with a schema and two transforms."""

    def start(self):
        self.worker = Worker(self.suite, "standalone", "standalone", {
            "bootstrap.servers": self.broker.address, "key.converter": STRINGS, "value.converter": JSON,
            "offset.storage.file.filename": self.suite.work / "standalone.offsets"}, [
                {**self.source, "transforms": "hoist", "transforms.hoist.type": HOIST, "transforms.hoist.field": "line"},
                {**self.sink, "transforms": "extract", "transforms.extract.type": EXTRACT, "transforms.extract.field": "line"}])
        self.workers = [self.worker]
        self.worker.start()

    def events(self):
        return self.kill_worker, self.kill_broker, self.kill_both

    def kill_worker(self):
        self.kills["worker"] += 1
        self.worker.kill()
        self.worker.start()

    def kill_both(self):
        self.kills["worker"] += 1
        self.worker.kill()
        self.kill_broker()
        self.worker.start()

    def check(self):
        self.check_sink()
        values = [int(n) for n in LINE.findall("".join(self.records()).encode())]
        assert list(dict.fromkeys(values)) == list(range(self.written)), f"the topic has {len(set(values))} of {self.written} lines, or not in order"
        assert self.worker.stop(), "the worker does not stop"


class Distributed(Scenario):
    """The worker that is left takes over."""

    def start(self):
        settings = {
            "bootstrap.servers": self.broker.address, "group.id": self.group, "key.converter": STRINGS, "value.converter": STRINGS,
            "exactly.once.source.support": "enabled", "scheduled.rebalance.max.delay.ms": "0", **SESSION,
            "offset.storage.partitions": "3", "status.storage.partitions": "2",
            **{f"{kind}.storage.topic": f"{self.group}-{kind}" for kind in ("config", "offset", "status")},
            **{f"{kind}.storage.replication.factor": "1" for kind in ("config", "offset", "status")}}
        self.workers = [Worker(self.suite, f"distributed-{n}", "distributed", settings) for n in (1, 2)]
        for worker in self.workers:
            worker.launch()
        for worker in self.workers:
            worker.ready()
        for connector in (self.source, self.sink):
            self.workers[0].configure(connector)

    def events(self):
        return self.kill_source, self.kill_broker, self.kill_source

    def kill_source(self):
        """Kills the worker that reads the file; the other one takes over, before it is there again."""
        self.kills["worker"] += 1
        first = self.workers[0].running(self.source["name"])
        killed, other = sorted(self.workers, key=lambda worker: worker.id != first)
        killed.kill()
        until(lambda: other.running(self.source["name"]) == other.id, WAIT, "the other worker takes over", 0.2)
        self.advance()
        killed.start()

    def check(self):
        self.check_sink()
        got, wanted = self.records(), [f"<{n} a line of the file>" for n in range(self.written)]
        at = next((n for n, (ours, theirs) in enumerate(zip(got, wanted)) if ours != theirs), min(len(got), len(wanted)))
        assert got == wanted, f"{len(got)} records instead of {len(wanted)}; the first that differs is {at}: {got[at:at + 2]}"
        offsets = until(lambda: self.workers[0].get(f"/connectors/{self.source['name']}/offsets"), WAIT, "the source's offsets")
        positions = [entry["offset"]["position"] for entry in offsets["offsets"]]
        assert positions == [self.input.stat().st_size], f"the source's offset is {positions} of {self.input.stat().st_size}"
        for worker in self.workers:
            assert worker.stop(), f"{worker.name} does not stop"
