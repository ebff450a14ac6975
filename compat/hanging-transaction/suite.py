"""A transaction that hangs: a record that came after its transaction's end, where nobody verified it (KAFKA-14402). Kafka's
tool and `dohle transactions` find it, print the same and end it; then readers get on.
"""
from harness import kafka
from harness.kcat import Kcat, fresh
from harness.process import call, must

SETTINGS = {"transaction.partition.verification.enable": "false", "transaction.state.log.num.partitions": "3"}
LIMIT = 600
HANGING = ("Topic", "Partition", "ProducerId", "ProducerEpoch", "CoordinatorEpoch", "StartOffset", "LastTimestamp", "Duration(min)")


def run(suite):
    suite.case("kafka-transactions-finds-and-aborts", lambda: scenario(suite, lambda *args: kafkas(suite, *args)), tries=1)
    if suite.kind == "dohle":
        suite.case("dohle-transactions-finds-and-aborts", lambda: scenario(suite, lambda *args: ours(suite, *args)), tries=1)


def kafkas(suite, *args):
    status, output = suite.tools("transactions", *args, merge=False)
    return status, output


def ours(suite, *args):
    result = call([suite.options.binary, "transactions", "--bootstrap-server", suite.broker.address, *args], 60, merge=True)
    return result.status, result.output.decode()


def scenario(suite, tool):
    """`tool` runs the tool under test: (status, output)."""
    topic, kcat = fresh("hanging"), Kcat(suite.broker.address, suite.logs / "kcat.log")
    _, output = suite.tools("topics", "--create", "--topic", topic, "--partitions", "1", "--replication-factor", "1")
    assert "Created topic" in output, output
    argv = [*kafka.java(kafka.home(), kafka.SHORT_LIVED), suite.folder / "Hanging.java", suite.broker.address, f"{topic}-id", topic]
    producer, start = must(argv, 120).split()
    kcat.produce(topic, ["after it"])

    def read():
        return [record["payload"] for record in kcat.consume(topic, "-X", "isolation.level=read_committed")]

    def hanging(*args):
        """The rows of find-hanging, which Kafka's tool finds too."""
        found = [(status, rows(output)) for status, output in (tool("find-hanging", *args), kafkas(suite, "find-hanging", *args))]
        assert found[0] == found[1], f"{found[0]}; Kafka's tool: {found[1]}"
        status, (head, *lines) = found[0]
        assert status == 0 and tuple(head) == HANGING, f"{status}: {head}"
        return lines

    assert read() == ["in time"], f"read before the abort: {read()}"
    for scope in (("--topic", topic), ("--topic", topic, "--partition", "0"), ("--broker-id", "1")):
        found = [row for row in hanging(*scope) if row[0] == topic]
        assert [row[:4] + row[5:6] for row in found] == [[topic, "0", producer, "0", start]], f"{scope}: {found}"
        assert 20 <= int(found[0][7]) <= 30, f"open for {found[0][7]} minutes"
    young = hanging("--topic", topic, "--max-transaction-timeout", "60")
    assert young == [], f"not open for an hour: {young}"

    status, output = tool("abort", "--topic", topic, "--partition", "0", "--start-offset", str(int(start) + 1))
    assert status != 0, f"nothing begins there: {output}"
    status, output = tool("abort", "--topic", topic, "--partition", "0", "--start-offset", start)
    assert status == 0, output
    assert hanging("--topic", topic) == [], "it hangs no more"
    assert read() == ["in time", "after it"], f"read after the abort: {read()}"
    status, output = tool("abort", "--topic", topic, "--partition", "0", "--start-offset", start)
    assert status != 0, f"it was aborted already: {output}"


def rows(output):
    return [line.split() for line in output.splitlines() if line.strip() and "SLF4J" not in line]
