"""Prints 'KEY VALUE' of each committed record of a topic, as far as it is stable now."""
import sys

from confluent_kafka import Consumer, TopicPartition

broker, topic, partitions = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = Consumer({"bootstrap.servers": broker, "group.id": "none", "enable.auto.commit": False,
                   "isolation.level": "read_committed", "auto.offset.reset": "earliest", "enable.partition.eof": True})
client.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
left = set(range(partitions))
while left:
    record = client.poll(1)
    if record is None:
        continue
    if record.error():
        left.discard(record.partition())
    else:
        print(record.key().decode(), record.value().decode())
client.close()
