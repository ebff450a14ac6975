"""kafka-dump-log 4.3.0 over every file that a broker left behind: after a load of its own, and after the suites run before.

The broker is stopped first. A file that the tool complains about fails the test that reads its kind.
"""
import re

from harness.kafka import Tools
from harness.kcat import Kcat, fresh
from harness.report import FAIL, PASS

LIMIT = 900
SETTINGS = {"log.segment.bytes": "1048576", "log.index.interval.bytes": "512", "num.partitions": "2"}
# Of an internal topic, of the metadata log, of any other: which files are meant, and the flags to read them with.
OFFSETS, METADATA = "__consumer_offsets-", "__cluster_metadata-"
KINDS = {
    "log-deep-iteration": ("*/*.log", ["--deep-iteration"]),
    "offsets-decoder": (f"{OFFSETS}*/*.log", ["--deep-iteration", "--offsets-decoder"]),
    "cluster-metadata-decoder": (f"{METADATA}*/*.log", ["--deep-iteration", "--cluster-metadata-decoder"]),
    "cluster-metadata-snapshots": (f"{METADATA}*/*.checkpoint", ["--cluster-metadata-decoder"]),
    "index-entries": ("*/*.index", []),
    "index-sanity-check": ("*/*.index", ["--index-sanity-check"]),
    "index-verify-only": ("*/*.index", ["--verify-index-only"]),
    "time-index-verify-only": ("*/*.timeindex", ["--verify-index-only"]),
    "time-index-sanity-check": ("*/*.timeindex", ["--index-sanity-check"]),
    "transaction-index": ("*/*.txnindex", []),
    "producer-snapshots": ("*/*.snapshot", []),
}
COMPLAINT = re.compile(r"Exception|isvalid: false|Could not|[Mm]ismatch|non-consecutive|out of order|failed sanity|corrupt|Error")
ARGUMENT = 100_000  # characters that one --files may have


def run(suite):
    load(suite)
    suite.broker.stop()
    folders = [("dump-log", suite.broker.data), *suite.data_directories]
    tools = Tools("", suite.logs / "dump-log.log")
    for name, (pattern, flags) in KINDS.items():
        if not suite.wanted([name]):
            continue
        files, complaints = 0, []
        for origin, folder in folders:
            found = [f for f in sorted(folder.glob(pattern)) if f.stat().st_size and not f.parent.name.endswith("-delete")]
            files += len(found)
            complaints += [f"{origin}: {line}" for line in dump(tools, found, flags)]
        suite.report.record(name, FAIL if complaints else PASS, complaints[0] if complaints else f"{files} files of {len(folders)} brokers")


def load(suite):
    """Several segments, all codecs, headers, a group with offsets, a deleted topic."""
    kcat, topic = Kcat(suite.broker.address, suite.logs / "kcat.log"), fresh("dump")
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        lines = [f"key{i}:{codec} {i} {'abcdefgh' * 60}" for i in range(4000)]
        kcat.produce(topic, lines, "-K:", "-z", codec, "-H", "codec=" + codec, "-X", "enable.idempotence=true")
    kcat.group(fresh("dump-group"), topic)
    kcat.produce(f"{topic}-deleted", ["x"])
    suite.tools("topics", "--delete", "--topic", f"{topic}-deleted")


def dump(tools, files, flags):
    """The lines of the tool's output that complain, each after the file that it is about."""
    complaints = []
    for some in chunks([str(f) for f in files]):
        status, output = tools("dump-log", "--files", ",".join(some), *flags, limit=300)
        about = ""
        for line in output.splitlines():
            if line.startswith("Dumping "):
                about = line.removeprefix("Dumping ")
            elif COMPLAINT.search(line) and "payload:" not in line:
                complaints.append(f"{about}: {line}")
        if status != 0:
            complaints.append(f"{about}: exit {status}: {output[-200:]}")
    return complaints


def chunks(names):
    some = []
    for name in names:
        if sum(len(n) + 1 for n in some) + len(name) > ARGUMENT:
            yield some
            some = []
        some.append(name)
    if some:
        yield some
