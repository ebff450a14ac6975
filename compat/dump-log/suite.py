"""kafka-dump-log 4.3.0 over every file that a broker left behind: after a load of its own, and after the suites run before.

The broker is stopped first. A file that the tool complains about fails the test that reads its kind. `dohle dump-log` has to
print the same (tests `same/...`), and `dohle check` to find no damage.
"""
import re

from harness.kafka import Tools
from harness.kcat import Kcat, fresh
from harness.process import call
from harness.report import FAIL, PASS

LIMIT = 900
SETTINGS = {"log.segment.bytes": "1048576", "log.index.interval.bytes": "512", "num.partitions": "2"}
# Of an internal topic, of the metadata log, of any other: which files are meant, and the flags to read them with.
OFFSETS, METADATA = "__consumer_offsets-", "__cluster_metadata-"
SHARE, TRANSACTIONS = "__share_group_state-", "__transaction_state-"
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
    "share-group-state-decoder": (f"{SHARE}*/*.log", ["--share-group-state-decoder"]),
    "transaction-log-decoder": (f"{TRANSACTIONS}*/*.log", ["--transaction-log-decoder"]),
    "print-data-log": ("*/*.log", ["--print-data-log", "--skip-record-metadata"]),
    "time-index-entries": ("*/*.timeindex", []),
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
        files, complaints, differences = 0, [], []
        for origin, folder in folders:
            found = [f for f in sorted(folder.glob(pattern)) if f.stat().st_size and not f.parent.name.endswith("-delete")]
            files += len(found)
            for some in chunks([str(f) for f in found]):
                status, output = tools("dump-log", "--files", ",".join(some), *flags, limit=300)
                # Printed values may say anything.
                complaints += [f"{origin}: {line}" for line in complained(status, "" if "--print-data-log" in flags else output)]
                if suite.kind == "dohle":
                    differences += [f"{origin}: {line}" for line in differ(suite, some, flags, output)]
        suite.report.record(name, FAIL if complaints else PASS, complaints[0] if complaints else f"{files} files of {len(folders)} brokers")
        if suite.kind == "dohle":
            suite.report.record(f"same/{name}", FAIL if differences else PASS, differences[0] if differences else "")
    if suite.kind == "dohle" and suite.wanted(["check"]):
        damages = [f"{origin}: {line}" for origin, folder in folders for line in check(suite, folder)]
        suite.report.record("check", FAIL if damages else PASS, damages[0] if damages else "")


def load(suite):
    """Several segments, all codecs, headers, a group with offsets, a deleted topic."""
    kcat, topic = Kcat(suite.broker.address, suite.logs / "kcat.log"), fresh("dump")
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        lines = [f"key{i}:{codec} {i} {'abcdefgh' * 60}" for i in range(4000)]
        kcat.produce(topic, lines, "-K:", "-z", codec, "-H", "codec=" + codec, "-X", "enable.idempotence=true")
    kcat.group(fresh("dump-group"), topic)
    kcat.produce(f"{topic}-deleted", ["x"])
    suite.tools("topics", "--delete", "--topic", f"{topic}-deleted")


def complained(status, output):
    """The lines of the tool's output that complain, each after the file that it is about."""
    complaints, about = [], ""
    for line in output.splitlines():
        if line.startswith("Dumping "):
            about = line.removeprefix("Dumping ")
        elif COMPLAINT.search(line) and "payload:" not in line:
            complaints.append(f"{about}: {line}")
    return complaints if status == 0 else [*complaints, f"{about}: exit {status}: {output[-200:]}"]


def differ(suite, files, flags, wanted):
    """The first line in which our own tool's output is another."""
    result = call([suite.options.binary, "dump-log", "--files", ",".join(files), *flags], 300, merge=True)
    # What Kafka's tool says at its end of record offsets that do not follow each other goes through a map there.
    got, wanted = (sorted(readable(text)) if "Non-consecutive" in text else readable(text)
                   for text in (result.output.decode("utf-8", "replace"), wanted))
    if got == wanted:
        return []
    return [f"line {n}: {ours!r} instead of {theirs!r}" for n, (ours, theirs) in enumerate(zip([*got, None], [*wanted, None])) if ours != theirs][:1]


def readable(text):
    """The lines, each up to what is no text: how many replacement characters stand for a value's bytes is each decoder's own."""
    return [line.split("\ufffd")[0] for line in text.split("\n")]


def check(suite, folder):
    """The damages that `dohle check` finds in a log directory. That of a disk that is gone with its suite is empty."""
    if not any(folder.iterdir()):
        return []
    result = call([suite.options.binary, "check", "--deep", folder], 300, merge=True)
    lines = [line for line in result.output.decode("utf-8", "replace").splitlines() if line.startswith("damage: ")]
    return lines if lines or result.status == 0 else [f"exit {result.status}: {result.output[-300:]!r}"]


def chunks(names):
    some = []
    for name in names:
        if sum(len(n) + 1 for n in some) + len(name) > ARGUMENT:
            yield some
            some = []
        some.append(name)
    if some:
        yield some
