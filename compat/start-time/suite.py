"""How soon a broker answers on a new data directory (exec to the first answered ApiVersions), and its memory when idle."""
import statistics
import time

from harness.report import FAIL, PASS

BROKER = False
STARTS = {"dohle": 7, "kafka": 2}
READY_MS = 100
IDLE_MB = 30
SETTLE = 2.0  # seconds in which an idle broker comes to rest; its memory is read after them


def run(suite):
    seconds, idle = [], 0
    for n in range(STARTS[suite.kind]):
        broker = suite.new_broker(f"start-{n}")
        seconds.append(broker.start())
        if n == 0:
            time.sleep(SETTLE)
            idle = broker.resident_bytes() / 2**20
        broker.stop()
    took = ", ".join(f"{1000 * s:.0f}" for s in seconds)
    median = 1000 * statistics.median(seconds)
    suite.report.record("answers-on-a-new-directory", PASS, f"ms to the first answer: {took}; idle RSS {idle:.1f} MB")
    if suite.kind == "dohle":
        suite.report.record(f"ready-in-{READY_MS}-ms", PASS if median <= READY_MS else FAIL, f"median {median:.0f} ms")
        suite.report.record(f"idle-within-{IDLE_MB}-mb", PASS if idle <= IDLE_MB else FAIL, f"{idle:.1f} MB")
