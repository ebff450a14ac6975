"""kcat, Kafka's console tools and Dohle's own scripts hand records to each other, each to each.

Against Dohle also with scripts/kafka-console-*.sh, which need no JVM.
"""
import pathlib

from harness.kcat import Kcat, fresh
from harness.process import call

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"
# What Kafka 4.3's console consumer says on its standard output before the first record.
NOTICE = ("The consumer rebalance protocol (KIP-848) is production-ready! Set group.protocol=consumer to try it out. "
          "See https://kafka.apache.org/documentation/#consumer_rebalance_protocol\n")
RECORDS = [f"key{i}:value {i} ä€😀" for i in range(100)] + ["empty:", f"long:{'x' * 20000}"]


def run(suite):
    ends = Ends(suite)
    for source, produce in ends.producers().items():
        for sink, consume in ends.consumers().items():
            suite.case(f"{source}-to-{sink}", lambda p=produce, c=consume: exchange(p, c))


def exchange(produce, consume):
    topic = fresh("exchange")
    produce(topic, "".join(f"{r}\n" for r in RECORDS))
    got = consume(topic)
    wanted = "\n".join(RECORDS)
    assert got.strip("\n") == wanted, f"{len(got)} characters instead of {len(wanted)}: {got[:200]!r}"


class Ends:
    """The producers take a topic and lines 'key:value'; the consumers return such lines."""

    def __init__(self, suite):
        self.suite = suite
        self.kcat = Kcat(suite.broker.address, suite.logs / "kcat.log")

    def producers(self):
        flags = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"]
        return self.ends("producer", lambda topic, text: self.kcat("-P", "-t", topic, "-K:", stdin=text.encode()),
                         lambda tool, topic, text: tool(["--topic", topic, *flags], text))

    def consumers(self):
        flags = ["--from-beginning", "--max-messages", str(len(RECORDS)), "--timeout-ms", "30000",
                 "--formatter-property", "print.key=true", "--formatter-property", "key.separator=:"]
        return self.ends("consumer", lambda topic: self.kcat("-C", "-t", topic, "-o", "beginning", "-e", "-q", "-K:").decode(),
                         lambda tool, topic: tool(["--topic", topic, *flags], ""))

    def ends(self, role, by_kcat, by_tool):
        found = {"kcat": by_kcat, "kafka-tool": lambda *a: by_tool(lambda args, text: self.kafka(role, args, text), *a)}
        if self.suite.kind == "dohle":
            found["script"] = lambda *a: by_tool(lambda args, text: self.script(role, args, text), *a)
        return found

    def kafka(self, role, args, text):
        status, output = self.suite.tools(f"console-{role}", *args, stdin=text, merge=False)
        assert status == 0, f"console-{role}: exit {status}: {output[-300:]}"
        return output.removeprefix(NOTICE)

    def script(self, role, args, text):
        """A script of Dohle's; it runs the binary under test."""
        argv = [SCRIPTS / f"kafka-console-{role}.sh", "--bootstrap-server", self.suite.broker.address, *args]
        result = call(argv, 60, stdin=text.encode(), env={"DOHLE": str(self.suite.options.binary)})
        errors = result.errors.decode("utf-8", "replace")[-300:]
        assert result.status == 0, f"kafka-console-{role}.sh: exit {result.status}: {errors}"
        return result.output.decode()
