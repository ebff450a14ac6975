"""Apache Kafka 4.3.0's command-line tools: what they print, held against what is true.

A section is a row of steps that build on each other. Sections run two at a time, each with topics and groups of its own.
"""
import concurrent.futures
import json
import pathlib
import re

from harness.kafka import Tools
from harness.kcat import fresh
from harness.process import call, until
from harness.report import FAIL, PASS, SKIP

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"
LIMIT = 1200
JOBS = 2
SECTIONS = {}  # function -> the beginnings of the names of its checks


def section(*prefixes):
    def register(function):
        SECTIONS[function] = prefixes
        return function
    return register


def run(suite):
    chosen = [f for f, prefixes in SECTIONS.items()
              if suite.wanted(n for n in suite.report.expect.expected if n.startswith(prefixes))]
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for done in [pool.submit(run_section, suite, f) for f in chosen]:
            done.result()


def run_section(suite, function):
    checks = Checks(suite, function.__name__)
    try:
        function(checks)
    except Exception as err:  # the checks it did not come to are reported as not run; say why
        print(f"section {function.__name__} ended early: {type(err).__name__}: {err}", flush=True)


class Checks:
    """Runs tools one after the other, and checks what the last one printed."""

    def __init__(self, suite, section_name):
        self.suite, self.name = suite, section_name
        self.tools = Tools(suite.broker.address, suite.logs / f"{section_name}.log")
        self.status, self.output = None, ""

    def t(self, tool, *args, stdin="", limit=90):
        """Runs a tool; `args` of one text are split at blanks. Its output stays for the checks that follow."""
        words = args[0].split() if len(args) == 1 and isinstance(args[0], str) else args
        self.status, text = self.tools(tool, *words, stdin=stdin, limit=limit)
        self.output = "\n".join(line for line in text.splitlines() if "SLF4J" not in line)
        return self.output

    def record(self, name, passed, why):
        if self.suite.wanted([name]):
            self.suite.report.record(name, PASS if passed else FAIL, "" if passed else why)

    def has(self, name, *patterns):
        missing = [p for p in patterns if not re.search(p, self.output, re.M)]
        self.record(name, not missing, f"no line like /{missing and missing[0]}/ in: {self.output[-400:]}")

    def lacks(self, name, pattern):
        self.record(name, not re.search(pattern, self.output, re.M), f"a line like /{pattern}/ in: {self.output[-400:]}")

    def same(self, name, wanted, got):
        self.record(name, wanted == got, f"wanted {wanted!r}, got {got!r}; {self.output[-300:]}")

    def skip(self, name, why):
        self.suite.report.record(name, SKIP, why)

    # ---- what several sections do

    def topic(self, name, partitions=1, *more):
        self.t("topics", "--create", "--topic", name, "--partitions", str(partitions), "--replication-factor", "1", *more)

    def feed(self, topic, count):
        """Records k1:v1 to kN:vN."""
        lines = "".join(f"k{i}:v{i}\n" for i in range(1, count + 1))
        self.t("console-producer", "--topic", topic, "--reader-property", "parse.key=true", "--reader-property",
               "key.separator=:", stdin=lines)

    def consume(self, topic, count, *more, limit_ms=30000):
        self.t("console-consumer", "--topic", topic, "--max-messages", str(count), "--timeout-ms", str(limit_ms), *more)

    def lines(self, pattern):
        return [line for line in self.output.splitlines() if re.search(pattern, line)]

    def column_sum(self, topic, column):
        """The sum of a column (from 1) over the lines whose second column is the topic."""
        rows = [line.split() for line in self.output.splitlines()]
        return sum(int(r[column - 1]) for r in rows if len(r) >= column and r[1] == topic and r[column - 1].isdigit())

    def broker_id(self):
        found = re.search(r"\(id: (\d+) ", self.t("broker-api-versions"))
        return found.group(1) if found else "1"


@section("topics.")
def topics(c):
    a = fresh("ct-topics")
    c.topic(a, 3, "--config", "retention.ms=123000")
    c.has("topics.create", f"Created topic {a}")
    c.topic(a)
    c.has("topics.create-again-fails", "already exists")
    c.topic(a, 1, "--if-not-exists")
    c.same("topics.if-not-exists", 0, c.status)
    c.topic("bad name")
    c.has("topics.bad-name-fails", "InvalidTopicException|illegal|invalid|is not supported")
    c.t("topics", f"--create --topic {a}-rf --replication-factor 9")
    c.has("topics.replication-factor-9-fails", "InvalidReplicationFactor|Replication factor")
    c.t("topics", "--list")
    c.has("topics.list", f"^{a}$")
    c.t("topics", f"--describe --topic {a}")
    c.has("topics.describe", "PartitionCount: 3", "ReplicationFactor: 1", "retention.ms=123000",
          "Partition: 2.*Leader: [0-9]+.*Isr: [0-9]+")
    c.t("topics", f"--alter --topic {a} --partitions 5")
    c.t("topics", f"--describe --topic {a}")
    c.has("topics.alter-partitions", "PartitionCount: 5")
    c.t("topics", f"--describe --under-replicated-partitions --topic {a}")
    c.lacks("topics.none-under-replicated", "Partition:|Exception")
    c.t("topics", f"--describe --unavailable-partitions --topic {a}")
    c.lacks("topics.none-unavailable", "Partition:|Exception")
    c.t("topics", f"--describe --topics-with-overrides --topic {a}")
    c.has("topics.with-overrides", a)
    c.t("topics", f"--delete --topic {a}")
    c.t("topics", "--list")
    c.lacks("topics.delete", f"^{a}$|Exception")
    c.t("topics", f"--describe --topic {a}-none")
    c.has("topics.describe-unknown-fails", "does not exist")


@section("console.compression", "console.group-commits", "console.headers", "console.keys", "console.kip848", "console.partition")
def console(c):
    a, group = fresh("ct-console"), fresh("ct-console-group")
    c.topic(a, 2)
    c.feed(a, 20)
    c.consume(a, 20, "--from-beginning", "--formatter-property", "print.key=true", "--formatter-property", "key.separator==")
    c.same("console.keys-and-values", sorted(f"k{i}=v{i}" for i in range(1, 21)), sorted(c.lines("^k[0-9]+=")))
    fifty = [str(i) for i in range(1, 51)]
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        c.topic(f"{a}-{codec}")
        c.t("console-producer", "--topic", f"{a}-{codec}", "--compression-codec", codec, stdin="\n".join(fifty) + "\n")
        c.consume(f"{a}-{codec}", 50, "--from-beginning")
        c.same(f"console.compression-{codec}", fifty, c.lines("^[0-9]+$"))
    c.consume(f"{a}-zstd", 5, "--partition", "0", "--offset", "45")
    c.same("console.partition-and-offset", fifty[45:], c.lines("^[0-9]+$"))
    c.t("console-producer", "--topic", f"{a}-gzip", "--reader-property", "parse.headers=true", "--reader-property",
        "parse.key=true", "--command-property", "acks=all", stdin="h1:one,h2:two\tkey\tvalue\n")
    shown = [w for p in ("headers", "timestamp", "offset", "key") for w in ("--formatter-property", f"print.{p}=true")]
    c.consume(f"{a}-gzip", 1, "--partition", "0", "--offset", "50", *shown)
    c.has("console.headers-timestamp-offset", "CreateTime:[0-9]{13}.*Offset:50.*h1:one,h2:two.*key.*value")
    c.consume(a, 20, "--group", group, "--from-beginning")
    c.t("consumer-groups", f"--describe --offsets --group {group}")
    c.same("console.group-commits", 20, c.column_sum(a, 4))
    c.consume(a, 20, "--group", f"{group}-848", "--command-property", "group.protocol=consumer", "--from-beginning",
              limit_ms=40000)
    c.same("console.kip848-group", 20, len(c.lines("^v")))


@section("consumer-groups.", "groups.")
def groups(c):
    a, group, live = fresh("ct-groups"), fresh("ct-group"), fresh("ct-live")
    c.topic(a, 2)
    c.feed(a, 40)
    c.consume(a, 40, "--group", group, "--from-beginning", limit_ms=40000)
    c.t("consumer-groups", "--list")
    c.has("consumer-groups.list", f"^{group}$")
    c.t("consumer-groups", "--list --state")
    c.has("consumer-groups.list-state", f"{group} +Empty")
    c.t("consumer-groups", "--list --type")
    c.has("consumer-groups.list-type", f"{group} +Classic")
    c.t("consumer-groups", f"--describe --group {group}")
    c.same("consumer-groups.describe-no-lag", (40, 0), (c.column_sum(a, 5), c.column_sum(a, 6)))
    c.t("consumer-groups", f"--describe --state --group {group}")
    c.has("consumer-groups.describe-state", f"{group}.*Empty +0")
    reset_offsets(c, a, group)
    c.t("consumer-groups", f"--delete-offsets --group {group} --topic {a}:0")
    c.t("consumer-groups", f"--describe --group {group}")
    rows = [line.split() for line in c.output.splitlines()]
    c.same("consumer-groups.delete-offsets", 1, sum(1 for r in rows if len(r) > 3 and r[1] == a and r[3] != "-"))
    member = c.tools.start("console-consumer", "--topic", a, "--group", live, "--timeout-ms", "80000")
    try:
        until(lambda: re.search(f"{a}[^l]", c.t("consumer-groups", f"--describe --members --verbose --group {live}")),
              40, "the member has its partitions", every=1)
        c.has("consumer-groups.describe-members", f"{live} .*console-consumer.* 2 .*{a}")
        c.t("consumer-groups", f"--delete --group {live}")
        c.has("consumer-groups.delete-active-fails", "GroupNotEmpty|not empty")
        c.t("groups", "--list")
        c.has("groups.list", f"{live} +Classic +consumer")
    finally:
        member.stop()
    c.t("consumer-groups", f"--delete --group {group}")
    c.has("consumer-groups.delete", "Deletion of requested consumer groups.*was successful")
    c.t("consumer-groups", f"--describe --group {group}")
    c.has("consumer-groups.describe-deleted", "does not exist|GroupIdNotFound")


def reset_offsets(c, topic, group):
    def reset(*how):
        c.t("consumer-groups", "--reset-offsets", "--group", group, "--topic", topic, *how)
        return c.column_sum(topic, 4)
    c.same("consumer-groups.reset-dry-run", 0, reset("--to-earliest", "--dry-run"))
    c.t("consumer-groups", f"--describe --group {group}")
    c.same("consumer-groups.dry-run-changes-nothing", 40, c.column_sum(topic, 4))
    c.same("consumer-groups.reset-to-earliest", 0, reset("--to-earliest", "--execute"))
    c.same("consumer-groups.reset-to-latest", 40, reset("--to-latest", "--execute"))
    c.same("consumer-groups.reset-shift-by", 34, reset("--shift-by", "-3", "--execute"))
    c.same("consumer-groups.reset-to-offset", 10, reset("--to-offset", "5", "--execute"))
    c.same("consumer-groups.reset-by-duration", 0, reset("--by-duration", "PT1H", "--execute"))
    c.same("consumer-groups.reset-to-datetime", 40, reset("--to-datetime", "2099-01-01T00:00:00.000", "--execute"))
    plan = c.suite.work / "reset.csv"
    plan.write_text(f"{topic},0,3\n{topic},1,4\n")
    c.t("consumer-groups", "--reset-offsets", "--group", group, "--from-file", str(plan), "--execute")
    c.same("consumer-groups.reset-from-file", 7, c.column_sum(topic, 4))


@section("configs.", "client-metrics.")
def configs(c):
    a = fresh("ct-configs")
    c.topic(a)
    topic = f"--entity-type topics --entity-name {a}"
    c.t("configs", f"--alter {topic} --add-config retention.ms=99000,cleanup.policy=[compact,delete]")
    c.has("configs.alter-topic", "Completed updating config for topic")
    c.t("configs", f"--describe {topic}")
    c.has("configs.describe-topic", "retention.ms=99000", "cleanup.policy=compact,delete")
    c.t("configs", f"--describe --all {topic}")
    c.has("configs.describe-topic-all", "segment.bytes=1073741824", "max.message.bytes=")
    c.t("configs", f"--alter {topic} --delete-config retention.ms")
    c.t("configs", f"--describe {topic}")
    c.record("configs.delete-of-topic", "retention.ms" not in c.output and "cleanup.policy=compact" in c.output, c.output)
    c.t("configs", f"--alter {topic} --add-config no.such=1")
    c.has("configs.unknown-key-fails", "InvalidConfigurationException|Unknown topic config")
    c.t("configs", f"--describe --entity-type brokers --all --entity-name {c.broker_id()}")
    c.has("configs.describe-broker", "message.max.bytes=", "num.partitions=")
    brokers = "--entity-type brokers --entity-default"
    c.t("configs", f"--alter {brokers} --add-config log.cleaner.backoff.ms=15001")
    c.t("configs", f"--describe {brokers}")
    c.has("configs.broker-default", "log.cleaner.backoff.ms=15001")
    c.t("configs", f"--alter {brokers} --delete-config log.cleaner.backoff.ms")
    c.has("configs.broker-default-deleted", "Completed updating default config")
    entity(c, "configs.user-quota", f"--entity-type users --entity-name {a}-u",
           "producer_byte_rate=1048576,consumer_byte_rate=2097152")
    entity(c, "configs.client-default-quota", "--entity-type clients --entity-default", "request_percentage=5000")
    c.t("configs", "--alter", "--entity-type", "users", "--entity-name", f"{a}-s", "--add-config",
        "SCRAM-SHA-256=[iterations=4096,password=pw]")
    c.t("configs", f"--describe --entity-type users --entity-name {a}-s")
    c.has("configs.scram-user", "SCRAM-SHA-256=iterations=4096")
    c.t("configs", f"--alter --entity-type users --entity-name {a}-s --delete-config SCRAM-SHA-256")
    entity(c, "configs.group", f"--entity-type groups --entity-name {a}-g", "consumer.heartbeat.interval.ms=6000")
    entity(c, "configs.ip", "--entity-type ips --entity-name 127.8.8.8", "connection_creation_rate=50")
    c.t("client-metrics", f"--alter --name {a}-m --metrics org.apache.kafka. --interval 30000")
    c.t("client-metrics", f"--describe --name {a}-m")
    c.has("client-metrics.alter-describe", "interval.ms=30000", "metrics=org.apache.kafka.")
    c.t("client-metrics", "--list")
    c.has("client-metrics.list", f"{a}-m")
    c.t("client-metrics", f"--delete --name {a}-m")
    c.t("client-metrics", "--list")
    c.lacks("client-metrics.delete", f"{a}-m|Exception")
    if c.suite.kind == "dohle":
        scripts_configs(c, a)


def scripts_configs(c, name):
    """scripts/kafka-configs.sh prints what Kafka's tool prints: what it changed by turns with it, and all settings."""
    topic, broker = f"--topic {name}", f"--broker {c.broker_id()}"
    for what, args in {
        "alter": f"--alter {topic} --add-config segment.ms=99000,cleanup.policy=[compact,delete]",
        "describe": f"--describe {topic}",
        "describe-all": f"--describe {topic} --all",
        "describe-broker": f"--describe {broker} --all",
        "describe-defaults": "--describe --broker-defaults",
        "delete": f"--alter {topic} --delete-config segment.ms",
        "none": f"--describe --topic {name}-none",
        "loggers": f"--describe --broker-logger {c.broker_id()}",
    }.items():
        wanted = c.t("configs", args)
        argv = [SCRIPTS / "kafka-configs.sh", "--bootstrap-server", c.suite.broker.address, *args.split()]
        result = call(argv, 60, env={"DOHLE": str(c.suite.options.binary)})
        c.same(f"configs.script/{what}", wanted.strip(), result.output.decode().strip())


def entity(c, name, which, settings):
    """Sets, describes, removes."""
    c.t("configs", f"--alter {which} --add-config {settings}")
    c.t("configs", f"--describe {which}")
    c.has(name, *settings.split(","))
    c.t("configs", f"--alter {which} --delete-config {','.join(s.split('=')[0] for s in settings.split(','))}")


@section("acls.")
def acls(c):
    a = fresh("ct-acls")
    c.t("acls", f"--add --allow-principal User:alice --operation Read --operation Write --topic {a}-acl")
    c.has("acls.add", "principal=User:alice.*operation=READ", "operation=WRITE")
    c.t("acls", f"--list --topic {a}-acl")
    c.has("acls.list", f"name={a}-acl, patternType=LITERAL", "principal=User:alice.*WRITE.*ALLOW")
    c.t("acls", f"--add --deny-principal User:bob --deny-host 10.0.0.1 --operation All --topic {a} "
                "--resource-pattern-type prefixed")
    c.has("acls.add-prefixed-deny", "patternType=PREFIXED",
          "User:bob, host=10.0.0.1, operation=ALL, permissionType=DENY")
    c.t("acls", f"--add --allow-principal User:carol --consumer --group {a}-grp --topic {a}-acl")
    c.t("acls", f"--list --group {a}-grp")
    c.has("acls.consumer-shorthand", "User:carol.*READ")
    c.t("acls", f"--list --topic {a}-acl --resource-pattern-type match")
    c.has("acls.list-match", "PREFIXED", "LITERAL")
    for what in (f"--topic {a}-acl", f"--topic {a} --resource-pattern-type prefixed", f"--group {a}-grp"):
        c.t("acls", f"--remove --force {what}")
    c.t("acls", f"--list --topic {a}-acl --resource-pattern-type match")
    c.lacks("acls.remove", "User:(alice|bob|carol)|Exception")


@section("get-offsets.", "delete-records", "log-dirs", "replica-verification", "dump-log")
def offsets(c):
    a = fresh("ct-offsets")
    c.topic(a, 2)
    c.feed(a, 30)

    def total():
        return sum(int(line.split(":")[2]) for line in c.lines(f"^{a}:"))
    c.t("get-offsets", f"--topic {a} --time -1")
    c.same("get-offsets.latest", 30, total())
    c.t("get-offsets", f"--topic {a} --time -2")
    c.same("get-offsets.earliest", (0, 2), (total(), len(c.lines(f"^{a}:"))))
    c.t("get-offsets", f"--topic {a} --time max-timestamp")
    c.has("get-offsets.max-timestamp", f"^{a}:[01]:[0-9]+$")
    c.t("get-offsets", f"--topic {a} --time 0")
    c.has("get-offsets.by-time", f"^{a}:[01]:0$")
    dump(c, a)
    c.t("log-dirs", f"--describe --topic-list {a}")
    c.has("log-dirs", f'"partition":"{a}-[01]","size":[1-9]', '"logDir"', '"error":null')
    c.t("replica-verification", f"--topics-include {a} --max-wait-ms 1000", limit=25)
    c.has("replica-verification", "max lag is 0|verification process is started")
    one = f"{a}-one"
    c.topic(one)
    c.feed(one, 10)
    plan = c.suite.work / "delete-records.json"
    plan.write_text(json.dumps({"partitions": [{"topic": one, "partition": 0, "offset": 5}], "version": 1}))
    c.t("delete-records", "--offset-json-file", str(plan))
    c.has("delete-records", f"partition: {one}-0.*low_watermark: 5")
    c.t("get-offsets", f"--topic-partitions {one}:0 --time -2")
    c.has("delete-records.earliest-moved", f"^{one}:0:5$")


def dump(c, topic):
    """The log of the partition with the records, as kafka-dump-log reads it."""
    logs = [c.suite.broker.data / f"{topic}-{p}" / "00000000000000000000.log" for p in (0, 1)]
    full = [str(f) for f in logs if f.exists() and f.stat().st_size]
    c.t("dump-log", "--files", ",".join(full), "--print-data-log")
    c.has("dump-log", "isvalid: true", "payload: v[0-9]+", "starting offset: 0")


@section("producer-perf.transactional", "transactions.", "console.read-committed")
def transactions(c):
    a = fresh("ct-txn")
    c.topic(a)
    c.t("producer-perf", f"--topic {a} --num-records 500 --record-size 100 --throughput -1 "
                         f"--transactional-id {a}-id --transaction-duration-ms 200", limit=90)
    c.has("producer-perf.transactional", "500 records sent.*99.9th")
    c.t("transactions", "list")
    c.has("transactions.list", f"{a}-id")
    c.t("transactions", f"describe --transactional-id {a}-id")
    c.has("transactions.describe", f"{a}-id.*Complete(Commit|Abort)")
    c.t("transactions", f"describe-producers --topic {a} --partition 0")
    c.has("transactions.describe-producers", r"^[0-9]+\s+[0-9]+\s+[0-9-]+")
    c.t("transactions", f"find-hanging --broker-id {c.broker_id()}")
    c.same("transactions.none-hanging", (0, []), (c.status, c.lines(a)))
    c.t("transactions", f"forceTerminateTransaction --transactionalId {a}-id", limit=90)
    c.same("transactions.force-terminate", 0, c.status)
    c.consume(a, 500, "--from-beginning", "--isolation-level", "read_committed", limit_ms=10000)
    c.has("console.read-committed", "Processed a total of 500 messages")


@section("features.", "metadata-quorum.", "cluster.", "broker-api-versions", "delegation-tokens.")
def cluster(c):
    c.t("features", "describe")
    c.has("features.describe", "metadata.version.*FinalizedVersionLevel: [0-9]", "group.version.*FinalizedVersionLevel: 1",
          "transaction.version.*FinalizedVersionLevel: 2", "share.version.*FinalizedVersionLevel: 1")
    c.t("features", "upgrade --dry-run --feature group.version=1")
    c.record("features.upgrade-dry-run", c.status == 0 or re.search("would|can not|already", c.output, re.I), c.output)
    c.t("metadata-quorum", "describe --status")
    c.has("metadata-quorum.status", "ClusterId:", "LeaderId: +[0-9]+", "HighWatermark: +[1-9]", "CurrentVoters:")
    c.t("metadata-quorum", "describe --replication")
    c.has("metadata-quorum.replication", "[0-9]+ .*Leader")
    c.t("cluster", "cluster-id")
    c.has("cluster.cluster-id", "Cluster ID: .{5,}")
    c.t("cluster", "list-endpoints")
    c.has("cluster.list-endpoints", "127.0.0.1|localhost", "broker")
    c.t("broker-api-versions")
    c.has("broker-api-versions", r"Produce\(0\): [0-9]+ to [0-9]+ \[usable: [0-9]+\]", r"Fetch\(1\)",
          r"ConsumerGroupHeartbeat\(68\)", r"ShareFetch\(78\)", r"ApiVersions\(18\)")
    optional = "GetTelemetrySubscriptions|PushTelemetry|AssignReplicasToDirs|UNKNOWN"
    c.same("broker-api-versions.none-unsupported", [],
           [line for line in c.lines("UNSUPPORTED|Exception") if not re.search(optional, line)])
    c.t("delegation-tokens", "--describe --command-config /dev/null")
    c.has("delegation-tokens.refused", "UnsupportedByAuthentication|DelegationTokenDisabled|not allowed|disabled")


@section("leader-election.", "reassign.")
def placement(c):
    a, broker = fresh("ct-place"), c.broker_id()
    c.topic(a)
    c.t("leader-election", "--election-type preferred --all-topic-partitions")
    c.same("leader-election.all", 0, c.status)
    c.t("leader-election", f"--election-type preferred --topic {a} --partition 0")
    c.has("leader-election.one", "Valid replica already elected|Successfully completed")
    topics_file, plan = c.suite.work / "topics.json", c.suite.work / "reassign.json"
    topics_file.write_text(json.dumps({"topics": [{"topic": a}], "version": 1}))
    c.t("reassign-partitions", f"--generate --topics-to-move-json-file {topics_file} --broker-list {broker}")
    c.has("reassign.generate", "Proposed partition reassignment configuration", rf'"replicas":\[{broker}\]')
    plan.write_text(json.dumps({"version": 1, "partitions": [{"topic": a, "partition": 0, "replicas": [int(broker)]}]}))
    c.t("reassign-partitions", f"--execute --reassignment-json-file {plan}")
    c.has("reassign.execute", "Successfully started partition reassignment")
    c.t("reassign-partitions", f"--verify --reassignment-json-file {plan}")
    c.has("reassign.verify", f"Reassignment of partition {a}-0 is completed")
    c.t("reassign-partitions", "--list")
    c.has("reassign.list", "No partition reassignments found")


@section("producer-perf", "consumer-perf", "e2e-latency", "verifiable-")
def perf(c):
    a, verified = fresh("ct-perf"), fresh("ct-verified")
    c.topic(a, 3)
    c.t("producer-perf", f"--topic {a} --num-records 20000 --record-size 200 --throughput -1 --command-property acks=all")
    c.has("producer-perf", "20000 records sent, [0-9.]+ records/sec")
    c.t("consumer-perf", f"--topic {a} --num-records 20000 --timeout 30000")
    c.has("consumer-perf", ", 20000, ")
    c.topic(f"{a}-e2e")
    c.t("e2e-latency", f"--topic {a}-e2e --num-records 300 --producer-acks all --record-size 100")
    c.has("e2e-latency", "Avg latency: [0-9.]+ ms", "Percentiles: 50th = [0-9]+")
    c.topic(verified)
    c.t("verifiable-producer", f"--topic {verified} --max-messages 300")
    c.has("verifiable-producer", '"acked":300')
    c.same("verifiable-producer.each-acked", 300, len(c.lines("producer_send_success")))
    c.t("verifiable-consumer", f"--topic {verified} --group-id {verified}-g --max-messages 300 --reset-policy earliest")
    c.has("verifiable-consumer", '"name":"offsets_committed"', '"name":"partitions_assigned"')
    counts = re.findall(r'"name":"records_consumed","count":(\d+)', c.output)
    c.same("verifiable-consumer.all-read", 300, sum(map(int, counts)))
    c.t("verifiable-consumer", f"--topic {verified} --group-id {verified}-g2 --group-protocol consumer "
                               "--max-messages 300 --reset-policy earliest", limit=30)
    c.has("verifiable-consumer.kip848", '"name":"offsets_committed"')


@section("console-share-consumer", "share-groups.", "share-consumer-perf", "streams-groups.")
def share(c):
    a, group = fresh("ct-share"), fresh("ct-share-group")
    c.t("streams-groups", "--list")
    c.same("streams-groups.list", 0, c.status)
    c.topic(a)
    c.t("configs", f"--alter --entity-type groups --entity-name {group} --add-config share.auto.offset.reset=earliest")
    c.feed(a, 25)

    def read():
        c.t("console-share-consumer", f"--topic {a} --group {group} --max-messages 25 --timeout-ms 40000", limit=60)
        return c.lines("^v[0-9]+$")
    c.same("console-share-consumer", [f"v{i}" for i in range(1, 26)], read())
    if c.output.find("UnsupportedVersion") >= 0:
        return  # each of the tools below would wait for a group that cannot be
    c.t("share-groups", "--list")
    c.has("share-groups.list", f"^{group}")
    c.t("share-groups", f"--describe --group {group}")
    c.has("share-groups.describe", f"{group} +{a} +0 ")
    c.t("share-groups", f"--describe --state --group {group}")
    c.has("share-groups.state", f"{group} .*Empty")
    c.t("share-groups", f"--reset-offsets --group {group} --topic {a} --to-earliest --execute")
    c.has("share-groups.reset-offsets", f"{group} +{a} +0 +0")
    c.same("share-groups.reset-gives-all-again", 25, len(read()))
    c.t("share-groups", f"--delete-offsets --group {group} --topic {a}")
    c.has("share-groups.delete-offsets", "Successful")
    c.t("share-groups", f"--delete --group {group}")
    c.has("share-groups.delete", "was successful")
    c.t("share-consumer-perf", f"--topic {a} --group {group}-perf --num-records 1 --timeout 1000")
    c.same("share-consumer-perf.runs", 0, c.status)
