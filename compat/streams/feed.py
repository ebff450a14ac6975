"""Feeds lines of words to a topic, some at a time, and prints 'fed N' as they are acknowledged."""
import random
import sys
import time

from confluent_kafka import Producer

broker, topic, partitions, lines, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
some = random.Random(seed)
producer = Producer({"bootstrap.servers": broker, "enable.idempotence": True, "message.timeout.ms": 0, "linger.ms": 5,
                     "reconnect.backoff.max.ms": 200})
for n in range(lines):
    line = " ".join(f"word{some.randrange(30)}" for _ in range(5))
    producer.produce(topic, line, partition=n % partitions)
    if n % 100 == 99:
        producer.flush()
        print("fed", n + 1, flush=True)
        time.sleep(0.3)
producer.flush()
print("fed", lines, flush=True)
