"""The few requests that scenarios make by themselves, in old versions that both brokers know: many partitions in each."""
import socket
import struct
import time

NONE, TRANSIENT = 0, (3, 5, 6, 9)  # not there yet, no leader yet, not the leader yet, replica not available
NULL = struct.pack(">h", -1)  # instead of a text
WHEN = 1_700_000_000_000  # the timestamp of all records


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def varint(number):
    """Zigzag."""
    number, out = number << 1, bytearray()
    while number > 0x7F:
        out.append(0x80 | number & 0x7F)
        number >>= 7
    return bytes([*out, number])


def batch(values):
    """A record batch of records without keys."""
    records = []
    for n, value in enumerate(values):
        # Attributes, timestamp delta, offset delta, a key of length -1, the value, no headers.
        record = bytes([0, 0]) + varint(n) + bytes([1]) + varint(len(value)) + value + bytes([0])
        records.append(varint(len(record)) + record)
    # What stands before the attributes has no part in the checksum.
    tail = struct.pack(">hiqqqhii", 0, len(records) - 1, WHEN, WHEN, -1, -1, -1, len(records)) + b"".join(records)
    return struct.pack(">qiibI", 0, 9 + len(tail), -1, 2, crc32c(tail)) + tail


def text(value):
    encoded = value.encode()
    return struct.pack(">h", len(encoded)) + encoded


def data(value):
    return struct.pack(">i", len(value)) + value


def array(items):
    items = list(items)
    return struct.pack(">i", len(items)) + b"".join(items)


class Client:
    """One connection, one request at a time."""

    def __init__(self, port, limit=300):
        self.socket = socket.create_connection(("127.0.0.1", port), limit)
        self.socket.settimeout(limit)
        self.stream = self.socket.makefile("rb")

    def ask(self, key, version, body, client_id=None):
        head = struct.pack(">hhi", key, version, 1) + (NULL if client_id is None else text(client_id))
        self.socket.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        size, = struct.unpack(">i", self.stream.read(4))
        return self.stream.read(size)[4:]

    def create(self, topic, partitions):
        """CreateTopics 2; the error code."""
        wanted = text(topic) + struct.pack(">ih", partitions, 1) + array(()) + array(())
        answer = self.ask(19, 2, array([wanted]) + struct.pack(">i?", 60_000, False))
        at = 8 + 2 + len(topic)
        return struct.unpack_from(">h", answer, at)[0]

    def delete(self, topic):
        """DeleteTopics 1; the error code."""
        answer = self.ask(20, 1, array([text(topic)]) + struct.pack(">i", 60_000))
        return struct.unpack_from(">h", answer, 8 + 2 + len(topic))[0]

    def ends(self, topic, partitions):
        """ListOffsets 1 for the end of each partition: (error, offset) of each."""
        wanted = text(topic) + array(struct.pack(">iq", p, -1) for p in range(partitions))
        answer = self.ask(2, 1, struct.pack(">i", -1) + array([wanted]))
        at = 4 + 2 + len(topic) + 4
        found = [struct.unpack_from(">ihqq", answer, at + 22 * n) for n in range(partitions)]
        return [(error, offset) for _, error, _, offset in found]

    def produce(self, topic, partitions, batch):
        """Produce 3, acks=all: the batch to each partition; the error codes."""
        wanted = text(topic) + array(struct.pack(">ii", p, len(batch)) + batch for p in range(partitions))
        answer = self.ask(0, 3, struct.pack(">hhi", -1, -1, 60_000) + array([wanted]))
        at = 4 + 2 + len(topic) + 4
        return [struct.unpack_from(">ih", answer, at + 22 * n)[1] for n in range(partitions)]

    def fetch(self, topic, partition, offset):
        """Fetch 4 of one partition: (error, bytes of records)."""
        wanted = text(topic) + array([struct.pack(">iqi", partition, offset, 1 << 20)])
        answer = self.ask(1, 4, struct.pack(">iiiib", -1, 100, 1, 1 << 20, 0) + array([wanted]))
        at = 4 + 4 + 2 + len(topic) + 4
        _, error, _, _, aborted = struct.unpack_from(">ihqqi", answer, at)
        return error, struct.unpack_from(">i", answer, at + 26 + 16 * max(aborted, 0))[0]

    def metadata_of_all(self):
        """Metadata 1; the size of the answer."""
        return len(self.ask(3, 1, struct.pack(">i", -1)))

    def wait_for(self, topics, limit=300):
        """Waits until each partition of the topics (name, partitions) is led; the offsets of their ends."""
        end, ends = time.monotonic() + limit, {}
        for topic, partitions in topics:
            while True:
                found = self.ends(topic, partitions)
                errors = {error for error, _ in found}
                if errors == {NONE}:
                    ends[topic] = [offset for _, offset in found]
                    break
                assert errors <= {NONE, *TRANSIENT}, f"{topic}: errors {errors}"
                assert time.monotonic() < end, f"{topic}: errors {errors} after {limit} s"
                time.sleep(0.02)
        return ends

    def close(self):
        self.stream.close()
        self.socket.close()
