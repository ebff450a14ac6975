"""A broker under test: Dohle or Apache Kafka, one combined node on free loopback ports with a data directory of its own."""
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import time

from . import cache, kafka
from .process import Failed, call, kill_group, must

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
}
API_VERSIONS_V0 = struct.pack(">ihhih", 10, 18, 0, 7, -1)
PORTS = range(24000, 25000)
GIVEN = set()
STOP_LIMIT = 60
TICKS = os.sysconf("SC_CLK_TCK")
QUICK = ["-XX:TieredStopAtLevel=1"]


def free_ports(count):
    """Ports nobody listens on, below those that the system gives to clients: a restarted broker finds its own again. No port
    is given twice: who got it may not listen yet, or not at the moment."""
    found = []
    for port in random.sample(PORTS, len(PORTS)):
        if port in GIVEN:
            continue
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        GIVEN.add(port)
        if len(found) == count:
            return found
    raise Failed(f"no {count} free ports in {PORTS}")


def answers(port, limit=2.0):
    """Whether the broker answers an ApiVersions request."""
    try:
        with socket.create_connection(("127.0.0.1", port), limit) as s:
            s.settimeout(limit)
            s.sendall(API_VERSIONS_V0)
            return len(s.recv(8)) == 8
    except OSError:
        return False


class Broker:
    """What both have in common; a subclass gives the command and prepares the directory."""

    kind = ""
    secured = False  # whether it runs with an authorizer, and SASL and TLS listeners
    start_limit = 60

    def __init__(self, folder, settings=()):
        self.folder = pathlib.Path(folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.properties = self.folder / "server.properties"
        self.port, self.controller_port = free_ports(2)
        self.address = f"127.0.0.1:{self.port}"
        self.sasl_address = self.ssl_address = self.certificates = None
        self.settings = {**SETTINGS, **self.listeners(), "log.dirs": str(self.data), **dict(settings)}
        self.process = None

    def listeners(self):
        return {
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
        }

    def command(self):
        raise NotImplementedError

    def prepare(self):
        self.properties.write_text("".join(f"{k}={v}\n" for k, v in self.settings.items()))

    def launch(self):
        """Starts the process without waiting for it to answer; the time at which that was."""
        self.prepare()
        argv = self.command()
        begin = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(a) for a in argv], cwd=self.folder, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        return begin

    def start(self):
        """Starts the broker and waits until it answers; the seconds that took."""
        begin = self.launch()
        while not answers(self.port):
            if not self.alive() or time.monotonic() - begin > self.start_limit:
                self.kill()
                raise Failed(f"{self.kind} does not answer at {self.address}; its log ends:\n{self.log_tail()}")
            time.sleep(0.002)
        return time.monotonic() - begin

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        """SIGTERM; True when the broker went down by itself in time and without an error."""
        if not self.alive():
            return False
        self.process.terminate()
        try:
            status = self.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            status = None
        self.kill()
        return status in (0, 128 + signal.SIGTERM)  # a JVM that SIGTERM ends exits with 143

    def kill(self):
        """kill -9."""
        if self.process:
            kill_group(self.process)
            self.process = None

    def resident_bytes(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise Failed("the process has no VmRSS")

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, lines=8):
        return "\n".join(self.log_text().splitlines()[-lines:])


class Dohle(Broker):
    """`dohle serve FILE`, with the plaintext listener: it formats an empty directory by itself."""

    kind = "dohle"
    binary = None

    def command(self):
        return [self.binary, "serve", self.properties]


class Kafka(Broker):
    """Apache Kafka 4.3.0 with all that the clients' own suites ask for: SASL and TLS listeners and an authorizer."""

    kind = "kafka"
    secured = True
    options = ()  # of the JVM
    start_limit = 180
    SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    PLAIN = {"adminplain": "admin-secret", "testuser": "testpass", "alice": "alice-secret"}
    SCRAM_USERS = [("SCRAM-SHA-256", "adminscram256", "admin-secret-256"), ("SCRAM-SHA-256", "testuser", "testpass"),
                   ("SCRAM-SHA-512", "adminscram512", "admin-secret-512"), ("SCRAM-SHA-256", "alice", "alice-secret"),
                   ("SCRAM-SHA-512", "alice", "alice-secret")]

    def listeners(self):
        sasl, ssl = free_ports(2)
        self.sasl_address, self.ssl_address = f"127.0.0.1:{sasl}", f"127.0.0.1:{ssl}"
        self.certificates = self.folder / "tls"
        plain = " ".join(f'user_{user}="{password}"' for user, password in self.PLAIN.items())
        both = super().listeners()
        more = f",SASL_PLAINTEXT://{self.sasl_address},SSL://{self.ssl_address}"
        return {
            **both,
            "listeners": both["listeners"] + more,
            "advertised.listeners": both["advertised.listeners"] + more,
            "listener.security.protocol.map": both["listener.security.protocol.map"]
            + ",SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": f"{self.certificates}/server.pem",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config": self.SCRAM,
            "listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config": self.SCRAM,
            "listener.name.sasl_plaintext.plain.sasl.jaas.config":
                f"org.apache.kafka.common.security.plain.PlainLoginModule required {plain};",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:adminplain;User:adminscram256;User:adminscram512",
            "allow.everyone.if.no.acl.found": "true",
        }

    def prepare(self):
        super().prepare()
        if self.data.exists():
            return
        make_certificates(self.certificates)
        scram = [word for mechanism, user, password in self.SCRAM_USERS
                 for word in ("--add-scram", f"{mechanism}=[name={user},password={password}]")]
        result = call([*kafka.command("storage"), "format", "-t", "c29tZS1jbHVzdGVyLWlkMQ", "-c", self.properties, *scram],
                      120, merge=True)
        if result.status != 0:
            raise Failed(f"kafka-storage format: {result.output.decode('utf-8', 'replace')[-800:]}")

    def quick(self):
        """Starts in a third of the time, without a second compiler: for a node that does little before it is stopped."""
        self.options = [*QUICK, f"-XX:SharedArchiveFile={archive()}", "-Xshare:auto"]
        return self

    def command(self):
        return kafka.broker_command(self.properties, self.options)


def archive():
    """Class data of a broker's start and stop."""
    def make(folder):
        node = Kafka(folder / "node")
        node.options, node.start_limit = [*QUICK, f"-XX:ArchiveClassesAtExit={folder}/broker.jsa"], 300
        node.start()
        node.stop()
        shutil.rmtree(node.folder)
    return cache.once("kafka-broker-archive", (kafka.POM.read_text(), QUICK), make) / "broker.jsa"


class PlainKafka(Kafka):
    """Apache Kafka with the plaintext listener alone and no authorizer, as Dohle runs."""

    secured = False
    listeners = Broker.listeners

    def prepare(self):
        Broker.prepare(self)
        if not self.data.exists():
            must([*kafka.command("storage"), "format", "-t", "c29tZS1jbHVzdGVyLWlkMQ", "-c", self.properties], 120)


class Floor(Broker):
    """`dohle floor`: it needs no settings, and SIGTERM ends it."""

    kind = "floor"
    options = ()

    def command(self):
        return [Dohle.binary, "floor", "--listen", self.address, "--folder", self.folder, *self.options]


class BareFloor(Floor):
    """Nothing but what no broker can save."""

    options = ("--bare",)


def pinned(kind, cores):
    """The same kind of broker on these cores alone, a list as taskset takes it."""
    class Pinned(kind):
        def command(self):
            return ["taskset", "-c", str(cores), *super().command()]
    return Pinned


def make_certificates(folder):
    """A certificate authority (ca.pem) and a key with a certificate for localhost signed by it (server.pem)."""
    folder.mkdir(exist_ok=True)
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    for words in (
        "req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=suite-ca -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 -out server.crt -extfile names",
        "pkcs8 -topk8 -nocrypt -in server.key -out server.p8",
    ):
        result = call(["openssl", *words.split()], 60, cwd=folder)
        if result.status != 0:
            raise Failed(f"openssl {words}: {result.errors.decode('utf-8', 'replace')[-500:]}")
    parts = [(folder / name).read_text() for name in ("server.p8", "server.crt", "ca.pem")]
    (folder / "server.pem").write_text("".join(parts))


KINDS = {Dohle.kind: Dohle, Kafka.kind: Kafka}
