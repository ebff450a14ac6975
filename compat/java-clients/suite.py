"""The Java client 4.3.0 (producer, consumer, share consumer, admin): checks of ours, in src/main/java/jc."""
import pathlib
import re

from harness import cache
from harness.process import Child, must

SETTINGS = {"delegation.token.secret.key": "for-tests", "log.cleaner.backoff.ms": "2000",
            "log.retention.check.interval.ms": "5000", "log.initial.task.delay.ms": "1000"}
SECURITY = {"allow.everyone.if.no.acl.found": "false"}
LIMIT = 2400
FOLDER = pathlib.Path(__file__).parent
JOBS = 4  # checks at once
LINE = re.compile(r"(PASS|FAIL|SKIP) ([^ :]+)(?:: (.*))?$")


def run(suite, words=""):
    """All checks, or those whose name has `words` in it."""
    home = compiled(FOLDER)
    env = {"SASL_BROKER": suite.broker.sasl_address} if suite.broker.sasl_address else {}
    argv = ["java", "-Xmx1g", f"-Dorg.slf4j.simpleLogger.logFile={suite.logs}/client.log",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-cp", f"{home}/target/classes:{home}/libs/*", "jc.Main", suite.broker.address, str(JOBS)]
    if re.fullmatch(r"[\w.-]+", suite.options.only):
        words = suite.options.only  # the checks take words, not expressions
    argv += [words] if words else []
    checks = Child(argv, env=env)
    watch = suite.at_deadline(checks.kill)
    seen = 0
    try:
        while seen < len(checks.lines) or not checks.ended:
            with checks.news:
                checks.news.wait_for(lambda: checks.ended or len(checks.lines) > seen)
                fresh, seen = checks.lines[seen:], len(checks.lines)
            for line in fresh:
                found = LINE.match(line)
                if found and suite.only.search(found.group(2)):
                    suite.report.record(found.group(2), found.group(1), found.group(3) or "")
    finally:
        watch.cancel()
        checks.kill()


def compiled(folder):
    """The classes and the jars they need, by Maven."""
    sources = tuple((str(f.relative_to(folder)), f.read_text()) for f in sorted([folder / "pom.xml", *folder.glob("src/**/*.java")]))

    def make(target):
        for name, text in sources:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_text(text)
        must(["mvn", "-q", "-B", "-f", target / "pom.xml", "compile", "dependency:copy-dependencies",
              f"-DoutputDirectory={target}/libs"])
    return cache.once("java-clients", sources, make)
