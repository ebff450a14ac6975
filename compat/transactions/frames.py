"""Kafka's framing, and which requests may come twice or late without harm.

What protects a transaction from a stale copy of a request, and where nothing does:

- transaction.version 2 (KIP-890; Produce from v12, TxnOffsetCommit and EndTxn from v5): every EndTxn raises the producer's
  epoch, so a stale copy has an older epoch or belongs to the transaction that is open. Within it Produce is known by its
  sequence, TxnOffsetCommit does again what it did, and EndTxn is what the producer asked for. All may come again.
- Before (librdkafka): an epoch lives on over many transactions. Produce is still known by its sequence, and the leader asks
  the coordinator about the first one of a transaction. AddPartitionsToTxn and AddOffsetsToTxn only let the transaction end
  in more partitions. But EndTxn ends the *next* transaction of the epoch, and TxnOffsetCommit sets back its offsets: the
  hole of KAFKA-14402, which Apache Kafka has as well. These two are only ever late while their client waits for them.
- InitProducerId fences whoever writes: a pity, but whole.
"""
import struct

PRODUCE, FETCH, INIT_PRODUCER_ID, ADD_PARTITIONS, ADD_OFFSETS, END_TXN, TXN_OFFSET_COMMIT = 0, 1, 22, 24, 25, 26, 28
NAMES = {PRODUCE: "Produce", INIT_PRODUCER_ID: "InitProducerId", ADD_PARTITIONS: "AddPartitionsToTxn",
         ADD_OFFSETS: "AddOffsetsToTxn", END_TXN: "EndTxn", TXN_OFFSET_COMMIT: "TxnOffsetCommit"}
EPOCH_BUMPED_FROM = {END_TXN: 5, TXN_OFFSET_COMMIT: 5}
LARGEST = 100 << 20


class Frame:
    """One request or answer, with its length before it."""

    def __init__(self, content):
        self.content = content
        self.bytes = struct.pack(">i", len(content)) + content

    @property
    def key(self):
        return struct.unpack_from(">h", self.content)[0]

    @property
    def version(self):
        return struct.unpack_from(">h", self.content, 2)[0]

    @property
    def correlation(self):
        return struct.unpack_from(">i", self.content, 4)[0]

    @property
    def answers(self):
        """The correlation id, of an answer."""
        return struct.unpack_from(">i", self.content)[0]

    def transactional(self):
        return self.key in NAMES

    def repeatable(self):
        """Whether the protocol promises that a stale copy does no harm."""
        return self.transactional() and self.version >= EPOCH_BUMPED_FROM.get(self.key, 0)

    def name(self):
        return f"{NAMES[self.key]} v{self.version}"


async def read(stream):
    """The next frame of an asyncio stream."""
    length, = struct.unpack(">i", await stream.readexactly(4))
    if not 8 <= length <= LARGEST:
        raise ConnectionError(f"a frame of {length} bytes")
    return Frame(await stream.readexactly(length))
