"""The command line: which suites, which broker; starts it afresh for each suite and adds up."""
import argparse
import importlib.util
import pathlib
import random
import re
import shutil
import signal
import sys
import time
import traceback

from . import broker
from .expectations import Expectations
from .process import Failed, must
from .report import FAIL, NOT_YET, PASS, SKIP, Report
from .suite import Suite

COMPAT = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = COMPAT.parent
DEFAULT = ["kcat", "console-tools", "confluent-kafka", "kafka-python", "franz-go", "kafka-go", "exchange", "perf", "tls",
           "group-three-languages", "kill9", "transactions", "hanging-transaction", "java-transactions",
           "streams", "connect", "full-disk", "round-trip", "compaction", "fuzz", "start-time", "dump-log",
           "cpu-per-request"]
SEED = 1  # a gate that repeats: chance belongs to the long runs
PANIC = re.compile(r"panicked at|stack overflow|memory allocation of \d+ bytes failed")


def parse(argv):
    every = sorted(p.parent.name for p in COMPAT.glob("*/expected"))
    p = argparse.ArgumentParser(prog="compat/run", description="Client suites against Dohle or Apache Kafka 4.3.0.",
                                epilog=f"Suites: {', '.join(every)}. Without a name: all that CI runs.")
    p.add_argument("suites", nargs="*", metavar="SUITE", help="suites to run, in this order")
    p.add_argument("--broker", choices=sorted(broker.KINDS), default="dohle")
    p.add_argument("--binary", type=pathlib.Path, help="a Dohle binary; without it a release is built")
    p.add_argument("--only", default="", metavar="REGEX", help="only tests whose name matches")
    p.add_argument("--full", action="store_true", help="the long form of perf, kill9, transactions, compaction and fuzz")
    p.add_argument("--seed", type=int, metavar="N", help="what the dice of fuzz, kill9, transactions and streams begin with; "
                   f"without it {SEED}, with --full another one each time; printed")
    p.add_argument("--skip-long", action="store_true", help="leave out not-yet tests that take minutes to fail")
    p.add_argument("--work", type=pathlib.Path, default=REPOSITORY / "target/compat", help="logs and data go there")
    options = p.parse_args(argv)
    unknown = [s for s in options.suites if s not in every]
    if unknown:
        p.error(f"no suite {', '.join(unknown)}; there are: {', '.join(every)}")
    if options.seed is None:
        options.seed = random.randrange(1 << 32) if options.full else SEED
    options.complete = not options.suites
    options.suites = options.suites or [s for s in DEFAULT if s in every]
    return options


def load(name):
    """The suite's module: its folder may have a name that Python cannot import, and files of its own beside it."""
    folder = COMPAT / name
    spec = importlib.util.spec_from_file_location(f"suite_{re.sub(r'[^a-z0-9]', '_', name)}", folder / "suite.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_suite(name, options, data):
    """Runs one suite on a broker of its own; its counts. `data` collects the data directories it leaves."""
    print(f"\n--- {name} ({options.broker})", flush=True)
    work = options.work / options.broker / name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    module = load(name)
    report = Report(name, Expectations(COMPAT / name, options.broker, options.only), work / "results.tsv")
    suite = Suite(name, COMPAT / name, module, options, report, work)
    suite.data_directories = data
    try:
        if getattr(module, "BROKER", True):
            suite.broker = suite.new_broker()
            suite.broker.start()
        module.run(suite)
    except Exception as err:  # the other suites still run
        traceback.print_exc()
        report.add("the suite runs to its end", False, f"{type(err).__name__}: {err}")
    finally:
        suite.jvm.close()
        for each in suite.brokers:
            check_end(each, report)
            if each.data.exists() and (name, each.data) not in data:  # two may have used one directory in turn
                data.append((name, each.data))
    return report.finish()


def check_end(each, report):
    """Stops a broker that a suite leaves behind: it has to be there still, and to stop when it is asked to."""
    where = "" if each.folder.name == "broker" else f" ({each.folder.name})"
    if each.process is not None and not each.alive():
        report.add(f"the broker stays up{where}", False, f"exit {each.process.poll()}: {each.log_tail(2)}")
    elif each.alive() and not each.stop():
        report.add(f"the broker stops cleanly{where}", False, each.log_tail(2))
    if PANIC.search(each.log_text()):
        found = next(line for line in each.log_text().splitlines() if PANIC.search(line))
        report.add(f"the broker does not panic{where}", False, found)


def main(argv=None):
    options = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that brokers are stopped on the way out
    options.work = options.work.resolve()
    if options.broker == "dohle":
        options.binary = (options.binary or build()).resolve()
        broker.Dohle.binary = options.binary
    total, data, start = {PASS: 0, FAIL: 0, SKIP: 0, NOT_YET: 0, "now": 0}, [], time.monotonic()
    lines = []
    for name in options.suites:
        counts = run_suite(name, options, data)
        for key in total:
            total[key] += counts[key]
        lines.append(f"{name:<24}{counts[PASS]:>6}{counts[FAIL]:>8}{counts[SKIP]:>9}{counts[NOT_YET]:>9}{counts['seconds']:>8.0f}")
    print(f"\n{'suite (' + options.broker + ')':<24}{'passed':>6}{'failed':>8}{'skipped':>9}{'not yet':>9}{'s':>8}")
    print("\n".join(lines))
    if total["now"]:
        print(f"*** {total['now']} of the tests listed as not yet pass now: see above")
    print(f"not yet: {total[NOT_YET]}; {time.monotonic() - start:.0f} s; logs in {options.work / options.broker}")
    print(f"{total[PASS]} passed, {total[FAIL]} failed, {total[SKIP]} skipped", flush=True)
    return 1 if total[FAIL] or not total[PASS] else 0


def build():
    """The release binary of this tree."""
    print("building dohle (release)", flush=True)
    try:
        must(["cargo", "build", "--release", "--locked", "--bin", "dohle"], cwd=REPOSITORY, limit=3000)
    except Failed as err:
        sys.exit(str(err))
    return REPOSITORY / "target/release/dohle"
