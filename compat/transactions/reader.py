"""Reads all partitions and prints 'P OFFSET VALUE' for each record.

With 'live' it reads committed records until SIGTERM; with 'all' it reads once to the ends, committed or not, as its last
argument says, and then prints 'end P STABLE HIGH', the last stable offset and the high watermark.
"""
import signal
import sys

from confluent_kafka import Consumer, TopicPartition

broker, topic, partitions, mode, isolation = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(True))


def consumer(isolation):
    return Consumer({"bootstrap.servers": broker, "group.id": "none", "enable.auto.commit": False,
                     "isolation.level": isolation, "auto.offset.reset": "earliest", "reconnect.backoff.max.ms": 200,
                     "enable.partition.eof": mode == "all", "topic.metadata.refresh.interval.ms": 1000,
                     "fetch.wait.max.ms": 50})


client = consumer(isolation)
client.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
left = set(range(partitions))
while not stop and left:
    record = client.poll(0.2)
    if record is None:
        continue
    if record.error():
        if mode == "all":
            left.discard(record.partition())
        continue
    # In one write: who is killed has said a line whole or not at all.
    sys.stdout.write(f"{record.partition()} {record.offset()} {record.value().decode()}\n")
    if mode == "live":
        sys.stdout.flush()
if mode == "all":
    plain = consumer("read_uncommitted")
    for p in range(partitions):
        stable = client.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1]
        high = plain.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1]
        print("end", p, stable, high)
    plain.close()
client.close()
