"""Consumes, transforms and produces in transactions: each record of the input comes into the same partition of the output.

    transform.py BROKER INPUT OUTPUT PARTITIONS NAME SEED GROUP

Prints one line for each transaction: 'committed N', 'aborted N', 'failed'. Ends at SIGTERM. TransformWorker.java does the
same with the Java client.
"""
import random
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

import clients
from clients import say, stop

broker, source, target, partitions, name, seed, group = sys.argv[1:]
some = random.Random(f"{seed}/{name}")
batch = []      # consumed, and not yet part of a transaction


def member():
    made = Consumer({"bootstrap.servers": broker, "group.id": group, "enable.auto.commit": False, "fetch.wait.max.ms": 50,
                     "isolation.level": "read_committed", "auto.offset.reset": "earliest", "session.timeout.ms": 6000,
                     "heartbeat.interval.ms": 1000, **clients.COMMON})
    # What was consumed under an assignment that is gone belongs to whoever has the partition next.
    made.subscribe([source], on_assign=lambda *_: batch.clear(), on_revoke=lambda *_: batch.clear(),
                   on_lost=lambda *_: batch.clear())
    return made


def consume(consumer):
    """Up to a few records of the present assignment."""
    batch.clear()
    for _ in range(some.randint(1, 40)):
        record = consumer.poll(0.05)
        if record is None:
            break
        if not record.error():
            batch.append(record)


def transaction(client, consumer):
    """Turns the batch into output; whether the client can go on."""
    offsets = {record.partition(): record.offset() + 1 for record in batch}
    try:
        client.begin_transaction()
        for record in batch:
            client.produce(target, record.value(), partition=record.partition())
        client.send_offsets_to_transaction([TopicPartition(source, p, offset) for p, offset in offsets.items()],
                                           consumer.consumer_group_metadata(), 10)
        if some.random() < 0.85:
            clients.commit(client)
            say("committed", len(batch))
            return True
        whole = clients.abort(client)
        say("aborted", len(batch))
        return whole and rewind(consumer)
    except KafkaException as err:
        say("failed", err)
        clients.aborted(client, err)
        return False


def rewind(consumer):
    """Back to what is committed; when that cannot be had the caller begins anew."""
    try:
        for place in consumer.committed(consumer.assignment(), 10):
            if place.error:
                return False
            place.offset = place.offset if place.offset >= 0 else OFFSET_BEGINNING
            consumer.seek(place)
        return True
    except KafkaException as err:
        say("failed", err)
        return False


def work():
    """Goes on until something fails for good; then all is to be begun anew."""
    # The producer first: what the one before it left open is decided before the committed offsets are asked for.
    client = clients.producer(broker, name, clients.PATIENT)
    if client is None:
        return
    consumer = member()
    try:
        while not stop:
            clients.alive()
            consume(consumer)
            if batch and not transaction(client, consumer):
                return
    finally:
        consumer.close()


clients.until_terminated()
while not stop:
    try:
        work()
    except KafkaException as err:
        say("failed", err)
