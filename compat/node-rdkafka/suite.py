"""node-rdkafka 3.6.1's own end-to-end tests (in its npm package), on the librdkafka 2.12.0 in that package.

The suite makes the topics test, test2 ... test6 itself. The first run compiles librdkafka and the binding: it needs Node
with its headers, npm, a C++ compiler and make, and takes some minutes of two cores.
Each test but those of transactions runs in a mocha of its own: a client that does not come down takes the rest along.
"""
import json
import pathlib
import re
import shutil

from harness import cache
from harness.process import call, must

LIMIT = 2400
VERSION = "3.6.1"
PINS = ("bindings@1.5.0", "nan@2.24.0", "mocha@10.8.2", "bluebird@3.7.2")
REPORTER = r"""
const fs = require('fs')
const { EVENT_TEST_PASS, EVENT_TEST_FAIL, EVENT_TEST_PENDING } = require('mocha').Runner.constants
module.exports = function (runner) {
  const file = process.env.SUITE_FILE
  const emit = (status, test, err) => fs.appendFileSync(process.env.REPORT_FILE,
    [status, `${file} > ${test.fullTitle()}`, String(err && err.message || '')].map(x => x.replace(/\s+/g, ' ')).join('\t') + '\n')
  runner.on(EVENT_TEST_PASS, t => emit('PASS', t))
  runner.on(EVENT_TEST_FAIL, (t, e) => t.type !== 'hook' && emit('FAIL', t, e))
  runner.on(EVENT_TEST_PENDING, t => emit('SKIP', t))
}
"""
TOPICS = r"""
const Kafka = require('./')
const names = ['test', 'test2', 'test3', 'test4', 'test5', 'test6']
const admin = Kafka.AdminClient.create({ 'bootstrap.servers': process.env.KAFKA_HOST })
const each = (f) => Promise.all(names.map(n => new Promise((ok, no) => f(n, ok, no))))
const sleep = ms => new Promise(r => setTimeout(r, ms))
async function main () {
  await each((n, ok) => admin.deleteTopic(n, 20000, () => ok()))
  for (let left = 20; ; left--) {
    await sleep(500)
    try {
      await each((n, ok, no) => admin.createTopic({ topic: n, num_partitions: 1, replication_factor: 1 }, 20000,
        e => e && e.code !== 36 ? no(e) : ok()))
      break
    } catch (e) { if (!left) throw e }
  }
  await sleep(500)
  admin.disconnect()
  process.exit(0)
}
main().catch(e => { console.error(e); process.exit(1) })
"""


def install(folder):
    must(["npm", "pack", "--silent", f"node-rdkafka@{VERSION}"], cwd=folder)
    shutil.unpack_archive(next(folder.glob("*.tgz")), folder)
    package = folder / "package"
    described = json.loads((package / "package.json").read_text())
    (package / "package.json").write_text(json.dumps({**described, "devDependencies": {}}))
    must(["npm", "install", "--no-save", "--silent", "--ignore-scripts", *PINS], cwd=package)
    # Configured by hand first: with two jobs the package's own rules begin to compile before that is done.
    must(["node", "../util/configure"], cwd=package / "deps")
    gyp = pathlib.Path(must(["npm", "root", "-g"]).splitlines()[-1]) / "npm/node_modules/node-gyp/bin/node-gyp.js"
    headers = [f"--nodedir={n}" for n in ("/usr", "/usr/local") if pathlib.Path(n, "include/node/node.h").exists()][:1]
    must(["node", gyp, "rebuild", "-j", "2", *headers], cwd=package, limit=3000)


def run(suite):
    package = cache.once(f"node-rdkafka-{VERSION}", PINS, install) / "package"
    (suite.work / "report.js").write_text(REPORTER)
    (package / "suite-topics.js").write_text(TOPICS)
    env = {"KAFKA_HOST": suite.broker.address, "NODE_PATH": str(package / "node_modules")}
    must(["node", "suite-topics.js"], cwd=package, env=env, limit=120)
    for spec in sorted((package / "e2e").glob("*.spec.js")):
        Spec(suite, package, spec.name, env).run()


class Spec:
    """One file of tests."""

    def __init__(self, suite, package, file, env):
        self.suite, self.package, self.file, self.env = suite, package, file, env
        self.mocha = ["node", package / "node_modules/mocha/bin/mocha.js", "--exit", "--timeout", "30000"]

    def shown(self, title):
        return f"{self.file} > {' '.join(title.split())}"

    def titles(self):
        listing = self.suite.work / f"{self.file}.json"
        must([*self.mocha, "--dry-run", "--reporter", "json", "--reporter-option", f"output={listing}", f"e2e/{self.file}"],
             cwd=self.package, env=self.env, limit=120)
        every = [t["fullTitle"] for t in json.loads(listing.read_text())["tests"]]
        wanted = set(self.suite.wanted([self.shown(t) for t in every]))
        return [t for t in every if self.shown(t) in wanted]

    def run(self):
        titles = self.titles()
        # The tests of transactions build on each other.
        groups = [titles] if "transaction" in self.file and titles else [[t] for t in titles]
        for group in groups:
            outcomes = self.outcomes(group)
            if len(group) == 1 and self.shown(group[0]) not in outcomes:
                outcomes = self.outcomes(group)  # a client that crashes or hangs leaves no result: once more
            for title in group:
                name = self.shown(title)
                self.suite.report.record(name, *outcomes.get(name, ("FAIL", "no result: it crashed or hung")))

    def outcomes(self, group):
        """{name: (status, why)} of one mocha."""
        single = len(group) == 1
        choice = ["--grep", "^" + re.sub(r"([^\w\s])", r"\\\1", group[0]) + "$"] if single else []
        results = self.suite.work / "outcomes.tsv"
        results.write_text("")
        done = call([*self.mocha, "--reporter", self.suite.work / "report.js", *choice, f"e2e/{self.file}"],
                    self.suite.limit(self.shown(group[0]), 90 if single else 200), cwd=self.package, merge=True,
                    env={**self.env, "SUITE_FILE": self.file, "REPORT_FILE": str(results)})
        with open(self.suite.logs / f"{self.file}.log", "ab") as log:
            log.write(done.output)
        rows = (line.split("\t") for line in results.read_text().splitlines())
        return {name: (status, why) for status, name, why in rows}
