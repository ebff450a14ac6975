"""kill -9 with much in the page cache that no fsync has covered: how soon the broker answers again, and that all is there.

100 partitions of 2 MB; with --full of 100 MB. RESTART_MB sets another size. Printed: seconds from the start of the process
to the first answered Fetch and until each partition was read at its end, CPU seconds and memory.
"""
import os
import time

from harness.report import FAIL, PASS
from harness.wire import NONE, TRANSIENT, Client, batch

BROKER = False
LIMIT = 1800
TOPIC, PARTITIONS = "restart", 100
MB = {False: 200, True: 10_240}
BATCH = batch([bytes([65 + n]) * 1000 for n in range(16)])
KILLS = 2


def run(suite):
    broker = suite.new_broker(settings={"log.retention.ms": "-1"})  # the records are dated years ago
    broker.start_limit = 900
    broker.start()
    megabytes = int(os.environ.get("RESTART_MB", MB[suite.full]))
    rounds = megabytes * (1 << 20) // (PARTITIONS * len(BATCH))
    load(broker, rounds)
    for n in range(KILLS):
        broker.kill()
        began = broker.launch()
        while not answers(broker):
            assert broker.alive(), broker.log_tail()
            time.sleep(0.02)
        first = time.monotonic() - began
        offsets = ends(broker)
        wrong = [partition for partition, end in enumerate(offsets) if end != rounds * 16 + n]
        each = time.monotonic() - began
        figures = (f"{megabytes} MB: first Fetch after {first:.1f} s, each partition after {each:.1f} s, "
                   f"{broker.cpu_seconds():.1f} CPU seconds, {broker.resident_bytes() / 2**20:.0f} MB")
        suite.report.record(f"restart-{n + 1}", FAIL if wrong else PASS,
                            f"partitions {wrong[:5]} end elsewhere" if wrong else figures)
        # The next restart has an unclean log as well.
        assert set(Client(broker.port).produce(TOPIC, PARTITIONS, batch([b"after"]))) == {NONE}


def load(broker, rounds):
    client = Client(broker.port)
    assert client.create(TOPIC, PARTITIONS) == NONE
    client.wait_for([(TOPIC, PARTITIONS)])
    for _ in range(rounds):
        errors = set(client.produce(TOPIC, PARTITIONS, BATCH))
        assert errors == {NONE}, f"errors {errors}"
    client.close()


def answers(broker):
    """Whether a Fetch of the first partition is answered with records."""
    try:
        error, size = Client(broker.port).fetch(TOPIC, 0, 0)
    except OSError:
        return False
    assert error in (NONE, *TRANSIENT), f"error {error}"
    return error == NONE and size > 0


def ends(broker):
    """The log end offsets, of partitions whose last record was read."""
    client = Client(broker.port)
    found = client.wait_for([(TOPIC, PARTITIONS)])[TOPIC]
    for partition, end in enumerate(found):
        error, size = client.fetch(TOPIC, partition, end - 1)
        assert (error, size > 0) == (NONE, True), f"{TOPIC}-{partition}: error {error}, {size} bytes"
    return found
