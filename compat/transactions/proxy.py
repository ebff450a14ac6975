"""A bad network between the clients and the broker: requests come late, answers never, and old requests once more.

    proxy.py PORT BROKER_PORT SEED

What a request may suffer says `frames.py`. SIGUSR1: from now on the network is good. SIGTERM: prints what was done, as JSON.
"""
import asyncio
import collections
import json
import random
import signal
import sys

import frames

DELAYED, DROPPED, REPEATED = 0.03, 0.015, 0.06      # shares of the transactional requests
DELAYED_OTHERS = 0.003
DELAY, LONG_DELAY, LONG = (0.02, 0.6), (1.0, 4.0), 0.2   # seconds; the share of delays that are long
BEFORE_REPLAY = (0.0, 3.0)                          # seconds until the copy comes
REMEMBERED, RECENT = 400, 8
REPLAYS_AT_ONCE = 16
ANSWER_LIMIT = 20.0
CONNECT_FAILED = (OSError, asyncio.TimeoutError)


class Network:
    """What all connections share: the dice, what was sent, and what was done."""

    def __init__(self, broker_port, seed):
        self.broker_port, self.dice, self.good = broker_port, random.Random(seed), False
        self.sent = collections.deque(maxlen=REMEMBERED)
        self.done = collections.Counter()
        self.tasks = set()

    def happens(self, share):
        return not self.good and self.dice.random() < share

    async def hold(self, frame, _gone):
        """Returns when the request may go on."""
        if self.happens(DELAYED if frame.transactional() else DELAYED_OTHERS):
            self.done["delayed"] += 1
            await asyncio.sleep(self.dice.uniform(*(LONG_DELAY if self.dice.random() < LONG else DELAY)))

    def remember(self, frame):
        """Takes note of a request that was passed on; some of these bring back an old one."""
        if not frame.transactional():
            return
        self.done[frame.name()] += 1
        if frame.repeatable():
            self.sent.append(frame)
        if self.sent and self.happens(REPEATED) and len(self.tasks) < REPLAYS_AT_ONCE:
            recent = list(self.sent)[-RECENT:] if self.dice.random() < 0.5 else self.sent
            self.spawn(self.replay(self.dice.choice(recent), self.dice.uniform(*BEFORE_REPLAY)))

    def spawn(self, work):
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def replay(self, frame, after):
        """Sends a copy of an old request on a connection of its own; nobody gets the answer."""
        await asyncio.sleep(after)
        if self.good:
            return
        try:
            reader, writer = await self.connect()
            try:
                writer.write(frame.bytes)
                await asyncio.wait_for(frames.read(reader), ANSWER_LIMIT)
                self.done["replayed"] += 1
                self.done["replayed " + frame.name()] += 1
            finally:
                writer.close()
        except (*CONNECT_FAILED, asyncio.IncompleteReadError):
            self.done["replays that the broker did not answer"] += 1

    def connect(self):
        return asyncio.open_connection("127.0.0.1", self.broker_port)

    async def serve(self, reader, writer):
        """One client's connection, to its end."""
        try:
            up = await self.connect()
        except CONNECT_FAILED:
            writer.close()
            return
        try:
            await Connection(self, (reader, writer), up).run()
        except asyncio.CancelledError:
            pass    # the end of the program


class Connection:
    def __init__(self, network, client, broker):
        self.network = network
        self.from_client, self.to_client = client
        self.from_broker, self.to_broker = broker
        self.requests = asyncio.Queue()
        self.client_is_gone = asyncio.Event()
        self.swallow = None     # the correlation id of the request whose answer never comes

    async def run(self):
        taking, sending, receiving = (asyncio.ensure_future(work()) for work in (self.take, self.pass_on, self.pass_back))
        try:
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            # The broker still has to read what a client sent that is gone; then it closes the connection.
            await asyncio.wait({receiving}, timeout=ANSWER_LIMIT)
        finally:
            for task in (taking, sending, receiving):
                task.cancel()
            await asyncio.gather(taking, sending, receiving, return_exceptions=True)
            self.to_client.close()
            self.to_broker.close()

    async def take(self):
        """Reads requests, also while one is held back: so it is known when the client goes."""
        try:
            while True:
                self.requests.put_nowait(await frames.read(self.from_client))
        except (OSError, asyncio.IncompleteReadError):
            self.client_is_gone.set()
            self.requests.put_nowait(None)

    async def pass_on(self):
        network = self.network
        while (frame := await self.requests.get()) is not None:
            await network.hold(frame, self.client_is_gone)
            if self.client_is_gone.is_set() and frame.transactional():
                if not frame.repeatable():
                    network.done["lost with their connection"] += 1
                    continue
                network.done["delivered after the client was gone"] += 1
            if frame.transactional() and self.swallow is None and network.happens(DROPPED):
                self.swallow = frame.correlation
            self.to_broker.write(frame.bytes)
            await self.to_broker.drain()
            network.remember(frame)
        self.to_broker.write_eof()

    async def pass_back(self):
        try:
            while True:
                answer = await frames.read(self.from_broker)
                if answer.answers == self.swallow:
                    self.network.done["answers dropped"] += 1
                    return
                await self.answer(answer)
        except (OSError, asyncio.IncompleteReadError):
            return

    async def answer(self, answer):
        if self.client_is_gone.is_set():
            return
        try:
            self.to_client.write(answer.bytes)
            await self.to_client.drain()
        except OSError:
            self.client_is_gone.set()


async def main(port, broker_port, seed):
    network = Network(broker_port, seed)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: setattr(network, "good", True))
    async with await asyncio.start_server(network.serve, "127.0.0.1", port):
        print("ready", flush=True)
        await stop.wait()
        print(json.dumps(dict(sorted(network.done.items()))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
