"""One run: the load with its kills and its bad network, then quiet, then the reading of what is there."""
import contextlib
import json
import os
import random
import signal
import threading
import time
from collections import Counter

import cycles
import isolation
import transformed
from harness import kafka, librdkafka
from harness.broker import free_ports
from harness.kcat import fresh
from harness.process import Child, must, until
from history import History, producer

PARTITIONS = 4
WRITERS = {"p0": ("python", "patient"), "p1": ("python", "hasty"), "p2": ("java", "patient"), "p3": ("java", "hasty")}
TRANSFORMERS = {"e0": "python", "e1": "python", "j0": "java", "j1": "java"}
KILLED = ("broker", "transformer", "writer")
PAUSE = (1.0, 5.0)      # seconds between two kills
FROZEN = 0.4            # the share of clients that are not killed but held up,
FROZEN_FOR = (2.0, 14.0)    # for so many seconds: transactions time out after 2 or 8, members of a group after 6
AT_WORK = 2             # writers that have committed something between two kills
ALIVE_WITHIN = 60       # seconds for that
NEWEST = 100            # lines in which to look for it
STARTED_WITHIN = 150    # seconds, for a broker that was killed: all the clients are at it meanwhile
OPEN_AT_MOST = 60       # seconds until what was left open has timed out and is aborted
DRAINED_WITHIN = 180    # seconds until the groups have taken the rest of the input
FEWEST = 20             # transactions that have to be committed, or the run says nothing


class Scenario:
    def __init__(self, suite, seconds):
        self.suite, self.seconds = suite, seconds
        self.topic = fresh("txn-check")
        self.outputs = {kind: (fresh(f"txn-{kind}"), fresh(f"txn-group-{kind}")) for kind in ("python", "java")}
        self.seed = suite.seed
        self.dice = random.Random(self.seed)
        self.history, self.kills, self.said = History(), Counter(), Counter()
        self.incarnation, self.killed = Counter(), 0
        self.children, self.network, self.committed = {}, None, None

    def transactions(self):
        """The whole run; what the transformers made of it is looked at by `transformed`."""
        print(f"seed {self.seed}", flush=True)
        self.prepare()
        live = None
        try:
            self.network.wait_for(lambda lines: lines, 60, "the proxy")
            live = self.reader(self.clients, "live", "read_committed")
            for name in (*WRITERS, *TRANSFORMERS):
                self.start(name)
            self.kill_again_and_again()
            self.stop(WRITERS)
            self.network.process.send_signal(signal.SIGUSR1)
            self.drain()
            self.stop(TRANSFORMERS)
            self.check(live)
        finally:
            if live:
                live.kill()
            for child in self.children.values():
                child.kill()
            self.network.process.terminate()
            self.network.process.wait(60)
            self.network.kill()
            print(f"kills: {dict(sorted(self.kills.items()))}; transformers: {dict(sorted(self.said.items()))}\n"
                  f"network: {self.network.lines[-1:]}", flush=True)
        done = json.loads(self.network.lines[-1])
        assert all(done.get(word) for word in ("delayed", "replayed", "answers dropped")), f"the network was good: {done}"

    # ---- the parts of a run

    def prepare(self):
        suite = self.suite
        suite.broker = self.broker = suite.new_broker()
        self.broker.start_limit = STARTED_WITHIN
        port, direct = free_ports(2)
        self.clients = f"127.0.0.1:{port}"
        for setting, more in (("listeners", f"PROXIED://127.0.0.1:{direct}"),
                              ("advertised.listeners", f"PROXIED://{self.clients}"),
                              ("listener.security.protocol.map", "PROXIED:PLAINTEXT")):
            self.broker.settings[setting] += "," + more
        self.broker.start()
        self.log = open(suite.logs / "clients.log", "ab")
        self.python, classes = librdkafka.python(), suite.work / "classes"
        home = kafka.home()
        must(["javac", "-cp", f"{home}/libs/*", "-d", classes, *sorted((suite.folder / "java").glob("*.java"))])
        *java, jars = kafka.java(home, [*kafka.SHORT_LIVED, "-Xmx128m"], "ERROR")
        self.java = [*java, f"{jars}:{classes}"]
        for topic in (self.topic, *(output for output, _ in self.outputs.values())):
            _, output = suite.tools("topics", "--create", "--topic", topic, "--partitions", str(PARTITIONS),
                                    "--replication-factor", "1")
            assert "Created topic" in output, output
        self.network = Child([self.python, "-B", suite.folder / "proxy.py", port, direct, self.seed], errors=self.log)

    def start(self, name):
        self.incarnation[name] += 1
        turn = self.incarnation[name]
        if name in WRITERS:
            kind, patience = WRITERS[name]
            program = ("worker.py", "WriteWorker")
            arguments = [self.topic, PARTITIONS, name, turn, self.seed, patience]
        else:
            kind = TRANSFORMERS[name]
            output, group = self.outputs[kind]
            program = ("transform.py", "TransformWorker")
            arguments = [self.topic, output, PARTITIONS, name, f"{self.seed}/{turn}", group]
        how = [self.python, "-B", self.suite.folder / program[0]] if kind == "python" else [*self.java, program[1]]
        self.children[name] = Child([*how, self.clients, *arguments], errors=self.log)

    def kill_again_and_again(self):
        """Until the time is over, and each kind has had its turn."""
        self.come_alive(len(WRITERS))
        end, left = time.monotonic() + self.seconds, set(KILLED)
        while left or time.monotonic() < end:
            time.sleep(self.dice.uniform(*PAUSE))
            self.come_alive(AT_WORK)
            self.revive(WRITERS, TRANSFORMERS)
            what = self.dice.choice(sorted(left) if left and time.monotonic() > end else KILLED)
            left.discard(what)
            name = self.dice.choice(sorted(WRITERS if what == "writer" else TRANSFORMERS))
            if what == "broker":
                self.broker.kill()
                self.broker.start()
            elif self.dice.random() < FROZEN:
                what = f"{what} frozen"
                self.freeze(self.children[name])
            else:
                self.take(name)
                self.start(name)
            self.kills[what] += 1

    def revive(self, *names):
        """Starts those again that have ended by themselves."""
        for name in [name for some in names for name in some if self.children[name].ended]:
            self.kills[f"{name} ended by itself"] += 1
            self.take(name)
            self.start(name)

    def freeze(self, child):
        """Holds a client up until it has been given up, and lets it go on then, not knowing of that."""
        os.killpg(child.process.pid, signal.SIGSTOP)
        timer = threading.Timer(self.dice.uniform(*FROZEN_FOR), thaw, [child])
        timer.daemon = True
        timer.start()

    def come_alive(self, count):
        """Waits until so many writers have committed since the last kill, on a slow machine too; none of them has to for ever."""
        def at_work():
            news = (self.children[name].lines[-NEWEST:] for name in WRITERS)
            return sum(any(" committed " in line and int(line.split()[0]) > self.killed for line in lines)
                       for lines in news) >= count
        try:
            until(at_work, ALIVE_WITHIN, "writers at work")
        except AssertionError:
            self.kills["after nobody had committed"] += 1
        self.killed = time.monotonic_ns()

    def stop(self, names):
        for name in names:
            thaw(self.children[name])
            self.children[name].process.terminate()
        for name in names:
            self.children[name].process.wait(120)   # also one that was terminated before it could begin
            self.take(name)

    def take(self, name):
        """What a client said, once it has ended."""
        child = self.children.pop(name)
        child.kill()
        for line in child.lines:
            if name in WRITERS:
                self.history.add(line)
            else:
                self.said[line.split()[1]] += 1

    def check(self, live):
        """What the producers wrote."""
        everything = self.read(self.topic, "read_uncommitted")
        total = sum(map(len, self.committed.values()))
        live.wait_for(lambda lines: len(lines) >= total, 180, "who reads along to come to the end")
        wrong = isolation.problems(self.history, self.committed, everything, records(live.lines), self.ends(self.topic))
        told = Counter(self.history.outcome.values())
        print(f"{total} records; transactions: {dict(sorted(told.items()))}; "
              f"read along: {sum(map(len, self.history.reads.values()))}; in cycles by the order of writes alone, as Kafka "
              f"allows: {cycles.write_cycles(self.history, self.committed)}", flush=True)
        told_wrong(wrong)
        assert told["committed"] >= FEWEST, f"too few were committed to say anything: {told}"
        kinds = {WRITERS[producer(t)][0] for t, outcome in self.history.outcome.items() if outcome == "committed"}
        assert kinds == {"python", "java"}, f"only these clients have committed anything: {kinds}"

    def drain(self):
        """Waits until the groups have taken all of the input, which nobody adds to any more."""
        self.settle(self.topic)
        self.committed = self.read(self.topic, "read_committed")
        last = {p: found[-1][0] for p, found in self.committed.items() if found}
        end = time.monotonic() + DRAINED_WITHIN
        for _, group in self.outputs.values():
            while any(self.offsets(group)[p] <= offset for p, offset in last.items()) and time.monotonic() < end:
                time.sleep(1)
                self.revive(TRANSFORMERS)

    def transformed(self):
        """What the transformers made of it."""
        assert self.committed is not None, "the run before did not come so far"
        wrong = []
        for kind, (output, group) in self.outputs.items():
            self.settle(output)
            found = transformed.problems(self.committed, self.read(output, "read_committed"),
                                         self.read(output, "read_uncommitted"), self.offsets(group), self.ends(output))
            wrong += [f"{kind}: {problem}" for problem in found]
        told_wrong(wrong)

    # ---- what is there, read from the broker itself

    def reader(self, address, *arguments):
        return Child(self.reading(address, self.topic, *arguments), errors=self.log)

    def reading(self, address, topic, *arguments):
        return [self.python, "-B", self.suite.folder / "reader.py", address, topic, PARTITIONS, *arguments]

    def lines(self, topic, *arguments):
        return must(self.reading(self.broker.address, topic, *arguments), limit=180).splitlines()

    def read(self, topic, level):
        return records(self.lines(topic, "all", level))

    def ends(self, topic):
        return {int(p): (int(stable), int(high)) for p, stable, high in map(str.split, self.lines(topic, "ends"))}

    def offsets(self, group):
        return {int(p): int(offset) for p, offset in map(str.split, self.lines(self.topic, "offsets", group))}

    def settle(self, topic):
        """Waits until the transactions of producers that were killed have timed out; whether they did is checked after."""
        try:
            until(lambda: all(stable == high for stable, high in self.ends(topic).values()), OPEN_AT_MOST, topic, every=1)
        except AssertionError:
            pass


def thaw(child):
    with contextlib.suppress(ProcessLookupError):
        if child.process.poll() is None:
            os.killpg(child.process.pid, signal.SIGCONT)


def told_wrong(wrong):
    for problem in wrong[:20]:
        print(f"  {problem}", flush=True)
    assert not wrong, f"{len(wrong)} problems: " + "; ".join(wrong[:3])


def records(lines):
    found = {p: [] for p in range(PARTITIONS)}
    for line in lines:
        _, p, offset, value = line.split()
        found[int(p)].append((int(offset), value))
    return found
