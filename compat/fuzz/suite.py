"""Random and mutated frames at the port while another client works: no crash, no growth, the other client unharmed.

20 s, ten minutes with --full. The frames are mutations of what kcat and Kafka's tools sent at the beginning, random ones,
lengths that are not true, and connections that promise much and send little. The seed is printed (--seed); what the clients
sent at the beginning has some chance of its own (ids that the broker gave, times).

Some mutations are valid requests: they create topics of thousands of partitions, which a broker has to remember. So memory
may grow by what the partitions cost that there were at the most (the scale suite holds the broker to that price), and by
a fixed amount for all else.
"""
import contextlib
import os
import pathlib
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness.broker import answers, free_ports  # noqa: E402
from harness.kcat import Kcat, fresh  # noqa: E402
from harness.report import FAIL, PASS  # noqa: E402

from frames import Frames, Tap  # noqa: E402

BROKER = False
LIMIT = 1200
SECONDS = {False: 20, True: 600}
GROWTH_MB = {"dohle": 24, "kafka": 600}  # Kafka's heap fills before it is collected
PARTITION_KB = {"dohle": 4, "kafka": 0}
THREADS = 2
# Connections that announce PROMISED bytes and send none. Kafka reserves all of it at once: it would not live.
PROMISES = {"dohle": 20, "kafka": 0}
PROMISED = 90_000_000
NAMES = ("no-crash", "no-growth", "other-client-unharmed")


def run(suite):
    if not suite.wanted(NAMES):
        return
    port, = free_ports(1)
    suite.broker = suite.new_broker(settings={"advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}"})
    suite.broker.start()
    tap = Tap(port, suite.broker.port)
    try:
        record_real_frames(suite, f"127.0.0.1:{port}")
        attack(suite, tap.taken(), f"127.0.0.1:{port}")
    finally:
        tap.close()


def record_real_frames(suite, address):
    """Clients that send most of what a broker is asked, through the tap."""
    kcat, topic, group = Kcat(address, suite.logs / "kcat.log"), "fuzz-seed", "fuzz-seed-group"
    suite.broker.address = address
    for codec in ("none", "gzip", "zstd"):
        kcat.produce(topic, [f"k{i}:v{i}" for i in range(20)], "-K:", "-z", codec, "-H", "a=b", "-X", "enable.idempotence=true")
    kcat.group(group, topic)
    tools = suite.tools
    tools("console-producer", "--topic", topic, stdin="a\nb\n")
    tools("console-consumer", "--topic", topic, "--group", f"{group}-2", "--from-beginning", "--max-messages", "30",
          "--timeout-ms", "10000")
    tools("topics", "--create", "--topic", f"{topic}-2", "--partitions", "2", "--replication-factor", "1")
    tools("topics", "--describe", "--topic", topic)
    tools("topics", "--alter", "--topic", f"{topic}-2", "--partitions", "3")
    tools("consumer-groups", "--describe", "--group", group)
    tools("consumer-groups", "--list", "--state")
    tools("consumer-groups", "--delete", "--group", group)
    tools("get-offsets", "--topic", topic)
    tools("configs", "--describe", "--all", "--entity-type", "topics", "--entity-name", topic)
    tools("metadata-quorum", "describe", "--status")
    tools("topics", "--delete", "--topic", f"{topic}-2")


def attack(suite, real, address):
    broker, seconds, seed = suite.broker, SECONDS[suite.full], suite.seed
    print(f"{len(real)} frames of {len({body[:4] for body in real})} requests and versions to begin with; seed {seed}", flush=True)
    other = OtherClient(Kcat(address, suite.logs / "other-client.log"))
    before, peak, partitions = broker.resident_bytes(), 0, 0
    stop, sent = threading.Event(), [0] * THREADS
    workers = [threading.Thread(target=shoot, args=(broker.port, Frames(real, seed + n), stop, sent, n)) for n in range(THREADS)]
    workers.append(threading.Thread(target=other.work, args=(stop,)))
    with contextlib.ExitStack() as promises:
        for _ in range(PROMISES[suite.kind]):
            promise = promises.enter_context(socket.create_connection(("127.0.0.1", broker.port), 5))
            promise.sendall(struct.pack(">ihh", PROMISED, 0, 9))
        for worker in workers:
            worker.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end and broker.alive():
            peak = max(peak, broker.resident_bytes())
            partitions = max(partitions, count_partitions(broker))
            stop.wait(0.5)
        stop.set()
        for worker in workers:
            worker.join(60)
    alive = broker.alive() and answers(broker.port)
    suite.report.record("no-crash", PASS if alive else FAIL, f"{sum(sent)} frames in {seconds} s" if alive else broker.log_tail(3))
    grown = (peak - before) / 2**20
    bound = GROWTH_MB[suite.kind] + partitions * PARTITION_KB[suite.kind] / 1024
    suite.report.record("no-growth", PASS if alive and grown < bound else FAIL,
                        f"from {before / 2**20:.0f} MB by {grown:.0f} MB, at most {bound:.0f} with {partitions} partitions")
    done = other.rounds >= 3 and not other.troubles
    suite.report.record("other-client-unharmed", PASS if done else FAIL,
                        f"{other.rounds} rounds, slowest {other.slowest:.1f} s; {'; '.join(other.troubles[:2])}")


def count_partitions(broker):
    """Those with a directory, deleted ones included as long as it is there."""
    return sum(1 for entry in os.scandir(broker.data) if "-" in entry.name and entry.is_dir())


class OtherClient:
    """Produces and reads back its own records, round after round."""

    def __init__(self, kcat):
        self.kcat, self.topic = kcat, fresh("unharmed")
        self.rounds, self.slowest, self.troubles = 0, 0.0, []

    def work(self, stop):
        offset = 0
        while not stop.is_set() and len(self.troubles) < 3:
            begin = time.monotonic()
            want = [f"{self.rounds}-{i}" for i in range(50)]
            try:
                self.kcat.produce(self.topic, want, "-p", "0", "-X", "enable.idempotence=true")
                got = [r["payload"] for r in self.kcat.consume(self.topic, "-p", "0", start=str(offset))]
                assert got == want, f"round {self.rounds}: sent {len(want)} records, read {len(got)}"
            except Exception as err:
                self.troubles.append(f"{type(err).__name__}: {err}")
            offset += len(want)
            self.rounds += 1
            self.slowest = max(self.slowest, time.monotonic() - begin)


def shoot(port, frames, stop, sent, n):
    """Connection after connection, some frames on each; what the broker answers is read and thrown away."""
    while not stop.is_set():
        some = [frames.next() for _ in range(frames.random.randint(1, 8))]
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as s:
                s.settimeout(5)
                for frame in some:
                    s.sendall(frame)
                    sent[n] += 1
                s.settimeout(0.01)
                while s.recv(65536):
                    pass
        except OSError:
            continue  # closed by the broker, or nothing more to read: the next connection
