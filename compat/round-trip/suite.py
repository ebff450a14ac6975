"""Directories that pass from Kafka to Dohle, back to Kafka and so on, with writes at each step.

`everything`: a Kafka node with an authorizer and SASL that has used every kind of record; what Dohle does not act on has to
be there again when Kafka opens the directory. `same-file`: one server.properties for both, stopped and killed in turn,
under an idempotent producer that never learns of it. `standalone`, `release-4.0`: other quorums, directories and levels.
With --broker kafka all steps are Kafka's.
"""
import concurrent.futures
import itertools
import json
import subprocess

from harness import broker, kafka
from harness.kcat import Kcat
from harness.process import must, until

BROKER = False
LIMIT = 900
GROUP, PARTITIONS, EACH = "classic", 3, 400
CLUSTER = "c29tZS1jbHVzdGVyLWlkMg"


def run(suite):
    if suite.wanted([f"everything/{step}" for step in STEPS]):
        everything(suite)
    suite.case("same-file", lambda: same_file(suite), tries=1)
    suite.case("standalone", lambda: standalone(suite), tries=1)
    suite.case("release-4.0", lambda: release(suite, "4.0"), tries=1)


# ---- nodes: a Kafka node and its counterpart on the same directory


class Plain(broker.PlainKafka):
    """Apache Kafka with the plaintext listener alone, so that its server.properties serve Dohle as they are."""

    format_options = ("--standalone",)

    def prepare(self):
        broker.Broker.prepare(self)
        if self.data.exists():
            return
        options = () if "controller.quorum.voters" in self.settings else self.format_options
        must([*kafka.command("storage"), "format", "-t", CLUSTER, "-c", self.properties, *options, *self.release], 120)

    release = ()


def plain(suite, name, settings=(), release=(), dynamic=False):
    """A Kafka node, and the kind under test with the very same settings file."""
    first = Plain(suite.work / f"{name}-kafka", dict(settings)).quick()
    first.release = release
    if dynamic:
        del first.settings["controller.quorum.voters"]
        first.settings["controller.quorum.bootstrap.servers"] = f"127.0.0.1:{first.controller_port}"
    first.settings = {key: value.replace("FOLDER", str(first.folder)) for key, value in first.settings.items()}
    return first, counterpart(suite, first, f"{name}-{suite.kind}", dict(first.settings))


def counterpart(suite, first, name, settings):
    kind = Plain if suite.kind == "kafka" else broker.Dohle
    second = kind(suite.work / name)
    second.settings = settings
    second.port, second.address = first.port, first.address
    if suite.kind == "kafka":
        second.data = first.data  # formatted already
    suite.brokers += [first, second]
    return second


class Steps:
    """What stands in the directory, by what was written; each step checks it all and writes more."""

    def __init__(self, suite):
        self.suite, self.values, self.committed, self.step = suite, {}, {}, 0

    def kcat(self, node):
        return Kcat(node.address, self.suite.logs / "kcat.log")

    def write(self, node):
        """Records in a topic that is there and in a new one, and the group's offsets at their end."""
        self.step += 1
        kcat = self.kcat(node)
        codec = ("zstd", "lz4", "gzip", "snappy", "none")[self.step % 5]
        for topic in ("all", f"step-{self.step}"):
            lines = [f"{topic} {self.step} {n} {'abcdefgh' * 20}" for n in range(EACH)]
            kcat.produce(topic, lines, "-z", codec, "-X", "enable.idempotence=true")
            self.values.setdefault(topic, []).extend(lines)
        for group in (GROUP, f"{GROUP}-{self.step}"):
            kcat.group(group, "all")
            self.committed[group] = self.ends(node, "all")

    def check(self, node):
        kcat = self.kcat(node)
        topics = {t["topic"]: t["partitions"] for t in kcat.metadata()["topics"]}
        for topic, wanted in self.values.items():
            assert topic in topics, f"{topic} is not in {sorted(topics)}"
            got = [r["payload"] for r in kcat.consume(topic)]
            assert sorted(got) == sorted(wanted), f"{topic}: {len(got)} records instead of {len(wanted)}"
        if self.committed:
            wanted = {(group, *partition): offset for group, ends in self.committed.items() for partition, offset in ends.items()}
            got = self.offsets(node, self.committed)
            assert got == wanted, f"committed: {got} instead of {wanted}"

    def ends(self, node, topic):
        """The ends of the partitions that have records."""
        kcat = self.kcat(node)
        found = [t for t in kcat.metadata("-t", topic)["topics"] if t["topic"] == topic][0]["partitions"]
        ends = {(topic, p["partition"]): kcat.query(topic, p["partition"], -1) for p in found}
        return {partition: end for partition, end in ends.items() if end > 0}

    def offsets(self, node, groups):
        tools = kafka.Tools(node.address, self.suite.logs / "tools.log", self.suite.jvm)
        status, output = tools("consumer-groups", "--describe", *(word for g in groups for word in ("--group", g)), merge=False)
        assert status == 0, output
        rows = [line.split() for line in output.splitlines() if line.startswith(GROUP)]
        return {(row[0], row[1], int(row[2])): int(row[3]) for row in rows if row[3] != "-"}


def end(node, killed=False):
    if killed:
        node.kill()
    else:
        assert node.stop(), f"{node.kind} did not stop cleanly: {node.log_tail(3)}"


# ---- one settings file for both


def same_file(suite):
    """Kafka and the other in turn, stopped and then killed; a producer lives through all of it."""
    nodes = plain(suite, "same-file", {"log.segment.bytes": "1048576", "num.partitions": str(PARTITIONS),
                                       "log.flush.offset.checkpoint.interval.ms": "1000"})
    steps = Steps(suite)
    sent = itertools.count()
    producer = None
    try:
        for killed, node in itertools.product((False, True, False), nodes):
            node.start()
            if producer is None:
                producer = subprocess.Popen(
                    steps.kcat(node).argv("-P", "-E", "-t", "lasting", "-X", "enable.idempotence=true", "-X", "message.timeout.ms=120000"),
                    stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
            steps.check(node)
            producer.stdin.write(b"".join(b"lasting %d\n" % next(sent) for _ in range(100)))
            producer.stdin.flush()
            until(lambda: written(steps, node), 90, "the producer's first records", 0.2)
            steps.write(node)
            end(node, killed)
        nodes[0].start()
        steps.check(nodes[0])
        producer.communicate(timeout=150)
        assert producer.returncode == 0, f"the producer ended with {producer.returncode}"
        got = [record["payload"] for record in steps.kcat(nodes[0]).consume("lasting")]
        wanted = [f"lasting {n}" for n in range(next(sent))]
        assert sorted(got) == sorted(wanted), f"{len(got)} of {len(wanted)} records, {len(set(got))} different ones"
        end(nodes[0])
    finally:
        if producer:
            producer.kill()
        for node in nodes:
            node.kill()


def written(steps, node):
    """Whether the producer's records are there. Kafka names a leader before that one has made its log."""
    try:
        return sum(steps.ends(node, "lasting").values()) > 0
    except AssertionError as err:
        if "Not leader for partition" not in str(err):
            raise
        return False


# ---- other shapes of a directory


def standalone(suite):
    """A dynamic quorum (kraft.version 1), the metadata log apart, two data directories, and metadata segments that are gone."""
    settings = {"metadata.log.dir": "FOLDER/metadata", "log.dirs": "FOLDER/data,FOLDER/more", "num.partitions": "4",
                "metadata.log.max.record.bytes.between.snapshots": "2000", "metadata.log.segment.ms": "500",
                "metadata.max.retention.bytes": "1000", "internal.metadata.delete.delay.millis": "1000"}
    nodes = plain(suite, "standalone", settings, dynamic=True)
    back_and_forth(suite, nodes, 5)
    log = nodes[0].folder / "metadata/__cluster_metadata-0"
    assert list(log.glob("*.checkpoint")), f"no snapshot in {log}"
    assert not (log / f"{0:020}.log").exists(), f"the first segment is still in {log}"


def release(suite, level):
    nodes = plain(suite, f"release-{level}", {"num.partitions": str(PARTITIONS)}, ("--release-version", level))
    found = back_and_forth(suite, nodes, 3)
    assert found[0] == found[-1], f"{found[0]} became {found[-1]}"


def back_and_forth(suite, nodes, count):
    """What Kafka's tool says of the features at each step."""
    steps, features = Steps(suite), []
    try:
        for _, node in zip(range(count), itertools.cycle(nodes)):
            node.start()
            steps.check(node)
            steps.write(node)
            if node is nodes[0]:
                features.append(kafka.Tools(node.address, suite.logs / "tools.log", suite.jvm)("features", "describe", merge=False)[1])
            end(node)
    finally:
        for node in nodes:
            node.kill()
    return [[(w[1], w[7]) for w in (line.split() for line in text.splitlines())] for text in features]


# ---- a directory with every kind of record


STEPS = ("first", "second", "third", "fourth", "last")


def everything(suite):
    first = broker.Kafka(suite.work / "everything-kafka", {"log.segment.bytes": "1048576", "num.partitions": str(PARTITIONS),
                                                           "delegation.token.secret.key": "secret",
                                                           "metadata.log.max.record.bytes.between.snapshots": "20000"}).quick()
    # Without what protects the node: Dohle does not start with that.
    own = broker.Broker.listeners(first)
    settings = {**{k: v for k, v in first.settings.items() if not k.startswith(("sasl.", "ssl.", "listener.name.", "authorizer",
                                                                                "super.users", "allow.everyone"))}, **own}
    second = counterpart(suite, first, f"everything-{suite.kind}", settings)
    history = Everything(suite, first)
    acts = (lambda: history.kafka(first, history.fill), lambda: history.other(second), lambda: history.kafka(first, history.change),
            lambda: history.other(second), lambda: history.kafka(first, lambda: None))
    try:
        for name, act in zip(STEPS, acts):
            suite.case(f"everything/{name}", lambda act=act: history.next(act), tries=1)
    finally:
        first.kill()
        second.kill()


class Everything(Steps):
    """What Kafka's tools tell of the node is noted after each of Kafka's own steps, and compared at the next."""

    SAID = {
        "acls": ("acls", "--list"),
        "users": ("configs", "--describe", "--entity-type", "users"),
        "clients": ("configs", "--describe", "--entity-type", "clients", "--entity-default"),
        "all brokers": ("configs", "--describe", "--entity-type", "brokers", "--entity-default"),
        "broker 1": ("configs", "--describe", "--entity-type", "brokers", "--entity-name", "1"),
        "group configs": ("configs", "--describe", "--entity-type", "groups", "--entity-name", "share"),
        "client metrics": ("client-metrics", "--describe"),
        "topic configs": ("configs", "--describe", "--entity-type", "topics", "--entity-name", "transactional"),
        "groups": ("groups", "--list"),
        "transactions": ("transactions", "list"),
        "features": ("features", "describe"),
    }

    def __init__(self, suite, node):
        super().__init__(suite)
        self.node, self.said, self.transactional, self.broken = node, None, [], False
        self.tools = kafka.Tools(node.address, suite.logs / "tools.log", self.suite.jvm)
        self.sasl = suite.work / "sasl.properties"
        self.sasl.write_text('security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config=org.apache.kafka.common.'
                             'security.plain.PlainLoginModule required username="alice" password="alice-secret";\n')

    def next(self, act):
        """Each step goes on where the one before it ended."""
        assert not self.broken, "the step before it failed"
        self.broken = True
        act()
        self.broken = False

    def kafka(self, node, write):
        node.start()
        self.check(node)
        if self.said:
            compare(self.said, self.says())
        self.write(node)
        write()
        self.check(node)
        self.said = self.says()
        end(node)

    def other(self, node):
        """Serves what it acts on; the rest stays. The group of the first step has to be the same; topics come and go."""
        node.start()
        self.check(node)
        self.write(node)
        self.check(node)
        end(node)

    def check(self, node):
        super().check(node)
        if self.transactional:
            read = self.kcat(node)
            committed = [r["payload"] for r in read.consume("transactional", "-X", "isolation.level=read_committed")]
            assert sorted(committed) == sorted(self.transactional), f"{len(committed)} committed records, {len(self.transactional)} wanted"

    def must(self, tool, *args, **how):
        # Those that read for a while are run side by side, each in a JVM of its own.
        tools = kafka.Tools(self.node.address, self.tools.log) if tool.startswith("console-") else self.tools
        status, output = tools(tool, *args, **how)
        assert status == 0, f"{tool} {' '.join(args)}: {output[-300:]}"
        return output

    def all(self, *calls):
        """Tools side by side: each takes a second or two to start."""
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            return [each.result() for each in [pool.submit(call) for call in calls]]

    def alter(self, kind, name, *settings):
        entity = ["--entity-default"] if name is None else ["--entity-name", name]
        return lambda: [self.must("configs", "--alter", "--entity-type", kind, *entity, "--add-config", s) for s in settings]

    def fill(self):
        self.must("topics", "--create", "--topic", "transactional", "--partitions", "1", "--config", "cleanup.policy=compact",
                  "--config", "min.compaction.lag.ms=86400000")
        self.all(
            lambda: self.must("acls", "--add", "--allow-principal", "User:alice", "--operation", "Read", "--topic", "all", "--group", "*"),
            lambda: self.must("acls", "--add", "--deny-principal", "User:mallory", "--operation", "Write", "--topic", "step",
                              "--resource-pattern-type", "prefixed"),
            self.alter("users", "bob", "SCRAM-SHA-256=[iterations=4096,password=pw]", "SCRAM-SHA-512=[password=pw]",
                       "producer_byte_rate=1024000,consumer_byte_rate=2048000"),
            self.alter("clients", None, "request_percentage=200"),
            self.alter("brokers", None, "log.retention.ms=864000001"),
            self.alter("brokers", "1", "log.cleaner.threads=2"),
            self.alter("groups", "share", "share.auto.offset.reset=earliest"),
            lambda: self.must("client-metrics", "--alter", "--name", "metrics", "--metrics", "org.apache.kafka.producer.",
                              "--interval", "30000"),
            lambda: self.tokens("--create", "--max-life-time-period", "-1", "--renewer-principal", "User:bob"),
        )
        self.all(
            lambda: self.must("console-consumer", "--topic", "all", "--group", "consumer", "--max-messages", "50", "--timeout-ms", "20000",
                              "--command-property", "group.protocol=consumer", "--from-beginning"),
            lambda: self.must("console-share-consumer", "--topic", "all", "--group", "share", "--max-messages", "50", "--timeout-ms", "20000"),
            self.transact,
        )

    def change(self):
        """Kafka goes on with all of it."""
        self.all(
            lambda: self.must("acls", "--add", "--allow-principal", "User:bob", "--operation", "All", "--cluster"),
            lambda: self.must("acls", "--remove", "--force", "--deny-principal", "User:mallory", "--operation", "Write", "--topic",
                              "step", "--resource-pattern-type", "prefixed"),
            self.alter("users", "carol", "SCRAM-SHA-256=[password=pw]"),
            self.alter("topics", "transactional", "retention.ms=123456789"),
            lambda: self.must("console-consumer", "--topic", "all", "--group", "consumer", "--max-messages", "50", "--timeout-ms", "20000",
                              "--command-property", "group.protocol=consumer"),
            lambda: self.must("console-share-consumer", "--topic", "all", "--group", "share", "--max-messages", "50", "--timeout-ms", "20000"),
            self.transact,
        )

    def transact(self):
        argv = [*kafka.java(kafka.home(), kafka.SHORT_LIVED), self.suite.folder / "Transactions.java", self.node.address,
                "transactional-id", "transactional", f"step{self.step}"]
        self.transactional += must(argv, 120).split()

    def tokens(self, *args):
        tools = kafka.Tools(self.node.sasl_address, self.suite.logs / "tools.log", self.suite.jvm)
        status, output = tools("delegation-tokens", *args, "--command-config", str(self.sasl), merge=False)
        assert status == 0, output
        return output

    def says(self):
        """What Kafka's tools print, as sorted lines."""
        calls = {name: lambda call=call: self.must(*call, merge=False) for name, call in self.SAID.items()}
        calls["tokens"] = lambda: self.tokens("--describe")
        calls["consumer group"] = lambda: self.must("consumer-groups", "--describe", "--group", "consumer", "--offsets", merge=False)
        calls["share group"] = lambda: self.must("share-groups", "--describe", "--group", "share", "--offsets", merge=False)
        return dict(zip(calls, self.all(*calls.values())))


def compare(before, after):
    """Group offsets are told beside the log's end, which moves on; of the groups list the new ones, which are expected, are left out."""
    def lines(name, text):
        rows = [line.split() for line in text.splitlines() if line.strip()]
        if name in ("consumer group", "share group"):
            rows = [row[:4] for row in rows]
        if name == "users":  # mechanisms in the order of a map
            rows = [sorted(word.rstrip(",") for word in row) for row in rows]
        if name == "groups":
            rows = [row for row in rows if not row[0].startswith(GROUP)]
        if name == "features":
            rows = [row[:-1] for row in rows]  # the epoch: the metadata log's end
        return sorted(rows)

    for name, text in before.items():
        was, now = lines(name, text), lines(name, after[name])
        assert was == now, f"{name}: {json.dumps([r for r in was if r not in now])} became {json.dumps([r for r in now if r not in was])}"
