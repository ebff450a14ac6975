"""What a client does to a broker on a full disk. `client.py BROKER ACTION TOPIC [...]`; prints what it saw as JSON."""
import json
import sys
import time

from confluent_kafka import (OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer,
                             TopicPartition)
from confluent_kafka.admin import AdminClient, NewTopic

broker, action, topic, *rest = sys.argv[1:]
SIZE = 100_000
admin = AdminClient({"bootstrap.servers": broker})


def consumer(group="reader"):
    return Consumer({"bootstrap.servers": broker, "group.id": group, "enable.auto.commit": False, "check.crcs": True})


def end_of(reader):
    return reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)


def fill(count):
    """One record after another, without a retry, up to the first error."""
    producer = Producer({"bootstrap.servers": broker, "acks": "all", "message.send.max.retries": 0, "linger.ms": 0,
                         "topic.metadata.refresh.interval.ms": 1000})
    seen = {"acknowledged": 0, "error": None, "retriable": None}

    def delivered(error, _):
        if error is None:
            seen["acknowledged"] += 1
        elif seen["error"] is None:
            seen["error"], seen["retriable"] = error.name(), error.code() == KafkaError.KAFKA_STORAGE_ERROR

    for n in range(int(count)):
        producer.produce(topic, (b"%d:" % n).ljust(SIZE, b"x"), partition=0, on_delivery=delivered)
        producer.flush(30)
        if seen["error"]:
            break
    return seen


def write(count):
    """So many records, tried again for as long as it takes."""
    errors = []
    producer = Producer({"bootstrap.servers": broker, "acks": "all", "enable.idempotence": True, "retry.backoff.ms": 200,
                         "message.timeout.ms": 60_000})
    for n in range(int(count)):
        producer.produce(topic, (b"%d:" % n).ljust(SIZE, b"x"), partition=0,
                         on_delivery=lambda error, _: errors.append(str(error)) if error else None)
    left = producer.flush(80)
    assert not errors and left == 0, (errors[:3], left)
    return {}


def read():
    reader = consumer()
    low, high = end_of(reader)
    reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    offsets, silent = [], 0
    while len(offsets) < high - low and silent < 20:
        found = reader.consume(100, 1.0)
        silent = 0 if found else silent + 1
        for record in found:
            assert record.error() is None, record.error()
            assert len(record.value()) == SIZE, len(record.value())
            offsets.append(record.offset())
    reader.close()
    return {"records": len(offsets), "in_order": offsets == list(range(low, high))}


def commit(group):
    reader, until = consumer(group), time.monotonic() + 30
    _, high = end_of(reader)
    while True:
        try:
            reader.commit(offsets=[TopicPartition(topic, 0, high)], asynchronous=False)
            break
        except KafkaException:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
    reader.close()
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
    return {"committed": asked[group].result(30).topic_partitions[0].offset}


def create():
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    return {"created": topic in admin.list_topics(timeout=30).topics}


def delete_topic():
    admin.delete_topics([topic])[topic].result(30)
    return {}


def delete_records():
    reader = consumer()
    _, high = end_of(reader)
    reader.close()
    partition = TopicPartition(topic, 0, high - 20)
    for future in admin.delete_records([partition]).values():
        future.result(30)
    return {}


actions = {"fill": fill, "write": write, "read": read, "commit": commit, "create": create, "delete-topic": delete_topic,
           "delete-records": delete_records}
print(json.dumps(actions[action](*rest)))
