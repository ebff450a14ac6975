"""kafka-dump-log 4.3.0 over the files that brokers left behind: after a load of its own, and after the suites run before;
and over segments of all internal records, full of what is hard to print (hostile.py, Hostile.java).

The broker is stopped first. A file that the tool complains about fails the test that reads its kind. `dohle dump-log` has to
print the same (tests `same/...`), and `dohle check` to find no damage.

Time is bounded, so that a slow machine cannot fail the suite: a kind's files are read from those that cost least on, and
what is past the kind's budget or its time is left out. How many are is printed; `dohle check` reads them all.
"""
import collections
import concurrent.futures
import filecmp
import itertools
import mmap
import pathlib
import queue
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import hostile  # noqa: E402 (beside this file)
from harness import kafka  # noqa: E402
from harness.kcat import Kcat, fresh  # noqa: E402
from harness.process import call, must  # noqa: E402
from harness.report import FAIL, PASS  # noqa: E402

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
COMPLAINT = re.compile(rb"Exception|isvalid: false|Could not|[Mm]ismatch|non-consecutive|out of order|failed sanity|corrupt|Error")
ARGUMENT = 100_000    # characters that one --files may have
COST = 300_000_000    # of one kind's files, in the bytes that the tool reads: some 30 s
PIECE = COST // 8     # of one call, so that the time is looked at in between
SECONDS = 60          # for one kind
TIME_ENTRY = 12       # bytes of an entry of a time index
HEADERS = 12          # bytes of a segment that take as long to skip, batch by batch, as one byte takes to read and print
DUMPING = b"Dumping "
RECORDS = {False: 10, True: 200}  # of each internal record, in each version
HANGS = 900           # seconds after which a call is taken to hang

Kind = collections.namedtuple("Kind", "name pattern flags")
File = collections.namedtuple("File", "origin path cost")


def run(suite):
    load(suite)
    hostile.write(suite.broker.port)
    suite.broker.stop()
    brokers = [("dump-log", suite.broker.data), *suite.data_directories]
    folders = [*brokers, ("hostile", handmade(suite))]
    kinds = [Kind(name, *how) for name, how in KINDS.items() if suite.wanted([name, f"same/{name}"])]
    jvms, idle = [kafka.Jvm(suite.logs / "dump-log.log") for _ in range(2)], queue.SimpleQueue()

    def one(kind):
        jvm = idle.get()
        try:
            examine(suite, jvm, kind, folders)
        finally:
            idle.put(jvm)

    try:
        for jvm in jvms:
            idle.put(jvm)
        with concurrent.futures.ThreadPoolExecutor(len(jvms)) as pool:
            for done in [pool.submit(one, kind) for kind in kinds]:
                done.result()
    finally:
        for jvm in jvms:
            jvm.close()
    if suite.kind == "dohle" and suite.wanted(["check"]):
        damages = [f"{origin}: {line}" for origin, folder in brokers for line in check(suite, folder)]
        suite.report.record("check", FAIL if damages else PASS, damages[0] if damages else "")


def examine(suite, jvm, kind, folders):
    """One kind of file with one set of flags: what Kafka's tool complains about, and where our own prints something else."""
    files = sorted((File(origin, path, cost(kind, path)) for origin, folder in folders for path in folder.glob(kind.pattern)
                    if path.stat().st_size and not path.parent.name.endswith("-delete")), key=lambda f: f.cost)
    affordable = [f for f, total in zip(files, itertools.accumulate(f.cost for f in files)) if total <= COST]
    read, complaints, differences, begin = 0, [], [], time.monotonic()
    theirs, ours = (suite.work / f"{kind.name}.{whose}" for whose in ("kafka", "dohle"))
    for some in calls(affordable):
        if read and time.monotonic() - begin > SECONDS:
            break
        arguments = ["--files", ",".join(str(f.path) for f in some), *kind.flags]
        status = jvm(theirs, "dump-log", *arguments, limit=HANGS)
        # Printed values may say anything.
        complaints += complained(status, theirs, some, "--print-data-log" in kind.flags)
        if suite.kind == "dohle":
            with open(ours, "wb") as output:
                subprocess.run([suite.options.binary, "dump-log", *arguments], stdout=output, stderr=subprocess.STDOUT, timeout=HANGS)
            differences += differ(ours, theirs)
        read += len(some)
    for printed in (theirs, ours):
        printed.unlink(missing_ok=True)
    count = f"{read} of {len(files)} files of {len(folders)} brokers" + (
        f"; {len(files) - read} that cost the most are left out" if read < len(files) else "")
    seconds = time.monotonic() - begin
    if not read and (files or suite.options.complete):
        complaints.append(f"none of {len(files)} files was read")
    suite.report.record(kind.name, FAIL if complaints else PASS, complaints[0] if complaints else count, seconds)
    if suite.kind == "dohle":
        suite.report.record(f"same/{kind.name}", FAIL if differences else PASS, differences[0] if differences else "")


def cost(kind, path):
    """The bytes that Kafka's tool looks at, more or less. For each entry of a time index it goes through the whole segment."""
    size = path.stat().st_size
    if path.suffix != ".timeindex" or "--index-sanity-check" in kind.flags:
        return size
    log = path.with_suffix(".log")
    return size + size // TIME_ENTRY * (log.stat().st_size if log.exists() else 0) // HEADERS


def calls(files):
    """The files in groups, each for one call of the tool."""
    some, characters, total = [], 0, 0
    for file in files:
        if some and (characters + len(str(file.path)) >= ARGUMENT or total + file.cost > PIECE):
            yield some
            some, characters, total = [], 0, 0
        some.append(file)
        characters, total = characters + len(str(file.path)) + 1, total + file.cost
    if some:
        yield some


def load(suite):
    """Several segments, all codecs, headers, a group with offsets, a deleted topic."""
    kcat, topic = Kcat(suite.broker.address, suite.logs / "kcat.log"), fresh("dump")
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        lines = [f"key{i}:{codec} {i} {'abcdefgh' * 60}" for i in range(4000)]
        kcat.produce(topic, lines, "-K:", "-z", codec, "-H", "codec=" + codec, "-X", "enable.idempotence=true")
    kcat.group(fresh("dump-group"), topic)
    kcat.produce(f"{topic}-deleted", ["x"])
    suite.tools("topics", "--delete", "--topic", f"{topic}-deleted")


def complained(status, printed, files, anything):
    """What the tool complains about, after the file that it is about."""
    origins = {str(f.path): f.origin for f in files}
    with open(printed, "rb") as output:
        text = mmap.mmap(output.fileno(), 0, access=mmap.ACCESS_READ) if printed.stat().st_size else b""
        lines = [line_at(text, found.start()) for found in (() if anything else COMPLAINT.finditer(text))]
        complaints = [f"{about(text, at, origins)}: {line}" for at, line in lines if "payload:" not in line]
        if status != 0:
            complaints.append(f"{about(text, len(text), origins)}: exit {status}: {text[-300:].decode('utf-8', 'replace')}")
    return complaints


def line_at(text, position):
    """Where the line begins that has the position, and the line."""
    start, end = text.rfind(b"\n", 0, position) + 1, text.find(b"\n", position)
    return start, text[start:end if end >= 0 else len(text)].decode("utf-8", "replace")


def about(text, position, origins):
    """The suite and the file that were being read at the position."""
    start = text.rfind(DUMPING, 0, position)
    name = line_at(text, start)[1].removeprefix(DUMPING.decode()) if start >= 0 else ""
    return f"{origins.get(name, '')}: {name}"


def differ(ours, theirs):
    """The first line in which our own tool's output is another."""
    if filecmp.cmp(ours, theirs, shallow=False):
        return []
    got, wanted = (path.read_bytes().split(b"\n") for path in (ours, theirs))
    if any(b"Non-consecutive" in line for line in wanted):  # they go through a map there
        got, wanted = sorted(got), sorted(wanted)
    name = b""
    for ours, theirs in itertools.zip_longest(got, wanted, fillvalue=b""):
        name = theirs if theirs.startswith(DUMPING) else name
        if ours != theirs:
            at = max(0, next((n for n, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1]), 0) - 60)
            return [f"{name.decode()}: from byte {at} on {ours[at:at + 120]!r} instead of {theirs[at:at + 120]!r}"]
    return []


def handmade(suite):
    """A directory with segments that Kafka's own classes wrote: every internal record, and values that are hard to print."""
    folder = suite.work / "hostile"
    argv = [*kafka.java(kafka.home(), kafka.SHORT_LIVED), suite.folder / "Hostile.java", folder, suite.seed, RECORDS[suite.full]]
    must(argv, 300)
    return folder


def check(suite, folder):
    """The damages that `dohle check` finds in a log directory. That of a disk that is gone with its suite is empty."""
    if not any(folder.iterdir()):
        return []
    result = call([suite.options.binary, "check", "--deep", folder], 300, merge=True)
    lines = [line for line in result.output.decode("utf-8", "replace").splitlines() if line.startswith("damage: ")]
    return lines if lines or result.status == 0 else [f"exit {result.status}: {result.output[-300:]!r}"]
