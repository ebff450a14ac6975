"""What the Python clients of the checker have in common: how they speak, and how a transaction ends."""
import signal
import sys
import time

from confluent_kafka import KafkaException, Producer

# Patient producers get through a broker's restart; hasty ones give up in between, and their transactions time out.
PATIENT = {"transaction.timeout.ms": 8000, "socket.timeout.ms": 5000}
HASTY = {"transaction.timeout.ms": 2000, "socket.timeout.ms": 1000, "message.timeout.ms": 1500, "request.timeout.ms": 1000}
COMMON = {"reconnect.backoff.max.ms": 200, "topic.metadata.refresh.interval.ms": 1000}
PATIENCE = 60       # seconds without an end of any call
stop = []


def until_terminated():
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))


def alive():
    """To be said again and again: who does not, is ended by the system, as if it were killed.

    librdkafka 2.16.0 sometimes waits in send_offsets_to_transaction for ever, with no request under way.
    """
    signal.alarm(PATIENCE)


def say(*words):
    """One line, with the time before it that all processes of the machine share.

    In one write: a line is said whole or not at all, however this process ends and whatever PYTHONUNBUFFERED says.
    """
    sys.stdout.write(" ".join((str(time.monotonic_ns()), *map(str, words))) + "\n")
    sys.stdout.flush()


def producer(broker, name, patience):
    """A producer that may begin; None when there is no more time for that."""
    made = Producer({"bootstrap.servers": broker, "transactional.id": name, "linger.ms": 1, **COMMON, **patience})
    while not stop:
        try:
            made.init_transactions(10)
            return made
        except KafkaException as err:
            if err.args[0].retriable():
                continue
            if err.args[0].fatal():
                raise
            time.sleep(0.2)
    return None


def commit(client):
    """Commits, however often it has to be asked."""
    while True:
        try:
            return client.commit_transaction(10)
        except KafkaException as err:
            if not err.args[0].retriable():
                raise


def abort(client):
    """Aborts; whether the producer can go on.

    librdkafka 2.16.0 forgets what it has not got an answer for, also what the broker has, and gives its sequence numbers to
    the next transaction: the broker takes that for a repetition, and it is lost. So all is sent first, or the producer ends.
    """
    left = client.flush(5)
    client.abort_transaction(10)
    return left == 0


def aborted(client, err):
    """Whether the transaction that failed in this way is aborted. The producer ends with it: see `abort`."""
    if not err.args[0].txn_requires_abort():
        return False
    try:
        client.abort_transaction(30)
        return True
    except KafkaException:
        return False
