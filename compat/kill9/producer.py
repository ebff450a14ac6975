"""An idempotent acks=all producer that goes on whatever happens to the broker: value P:N is the Nth of partition P.

Prints 'ack P N OFFSET' for each acknowledged record; ends at SIGTERM, when all it sent is acknowledged, with 'sent N N ...'.
"""
import signal
import sys

from confluent_kafka import Producer

broker, topic, partitions = sys.argv[1], sys.argv[2], int(sys.argv[3])
BURST = 20       # records a partition between two looks at the answers
PAUSE = 0.01     # seconds that such a look waits: some thousand records a second, as fast as they can be checked
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
producer = Producer({"bootstrap.servers": broker, "enable.idempotence": True, "acks": "all", "message.timeout.ms": 0,
                     "linger.ms": 2, "reconnect.backoff.max.ms": 200, "topic.metadata.refresh.interval.ms": 1000})


def delivered(error, record):
    if error:
        print(f"error {error}", flush=True)
    else:
        p, n = record.value().decode().split(":")
        print(f"ack {p} {n} {record.offset()}", flush=True)


sent = [0] * partitions
while not stop:
    for p in range(partitions):
        for _ in range(BURST):
            producer.produce(topic, f"{p}:{sent[p]}", partition=p, on_delivery=delivered)
            sent[p] += 1
    producer.poll(PAUSE)
    while len(producer) > 5000 and not stop:
        producer.poll(PAUSE)
producer.flush(60)
print("sent", *sent, flush=True)
