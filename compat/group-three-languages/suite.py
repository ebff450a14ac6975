"""Three members of one group, in Java, Python and Go, share a topic; one is killed; its partitions move; offsets hold."""
import contextlib
import re

from harness import go, librdkafka
from harness.kcat import Kcat, fresh
from harness.process import Child, until

PARTITIONS, EACH = 6, 10
LIMIT = 300
STEPS = ("three-members-share", "killed-members-partitions-move", "committed-offsets-hold")


def run(suite):
    if not suite.wanted(STEPS):
        return
    with contextlib.ExitStack() as cleanup:
        group = Group(suite, cleanup)
        for name in STEPS:  # each goes on where the one before it ended
            suite.case(name, getattr(group, name.replace("-", "_")), tries=1)


class Group:
    def __init__(self, suite, cleanup):
        self.suite, self.topic, self.group = suite, fresh("three"), fresh("three-group")
        self.kcat = Kcat(suite.broker.address, suite.logs / "kcat.log")
        self.sent = 0
        status, output = suite.tools("topics", "--create", "--topic", self.topic, "--partitions", str(PARTITIONS),
                                     "--replication-factor", "1")
        assert status == 0, output
        self.members = {"java": self.java(), "python": self.python(), "go": self.go()}
        for member in self.members.values():
            cleanup.callback(member.kill)

    # ---- the members

    def java(self):
        settings = {"client.id": "java-member", "session.timeout.ms": "6000", "heartbeat.interval.ms": "500",
                    "auto.commit.interval.ms": "200", "auto.offset.reset": "earliest",
                    "partition.assignment.strategy": "org.apache.kafka.clients.consumer.RangeAssignor"}
        return self.suite.tools.start(
            "console-consumer", "--topic", self.topic, "--group", self.group,
            *(word for k, v in settings.items() for word in ("--command-property", f"{k}={v}")),
            *(word for k in ("partition", "offset") for word in ("--formatter-property", f"print.{k}=true")))

    def python(self):
        return self.start(librdkafka.python(), "-B", self.suite.folder / "member.py")

    def go(self):
        return self.start(go.program("go-member", self.suite.folder))

    def start(self, *argv):
        with open(self.suite.logs / "members.log", "ab") as log:
            return Child([*argv, self.suite.broker.address, self.group, self.topic], errors=log)

    # ---- the steps

    def three_members_share(self):
        until(lambda: self.shares() == [2, 2, 2], 120, "two partitions for each of three members", 0.5)
        self.send()
        until(lambda: len(self.records()) == self.sent, 90, "all records read")
        assert len(set(self.records())) == self.sent, "a record was read twice"
        readers = [name for name, member in self.members.items() if self.records(member)]
        assert len(readers) == 3, f"only {readers} got records"

    def killed_members_partitions_move(self):
        until(lambda: self.committed() == [EACH] * PARTITIONS, 90, "all that was read is committed", 0.5)
        self.members["go"].kill()
        until(lambda: self.shares() == [3, 3], 120, "three partitions for each of the two that are left", 0.5)
        self.send()
        until(lambda: len(self.records()) == self.sent, 90, "all records read")
        assert len(set(self.records())) == self.sent, "a record was read twice"

    def committed_offsets_hold(self):
        until(lambda: self.committed() == [2 * EACH] * PARTITIONS, 90, "all that was read is committed", 0.5)
        assert self.members["python"].stop() == 0
        self.members["java"].stop()
        until(lambda: self.shares() == [], 120, "an empty group", 0.5)
        assert self.committed() == [2 * EACH] * PARTITIONS, self.committed()
        self.kcat.produce(self.topic, ["last"])
        got = [r["payload"] for r in self.kcat.group(self.group, self.topic)]
        assert got == ["last"], f"a new member should read what came last, and read {got}"

    # ---- what is seen

    def send(self):
        """EACH records into each partition."""
        for p in range(PARTITIONS):
            self.kcat.produce(self.topic, [f"{p}-{self.sent + i}" for i in range(EACH)], "-p", str(p))
        self.sent += EACH * PARTITIONS

    def records(self, member=None):
        """(partition, offset) of all that one member, or all of them, read; more than once where read more than once."""
        members = [member] if member else self.members.values()
        found = (re.match(r"Partition:(\d+)\tOffset:(\d+)\t", line) for m in members for line in list(m.lines))
        return [(int(f.group(1)), int(f.group(2))) for f in found if f]

    def describe(self, *what):
        _, output = self.suite.tools("consumer-groups", "--describe", "--group", self.group, *what)
        return [row for row in (line.split() for line in output.splitlines()) if row and row[0] == self.group]

    def shares(self):
        """How many partitions each member has."""
        return sorted(int(row[4]) for row in self.describe("--members"))

    def committed(self):
        rows = {int(row[2]): row[3] for row in self.describe("--offsets") if row[1] == self.topic}
        return [int(rows[p]) if rows.get(p, "-").isdigit() else None for p in range(PARTITIONS)]
