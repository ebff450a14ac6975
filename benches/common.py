"""What the programs in this folder share: brokers on cores of their own, runs of `dohle bench`, tables in README.md, and an end
that comes in time and leaves nothing behind."""
import contextlib
import json
import os
import pathlib
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "compat"))

from harness import broker, kafka  # noqa: E402 (after the path to it is known)
from harness.process import Failed, call, must  # noqa: E402

KINDS = {"dohle": broker.Dohle, "kafka": broker.PlainKafka, "floor": broker.BareFloor}
TITLES = {"dohle": "Dohle", "kafka": "Kafka 4.3.0", "floor": "floor"}
BOTH = ["dohle", "kafka"]
# Which are told as a ratio, where both are there.
RATIOS = [("dohle", "kafka"), ("dohle", "floor")]
# What was written for a measurement goes soon after it: some write 10 GB in a few seconds. A broker that stands still while it is
# another's turn, or makes 5,000 partitions on one core and sends no heartbeat meanwhile, is not taken for dead.
SETTINGS = {"log.segment.delete.delay.ms": "1000", "broker.session.timeout.ms": "600000"}
# One run of a tool may take so long.
LIMIT = 900
DELETION_SECONDS = 60
ERRORS_TOLD = 5


def add_options(p):
    """Those that all programs have."""
    p.add_argument("--binary", type=pathlib.Path, help="a Dohle binary; without it a release is built")
    p.add_argument("--broker-cores", default="0", metavar="LIST", help="as taskset takes them")
    p.add_argument("--client-cores", default="1", metavar="LIST")
    p.add_argument("--heap", default="1g", help="of Kafka")
    p.add_argument("--work", type=pathlib.Path, help="a folder for data; without it one in the temporary directory")


def end(number, _):
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGALRM):
        signal.signal(each, signal.SIG_IGN)  # brokers are stopped on the way out, whatever else comes
    if number == signal.SIGALRM:
        raise Failed("took longer than it may (--limit)")
    sys.exit(128 + number)


def begin(options, minutes=None):
    """Has a binary, and an end in so many minutes."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, end)
    if not options.binary:
        must(["cargo", "build", "--release", "--locked", "--manifest-path", HERE.parent / "Cargo.toml"], 3600)
        options.binary = HERE.parent / "target/release/dohle"
    options.binary = broker.Dohle.binary = options.binary.resolve()
    kafka.HEAP = options.heap
    kafka.home()  # fetched, when it has to be, before the time counts
    if minutes:
        signal.alarm(int(60 * minutes))


def main(name, function):
    """Runs the program; the exit status."""
    try:
        return function()
    except (Failed, AssertionError) as failure:
        return f"{name}: {failure}"


def node(name, folder, options, settings=()):
    """A broker that has not been started."""
    return broker.pinned(KINDS[name], options.broker_cores)(folder / name, {**SETTINGS, **dict(settings)})


@contextlib.contextmanager
def running(names, options, settings=(), prepare=lambda node: None):
    """Brokers of these names, prepared and started, by name. However it ends, they are stopped then and their data is gone."""
    with tempfile.TemporaryDirectory(prefix="dohle-benches-", dir=options.work, ignore_cleanup_errors=True) as folder:
        nodes = {name: node(name, pathlib.Path(folder), options, settings) for name in names}
        try:
            for each in nodes.values():
                prepare(each)
                each.start()
            yield nodes
        finally:
            for each in nodes.values():
                stop(each)


def stop(each):
    """Also one that stands still."""
    tell_errors(each)
    if each.alive():
        each.process.send_signal(signal.SIGCONT)
    each.stop()


def tell_errors(each):
    """What the broker's log has that it should not have."""
    found = [line for line in each.log_text().splitlines() if re.search(r"\b(ERROR|FATAL|panicked)\b", line)]
    for line in found[:ERRORS_TOLD]:
        print(f"{each.kind} said: {line[:300]}", flush=True)
    if len(found) > ERRORS_TOLD:
        print(f"{each.kind} said {len(found) - ERRORS_TOLD} errors more", flush=True)
    if each.process is not None and not each.alive():
        print(f"{each.kind} has ended by itself; its log ends:\n{each.log_tail()}", flush=True)


def in_turn(nodes, number):
    """The brokers, and in the other order in each second round. The others stand still meanwhile: they share a core, and what one
    does in the background (a JVM compiles and collects for seconds after a load) is not to be found in another's latency."""
    order = list(nodes.items())
    for name, node in order if number % 2 == 0 else order[::-1]:
        others = [other for other in nodes.values() if other is not node and other.alive()]
        for other in others:
            other.process.send_signal(signal.SIGSTOP)
        try:
            yield name, node
        finally:
            for other in others:
                other.process.send_signal(signal.SIGCONT)


def bench(each, options, *words, limit=LIMIT):
    """A run of `dohle bench` on the other cores; its result."""
    to = each.folder / "result.json"
    argv = ["taskset", "-c", options.client_cores, options.binary, "bench", "--bootstrap-server", each.address,
            "--pid", each.process.pid, *words, "--json", to]
    result = call(argv, limit, merge=True)
    if result.status != 0:
        how = "not done in time" if result.status is None else f"exit {result.status}"
        raise Failed(f"dohle bench on {each.kind}, {how}: {result.output.decode('utf-8', 'replace')[-600:]}")
    return json.loads(to.read_text())


def wait_for_deletions(each):
    """Until the files of deleted topics are gone: it is work of a broker whose time is not measured."""
    until = time.monotonic() + DELETION_SECONDS
    while next(each.data.glob("*-delete"), None) and time.monotonic() < until:
        time.sleep(0.2)


def own(*path):
    """A figure of a result among those that OpenMessaging's results have no name for."""
    def get(result):
        value = result["dohle"]
        for name in path:
            value = value[name]
        return value
    return get


PER_REQUEST = ("CPU µs/request", own("broker", "cpuMicrosPerRequest"))
PER_GB = ("CPU s/GB", own("broker", "cpuSecondsPerGB"))
RESIDENT = ("RSS MB", lambda result: own("broker", "residentBytesMax")(result) / 1e6)
REQUESTS = ("requests/s", own("requestRate"))
MEGABYTES = ("MB/s", lambda result: (own("publishRate")(result) + own("consumeRate")(result)) * result["messageSize"] / 1e6)
PUBLISH_P99 = ("p99 ms", lambda result: result["aggregatedPublishLatency99pct"])
PUBLISH_P999 = ("p99.9 ms", lambda result: result["aggregatedPublishLatency999pct"])


def text(value):
    """To three digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def spread(values):
    """`median (min–max)`; a value alone as it is."""
    if len(values) == 1:
        return text(values[0])
    return f"{text(statistics.median(values))} ({text(min(values))}–{text(max(values))})"


def beside(by_broker, names=BOTH):
    """Cells of a row from the values of each round: of each broker, and of each ratio of which both are there."""
    found = [by_broker.get(name, ()) for name in names]
    for one, other in ratios_of(names):
        found.append([ours / theirs for ours, theirs in zip(by_broker.get(one, ()), by_broker.get(other, ())) if theirs > 0])
    return [spread(values) if values else "–" for values in found]


def ratios_of(names):
    return [pair for pair in RATIOS if set(pair) <= set(names)]


def head(*first, names=BOTH):
    ratios = (f"{TITLES[one]} / {TITLES[other].split()[0]}" for one, other in ratios_of(names))
    return [*first, *(TITLES[name] for name in names), *ratios]


def table(*rows):
    """In Markdown; the first row is the head."""
    rows = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def machine(options):
    """Where and on what something was measured."""
    commit = subprocess.run(["git", "-C", HERE, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return (f"broker on core {options.broker_cores}, load on core {options.client_cores} of {os.cpu_count()}; "
            f"{platform.machine()}, Linux {platform.release()}; heap of Kafka {options.heap}; commit {commit}")


def write(name, found):
    """Puts the text between the marks of that name in README.md."""
    readme = HERE / "README.md"
    first, last = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = readme.read_text().split(first)
    _, after = rest.split(last)
    readme.write_text(f"{before}{first}\n{found}\n{last}{after}")
