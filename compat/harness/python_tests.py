"""Python clients' tests: pytest in a virtual environment, its outcomes taken over as they come."""
import os
import subprocess

from .process import Failed, kill_group

PYTEST = ["pytest==9.0.2", "pytest-timeout==2.4.0", "pytest-rerunfailures==16.1"]
# Runs inside pytest: writes one line per test to $REPORT_PIPE, and gives tests that cannot pass yet less time and one try.
PLUGIN = '''"""Tells the harness what each test did."""
import os
import re

import pytest

REPORT = open(int(os.environ["REPORT_PIPE"]), "w", buffering=1)
NOT_YET = set(filter(None, os.environ["NOT_YET"].split("\\n")))
LEFT_OUT = set(filter(None, os.environ["LEFT_OUT"].split("\\n")))
ONLY = re.compile(os.environ["ONLY"])
seen = {}


def emit(status, name, why="", seconds=0.0):
    text = " ".join(str(why).split())[:300]
    REPORT.write("\\t".join((status, name, f"{seconds:.1f}", text)) + "\\n")


def reason(report):
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message if crash else str(report.longrepr)[-300:]


def pytest_runtest_logreport(report):
    name = report.nodeid
    if report.outcome == "rerun":
        return
    if report.when == "setup" and not report.passed:
        seen[name] = ("SKIP", "") if report.skipped else ("FAIL", reason(report))
    elif report.when == "call":
        seen[name] = ("PASS", "") if report.passed else ("SKIP", "") if report.skipped else ("FAIL", reason(report))
        seen[name] += (report.duration,)
    elif report.when == "teardown":
        if report.failed and seen.get(name, ("",))[0] != "FAIL":
            seen[name] = ("FAIL", "teardown: " + reason(report))
        emit(seen[name][0], name, *seen[name][1:])


def pytest_collection_modifyitems(config, items):
    items[:] = [i for i in items if ONLY.search(i.nodeid) and i.nodeid not in LEFT_OUT]
    for item in items:
        if item.nodeid in NOT_YET:
            item.add_marker(pytest.mark.flaky(reruns=0))
            item.add_marker(pytest.mark.timeout(int(os.environ["NOT_YET_LIMIT"])), append=False)


def pytest_collectreport(report):
    if report.failed:
        emit("FAIL", (report.nodeid or "collection") + " (collection)", reason(report))
'''


def run(suite, python, folder, files, env, timeout=120, tries=2):
    """Runs pytest on the files in the folder and reports each test; what has not run by the deadline is not reported."""
    from .suite import NOT_YET_LIMIT
    (folder / "harness_report.py").write_text(PLUGIN)
    receive, send = os.pipe()
    expect = suite.report.expect
    left_out = [n for n in expect.long if suite.options.skip_long]
    own = {"PYTHONPATH": str(folder), "REPORT_PIPE": str(send), "ONLY": suite.options.only,
           "NOT_YET": "\n".join(expect.not_yet), "LEFT_OUT": "\n".join(left_out), "NOT_YET_LIMIT": str(NOT_YET_LIMIT)}
    argv = [python, "-m", "pytest", "-q", "--no-header", "--tb=short", "-p", "no:cacheprovider", "-p", "harness_report",
            f"--timeout={timeout}", "--timeout-method=signal", f"--reruns={tries - 1}", "--reruns-delay=1",
            f"--rootdir={folder}", "-c", "/dev/null", *files]
    with open(suite.logs / "pytest.log", "ab") as log:
        process = subprocess.Popen([str(a) for a in argv], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   env={**os.environ, **suite.environment(), **own, **env}, pass_fds=[send],
                                   start_new_session=True)
    os.close(send)
    watch = suite.at_deadline(lambda: kill_group(process))
    try:
        with open(receive, errors="replace") as lines:
            for line in lines:
                status, name, seconds, why = line.rstrip("\n").split("\t")
                suite.report.record(name, status, why, float(seconds))
        if process.wait() not in (0, 1):
            raise Failed(f"pytest ended with {process.returncode}: see {suite.logs}/pytest.log")
    finally:
        watch.cancel()
        kill_group(process)
