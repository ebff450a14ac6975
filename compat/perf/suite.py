"""kafka-producer-perf-test with its default settings (idempotent, acks=all), kafka-consumer-perf-test reads all of it.

Records of 1 KB: 50,000 a codec, 2,000,000 with --full. The figures are printed beside the test's name.
"""
import re
import time

from harness.kcat import fresh
from harness.report import FAIL, PASS

LIMIT = 3000
RECORDS = {False: 50_000, True: 2_000_000}
CODECS = ("none", "lz4", "zstd", "snappy", "gzip")
HEAP = "768m"


def run(suite):
    for codec in CODECS:
        names = [f"producer-perf-{codec}", f"consumer-perf-{codec}"]
        if suite.wanted(names):
            measure(suite, codec, *names)


def measure(suite, codec, produce_name, consume_name):
    """One topic a codec; it is deleted again, so that the long form does not fill the disk."""
    count, topic = RECORDS[suite.full], fresh(f"perf-{codec}")
    suite.tools("topics", "--create", "--topic", topic, "--partitions", "3", "--replication-factor", "1")
    limit = suite.limit(produce_name, 900)

    begin = time.monotonic()
    status, output = suite.tools("producer-perf", "--topic", topic, "--num-records", str(count), "--record-size", "1000",
                                 "--throughput", "-1", "--command-property", f"compression.type={codec}", limit=limit, heap=HEAP)
    sent = re.findall(rf"^{count} records sent, .*", output, re.M)
    ok = status == 0 and sent and not re.search("Exception|ERROR", output)
    suite.report.record(produce_name, PASS if ok else FAIL, sent[-1] if ok else output[-300:], time.monotonic() - begin)

    begin = time.monotonic()
    status, output = suite.tools("consumer-perf", "--topic", topic, "--num-records", str(count), "--timeout", "30000",
                                 limit=limit, heap=HEAP)
    rows = [re.split(", *", line) for line in output.splitlines() if line.count(",") >= 9]
    read = [row for row in rows if row[4] == str(count)]
    why = f"{read[-1][3]} MB/s, {read[-1][5]} records/s" if read else f"wanted {count} records: {output[-300:]}"
    suite.report.record(consume_name, PASS if status == 0 and read else FAIL, why, time.monotonic() - begin)
    suite.tools("topics", "--delete", "--topic", topic)
