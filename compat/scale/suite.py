"""Many partitions: the time to create them, what an empty one costs, a restart after a stop and after kill -9, open files.

2,000 partitions; with --full 20,000 in topics of 100 and of 1,000 (Kafka: 5,000). The figures are printed with each test.
"""
import pathlib
import resource
import time

from harness.report import FAIL, PASS
from harness.wire import Client, batch

BROKER = False
LIMIT = 1800
PARTITIONS = {"dohle": {False: 2_000, True: 20_000}, "kafka": {False: 2_000, True: 5_000}}
EMPTY_KB = 4         # memory of a partition that nothing was ever written to
# Segments are a quarter of the files that a process may have open, with up to three each; and what else a broker has open.
OPEN_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 4 * 3 + 500
IDLE_SECONDS = 10


def run(suite):
    broker = suite.new_broker(settings={"broker.session.timeout.ms": "60000"})
    broker.start_limit = 300
    broker.start()
    topics = layout(PARTITIONS[suite.kind][suite.full])
    count = sum(partitions for _, partitions in topics)
    time.sleep(2)
    base = broker.resident_bytes()
    suite.case("created", lambda: create(broker, topics), tries=1)
    took = figures(broker, topics, base, count)
    report(suite, "an-empty-partition-is-cheap", took, took["kb"] <= EMPTY_KB or suite.kind == "kafka")
    for name, end in (("restarted-after-a-stop", broker.stop), ("restarted-after-kill-9", broker.kill)):
        restarted(suite, broker, topics, name, end, 0)
    suite.case("written-to", lambda: write(broker, topics), tries=1)
    took = figures(broker, topics, base, count)
    report(suite, "open-files-are-bounded", took, took["files"] <= OPEN_FILES or suite.kind == "kafka")
    for name, end in (("full-restarted-after-a-stop", broker.stop), ("full-restarted-after-kill-9", broker.kill)):
        restarted(suite, broker, topics, name, end, 1)


def report(suite, name, took, passed):
    suite.report.record(name, PASS if passed else FAIL, ", ".join(f"{key} {value:.4g}" for key, value in took.items()))


def layout(count):
    """Half of the partitions in topics of 1,000, half in topics of 100."""
    large, small = count // 2 // 1000, count // 2 // 100
    return [(f"large-{n}", 1000) for n in range(large)] + [(f"small-{n}", 100) for n in range(small)]


def create(broker, topics):
    client, begin, slowest = Client(broker.port), time.monotonic(), 0.0
    for topic, partitions in topics:
        one = time.monotonic()
        error = client.create(topic, partitions)
        assert error == 0, f"{topic}: error {error}"
        slowest = max(slowest, time.monotonic() - one)
    client.wait_for(topics)
    print(f"created in {time.monotonic() - begin:.2f} s, slowest topic {slowest:.2f} s", flush=True)


def write(broker, topics):
    client, begin = Client(broker.port), time.monotonic()
    for topic, partitions in topics:
        errors = set(client.produce(topic, partitions, batch([b"v"])))
        assert errors == {0}, f"{topic}: errors {errors}"
    print(f"one record to each partition in {time.monotonic() - begin:.2f} s", flush=True)


def figures(broker, topics, base, count):
    """What the broker needs while it is left alone, and how soon it tells of everything."""
    client, best = Client(broker.port), 1e9
    for _ in range(5):
        begin = time.monotonic()
        size = client.metadata_of_all()
        best = min(best, time.monotonic() - begin)
    client.close()
    cpu = broker.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    cpu = (broker.cpu_seconds() - cpu) / IDLE_SECONDS
    resident = broker.resident_bytes()
    return {
        "kb": (resident - base) / 1024 / count,
        "MB": resident / 2**20,
        "files": len(list(pathlib.Path(f"/proc/{broker.process.pid}/fd").iterdir())),
        "maps": len(pathlib.Path(f"/proc/{broker.process.pid}/maps").read_text().splitlines()),
        "metadata-ms": 1000 * best,
        "metadata-kb": size / 1024,
        "idle-cpu-%": 100 * cpu,
    }


def restarted(suite, broker, topics, name, end, expected):
    def test():
        begin = time.monotonic()
        assert end() is not False, "the broker does not stop by itself"
        ended = time.monotonic() - begin
        answered = broker.start()
        begin = time.monotonic()
        ends = Client(broker.port).wait_for(topics)
        led = time.monotonic() - begin
        assert all(offset == expected for of_topic in ends.values() for offset in of_topic), "records are missing"
        print(f"ended in {ended:.2f} s, answered after {answered:.2f} s, all led {led:.2f} s later, "
              f"{broker.resident_bytes() / 2**20:.0f} MB", flush=True)

    suite.case(name, test, tries=1)
