"""Apache Kafka 4.3.0 from its released jars: the reference broker's classes and its command-line tools."""
import os
import pathlib
import subprocess

from . import cache
from .process import Child, call, must

POM = pathlib.Path(__file__).parent.parent / "pom.xml"
HEAP = os.environ.get("KAFKA_HEAP", "512m")
TOOLS = {
    "acls": "org.apache.kafka.tools.AclCommand",
    "broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "client-metrics": "org.apache.kafka.tools.ClientMetricsCommand",
    "cluster": "org.apache.kafka.tools.ClusterTool",
    "configs": "kafka.admin.ConfigCommand",
    "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "console-share-consumer": "org.apache.kafka.tools.consumer.ConsoleShareConsumer",
    "consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "consumer-perf": "org.apache.kafka.tools.ConsumerPerformance",
    "delegation-tokens": "org.apache.kafka.tools.DelegationTokenCommand",
    "delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "dump-log": "org.apache.kafka.tools.DumpLogSegments",
    "e2e-latency": "org.apache.kafka.tools.EndToEndLatency",
    "features": "org.apache.kafka.tools.FeatureCommand",
    "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "groups": "org.apache.kafka.tools.GroupsCommand",
    "leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
    "log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
    "producer-perf": "org.apache.kafka.tools.ProducerPerformance",
    "reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "replica-verification": "org.apache.kafka.tools.ReplicaVerificationTool",
    "share-consumer-perf": "org.apache.kafka.tools.ShareConsumerPerformance",
    "share-groups": "org.apache.kafka.tools.consumer.group.ShareGroupCommand",
    "storage": "kafka.tools.StorageTool",
    "streams-groups": "org.apache.kafka.tools.streams.StreamsGroupCommand",
    "topics": "org.apache.kafka.tools.TopicCommand",
    "transactions": "org.apache.kafka.tools.TransactionsCommand",
    "verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
    "verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
}
LOG4J = """status = error
appender.console.type = Console
appender.console.name = C
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = ${sys:kafka.level:-WARN}
rootLogger.appenderRef.c.ref = C
"""
# Tools live for a second or two: no time for the second compiler, and classes from an archive of the first run.
SHORT_LIVED = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m"]


def _install(folder):
    must(["mvn", "-q", "-B", "-f", POM, "dependency:copy-dependencies", f"-DoutputDirectory={folder}/libs"])
    (folder / "log4j2.properties").write_text(LOG4J)
    # Class data of the tools: with it a tool starts in half the time. The run ends with the usage text: status 1.
    call([*java(folder, SHORT_LIVED), f"-XX:ArchiveClassesAtExit={folder}/tools.jsa", TOOLS["topics"],
          "--bootstrap-server", "127.0.0.1:1", "--list", "--command-config", "/dev/null"], 120)


def home():
    return cache.once("kafka-4.3.0", POM.read_text(), _install)


def java(folder, options, level="WARN"):
    jars = ":".join(sorted(str(p) for p in (folder / "libs").glob("*.jar")))
    return ["java", *options, f"-Dlog4j2.configurationFile={folder}/log4j2.properties", f"-Dkafka.level={level}",
            "-cp", jars]


def command(tool, heap=None):
    """The command line that runs a tool; long-running loads (`heap` given) get a whole compiler."""
    folder = home()
    options = [f"-Xmx{heap}"] if heap else SHORT_LIVED + [f"-XX:SharedArchiveFile={folder}/tools.jsa", "-Xshare:auto"]
    return [*java(folder, options), TOOLS[tool]]


def broker_command(properties):
    options = [f"-Xmx{HEAP}", f"-Xms{HEAP}", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
               "-XX:InitiatingHeapOccupancyPercent=35"]
    return [*java(home(), options, "INFO"), "kafka.Kafka", str(properties)]


class Tools:
    """Kafka's tools pointed at one broker."""

    def __init__(self, address, log):
        self.address, self.log = address, log

    def arguments(self, tool, args):
        bootstrap = "--broker-list" if tool == "replica-verification" else "--bootstrap-server"
        if tool in ("dump-log", "storage"):
            return list(args)
        if tool == "cluster":  # takes it after the sub-command, the others before
            return [*args, bootstrap, self.address]
        return [bootstrap, self.address, *args]

    def __call__(self, tool, *args, stdin="", limit=90, heap=None, merge=True):
        """Runs the tool; (exit status or None, output and errors as one text; with merge=False the output alone)."""
        argv = [*command(tool, heap), *self.arguments(tool, args)]
        result = call(argv, limit, stdin=stdin.encode(), merge=merge)
        text = result.output.decode("utf-8", "replace")
        with open(self.log, "a") as log:
            log.write(f"$ {tool} {' '.join(map(str, args))}\nexit {result.status}\n{text[:4000]}\n")
        return result.status, text

    def start(self, tool, *args):
        """The tool as a process beside the test; its errors go to the log."""
        with open(self.log, "a") as log:
            return Child([*command(tool), *self.arguments(tool, args)], stdin=subprocess.DEVNULL, errors=log)
