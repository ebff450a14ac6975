"""Apache Kafka 4.3.0 from its released jars: the reference broker's classes and its command-line tools."""
import os
import pathlib
import subprocess
import tempfile
import threading

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


def broker_command(properties, more=()):
    options = [*more, f"-Xmx{HEAP}", f"-Xms{HEAP}", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
               "-XX:InitiatingHeapOccupancyPercent=35"]
    return [*java(home(), options, "INFO"), "kafka.Kafka", str(properties)]


class Tools:
    """Kafka's tools pointed at one broker: each call in a JVM of its own, or those without an input in the one given."""

    def __init__(self, address, log, jvm=None):
        self.address, self.log, self.jvm = address, log, jvm

    def arguments(self, tool, args):
        bootstrap = "--broker-list" if tool == "replica-verification" else "--bootstrap-server"
        if tool in ("dump-log", "storage"):
            return list(args)
        if tool == "cluster":  # takes it after the sub-command, the others before
            return [*args, bootstrap, self.address]
        return [bootstrap, self.address, *args]

    def __call__(self, tool, *args, stdin="", limit=90, heap=None, merge=True):
        """Runs the tool; (exit status or None, output and errors as one text; with merge=False the output alone)."""
        if self.jvm and not (stdin or heap):
            status, text = self.jvm.output(tool, *self.arguments(tool, args), limit=limit, merge=merge)
        else:
            result = call([*command(tool, heap), *self.arguments(tool, args)], limit, stdin=stdin.encode(), merge=merge)
            status, text = result.status, result.output.decode("utf-8", "replace")
        with open(self.log, "a") as log:
            log.write(f"$ {tool} {' '.join(map(str, args))}\nexit {status}\n{text[:4000]}\n")
        return status, text

    def start(self, tool, *args):
        """The tool as a process beside the test; its errors go to the log."""
        with open(self.log, "a") as log:
            return Child([*command(tool), *self.arguments(tool, args)], stdin=subprocess.DEVNULL, errors=log)


class Jvm:
    """Kafka's tools in a JVM that stays, for many calls: most of a tool's time is its start. One call at a time.

    Not for what reads its input, nor where the tool's own loggers matter: what they say goes to the log.
    """

    SOURCE = pathlib.Path(__file__).parent / "Tools.java"

    def __init__(self, log, heap="512m"):
        self.heap, self.log, self.child, self.calls, self.lock = heap, log, None, 0, threading.Lock()

    def output(self, tool, *args, limit=90, merge=True):
        """One call: the exit status (None when it took too long), and the output as text, with the errors if they are merged."""
        with tempfile.NamedTemporaryFile() as printed, tempfile.NamedTemporaryFile() as errors:
            try:
                status = self(printed.name, tool, *args, errors="" if merge else errors.name, limit=limit)
            except TimeoutError:
                status = None
            return status, printed.read().decode("utf-8", "replace")

    def __call__(self, printed, tool, *args, errors="", limit=90):
        """The exit status of one call. What it prints goes to the file `printed`, its errors to the file `errors` or the same."""
        with self.lock:
            if self.child is None:
                with open(self.log, "ab") as log:
                    self.child = Child([*java(home(), ["-XX:+UseSerialGC", f"-Xmx{self.heap}"]), self.SOURCE],
                                       stdin=subprocess.PIPE, errors=log)
            words = "\t".join(map(str, (printed, errors, TOOLS[tool], *args)))
            assert "\n" not in words, words
            self.calls += 1
            try:
                self.child.process.stdin.write(words.encode() + b"\n")
                self.child.process.stdin.flush()
                answers = self.child.wait_for(lambda lines: lines[self.calls - 1:], limit, f"{tool} {' '.join(map(str, args))[-300:]}")
            except (AssertionError, OSError) as err:
                self.close()
                raise TimeoutError(str(err)) from err
            return int(answers[0])

    def close(self):
        if self.child:
            self.child.kill()
            self.child, self.calls = None, 0
