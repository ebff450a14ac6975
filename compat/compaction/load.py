"""Keyed records, and what is left of them. Record N of a key drawn by a seed has the value 'N:' and padding, or is a tombstone.

load.py produce BROKER TOPIC FIRST COUNT KEYS SIZE SEED   writes records FIRST to FIRST+COUNT in that order
load.py check BROKER TOPIC COUNT KEYS SEED CLEANED        reads all; prints what differs from the model, and counts
"""
import json
import random
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

TOMBSTONE_EVERY = 11


def keys(seed, count):
    """The key of each record, in turn."""
    some = random.Random(seed)
    while True:
        yield some.randrange(count)


def is_tombstone(n):
    return n % TOMBSTONE_EVERY == 0


def produce(broker, topic, first, count, key_count, size, seed):
    producer = Producer({"bootstrap.servers": broker, "acks": "all", "linger.ms": 5, "batch.size": 65536,
                         "queue.buffering.max.messages": 200000, "queue.buffering.max.kbytes": 200000})
    failed = []
    padding = "x" * size
    for n, key in zip(range(first + count), keys(seed, key_count)):
        if n < first:
            continue
        value = None if is_tombstone(n) else f"{n}:{padding}"
        while True:
            try:
                producer.produce(topic, key=str(key), value=value, partition=0,
                                 on_delivery=lambda error, _: error and failed.append(str(error)))
                break
            except BufferError:
                producer.poll(0.05)
        if n % 1000 == 0:
            producer.poll(0)
    producer.flush(120)
    print(json.dumps({"failed": failed[:3]}))


def read(broker, topic):
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "unused", "enable.auto.commit": False,
                         "enable.partition.eof": True, "check.crcs": True, "queued.max.messages.kbytes": 65536})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    while True:
        for record in consumer.consume(1000, 10):
            if record.error():
                return
            yield record.offset(), int(record.key()), record.value()


def check(broker, topic, count, key_count, seed, cleaned):
    last = {}
    for n, key in zip(range(count), keys(seed, key_count)):
        last[key] = n
    wrong, table, seen, tombstones, records, end = [], {}, set(), 0, 0, -1
    for offset, key, value in read(broker, topic):
        records += 1
        if offset <= end:
            wrong.append(f"offset {offset} behind {end}")
        end = offset
        if offset < cleaned:
            if key in seen:
                wrong.append(f"key {key} twice below {cleaned}, again at {offset}")
            seen.add(key)
            tombstones += value is None
        # The one partition has the records at the offsets of their numbers.
        if value is not None and not value.startswith(b"%d:" % offset):
            wrong.append(f"offset {offset} has {value[:20]}")
        table[key] = (offset, value is None)
    table = {key: offset for key, (offset, gone) in table.items() if not gone}
    model = {key: n for key, n in last.items() if not is_tombstone(n)}
    if table != model:
        differ = [key for key in {**table, **model} if table.get(key) != model.get(key)]
        wrong.append(f"{len(differ)} keys differ: {[(k, table.get(k), model.get(k)) for k in differ[:3]]} (key, there, model)")
    print(json.dumps({"wrong": wrong[:5], "records": records, "keys": len(table), "tombstones": tombstones}))


act, broker, topic, *numbers = sys.argv[1:]
{"produce": produce, "check": check}[act](broker, topic, *map(int, numbers))
