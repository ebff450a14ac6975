"""Go clients' own tests: a module at a pinned version, its test binary, each test as a process of its own."""
import json
import os
import re
import shutil
import time

from . import cache
from .process import call, must

MARK = re.compile(r"^\s*--- (PASS|FAIL|SKIP): (\S+)", re.M)
ENVIRONMENT = {"GOFLAGS": "-mod=mod", "GOWORK": "off"}


def go(*args, cwd):
    return must(["go", *args], cwd=cwd, env=ENVIRONMENT)


def module(name, path, version, edits=(), files=()):
    """A writable copy of path@version with the edits (glob, regex, replacement) and the files (name, text) put in."""
    def make(folder):
        got = json.loads(go("mod", "download", "-json", f"{path}@{version}", cwd=folder))
        source = folder / "src"
        shutil.copytree(got["Dir"], source)
        for place, _, names in os.walk(source):
            os.chmod(place, 0o755)
            for each in names:
                os.chmod(os.path.join(place, each), 0o644)
        for file, text in files:
            (source / file).write_text(text)
        for pattern, old, new in edits:
            changed = sum(rewrite(file, old, new) for file in source.glob(pattern))
            assert changed, f"the edit {old!r} of {path}@{version} found nothing to change"
    return cache.once(f"{name}-{version}", (path, version, edits, files), make) / "src"


def rewrite(file, old, new):
    """How often the regex was replaced in the file."""
    text, count = re.subn(old, new, file.read_text(encoding="utf-8"))
    if count:
        file.write_text(text, encoding="utf-8")
    return count


def program(name, folder):
    """The binary of a Go program of ours: folder has main.go, go.mod and go.sum."""
    sources = tuple((f, (folder / f).read_text()) for f in ("go.mod", "go.sum", "main.go"))

    def make(target):
        for file, text in sources:
            (target / file).write_text(text)
        must(["go", "build", "-o", "program", "."], cwd=target, env={"GOWORK": "off"})
    return cache.once(name, sources, make) / "program"


def test_binary(source, package):
    """The test binary of one package of the module; it has to run in the package's folder."""
    binary = source / ".bin" / ((package.strip("./").replace("/", "_") or "root") + ".test")
    if not binary.exists():
        go("test", "-c", "-vet=off", "-o", f"{binary}.new", package, cwd=source)
        os.rename(f"{binary}.new", binary)
    return binary


def run_test(suite, binary, test, folder, env, seconds=120, label=None, tries=2):
    """Runs one top-level test and reports it, or its subtests where it has some, under `label`."""
    label = label or test
    limit, tries = suite.limit(label, seconds), suite.tries(label, tries)
    if limit <= 1:
        return suite.report.record(label, "FAIL", "not run: the suite's time was spent")
    log = suite.logs / (re.sub(r"[^\w.-]", "_", label) + ".log")
    best, failed, begin = {}, {}, time.monotonic()
    for attempt in range(tries):
        seen, why, hung = one_try(binary, test, folder, env, limit, log)
        failed |= {name: why.get(name, "") for name, status in seen.items() if status == "FAIL"}
        best |= {name: status for name, status in seen.items() if best.get(name) != "PASS"}
        limit = min(limit, suite.deadline - time.monotonic())
        wanted = {n for n in suite.report.expect.now() if (n + "/").startswith(label + "/")}
        if hung or limit <= 1 or all(best.get(test + n[len(label):]) == "PASS" for n in wanted):
            break
    for name, status in sorted(best.items()):
        if name == test and status == "PASS" and len(best) > 1:
            continue  # its subtests stand for it
        why = ("timed out; " if hung else "") + failed.get(name, "") if status == "FAIL" else ""
        suite.report.record(label + name[len(test):], status, why, time.monotonic() - begin,
                            flaky=status == "PASS" and name in failed)
    return None


def one_try(binary, test, folder, env, limit, log):
    """({test or subtest: status}, {name: why}, whether it hung) of one run; the output goes to the log."""
    argv = [binary, "-test.run", f"^{test}$", "-test.v=test2json", "-test.count=1", f"-test.timeout={int(limit)}s"]
    result = call(argv, limit + 5, cwd=folder, env=env, merge=True)
    with open(log, "ab") as file:
        file.write(result.output)
    text = result.output.decode("utf-8", "replace").replace("\x16", "\n")
    hung = result.status is None or "panic: test timed out" in text
    seen = {name: status for status, name in MARK.findall(text)}
    below = [status for name, status in seen.items() if name != test]
    if result.status != 0 and "FAIL" not in seen.values():
        seen[test] = "FAIL"  # a panic, a time-out, an exit: subtests that did not report stay unreported
    elif not seen:
        seen[test] = "SKIP"
    elif below and ("FAIL" in below or seen.get(test) != "FAIL"):
        seen[test] = "PASS"  # its subtests stand for it
    return seen, reasons(text), hung


def reasons(text):
    """The first line that each failed test printed from its source file, by test name; panics under every name."""
    found, name = {}, ""
    for line in text.splitlines():
        if mark := re.match(r"\s*(?:=== \w+|--- FAIL:)\s+(\S+)", line):
            name = mark.group(1)
        elif name not in found and re.search(r"\w+\.go:\d+: |^panic: ", line):
            found[name] = line.strip()
    return found
