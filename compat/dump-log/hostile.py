"""Names and values that are hard to print, written to a broker: what dump-log then shows has been said by a client.

Hostile.java writes segments with all records of Kafka's internal topics, which no client has a way to.
"""
import struct

from harness.kcat import fresh
from harness.process import until
from harness.wire import Client, array, batch, data, text

TEXTS = ["\x00", "\b\f\n\r\t", "\x0b\x1b\x1f", '"', "\\", "/", "\x7f", "\x80\x85\x9f", "\u2028\u2029", "\ufeff\ufffd\uffff",
         "\U0001f600 astral", "\u202eright to left", "a\r\nbaseOffset: 0", " key: k payload: v", "%s ${x} \\u0041", "\u00e4" * 120]
OFFSETS = [0, 1, (1 << 63) - 1, 1 << 40]
# What members of the protocol `consumer` say: no topics and no user data, in versions that there are and that there are not;
# a null in another way; a topic that is no UTF-8; nothing. (Less than is announced holds a group of Kafka's for minutes.)
SAID = [struct.pack(">hii", version, 0, -1) for version in (0, 1, 4, 7, -1, -32768, 32767)] + [
    struct.pack(">hii", 0, 0, -5), b"\x00\x00\x00\x00\x00\x01\x00\x05\xff\xfe\xed\xa0\x80\x00\x00\x00\x00", b""]
COMMIT, FIND, JOIN, SYNC, INIT_PRODUCER_ID = 8, 10, 11, 14, 22
GROUPS, TRANSACTIONS = 0, 1
LOADING = (14, 15, 16)  # is loading, is not there, is another


def write(port):
    """Groups with members and offsets, transactional ids, records."""
    client, topic = Client(port), fresh("hostile")
    error = client.create(topic, 1)
    assert error == 0, f"create {topic}: {error}"
    client.wait_for([(topic, 1)])
    values = [t.encode() for t in TEXTS] + [bytes(range(256)), b"\xff\xfe\xed\xa0\x80\xf0\x9f\x98", b""]
    assert client.produce(topic, 1, batch(values)) == [0]
    for kind in (GROUPS, TRANSACTIONS):  # the first that asks has the internal topic created
        settled(lambda: client.ask(FIND, 1, text("x") + bytes([kind])), 4, "FindCoordinator")
    for n, name in enumerate(TEXTS):
        commit(client, name, topic, OFFSETS[n % len(OFFSETS)], TEXTS[n - 1])
        join(client, f"member {name}", name, name.encode(), TEXTS[n - 1])
        body = text(name) + struct.pack(">i", 60_000)
        settled(lambda: client.ask(INIT_PRODUCER_ID, 0, body), 4, f"InitProducerId of {name!r}")
    for n, said in enumerate(SAID):
        join(client, f"consumer {n}", "consumer", said, "range")
    client.close()


def commit(client, group, topic, offset, metadata):
    """OffsetCommit 2 of nobody in particular."""
    partition = struct.pack(">iq", 0, offset) + text(metadata)
    body = text(group) + struct.pack(">i", -1) + text("") + struct.pack(">q", -1) + array([text(topic) + array([partition])])
    at = 4 + 2 + len(topic) + 4 + 4
    settled(lambda: client.ask(COMMIT, 2, body), at, f"OffsetCommit of {group!r}")


def join(client, group, protocol_type, said, protocol):
    """JoinGroup 1 and SyncGroup 0 of a group's only member, which is given what it has said."""
    body = text(group) + struct.pack(">ii", 6000, 6000) + text("") + text(protocol_type) + array([text(protocol) + data(said)])
    answer = settled(lambda: client.ask(JOIN, 1, body, client_id=f"client {group}"), 0, f"JoinGroup of {group!r}")
    generation, = struct.unpack_from(">i", answer, 2)
    _, rest = taken(answer[6:])
    leader, rest = taken(rest)
    member, _ = taken(rest)
    assert member == leader, f"{member} {leader}"
    body = text(group) + struct.pack(">i", generation) + text(member.decode()) + array([text(member.decode()) + data(said)])
    settled(lambda: client.ask(SYNC, 0, body, client_id=f"client {group}"), 0, f"SyncGroup of {group!r}")


def settled(ask, at, what):
    """The answer of a coordinator, once it is there; the error at `at` has to be none."""
    answer = until(lambda: found if error_at(found := ask(), at) not in LOADING else None, 60, what)
    assert error_at(answer, at) == 0, f"{what}: error {error_at(answer, at)}"
    return answer


def error_at(answer, at):
    return struct.unpack_from(">h", answer, at)[0]


def taken(body):
    """The text in front, as bytes, and what follows."""
    size, = struct.unpack_from(">h", body)
    return body[2:2 + size], body[2 + size:]
