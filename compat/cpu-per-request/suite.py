"""CPU time of the broker for a request, as a ratio to that of `dohle floor`, which does the least that a broker can do: it
fails where a ratio is more than 15 % above the committed one (`baseline`).

Both run on one core, the load on another, and take turns in many short rounds; what counts is the median of the rounds'
ratios. A shape either keeps the server busy (small) or has one request at a time on a connection, so that it is not
left to chance how many requests one wake-up finds. The broker flushes nothing in the background meanwhile: how often it would is
a matter of the device. Measured while other programs compiled on the same two cores, the medians of ten rounds stayed within
2 % (small) and 4 % (read_small) of each other. Others are not here since they strayed further: requests for many partitions (the
preset `wide`) by 30 %, readers that get megabytes (`read`) by 16 %, paced producers by 30 %.

A shape that fails is measured again, in more rounds, and judged by these alone. To set the baseline anew, after a change that is worth it or one that made
the broker cheaper: `compat/run cpu-per-request --full`, and write what it prints into `baseline`.
"""
import json
import os
import statistics
import time

from harness.broker import Dohle, Floor, pinned
from harness.process import call
from harness.report import FAIL, PASS

BROKER = False
LIMIT = 600
ROUNDS, MORE_ROUNDS = {False: 10, True: 40}, 20
WARM_UP, SECONDS = "0.1", "0.3"
ALLOWED = 1.15
SETTINGS = {"log.flush.interval.bytes": str(2**63 - 1)}
SHAPES = {
    "small": ["--preset", "small"],
    "b16k": ["--preset", "b16k", "--producers-per-topic", "1", "--max-in-flight", "1"],
    "sync": ["--preset", "sync"],
    "read_small": ["--preset", "read_small"],
}


def run(suite):
    if suite.kind != "dohle":
        return
    cores = sorted(os.sched_getaffinity(0))
    begin = time.monotonic()
    floor = pinned(Floor, cores[0])(suite.work / "floor")
    try:
        dohle = pinned(Dohle, cores[0])(suite.work / "broker", {**suite.settings, **SETTINGS})
        suite.brokers.append(dohle)
        floor.start()
        dohle.start()
        gate(suite, Meter(suite, floor, dohle, cores[-1]))
    finally:
        floor.kill()
    print(f"{time.monotonic() - begin:.0f} s on core {cores[0]}, the load on core {cores[-1]}", flush=True)


def gate(suite, meter):
    baseline = read_baseline(suite.folder / "baseline")
    rounds = ROUNDS[suite.full]
    shapes = suite.wanted(SHAPES)
    meter.measure(shapes, rounds)
    again = [shape for shape in shapes if not meter.is_within(shape, baseline[shape])]
    meter.measure(again, MORE_ROUNDS)
    for shape in shapes:
        passes = meter.is_within(shape, baseline[shape])
        figures = meter.told(shape, baseline[shape])
        suite.report.record(shape, PASS if passes else FAIL, figures, flaky=passes and shape in again)
    if suite.full:
        print("\n".join(f"{shape}\t{meter.ratio(shape):.3f}" for shape in shapes), flush=True)


def read_baseline(path):
    """The ratio of each shape."""
    lines = (line.split("#")[0].split() for line in path.read_text().splitlines())
    return {line[0]: float(line[1]) for line in lines if line}


class Meter:
    """The newest rounds: by shape, CPU microseconds for a request of (floor, dohle); and how many were asked for."""

    def __init__(self, suite, floor, dohle, core):
        self.suite, self.nodes, self.core = suite, (floor, dohle), core
        self.rounds, self.asked = {}, {}

    def measure(self, shapes, rounds):
        for shape in shapes:
            self.rounds[shape], self.asked[shape] = [], rounds
        for number in range(rounds):
            for shape in shapes:
                order = self.nodes if number % 2 == 0 else self.nodes[::-1]
                cost = {node.kind: self.cost(node, shape) for node in order}
                if all(cost.values()):
                    self.rounds[shape].append((cost["floor"], cost["dohle"]))

    def cost(self, node, shape):
        to = self.suite.work / "result.json"
        argv = ["taskset", "-c", str(self.core), Dohle.binary, "bench", "--bootstrap-server", node.address,
                "--pid", str(node.process.pid), *SHAPES[shape], "--warm-up", WARM_UP, "--duration", SECONDS, "--json", to]
        result = call(argv, self.suite.limit(shape, 60), merge=True)
        if result.status != 0:
            print(f"{shape} on {node.kind}: {result.output.decode('utf-8', 'replace')[-600:]}", flush=True)
            return None
        measured = json.loads(to.read_text())["dohle"]
        # Without an answer the machine stood still.
        return measured["broker"]["cpuMicrosPerRequest"] if measured["requestRate"] else None

    def ratios(self, shape):
        return [dohle / floor for floor, dohle in self.rounds[shape]]

    def ratio(self, shape):
        return statistics.median(self.ratios(shape))

    def is_within(self, shape, baseline):
        return 2 * len(self.rounds[shape]) >= self.asked[shape] and self.ratio(shape) <= ALLOWED * baseline

    def told(self, shape, baseline):
        ratios = self.ratios(shape)
        rounds = f"{len(ratios)} of {self.asked[shape]} rounds"
        if not ratios:
            return rounds
        floor, dohle = (statistics.median(column) for column in zip(*self.rounds[shape]))
        return (f"{dohle:.2f} µs a request, the floor {floor:.2f}; ratio {self.ratio(shape):.3f} "
                f"({min(ratios):.3f}–{max(ratios):.3f}), {self.ratio(shape) / baseline - 1:+.1%} to the baseline "
                f"{baseline:.3f}; {rounds}")
