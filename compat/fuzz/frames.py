"""Where the frames come from: a tap that keeps what real clients send, and what is made out of that."""
import random
import socket
import struct
import threading

KEPT = 400       # frames of real clients that are kept
LARGEST = 20_000  # bytes; larger ones are not worth keeping
EXTREMES = [0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 0, 1, 0x10000, 0x05000000]
# Bodies that made a decoder of ours, or of a library, reserve memory by the wire's word: an array of two billion in
# CreateAcls, Metadata and Produce.
HUGE_ARRAYS = [(30, 0, b"\x7f\xff\xff\xff"), (3, 9, b"\x00\xff\xff\xff\xff\x0f"), (0, 3, b"\xff\xff\xff\xff\x00\x00\x75\x30\x7f\xff\xff\xff")]


class Tap:
    """A proxy that the broker advertises as its own address: it passes everything on and keeps some frames of each request."""

    def __init__(self, port, target):
        self.target, self.frames, self.lock = target, {}, threading.Lock()
        self.server = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.server.accept()
                broker = socket.create_connection(("127.0.0.1", self.target), 10)
            except OSError:
                return
            threading.Thread(target=self._requests, args=(client, broker), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(broker, client), daemon=True).start()

    def _requests(self, client, broker):
        stream = client.makefile("rb")
        try:
            while len(head := stream.read(4)) == 4:
                body = stream.read(struct.unpack(">i", head)[0])
                self._keep(body)
                broker.sendall(head + body)
        except (OSError, struct.error):
            pass
        finally:
            broker.close()

    def _keep(self, body):
        with self.lock:
            of_kind = self.frames.setdefault(body[:4], [])
            if len(of_kind) < 3 and len(body) <= LARGEST and sum(map(len, self.frames.values())) < KEPT:
                of_kind.append(body)

    def _pass_on(self, source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            sink.close()

    def taken(self):
        """What was kept, by request and version, so that clients which overtake each other change little."""
        with self.lock:
            return [body for _, bodies in sorted(self.frames.items()) for body in bodies]

    def close(self):
        self.server.close()


class Frames:
    """An endless supply of frames (with their length prefix), the same for the same seed and the same real frames."""

    def __init__(self, real, seed):
        self.real, self.random = real, random.Random(seed)

    def next(self):
        kind = self.random.randrange(10)
        if kind < 6:
            return framed(self.mutated(self.random.choice(self.real)))
        if kind == 6:
            return framed(self.nonsense())
        if kind == 7:
            key, version, body = self.random.choice(HUGE_ARRAYS)
            flexible = b"\x00" if (key, version) == (3, 9) else b""
            return framed(struct.pack(">hhih", key, version, 1, -1) + flexible + body)
        if kind == 8:
            return struct.pack(">I", self.random.choice(EXTREMES)) + self.random.randbytes(self.random.randrange(40))
        return framed(self.random.choice(self.real))[: self.random.randrange(1, 60)]

    def nonsense(self):
        """A header of any key and version, a body of chance."""
        head = struct.pack(">hhih", self.random.randrange(-1, 95), self.random.randrange(-1, 20), 7, self.random.choice((-1, 0, 3)))
        return head + self.random.randbytes(self.random.randrange(200))

    def mutated(self, body):
        data = bytearray(body)
        for _ in range(self.random.randint(1, 4)):
            at = self.random.randrange(len(data) + 1)
            how = self.random.randrange(7)
            if how == 0 and at < len(data):
                data[at] ^= 1 << self.random.randrange(8)
            elif how == 1 and at < len(data):
                data[at] = self.random.randrange(256)
            elif how == 2:
                data[at:at + 4] = struct.pack(">I", self.random.choice(EXTREMES))
            elif how == 3:
                data[at:at + 5] = b"\xff\xff\xff\xff\x0f"  # the largest unsigned varint
            elif how == 4:
                del data[at:at + self.random.randrange(1, 9)]
            elif how == 5:
                data[at:at] = data[at:at + self.random.randrange(1, 50)]
            elif len(data) > 4:
                data[2:4] = struct.pack(">h", self.random.randrange(0, 19))
            if not data:
                data = bytearray(body)
        return bytes(data)


def framed(body):
    return struct.pack(">i", len(body)) + body
