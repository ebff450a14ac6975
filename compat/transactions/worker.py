"""A transactional producer that goes on whatever happens to the broker, and says what it does.

Each transaction writes a few values to a few partitions, and is then committed, aborted or left open (a crash).
Lines: 'begin T', 'write T P VALUE', 'commit T', 'committed T', 'abort T', 'aborted T', 'unknown T' (nobody can know), 'end'.
Ends at SIGTERM.
"""
import random
import signal
import sys

from confluent_kafka import KafkaException, Producer

broker, topic, partitions, name, incarnation = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
some = random.Random(f"{sys.argv[6]}/{name}/{incarnation}")
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
number = 0


def say(*words):
    # In one write: a line is said whole or not at all, however this process ends and whatever PYTHONUNBUFFERED says.
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def producer():
    made = Producer({"bootstrap.servers": broker, "transactional.id": name, "transaction.timeout.ms": 8000,
                     "linger.ms": 1, "reconnect.backoff.max.ms": 200, "topic.metadata.refresh.interval.ms": 1000,
                     "socket.timeout.ms": 5000})
    while not stop:
        try:
            made.init_transactions(10)
            return made
        except KafkaException as err:
            if not err.args[0].retriable():
                raise
    return None


def transaction(client):
    """One transaction; whether the client can go on."""
    global number
    number += 1
    t = f"{name}:{incarnation}:{number}"
    say("begin", t)
    client.begin_transaction()
    count = some.randint(1, 6)
    for n in range(count):
        p = some.randrange(partitions)
        value = f"{t}:{n}"
        say("write", t, str(p), value)
        client.produce(topic, value, partition=p)
        client.poll(0)
        if some.random() < 0.1:
            client.flush(5)
    commit = some.random() < 0.75
    try:
        if commit:
            say("commit", t)
            while True:
                try:
                    client.commit_transaction(10)
                    break
                except KafkaException as err:
                    if not err.args[0].retriable():
                        raise
            say("committed", t)
        else:
            say("abort", t)
            client.abort_transaction(10)
            say("aborted", t)
        return True
    except KafkaException as err:
        if err.args[0].txn_requires_abort():
            try:
                client.abort_transaction(30)
                say("aborted", t)
                return True
            except KafkaException:
                pass
        say("unknown", t)
        return False


client = producer()
while client and not stop:
    try:
        if not transaction(client):
            client = producer()
    except KafkaException as err:
        # Fenced by its own next incarnation, or fatal otherwise: what was open comes to nothing or is already decided.
        say("unknown", f"{name}:{incarnation}:{number}")
        client = producer()
say("end")
