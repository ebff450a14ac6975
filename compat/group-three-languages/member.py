"""A consumer group member on librdkafka: prints each record as 'Partition:P<tab>Offset:O<tab>VALUE'."""
import signal
import sys

from confluent_kafka import Consumer

broker, group, topic = sys.argv[1:]
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
consumer = Consumer({
    "bootstrap.servers": broker, "group.id": group, "client.id": "python-member", "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 500, "auto.offset.reset": "earliest", "auto.commit.interval.ms": 200,
    "partition.assignment.strategy": "range",
})
consumer.subscribe([topic])
while not stop:
    record = consumer.poll(0.2)
    if record is None:
        continue
    if record.error():
        print(f"error {record.error()}", flush=True)
        continue
    print(f"Partition:{record.partition()}\tOffset:{record.offset()}\t{record.value().decode()}", flush=True)
consumer.close()
