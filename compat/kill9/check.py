"""Reads the topic from its beginning to its end, and commits that end for the group; prints what it saw as JSON.

{"committed": [offset or null of each partition, before this run's commit], "ends": [records of each partition],
 "wrong": the first records that are not what belongs at their offset}
"""
import json
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

COORDINATOR_COMES = (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE,
                     KafkaError.COORDINATOR_LOAD_IN_PROGRESS)


def patient(call, limit=60):
    """The call's value, asked again while the group's coordinator is on its way."""
    end = time.monotonic() + limit
    while True:
        try:
            return call()
        except KafkaException as err:
            if err.args[0].code() not in COORDINATOR_COMES or time.monotonic() > end:
                raise
            time.sleep(0.1)


broker, topic, partitions, group = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
consumer = Consumer({"bootstrap.servers": broker, "group.id": group, "enable.auto.commit": False, "check.crcs": True})
each = range(partitions)
found = patient(lambda: consumer.committed([TopicPartition(topic, p) for p in each], timeout=60))
committed = [p.offset if p.offset >= 0 else None for p in found]
ends = [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=60)[1] for p in each]
consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in each])
at, wrong, silent = [0] * partitions, [], 0
while any(at[p] < ends[p] for p in each) and silent < 20 and len(wrong) < 5:
    records = consumer.consume(10_000, 1.0)
    silent = 0 if records else silent + 1
    for r in records:
        if r.error():
            wrong.append(str(r.error()))
            continue
        p = r.partition()
        if r.offset() != at[p] or r.value() != b"%d:%d" % (p, at[p]):
            wrong.append(f"partition {p}: {r.value()!r} at offset {r.offset()}, wanted {p}:{at[p]} at {at[p]}")
        at[p] = r.offset() + 1
if any(at[p] < ends[p] for p in each):
    wrong.append(f"read up to {at} of {ends}")
patient(lambda: consumer.commit(offsets=[TopicPartition(topic, p, ends[p]) for p in each], asynchronous=False))
consumer.close()
print(json.dumps({"committed": committed, "ends": ends, "wrong": wrong[:5]}))
