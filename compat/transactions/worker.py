"""A transactional producer that goes on whatever happens to the broker, and says what it does.

    worker.py BROKER TOPIC PARTITIONS NAME INCARNATION SEED patient|hasty

Each transaction writes a few values to a few partitions, reads along what others have committed, and is then committed,
aborted, or left until it times out. Each line has the time before it: 'begin T', 'write T P VALUE', 'read T P OFFSET VALUE',
'commit T', 'committed T', 'abort T', 'aborted T', 'unknown T' (nobody can know). Ends at SIGTERM. WriteWorker.java does
the same with the Java client.
"""
import random
import sys
import time

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

import clients
from clients import say, stop

broker, topic, partitions, name, incarnation, seed, patience = sys.argv[1:]
partitions = int(partitions)
hasty = patience == "hasty"
settings = clients.HASTY if hasty else clients.PATIENT
some = random.Random(f"{seed}/{name}/{incarnation}")
number = 0


def transaction(client, others):
    """One transaction; whether the client can go on."""
    global number
    number += 1
    t = f"{name}:{incarnation}:{number}"
    say("begin", t)
    client.begin_transaction()
    for n in range(some.randint(1, 6)):
        p, value = some.randrange(partitions), f"{t}:{n}"
        say("write", t, p, value)
        client.produce(topic, value, partition=p)
        client.poll(0)
        if some.random() < 0.1:
            client.flush(5)
    read_along(others, t)
    if hasty and some.random() < 0.05:
        time.sleep(some.uniform(1.0, 4.0))      # about as long as the coordinator waits
    try:
        if some.random() < 0.75:
            say("commit", t)
            clients.commit(client)
            say("committed", t)
            return True
        say("abort", t)
        whole = clients.abort(client)
        say("aborted", t)
        return whole
    except KafkaException as err:
        say("aborted" if clients.aborted(client, err) else "unknown", t)
        return False


def read_along(others, t):
    for record in others.consume(20, 0.02):
        if not record.error():
            say("read", t, record.partition(), record.offset(), record.value().decode())


def committed_by_others():
    made = Consumer({"bootstrap.servers": broker, "group.id": "none", "enable.auto.commit": False, "fetch.wait.max.ms": 50,
                     "isolation.level": "read_committed", "auto.offset.reset": "error", **clients.COMMON})
    made.assign([TopicPartition(topic, p, OFFSET_END) for p in range(partitions)])
    return made


clients.until_terminated()
others = committed_by_others()
client = clients.producer(broker, name, settings)
while client and not stop:
    clients.alive()
    try:
        if not transaction(client, others):
            client = clients.producer(broker, name, settings)
    except KafkaException as err:
        # Fenced by its own next incarnation, or fatal otherwise: what was open comes to nothing or is already decided.
        say("unknown", f"{name}:{incarnation}:{number}")
        client = clients.producer(broker, name, settings)
