"""The proxy does to requests what it says, and spares those that must not be repeated.   python3 -m unittest"""
import asyncio
import struct
import unittest

import frames
import proxy
from frames import Frame


def request(key, version, correlation=1):
    return Frame(struct.pack(">hhi", key, version, correlation))


class Broker:
    """Answers every request with its correlation id, and knows what it was sent."""

    def __init__(self):
        self.got, self.news = [], asyncio.Event()

    async def serve(self, reader, writer):
        try:
            while True:
                frame = await frames.read(reader)
                self.got.append((frame.key, frame.version, frame.correlation))
                self.news.set()
                writer.write(Frame(struct.pack(">ii", frame.correlation, 0)).bytes)
        except asyncio.IncompleteReadError:
            writer.close()

    async def wait_for(self, count):
        while len(self.got) < count:
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 10)


class Repeatable(unittest.TestCase):
    def test_what_an_epoch_or_a_sequence_protects(self):
        for key, version in ((frames.END_TXN, 5), (frames.TXN_OFFSET_COMMIT, 5), (frames.PRODUCE, 12), (frames.PRODUCE, 10),
                             (frames.ADD_PARTITIONS, 3), (frames.ADD_OFFSETS, 3), (frames.INIT_PRODUCER_ID, 4)):
            self.assertTrue(request(key, version).repeatable(), (key, version))

    def test_what_nothing_protects(self):
        for key, version in ((frames.END_TXN, 4), (frames.TXN_OFFSET_COMMIT, 4), (frames.FETCH, 17)):
            self.assertFalse(request(key, version).repeatable(), (key, version))


class Proxy(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.broker = Broker()
        self.upstream = await asyncio.start_server(self.broker.serve, "127.0.0.1", 0)
        self.network = proxy.Network(self.upstream.sockets[0].getsockname()[1], "seed")
        self.server = await asyncio.start_server(self.network.serve, "127.0.0.1", 0)
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.server.sockets[0].getsockname()[1])

    async def asyncTearDown(self):
        self.writer.close()
        self.server.close()
        self.upstream.close()

    def network_that(self, *shares):
        self.network.happens = lambda share: not self.network.good and share in shares

    async def answer(self):
        return (await asyncio.wait_for(frames.read(self.reader), 10)).answers

    async def test_a_good_network_changes_nothing(self):
        self.network.good = True
        for n in range(5):
            self.writer.write(request(frames.END_TXN, 5, n).bytes)
        self.assertEqual([await self.answer() for _ in range(5)], list(range(5)))
        self.assertEqual(len(self.broker.got), 5)

    async def test_an_answer_is_dropped_with_its_connection_after_the_broker_has_acted(self):
        self.network_that(proxy.DROPPED)
        self.writer.write(request(frames.END_TXN, 3, 7).bytes)
        self.assertEqual(await asyncio.wait_for(self.reader.read(), 10), b"")
        self.assertEqual(self.broker.got, [(frames.END_TXN, 3, 7)])
        self.assertEqual(self.network.done["answers dropped"], 1)

    async def test_a_request_comes_again_by_itself(self):
        self.network_that(proxy.REPEATED)
        self.network.dice.uniform = lambda *_: 0.0
        self.writer.write(request(frames.END_TXN, 5, 9).bytes)
        self.assertEqual(await self.answer(), 9)
        await self.broker.wait_for(2)
        self.assertEqual(self.broker.got, [(frames.END_TXN, 5, 9)] * 2)

    async def test_a_request_that_nothing_protects_never_comes_again(self):
        self.network_that(proxy.REPEATED)
        self.writer.write(request(frames.END_TXN, 4, 9).bytes)
        self.assertEqual(await self.answer(), 9)
        self.assertFalse(self.network.sent or self.network.tasks)

    async def held_until_the_client_is_gone(self, *versions):
        self.network.hold = lambda frame, gone: gone.wait()
        for version in versions:
            self.writer.write(request(frames.END_TXN, version).bytes)
        await self.writer.drain()
        self.writer.close()

    async def test_a_delayed_request_is_delivered_after_its_client_was_gone(self):
        await self.held_until_the_client_is_gone(5)
        await self.broker.wait_for(1)
        self.assertEqual(self.network.done["delivered after the client was gone"], 1)

    async def test_a_request_that_nothing_protects_is_not(self):
        await self.held_until_the_client_is_gone(4, 5)
        await self.broker.wait_for(1)
        self.assertEqual(self.broker.got, [(frames.END_TXN, 5, 1)])
        self.assertEqual(self.network.done["lost with their connection"], 1)


if __name__ == "__main__":
    unittest.main()
