"""One line a test, counts a suite, counts in total."""
import threading
import time

PASS, FAIL, SKIP, NOT_YET = "PASS", "FAIL", "SKIP", "NOT YET"


class Report:
    """What the tests of one suite did, held against its expectations. Thread-safe."""

    def __init__(self, suite, expectations, log):
        self.suite, self.expect, self.log = suite, expectations, log
        self.outcomes = {}  # test name -> what the suite itself said
        self.shown = {}     # test name -> PASS, FAIL, SKIP or NOT YET
        self.begun_to_pass, self.flaky = [], []
        self.lock = threading.Lock()
        self.start = time.monotonic()

    def record(self, name, status, why="", seconds=0.0, flaky=False):
        """One test is over: status is PASS, FAIL or SKIP as the client's suite sees it."""
        name, why = " ".join(name.split()), " ".join(str(why).split())[:300]
        with self.lock:
            if name in self.outcomes or not self.expect.choice.search(name):
                return
            self.outcomes[name] = status
            if flaky:
                self.flaky.append(name)
            with open(self.log, "a") as log:
                log.write(f"{status}\t{seconds:.1f}\t{name}\t{why}\n")
            self._show(name, status, why)

    def _show(self, name, status, why):
        reason = self.expect.not_yet.get(name)
        if reason is not None and status == PASS:
            self.begun_to_pass.append(name)
            self._line(NOT_YET, name, f"PASSES NOW; waited for: {reason}")
        elif reason is not None:
            self._line(NOT_YET, name, f"{reason}{'; ' + why if why else ''}")
        elif name in self.expect.expected:
            self._line(PASS if status == PASS else FAIL, name, why or ("" if status == PASS else status))
        elif status == PASS:
            self._line(SKIP, name, "passes, but not in every run on Apache Kafka: not expected")
        else:
            self._line(SKIP, name, "does not pass on Apache Kafka either" if status == FAIL else why)

    def _line(self, shown, name, why=""):
        self.shown[name] = shown
        print(f"{shown} {name}" + (f"  ({why})" if why else ""), flush=True)

    def add(self, name, passed, why=""):
        """A check of the harness itself, expected always."""
        with self.lock:
            self._line(PASS if passed else FAIL, name, why)

    def finish(self):
        """Accounts for what did not report, prints the counts; they are returned as a dictionary."""
        for name in sorted(self.expect.expected - self.outcomes.keys()):
            if name in self.expect.not_yet:
                self._line(NOT_YET, name, f"not run; waits for: {self.expect.not_yet[name]}")
            else:
                self._line(FAIL, name, "did not report")
        for name in self.flaky:
            print(f"flaky (passed when tried again): {name}")
        for name in self.begun_to_pass:
            print(f"*** {name} PASSES NOW: take its line out of compat/{self.suite}/not-yet")
        counts = {s: list(self.shown.values()).count(s) for s in (PASS, FAIL, SKIP, NOT_YET)}
        seconds = time.monotonic() - self.start
        print(f"{self.suite}: {counts[PASS]} passed, {counts[FAIL]} failed, {counts[SKIP]} skipped, "
              f"{counts[NOT_YET]} not yet, {seconds:.0f} s", flush=True)
        return {**counts, "seconds": seconds, "now": len(self.begun_to_pass)}
