"""Kafka Connect's workers from the released jars, and what one says over REST."""
import json
import pathlib
import subprocess
import urllib.error
import urllib.request

from harness import broker, cache, kafka
from harness.process import kill_group, must, until

POM = pathlib.Path(__file__).parent / "pom.xml"
MAIN = {"standalone": "org.apache.kafka.connect.cli.ConnectStandalone", "distributed": "org.apache.kafka.connect.cli.ConnectDistributed"}
STARTS = 180  # seconds until its REST server answers, at most
WAIT = 120    # seconds for what it was asked for


def jars():
    def make(folder):
        must(["mvn", "-q", "-B", "-f", POM, "dependency:copy-dependencies", f"-DoutputDirectory={folder}/libs"])
        (folder / "log4j2.properties").write_text(kafka.LOG4J)
    return cache.once("connect-4.3.0", (POM.read_text(), kafka.LOG4J), make)


class Worker:
    """A worker process with a REST port on loopback, the same one at each start."""

    def __init__(self, suite, name, mode, settings, connectors=()):
        self.name, self.process, self.log = name, None, suite.logs / f"{name}.log"
        self.port, = broker.free_ports(1)
        self.id = f"127.0.0.1:{self.port}"
        folder = suite.work / name
        folder.mkdir()
        files = [folder / "worker.properties", *(folder / f"{c['name']}.properties" for c in connectors)]
        common = {"listeners": f"http://{self.id}", "plugin.discovery": "service_load", "offset.flush.interval.ms": "500"}
        for file, values in zip(files, [{**common, **settings}, *connectors]):
            file.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]
        self.argv = [*kafka.java(jars(), options), MAIN[mode], *map(str, files)]

    def launch(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def ready(self):
        until(lambda: self.alive() and self.get("/") is not None, STARTS, f"{self.name} answers", 0.1)

    def start(self):
        self.launch()
        self.ready()

    def alive(self):
        assert self.process is not None and self.process.poll() is None, f"{self.name} is gone: {self.log.read_text()[-300:]}"
        return True

    def kill(self):
        """kill -9."""
        if self.process:
            kill_group(self.process)
            self.process = None

    def stop(self):
        """SIGTERM; whether the worker went down by itself. A JVM that SIGTERM ends exits with 143."""
        self.process.terminate()
        try:
            return self.process.wait(WAIT) in (0, 143)
        except subprocess.TimeoutExpired:
            return False
        finally:
            self.kill()

    # ---- REST

    def request(self, method, path, body=None):
        """The status, and the JSON of the answer."""
        request = urllib.request.Request(f"http://{self.id}{path}", method=method, headers={"Content-Type": "application/json"},
                                         data=None if body is None else json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                text, status = answer.read(), answer.status
        except urllib.error.HTTPError as err:
            text, status = err.read(), err.code
        return status, json.loads(text) if text else None

    def get(self, path):
        """The answer, or None where there is none now: the worker starts, or its group rebalances."""
        try:
            status, answer = self.request("GET", path)
        except (OSError, ValueError):
            return None
        return answer if status == 200 else None

    def configure(self, connector):
        """Creates or changes a connector. A worker whose group rebalances refuses with a 409 or times out with a 500."""
        def done():
            status, answer = self.request("PUT", f"/connectors/{connector['name']}/config", connector)
            assert status in (200, 201, 409, 500), answer
            return status in (200, 201)
        until(done, WAIT, f"connector {connector['name']} is taken", 0.5)

    def task(self, connector):
        """(state, worker) of the connector's one task, or None."""
        status = self.get(f"/connectors/{connector}/status")
        tasks = status["tasks"] if status else []
        return (tasks[0]["state"], tasks[0]["worker_id"], tasks[0].get("trace", "")) if tasks else None

    def running(self, connector):
        """The id of the worker that runs the connector's task."""
        def there():
            task = self.task(connector)
            assert not task or task[0] != "FAILED", f"{connector}: {task[2][:1000]}"
            return task[1] if task and task[0] == "RUNNING" else None
        return until(there, WAIT, f"{connector}'s task runs", 0.2)
