"""Reads a topic's partitions, or how far they and a group have come.

    reader.py BROKER TOPIC PARTITIONS live read_committed             'TIME P OFFSET VALUE' for each record until SIGTERM
    reader.py BROKER TOPIC PARTITIONS all read_committed|...          'TIME P OFFSET VALUE' for each record up to the ends
    reader.py BROKER TOPIC PARTITIONS ends                            'P STABLE HIGH': last stable offset, high watermark
    reader.py BROKER TOPIC PARTITIONS offsets GROUP                   'P OFFSET': what the group has committed, -1 for nothing
"""
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

import clients

broker, topic, partitions, mode = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
argument = sys.argv[5] if len(sys.argv) > 5 else "none"
PATIENCE = 30


def consumer(isolation, group="none"):
    return Consumer({"bootstrap.servers": broker, "group.id": group, "enable.auto.commit": False,
                     "isolation.level": isolation, "auto.offset.reset": "error", "enable.partition.eof": mode == "all",
                     "fetch.wait.max.ms": 50, **clients.COMMON})


def read():
    client = consumer(argument)
    client.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    left = set(range(partitions))
    while left and not clients.stop:
        record = client.poll(0.2)
        if record is None:
            continue
        if not record.error():
            clients.say(record.partition(), record.offset(), record.value().decode())
        elif record.error().code() == KafkaError._PARTITION_EOF:
            left.discard(record.partition())
        elif record.error().fatal() or record.error().code() == KafkaError._AUTO_OFFSET_RESET:
            raise KafkaException(record.error())    # all others pass: the client tries again by itself
    client.close()


def ends():
    committed, plain = consumer("read_committed"), consumer("read_uncommitted")
    for p in range(partitions):
        of = TopicPartition(topic, p)
        print(p, committed.get_watermark_offsets(of, timeout=PATIENCE)[1], plain.get_watermark_offsets(of, timeout=PATIENCE)[1])


def offsets():
    client = consumer("read_committed", argument)
    for place in client.committed([TopicPartition(topic, p) for p in range(partitions)], PATIENCE):
        if place.error:
            raise KafkaException(place.error)
        print(place.partition, max(place.offset, -1))


clients.until_terminated()
{"live": read, "all": read, "ends": ends, "offsets": offsets}[mode]()
