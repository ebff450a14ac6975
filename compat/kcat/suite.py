"""kcat (C, librdkafka): what a person does with it first, checked record by record.

kcat has no broker test suite of its own, so the checks are ours; the client is Debian's (1.7.1-2 with librdkafka 2.0.2).
Against Apache Kafka 4.3.0 the two SCRAM logins fail: librdkafka before 2.6.1 repeats the client's nonce in its last
message, and Kafka has become strict about that (kafka-go's and franz-go's suites do log in with SCRAM).
Requests seen on Kafka 4.3.0: Produce v7, Fetch v11, ListOffsets v2, Metadata v4, OffsetCommit v7, OffsetFetch v7,
FindCoordinator v2, JoinGroup v5, Heartbeat v3, LeaveGroup v1, SyncGroup v3, ApiVersions v3, InitProducerId v4,
AddPartitionsToTxn v0, EndTxn v1, SaslHandshake, SaslAuthenticate.
"""
import functools
import json
import subprocess

from harness.kcat import Kcat, fresh, now_ms, values
from harness.process import Child, until

USERS = {"PLAIN": ("adminplain", "admin-secret"), "SCRAM-SHA-256": ("adminscram256", "admin-secret-256"),
         "SCRAM-SHA-512": ("adminscram512", "admin-secret-512")}


def run(suite):
    tests = Tests(suite.broker, Kcat(suite.broker.address, suite.logs / "kcat.log"))
    for name, test in tests.all():
        suite.case(name, test)


def payloads(members):
    return {json.loads(x)["payload"] for m in members for x in list(m.lines) if x.startswith("{")}


class Tests:
    """Each public method is a test, or, with arguments, a family of them."""

    def __init__(self, broker, kcat):
        self.broker, self.kcat = broker, kcat

    def all(self):
        simple = ("metadata_brokers metadata_topic metadata_unknown_topic produce_consume keys_headers_and_nulls "
                  "key_partitioning_is_stable offsets_and_ranges offset_query idempotent_producer "
                  "transactional_producer large_message small_fetches group_commits_offsets group_cooperative_sticky "
                  "group_static_member group_two_members_share ssl")
        yield from ((name, getattr(self, name)) for name in simple.split())
        for codec in ("gzip", "snappy", "lz4", "zstd"):
            yield f"compression_{codec}", functools.partial(self.compression, codec)
        for acks in ("0", "1", "all"):
            yield f"acks_{acks}", functools.partial(self.acks, acks)
        for mechanism, (user, password) in USERS.items():
            yield f"sasl_{mechanism}", functools.partial(self.sasl, mechanism, user, password)
            yield f"sasl_{mechanism}_wrong_password", functools.partial(self.sasl, mechanism, user, "wrong", ok=False)

    def metadata_brokers(self):
        m = self.kcat.metadata()
        assert self.broker.address in [b["name"] for b in m["brokers"]], m["brokers"]
        assert m["controllerid"] in [b["id"] for b in m["brokers"]] + [-1], m["controllerid"]

    def metadata_topic(self):
        t = fresh("kcat-meta")
        self.kcat.produce(t, ["x"])
        m = self.kcat.metadata("-t", t)["topics"]
        assert len(m) == 1 and m[0]["topic"] == t and "error" not in m[0], m
        ids = [b["id"] for b in self.kcat.metadata()["brokers"]]
        for p in m[0]["partitions"]:
            assert p["leader"] in ids and p["replicas"] and p["isrs"], p
        assert t in [x["topic"] for x in self.kcat.metadata()["topics"]]

    def metadata_unknown_topic(self):
        m = self.kcat.metadata("-t", fresh("kcat-none"), "-X", "allow.auto.create.topics=false")["topics"]
        assert "Unknown topic" in m[0].get("error", ""), m

    def produce_consume(self):
        t, want = fresh("kcat-basic"), [f"value {i}" for i in range(1000)]
        self.kcat.produce(t, want)
        got = self.kcat.consume(t)
        assert values(got) == sorted(want)
        for p in {r["partition"] for r in got}:
            offsets = [r["offset"] for r in got if r["partition"] == p]
            assert offsets == list(range(len(offsets))), offsets[:10]
        assert all(r["tstype"] == "create" and abs(r["ts"] - now_ms()) < 120000 for r in got), got[0]

    def keys_headers_and_nulls(self):
        t = fresh("kcat-keys")
        self.kcat("-P", "-t", t, "-K:", "-H", "h1=one", "-H", "h2=", "-H", "h1=two", "-p", "0", stdin=b"k1:v1\nk2:v2\n")
        self.kcat("-P", "-t", t, "-K:", "-Z", "-p", "0", stdin=b"k1:\n")
        got = self.kcat.consume(t)
        assert [(r["key"], r["payload"]) for r in got] == [("k1", "v1"), ("k2", "v2"), ("k1", None)], got
        assert got[0]["headers"] == ["h1", "one", "h2", "", "h1", "two"], got[0]
        assert not got[2].get("headers"), got[2]

    def key_partitioning_is_stable(self):
        t = fresh("kcat-part")
        for _ in range(2):
            self.kcat.produce(t, [f"key{i}:x" for i in range(50)], "-K:", "-X", "partitioner=murmur2_random")
        at = {}
        for r in self.kcat.consume(t):
            at.setdefault(r["key"], set()).add(r["partition"])
        assert len(at) == 50 and all(len(p) == 1 for p in at.values())

    def offsets_and_ranges(self):
        t = fresh("kcat-offsets")
        self.kcat.produce(t, [f"m{i}" for i in range(100)], "-p", "0")
        assert [r["payload"] for r in self.kcat.consume(t, "-p", "0", "-c", "5", start="10")] == [f"m{i}" for i in range(10, 15)]
        assert [r["payload"] for r in self.kcat.consume(t, "-p", "0", start="-3")] == ["m97", "m98", "m99"]
        assert self.kcat.consume(t, "-p", "0", start="end") == []
        out = self.kcat("-C", "-t", t, "-p", "0", "-o", "5000", "-c", "1", "-q", "-X", "auto.offset.reset=earliest", "-J")
        assert json.loads(out)["payload"] == "m0", out
        out = self.kcat("-C", "-t", t, "-p", "0", "-o", "5000", "-c", "1", "-X", "auto.offset.reset=error", ok=False)
        assert b"out of range" in out.lower(), out

    def offset_query(self):
        t = fresh("kcat-query")
        self.kcat.produce(t, ["a", "b"], "-p", "0")
        last = now_ms()
        until(lambda: now_ms() > last + 1000, 10, "a second later")
        middle = now_ms() - 500
        self.kcat.produce(t, ["c", "d", "e"], "-p", "0")
        assert self.kcat.query(t, 0, -2) == 0
        assert self.kcat.query(t, 0, -1) == 5
        assert self.kcat.query(t, 0, 1) == 0
        assert self.kcat.query(t, 0, middle) == 2
        assert self.kcat.query(t, 0, middle + 3600000) == -1
        got = self.kcat.consume(t, "-p", "0", start=f"s@{middle}")
        assert [r["payload"] for r in got] == ["c", "d", "e"], got
        got = self.kcat.consume(t, "-p", "0", "-o", f"e@{middle}", start="s@1")
        assert [r["payload"] for r in got] == ["a", "b"], got

    def compression(self, codec):
        t, want = fresh(f"kcat-{codec}"), [f"{i} " + "abcdefghij" * 50 for i in range(500)]
        self.kcat.produce(t, want, "-z", codec, "-X", "linger.ms=50")
        assert values(self.kcat.consume(t)) == sorted(want)

    def acks(self, n):
        t, want = fresh(f"kcat-acks{n}"), [f"a{i}" for i in range(200)]
        self.kcat.produce(t, ["warm"])
        self.kcat.produce(t, want, "-X", f"acks={n}")
        # with acks=0 the log may lag behind the producer
        until(lambda: values(self.kcat.consume(t)) == sorted(want + ["warm"]), 60, "all records are there", 0.5)

    def idempotent_producer(self):
        t, want = fresh("kcat-idem"), [f"i{i}" for i in range(5000)]
        self.kcat.produce(t, want, "-X", "enable.idempotence=true", "-X", "batch.num.messages=50")
        assert values(self.kcat.consume(t)) == sorted(want)

    def transactional_producer(self):
        t, want = fresh("kcat-txn"), [f"t{i}" for i in range(100)]
        self.kcat.produce(t, want, "-X", f"transactional.id={t}")
        assert values(self.kcat.consume(t, "-X", "isolation.level=read_committed")) == sorted(want)
        assert values(self.kcat.consume(t, "-X", "isolation.level=read_uncommitted")) == sorted(want)
        # the commit marker takes an offset of its own in each partition written to
        parts = {r["partition"] for r in self.kcat.consume(t)}
        assert sum(self.kcat.query(t, p, -1) for p in parts) == 100 + len(parts)

    def large_message(self):
        t, big = fresh("kcat-large"), "x" * 900000
        self.kcat.produce(t, [big, "small", big])
        assert sorted(len(r["payload"]) for r in self.kcat.consume(t)) == [5, 900000, 900000]

    def small_fetches(self):
        t, want = fresh("kcat-fetch"), [f"{i}-" + "y" * 1000 for i in range(300)]
        self.kcat.produce(t, want, "-X", "batch.num.messages=10")
        got = self.kcat.consume(t, "-X", "fetch.message.max.bytes=2000", "-X", "fetch.max.bytes=2000", "-X", "message.max.bytes=1000")
        assert values(got) == sorted(want)

    def group_commits_offsets(self):
        t, g, want = fresh("kcat-group"), fresh("kcat-g-group"), [f"g{i}" for i in range(100)]
        self.kcat.produce(t, want)
        assert values(self.kcat.group(g, t)) == sorted(want)
        self.kcat.produce(t, ["later"])
        assert values(self.kcat.group(g, t)) == ["later"]

    def group_cooperative_sticky(self):
        t, g = fresh("kcat-coop"), fresh("kcat-coop-group")
        self.kcat.produce(t, ["a", "b", "c"])
        assert values(self.kcat.group(g, t, "-X", "partition.assignment.strategy=cooperative-sticky")) == ["a", "b", "c"]

    def group_static_member(self):
        t, g = fresh("kcat-static"), fresh("kcat-static-group")
        self.kcat.produce(t, ["a"])
        assert values(self.kcat.group(g, t, "-X", f"group.instance.id=me")) == ["a"]
        self.kcat.produce(t, ["b"])
        assert values(self.kcat.group(g, t, "-X", f"group.instance.id=me")) == ["b"]

    def group_two_members_share(self):
        t, g, want = fresh("kcat-two"), fresh("kcat-two-group"), [f"w{i}" for i in range(200)]
        self.kcat.produce(t, ["first"])
        argv = self.kcat.argv("-G", g, t, "-u", "-J", "-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000")
        members = [Child(argv, errors=subprocess.STDOUT) for _ in range(2)]
        try:
            for member in members:
                member.wait_for(lambda lines: any("assigned" in x for x in lines), 90, "an assignment")
            self.kcat.produce(t, want)
            until(lambda: sorted(payloads(members)) == sorted(want + ["first"]), 90, "each record at one of the two")
        finally:
            for member in members:
                member.stop()

    def sasl(self, mechanism, user, password, ok=True):
        at = self.broker.sasl_address
        if not at:
            return "no SASL listener"
        t = fresh(f"kcat-sasl{mechanism}")
        auth = ["-X", "security.protocol=SASL_PLAINTEXT", "-X", f"sasl.mechanisms={mechanism}",
                "-X", f"sasl.username={user}", "-X", f"sasl.password={password}"]
        if ok:
            self.kcat.produce(t, ["secret"], *auth, broker=at)
            assert values(self.kcat.consume(t, *auth, broker=at)) == ["secret"]
        else:
            out = self.kcat("-L", "-m", "8", *auth, broker=at, ok=False)
            assert b"uthentication" in out, out
        return None

    def ssl(self):
        at = self.broker.ssl_address
        if not at:
            return "no TLS listener"
        t = fresh("kcat-ssl")
        tls = ["-X", "security.protocol=SSL", "-X", f"ssl.ca.location={self.broker.certificates}/ca.pem"]
        self.kcat.produce(t, ["secret"], *tls, broker=at)
        assert values(self.kcat.consume(t, *tls, broker=at)) == ["secret"]
        return None
