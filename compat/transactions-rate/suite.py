"""Transactions a second, and the broker's CPU for each, with 1, 10 and 100 partitions in a transaction: Dohle and Apache
Kafka 4.3.0 side by side, in rounds that take turns, under one Java client. The table is what it is for; it fails only when
a transaction does. With --broker kafka Kafka alone, with --full longer rounds and more of them.
"""
import statistics
from collections import defaultdict

from harness import broker, kafka
from harness.process import Child
from harness.report import PASS

BROKER = False
LIMIT = 1800
SECONDS, ROUNDS = {False: 3, True: 10}, {False: 3, True: 7}
PRODUCERS, PARTITIONS = (1, 8), (1, 10, 100)
HEAD = ("producers", "partitions", "broker", "transactions/s", "broker CPU ms each", "commit p50 ms", "commit p99 ms")


def run(suite):
    kinds = {"dohle": broker.Dohle, "kafka": broker.PlainKafka}
    if suite.kind == "kafka":
        del kinds["dohle"]
    brokers = []
    for name, kind in kinds.items():
        made = kind(suite.work / name, suite.settings)
        suite.brokers.append(made)
        made.start()
        brokers.append(f"{name}={made.address}={made.process.pid}")
    argv = [*kafka.java(kafka.home(), ["-Xmx512m"]), suite.folder / "TransactionsRate.java", str(SECONDS[suite.full]),
            str(ROUNDS[suite.full]), ",".join(map(str, PRODUCERS)), ",".join(map(str, PARTITIONS)), *brokers]
    with open(suite.logs / "client.log", "ab") as log:
        client = Child(argv, errors=log)
        watch = suite.at_deadline(client.kill)
        try:
            client.process.wait()
            client.reader.join()
        finally:
            watch.cancel()
            client.kill()
    rounds = defaultdict(list)
    for line in client.lines:
        producers, partitions, name, *figures = line.split()
        rounds[int(producers), int(partitions), name].append([float(figure) for figure in figures])
    table(rounds)
    for producers in PRODUCERS:
        for partitions in PARTITIONS:
            done = {name: rounds[producers, partitions, name] for name in kinds}
            if all(len(each) == ROUNDS[suite.full] for each in done.values()):
                suite.report.record(f"{producers}-producers-{partitions}-partitions", PASS)


def medians(rounds):
    """Of the rounds: transactions a second, CPU ms a transaction, commit p50 and p99 in ms."""
    each = [(count / seconds, cpu / count, p50 / 1000, p99 / 1000) for count, seconds, cpu, p50, p99 in rounds]
    return [statistics.median(column) for column in zip(*each)]


def table(rounds):
    rows = [HEAD]
    for (producers, partitions, name), measured in rounds.items():
        rows.append((str(producers), str(partitions), name, *(f"{figure:.3f}" for figure in medians(measured))))
        ours = rounds.get((producers, partitions, "dohle"))
        if name == "kafka" and ours:
            ratios = (a / b for a, b in zip(medians(ours), medians(measured)))
            rows.append(("", "", "dohle : kafka", *(f"{ratio:.2f}" for ratio in ratios)))
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths)), flush=True)
