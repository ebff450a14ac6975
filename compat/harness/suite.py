"""One run of one suite: what its `run(suite)` gets to work with."""
import os
import re
import subprocess
import threading
import time

from . import broker, kafka
from .report import FAIL, PASS

NOT_YET_LIMIT = 5   # seconds for a test that is not expected to pass yet


class Suite:
    """The broker under test, the report, folders, limits.

    A suite is a folder with a `suite.py`, which has `run(suite)` and, where it differs from these:
    SETTINGS  broker settings beyond the common ones; SECURITY settings for the broker that has an authorizer
    LIMIT     seconds for the whole suite; what has not run by then has failed
    BROKER    False when the suite starts brokers by itself
    """

    def __init__(self, name, folder, module, options, report, work):
        self.name, self.folder, self.options, self.report, self.work = name, folder, options, report, work
        self.kind = options.broker
        self.full = options.full
        self.seed = options.seed
        self.settings = {**getattr(module, "SETTINGS", {}),
                         **(getattr(module, "SECURITY", {}) if broker.KINDS[self.kind].secured else {})}
        self.deadline = time.monotonic() + getattr(module, "LIMIT", 900)
        self.only = re.compile(options.only)
        self.logs = work / "logs"
        self.logs.mkdir(parents=True)
        self.broker = None
        self.brokers = []
        self.jvm = kafka.Jvm(self.logs / "tools-jvm.log")  # for quick calls of Kafka's tools; started by the first

    def new_broker(self, name="broker", settings=()):
        """A broker of the kind under test on a fresh data directory, not started yet. It is stopped with the suite."""
        made = broker.KINDS[self.kind](self.work / name, {**self.settings, **dict(settings)})
        self.brokers.append(made)
        return made

    @property
    def tools(self):
        """Kafka's own command-line tools, pointed at the broker."""
        return kafka.Tools(self.broker.address, self.logs / "tools.log")

    # ---- which tests run, and for how long

    def wanted(self, names):
        """Those of the tests that were asked for, without the long ones that cannot pass yet."""
        skip = self.report.expect.is_long if self.options.skip_long else lambda name: False
        parents = {n.split("/")[0] for n in self.report.expect.expected}  # of subtests that were asked for
        return [n for n in names if (self.only.search(n) or n in parents) and not skip(n)]

    def limit(self, test, seconds):
        """Seconds that this test may take: less where it cannot pass yet, never past the suite's deadline."""
        if self.report.expect.waits_for(test):
            seconds = min(seconds, NOT_YET_LIMIT)
        return min(seconds, self.deadline - time.monotonic())

    def tries(self, test, tries=2):
        """How often a test that fails is run: once where it cannot pass yet."""
        return 1 if self.report.expect.waits_for(test) else tries

    def at_deadline(self, act):
        """A running timer that calls `act` when the suite's time is spent; cancel it when that cannot happen any more."""
        timer = threading.Timer(max(0.0, self.deadline - time.monotonic()), act)
        timer.daemon = True
        timer.start()
        return timer

    # ---- tests written in Python, in the harness's own process

    def case(self, name, test, tries=2):
        """Runs one test: it passes when it returns, and is skipped when it returns a reason as text."""
        if not self.wanted([name]):
            return
        if self.deadline < time.monotonic():
            self.report.record(name, FAIL, "not run: the suite's time was spent")
            return
        tries = self.tries(name, tries)
        begin = time.monotonic()
        for attempt in range(tries):
            status, why = attempt_case(test)
            if status != FAIL or why.startswith("timed out"):
                break
        self.report.record(name, status, why, time.monotonic() - begin, flaky=status == PASS and attempt > 0)

    def environment(self):
        """For child processes: quiet about byte code, and told where the broker is."""
        return {"BROKER": self.broker.address, "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]}


def attempt_case(test):
    """(status, why) of one try."""
    try:
        skipped = test()
        return ("SKIP", skipped) if isinstance(skipped, str) else (PASS, "")
    except subprocess.TimeoutExpired as err:
        return FAIL, f"timed out: {err}"
    except Exception as err:  # whatever a test trips over is its failure, not the harness's
        return FAIL, f"{type(err).__name__}: {err}"
