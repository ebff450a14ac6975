"""What an application does with librdkafka (through confluent-kafka-python), one behaviour a test."""
import os
import threading
import time
import uuid

import pytest
from confluent_kafka import (AcknowledgeType, Consumer, ConsumerGroupState, ConsumerGroupTopicPartitions,
                             ConsumerGroupType, ElectionType, IsolationLevel, KafkaError, KafkaException, OFFSET_BEGINNING,
                             OFFSET_END, OFFSET_INVALID, Producer, ShareConsumer, TIMESTAMP_CREATE_TIME,
                             TIMESTAMP_LOG_APPEND_TIME, TopicCollection, TopicPartition)
from confluent_kafka.admin import (AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient,
                                   AlterConfigOpType, ConfigEntry, ConfigResource, ConfigSource, NewPartitions, NewTopic,
                                   OffsetSpec, ResourcePatternType, ResourceType, ScramCredentialInfo, ScramMechanism,
                                   UserScramCredentialDeletion, UserScramCredentialUpsertion)

BROKER = os.environ['BROKER']
CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
T = 60  # seconds that any one answer may take


def conf(**more):
    return {'bootstrap.servers': BROKER, 'log_level': 2, **{k.replace('_', '.'): v for k, v in more.items()}}


def fresh(prefix='ck'):
    return f'{prefix}-{uuid.uuid4().hex[:12]}'


@pytest.fixture(scope='module')
def admin():
    return AdminClient(conf())


def make_topic(admin, partitions=1, **config):
    name = fresh()
    cfg = {k.replace('_', '.'): str(v) for k, v in config.items()}
    admin.create_topics([NewTopic(name, partitions, 1, config=cfg)])[name].result(T)
    until(lambda: name in (topics := admin.list_topics(timeout=T).topics) and
          all(p.leader >= 0 for p in topics[name].partitions.values()) and len(topics[name].partitions) == partitions)
    return name


@pytest.fixture
def topic(admin):
    return make_topic(admin)


@pytest.fixture
def topic4(admin):
    return make_topic(admin, 4)


def until(true, seconds=T, every=0.2):
    end = time.monotonic() + seconds
    while True:
        v = true()
        if v:
            return v
        assert time.monotonic() < end, f'not so within {seconds} s'
        time.sleep(every)


def produce(topic, values, partition=None, **more):
    """Produce; the delivered messages, in the order of their delivery reports. Raises the first delivery error."""
    done, errors = [], []
    p = Producer(conf(**more))

    def delivered(err, msg):
        errors.append(err) if err else done.append(msg)
    for v in values:
        kw = v if isinstance(v, dict) else {'value': v}
        if partition is not None:
            kw = {'partition': partition, **kw}
        p.produce(topic, on_delivery=delivered, **kw)
        p.poll(0)
    assert p.flush(T) == 0, 'messages still in the queue'
    if errors:
        raise KafkaException(errors[0])
    return done


def consumer(group=None, **more):
    cfg = conf(group_id=group or fresh('g'), enable_auto_commit=False, auto_offset_reset='earliest',
               topic_metadata_refresh_interval_ms=1000)
    cfg.update({k.replace('_', '.'): v for k, v in more.items()})
    return Consumer(cfg)


def read(c, n, seconds=T):
    out, end = [], time.monotonic() + seconds
    while len(out) < n and time.monotonic() < end:
        m = c.poll(0.5)
        if m is None:
            continue
        if m.error():
            if m.error().code() in (KafkaError._PARTITION_EOF, KafkaError.UNKNOWN_TOPIC_OR_PART):
                continue
            raise KafkaException(m.error())
        out.append(m)
    return out


def read_partitions(topic, n, partitions=(0,), seconds=T, quiet=0.0, **more):
    c = consumer(**more)
    c.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
    try:
        got = read(c, n, seconds)
        if quiet:
            got += read(c, 10**9, quiet)
        return got
    finally:
        c.close()


class Member:
    """A group member that polls in its own thread and remembers its assignment and what it read."""

    def __init__(self, group, topics, **more):
        self.got, self.assigned, self.revocations, self.assignments, self.error = [], set(), 0, 0, None
        self.stopping, self.commit_asked = threading.Event(), None
        self.cooperative = more.get('partition_assignment_strategy') == 'cooperative-sticky' or \
            more.get('group_protocol') == 'consumer'
        self.c = consumer(group, **more)
        self.c.subscribe(topics, on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_revoke)
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    def on_assign(self, c, parts):
        self.assignments += 1
        new = {(p.topic, p.partition) for p in parts}
        self.assigned = self.assigned | new if self.cooperative else new

    def on_revoke(self, c, parts):
        self.revocations += 1
        gone = {(p.topic, p.partition) for p in parts}
        self.assigned = self.assigned - gone

    def loop(self):
        while not self.stopping.is_set():
            if self.commit_asked:
                self.c.commit(asynchronous=False)
                self.commit_asked.set()
                self.commit_asked = None
            m = self.c.poll(0.2)
            if m is None:
                continue
            if m.error():
                if m.error().code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    self.error = m.error()
            else:
                self.got.append(m)
        self.c.close()

    def commit(self):
        done = self.commit_asked = threading.Event()
        assert done.wait(T), 'no answer to the commit'

    def stop(self):
        self.stopping.set()
        self.thread.join(T)
        assert not self.thread.is_alive(), 'the consumer does not close'
        assert self.error is None, self.error


def balanced(members, parts):
    sets = [m.assigned for m in members]
    return set().union(*sets) == parts and sum(map(len, sets)) == len(parts) and all(sets)


def code(call):
    with pytest.raises(KafkaException) as e:
        call()
    return e.value.args[0].code()


# ---- produce and fetch

@pytest.mark.parametrize('acks', ['0', '1', 'all'])
@pytest.mark.parametrize('codec', CODECS)
def test_produce_fetch(topic, codec, acks):
    values = [f'value {i} '.encode() * 20 for i in range(200)]
    sent = produce(topic, values, compression_type=codec, acks=acks, linger_ms=50)
    assert len(sent) == 200
    got = read_partitions(topic, 200)
    assert [m.value() for m in got] == values
    assert [m.offset() for m in got] == list(range(200))
    if acks != '0':
        assert [m.offset() for m in sent] == list(range(200))


def test_keys_values_null_and_empty(topic):
    cases = [(None, None), (None, b''), (b'', None), (b'k', None), (None, b'v'), (b'k', b'v'), (b'', b'')]
    produce(topic, [{'key': k, 'value': v} for k, v in cases])
    assert [(m.key(), m.value()) for m in read_partitions(topic, len(cases))] == cases


def test_headers(topic):
    headers = [('a', b'1'), ('a', b'2'), ('null', None), ('empty', b''), ('ü', b'\x00\xff' * 300)]
    produce(topic, [{'value': b'h', 'headers': headers}, b'none'])
    got = read_partitions(topic, 2)
    assert got[0].headers() == headers and got[1].headers() is None


def test_one_megabyte_messages(topic):
    values = [os.urandom(1_000_000) for _ in range(6)]
    produce(topic, values, acks='all', message_max_bytes=1_048_588)
    assert [m.value() for m in read_partitions(topic, 6, fetch_max_bytes=1_500_000, fetch_message_max_bytes=1_100_000)] == values


def test_too_large_message_refused(topic):
    assert code(lambda: produce(topic, [os.urandom(2_000_000)], message_max_bytes=4_000_000)) == KafkaError.MSG_SIZE_TOO_LARGE
    produce(topic, [b'still works'])
    assert [m.value() for m in read_partitions(topic, 1)] == [b'still works']


def test_topic_max_message_bytes(admin):
    topic = make_topic(admin, max_message_bytes=3_000_000)
    v = os.urandom(2_000_000)
    produce(topic, [v], message_max_bytes=4_000_000)
    assert read_partitions(topic, 1)[0].value() == v


def test_create_time_kept(topic):
    produce(topic, [{'value': b'x', 'timestamp': 1_600_000_000_123}])
    assert read_partitions(topic, 1)[0].timestamp() == (TIMESTAMP_CREATE_TIME, 1_600_000_000_123)


def test_log_append_time(admin):
    topic = make_topic(admin, message_timestamp_type='LogAppendTime')
    before = int(time.time() * 1000) - 1000
    sent = produce(topic, [{'value': b'x', 'timestamp': 1_600_000_000_123}])
    kind, at = read_partitions(topic, 1)[0].timestamp()
    assert kind == TIMESTAMP_LOG_APPEND_TIME and at >= before
    assert sent[0].timestamp()[1] == at


def test_same_key_same_partition(topic4):
    sent = produce(topic4, [{'key': f'k{i % 16}', 'value': b'x'} for i in range(160)], partitioner='murmur2_random')
    where = {}
    for m in sent:
        where.setdefault(m.key(), set()).add(m.partition())
    assert all(len(p) == 1 for p in where.values()) and len(set().union(*where.values())) == 4
    assert len(read_partitions(topic4, 160, range(4))) == 160


def test_unknown_partition_refused(topic):
    assert code(lambda: produce(topic, [b'x'], partition=7)) == KafkaError._UNKNOWN_PARTITION


def test_produce_creates_topic():
    topic = fresh('auto')
    produce(topic, [b'x'])
    c = consumer()
    partitions = until(lambda: c.list_topics(topic, timeout=T).topics[topic].partitions)
    c.close()
    assert read_partitions(topic, 1, range(len(partitions)))[0].value() == b'x'


def test_ten_thousand_in_order(topic):
    values = [b'%d' % i for i in range(10_000)]
    sent = produce(topic, values, linger_ms=5, compression_type='lz4', batch_num_messages=500)
    assert [m.offset() for m in sent] == list(range(10_000))
    assert [m.value() for m in read_partitions(topic, 10_000)] == values


def test_two_producers_at_once(topic):
    threads = [threading.Thread(target=produce, args=(topic, [b'%d-%d' % (n, i) for i in range(1000)])) for n in range(2)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    got = [m.value() for m in read_partitions(topic, 2000)]
    for n in range(2):
        assert [v for v in got if v.startswith(b'%d-' % n)] == [b'%d-%d' % (n, i) for i in range(1000)]


def test_idempotent(topic):
    values = [b'%d' % i for i in range(5000)]
    sent = produce(topic, values, enable_idempotence=True, batch_num_messages=100, linger_ms=2)
    assert [m.offset() for m in sent] == list(range(5000))
    assert [m.value() for m in read_partitions(topic, 5000)] == values


def test_fetch_waits_for_new_message(topic):
    c = consumer(fetch_wait_max_ms=5000, fetch_min_bytes=1)
    c.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    assert c.poll(3) is None
    threading.Timer(0.2, produce, (topic, [b'late'])).start()
    start = time.monotonic()
    assert read(c, 1)[0].value() == b'late' and time.monotonic() - start < 4
    c.close()


# ---- offsets

def test_watermarks_seek_position(topic):
    produce(topic, [b'%d' % i for i in range(100)])
    c, tp = consumer(), TopicPartition(topic, 0)
    assert c.get_watermark_offsets(tp, timeout=T) == (0, 100)
    c.assign([TopicPartition(topic, 0, 40)])
    assert read(c, 1)[0].offset() == 40 and c.position([tp])[0].offset == 41
    c.seek(TopicPartition(topic, 0, 90))
    assert [m.offset() for m in read(c, 10)] == list(range(90, 100))
    c.seek(TopicPartition(topic, 0, OFFSET_BEGINNING))
    assert read(c, 1)[0].offset() == 0
    c.seek(TopicPartition(topic, 0, OFFSET_END))
    assert c.poll(3) is None
    produce(topic, [b'new'])
    assert read(c, 1)[0].offset() == 100
    c.close()


def test_seek_by_timestamp(topic):
    t0 = 1_700_000_000_000
    produce(topic, [{'value': b'%d' % i, 'timestamp': t0 + i * 1000} for i in range(50)], batch_num_messages=10)
    c = consumer()
    at = lambda ms: c.offsets_for_times([TopicPartition(topic, 0, ms)], timeout=T)[0].offset
    assert (at(t0), at(t0 + 20_000), at(t0 + 20_001), at(t0 - 5)) == (0, 20, 21, 0)
    assert at(t0 + 10**9) == OFFSET_END
    c.assign([TopicPartition(topic, 0, at(t0 + 20_001))])
    assert read(c, 1)[0].value() == b'21'
    c.close()


def test_list_offsets(admin, topic):
    t0 = 1_700_000_000_000
    produce(topic, [{'value': b'x', 'timestamp': t0 + d} for d in (0, 9000, 3000)], batch_num_messages=1)
    tp = TopicPartition(topic, 0)
    ask = lambda spec, **kw: admin.list_offsets({tp: spec}, **kw)[tp].result(T)
    assert ask(OffsetSpec.earliest()).offset == 0
    assert ask(OffsetSpec.latest()).offset == 3
    assert ask(OffsetSpec.latest(), isolation_level=IsolationLevel.READ_COMMITTED).offset == 3
    assert ask(OffsetSpec.for_timestamp(t0 + 1)).offset == 1
    top = ask(OffsetSpec.max_timestamp())
    assert (top.offset, top.timestamp) == (1, t0 + 9000)


def test_offset_out_of_range_resets(topic):
    produce(topic, [b'%d' % i for i in range(5)])
    c = consumer(auto_offset_reset='earliest')
    c.assign([TopicPartition(topic, 0, 1000)])
    assert read(c, 1)[0].offset() == 0
    c.close()
    c = consumer(auto_offset_reset='error')
    c.assign([TopicPartition(topic, 0, 1000)])
    assert code(lambda: read(c, 1)) == KafkaError._AUTO_OFFSET_RESET
    c.close()


def test_commit_and_resume(topic):
    produce(topic, [b'%d' % i for i in range(20)])
    group = fresh('g')
    c = consumer(group)
    c.subscribe([topic])
    got = read(c, 8)
    c.commit(offsets=[TopicPartition(topic, 0, got[-1].offset() + 1, metadata='note')], asynchronous=False)
    c.close()
    c = consumer(group)
    c.subscribe([topic])
    assert read(c, 1)[0].offset() == 8
    committed = c.committed([TopicPartition(topic, 0)], timeout=T)[0]
    assert committed.offset == 8 and committed.metadata == 'note'
    c.close()


def test_auto_commit(topic):
    produce(topic, [b'%d' % i for i in range(10)])
    group = fresh('g')
    c = consumer(group, enable_auto_commit=True, auto_commit_interval_ms=200)
    c.subscribe([topic])
    assert len(read(c, 10)) == 10
    c.close()
    c = consumer(group)
    assert c.committed([TopicPartition(topic, 0)], timeout=T)[0].offset == 10
    c.close()


def test_committed_none_yet(topic):
    c = consumer()
    assert c.committed([TopicPartition(topic, 0)], timeout=T)[0].offset == OFFSET_INVALID
    c.close()


def test_pause_resume(topic):
    produce(topic, [b'a'] * 5)
    c, tp = consumer(), TopicPartition(topic, 0, OFFSET_BEGINNING)
    c.assign([tp])
    assert len(read(c, 5)) == 5
    c.pause([tp])
    produce(topic, [b'b'] * 5)
    assert c.poll(2) is None
    c.resume([tp])
    assert len(read(c, 5)) == 5
    c.close()


# ---- transactions

def transactional(**more):
    p = Producer(conf(transactional_id=more.pop('id', None) or fresh('tx'), **more))
    p.init_transactions(T)
    return p


def test_transaction_commit_and_abort(topic):
    p = transactional()
    for n, commit in enumerate([True, False, True, False]):
        p.begin_transaction()
        for i in range(10):
            p.produce(topic, b'%d-%d' % (n, i))
        p.commit_transaction(T) if commit else (p.flush(T), p.abort_transaction(T))
    want = [b'%d-%d' % (n, i) for n in (0, 2) for i in range(10)]
    assert [m.value() for m in read_partitions(topic, 20, quiet=2, isolation_level='read_committed')] == want
    assert len(read_partitions(topic, 40, isolation_level='read_uncommitted')) == 40


def test_read_committed_stops_at_open_transaction(admin, topic):
    produce(topic, [b'before'])
    p = transactional()
    p.begin_transaction()
    p.produce(topic, b'inside')
    p.flush(T)
    produce(topic, [b'after'])
    assert [m.value() for m in read_partitions(topic, 9, seconds=3, isolation_level='read_committed')] == [b'before']
    tp = TopicPartition(topic, 0)
    last = lambda level: admin.list_offsets({tp: OffsetSpec.latest()}, isolation_level=level)[tp].result(T).offset
    assert (last(IsolationLevel.READ_COMMITTED), last(IsolationLevel.READ_UNCOMMITTED)) == (1, 3)
    p.commit_transaction(T)
    assert [m.value() for m in read_partitions(topic, 3, isolation_level='read_committed')] == [b'before', b'inside', b'after']


def test_consume_transform_produce(admin):
    source, sink, group = make_topic(admin), make_topic(admin, 2), fresh('g')
    produce(source, [b'%d' % i for i in range(30)])
    p = transactional()
    for commit in (False, True, True):
        c = consumer(group, isolation_level='read_committed')
        c.subscribe([source])
        p.begin_transaction()
        batch = read(c, 15)
        for m in batch:
            p.produce(sink, b'out ' + m.value(), key=m.value())
        p.send_offsets_to_transaction([TopicPartition(source, 0, batch[-1].offset() + 1)], c.consumer_group_metadata(), T)
        p.commit_transaction(T) if commit else p.abort_transaction(T)
        c.close()
    got = sorted(int(m.key()) for m in read_partitions(sink, 30, (0, 1), quiet=2, isolation_level='read_committed'))
    assert got == list(range(30))
    c = consumer(group)
    assert c.committed([TopicPartition(source, 0)], timeout=T)[0].offset == 30
    c.close()


def test_second_producer_fences_the_first(topic):
    name = fresh('tx')
    first = transactional(id=name)
    first.begin_transaction()
    first.produce(topic, b'zombie')
    first.flush(T)
    second = transactional(id=name)
    second.begin_transaction()
    second.produce(topic, b'alive')
    second.commit_transaction(T)
    assert code(lambda: first.commit_transaction(T)) in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED,
                                                         KafkaError.INVALID_PRODUCER_EPOCH)
    assert [m.value() for m in read_partitions(topic, 1, quiet=1, isolation_level='read_committed')] == [b'alive']


def test_transaction_over_partitions_and_topics(admin):
    topics = [make_topic(admin, 3) for _ in range(2)]
    p = transactional()
    p.begin_transaction()
    for t in topics:
        for i in range(3):
            p.produce(t, b'x', partition=i)
    p.commit_transaction(T)
    for t in topics:
        got = read_partitions(t, 3, range(3), isolation_level='read_committed')
        assert {m.partition() for m in got} == {0, 1, 2}


def test_transaction_timeout_aborts(topic):
    p = transactional(transaction_timeout_ms=2000)
    p.begin_transaction()
    p.produce(topic, b'too late')
    p.flush(T)
    produce(topic, [b'after'])
    got = read_partitions(topic, 1, seconds=40, isolation_level='read_committed')
    assert [m.value() for m in got] == [b'after']


# ---- consumer groups, classic protocol

@pytest.mark.parametrize('strategy', ['range', 'roundrobin', 'cooperative-sticky'])
def test_group_two_members_rebalance(admin, topic4, strategy):
    group, parts = fresh('g'), {(topic4, p) for p in range(4)}
    opts = {'partition_assignment_strategy': strategy, 'session_timeout_ms': 6000, 'heartbeat_interval_ms': 500}
    a = Member(group, [topic4], **opts)
    until(lambda: a.assigned == parts)
    b = Member(group, [topic4], **opts)
    until(lambda: balanced([a, b], parts) and len(a.assigned) == 2)
    produce(topic4, [{'value': b'%d' % i, 'partition': i % 4} for i in range(40)])
    until(lambda: len(a.got) + len(b.got) == 40)
    d = admin.describe_consumer_groups([group])[group].result(T)
    assert d.state == ConsumerGroupState.STABLE and len(d.members) == 2 and d.partition_assignor == strategy
    b.stop()
    until(lambda: a.assigned == parts)
    a.stop()


def test_group_member_that_dies_is_dropped(topic4):
    group, parts = fresh('g'), {(topic4, p) for p in range(4)}
    opts = {'session_timeout_ms': 6000, 'heartbeat_interval_ms': 500, 'max_poll_interval_ms': 6000}
    a = Member(group, [topic4], **opts)
    dead = consumer(group, **opts)
    dead.subscribe([topic4])
    until(lambda: dead.poll(0.2) or dead.assignment())
    until(lambda: dead.poll(0.1) or (a.assigned and a.assigned != parts))  # and polls no more
    until(lambda: a.assigned == parts)
    a.stop()
    dead.close()


def test_group_static_member_keeps_its_partitions(admin, topic4):
    group = fresh('g')
    opts = {'session_timeout_ms': 20000, 'heartbeat_interval_ms': 500}
    a = Member(group, [topic4], group_instance_id='one', **opts)
    b = Member(group, [topic4], group_instance_id='two', **opts)
    parts = {(topic4, p) for p in range(4)}
    until(lambda: balanced([a, b], parts))
    kept, had, before = a.assigned, b.assigned, a.assignments
    b.stop()
    b = Member(group, [topic4], group_instance_id='two', **opts)
    until(lambda: b.assigned)
    time.sleep(2)
    assert (a.assigned, b.assigned, a.assignments) == (kept, had, before)
    ids = {m.group_instance_id for m in admin.describe_consumer_groups([group])[group].result(T).members}
    assert ids == {'one', 'two'}
    a.stop(), b.stop()


def test_group_pattern_subscription(admin):
    prefix, group = fresh('pat'), fresh('g')
    names = [f'{prefix}.{i}' for i in range(2)]
    for f in admin.create_topics([NewTopic(n, 1, 1) for n in names]).values():
        f.result(T)
    m = Member(group, [f'^{prefix}\\..*'], topic_metadata_refresh_interval_ms=1000)
    until(lambda: m.assigned == {(n, 0) for n in names})
    names.append(f'{prefix}.new')
    admin.create_topics([NewTopic(names[-1], 1, 1)])[names[-1]].result(T)
    until(lambda: m.assigned == {(n, 0) for n in names})
    m.stop()


def test_group_sees_new_partitions(admin, topic):
    m = Member(fresh('g'), [topic], topic_metadata_refresh_interval_ms=1000)
    until(lambda: len(m.assigned) == 1)
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(T)
    until(lambda: len(m.assigned) == 3)
    m.stop()


# ---- consumer groups, the new protocol (KIP-848)

def test_kip848_one_member(admin, topic4):
    group = fresh('g')
    produce(topic4, [{'value': b'%d' % i, 'partition': i % 4} for i in range(40)])
    m = Member(group, [topic4], group_protocol='consumer')
    until(lambda: len(m.got) == 40)
    m.commit()
    d = admin.describe_consumer_groups([group])[group].result(T)
    assert d.type == ConsumerGroupType.CONSUMER and d.state == ConsumerGroupState.STABLE and len(d.members) == 1
    m.stop()
    c = consumer(group, group_protocol='consumer')
    assert [p.offset for p in c.committed([TopicPartition(topic4, p) for p in range(4)], timeout=T)] == [10] * 4
    c.close()


@pytest.mark.parametrize('assignor', [None, 'uniform', 'range'])
def test_kip848_two_members_rebalance(topic4, assignor):
    group, parts = fresh('g'), {(topic4, p) for p in range(4)}
    opts = {'group_protocol': 'consumer', **({'group_remote_assignor': assignor} if assignor else {})}
    a = Member(group, [topic4], **opts)
    until(lambda: a.assigned == parts)
    b = Member(group, [topic4], **opts)
    until(lambda: balanced([a, b], parts) and len(a.assigned) == 2, 60)
    produce(topic4, [{'value': b'%d' % i, 'partition': i % 4} for i in range(40)])
    until(lambda: len(a.got) + len(b.got) == 40)
    b.stop()
    until(lambda: a.assigned == parts, 60)
    a.stop()


def test_kip848_pattern_subscription(admin):
    prefix = fresh('pat')
    names = [f'{prefix}.{i}' for i in range(2)]
    for f in admin.create_topics([NewTopic(n, 1, 1) for n in names]).values():
        f.result(T)
    m = Member(fresh('g'), [f'^{prefix}\\..*'], group_protocol='consumer')
    until(lambda: m.assigned == {(n, 0) for n in names}, 60)
    m.stop()


def test_kip848_static_member(admin, topic4):
    group = fresh('g')
    m = Member(group, [topic4], group_protocol='consumer', group_instance_id='one')
    until(lambda: len(m.assigned) == 4)
    m.stop()
    m = Member(group, [topic4], group_protocol='consumer', group_instance_id='one')
    until(lambda: len(m.assigned) == 4)
    members = admin.describe_consumer_groups([group])[group].result(T).members
    assert [x.group_instance_id for x in members] == ['one']
    m.stop()


def test_kip848_classic_member_upgrades(topic4):
    group, parts = fresh('g'), {(topic4, p) for p in range(4)}
    a = Member(group, [topic4], partition_assignment_strategy='range', session_timeout_ms=6000, heartbeat_interval_ms=500)
    until(lambda: a.assigned == parts)
    b = Member(group, [topic4], group_protocol='consumer')
    until(lambda: balanced([a, b], parts), 60)
    a.stop()
    until(lambda: b.assigned == parts, 60)
    b.stop()


# ---- share groups (KIP-932)

def share_read(c, n, seconds=T):
    out, end = [], time.monotonic() + seconds
    while len(out) < n and time.monotonic() < end:
        out += [m for m in c.poll(1) if m.error() is None]
    return out


def share_consumer(admin, **more):
    group = more.pop('group', None) or fresh('share')
    r = ConfigResource(ConfigResource.Type.GROUP, group, incremental_configs=[
        ConfigEntry('share.auto.offset.reset', 'earliest', incremental_operation=AlterConfigOpType.SET)])
    admin.incremental_alter_configs([r])[r].result(T)
    cfg = conf(group_id=group)
    cfg.update({k.replace('_', '.'): v for k, v in more.items()})
    return ShareConsumer(cfg)


def test_share_group_reads_all(admin, topic4):
    produce(topic4, [{'value': b'%d' % i, 'partition': i % 4} for i in range(100)])
    c = share_consumer(admin)
    c.subscribe([topic4])
    assert {m.value() for m in share_read(c, 100)} == {b'%d' % i for i in range(100)}
    c.commit_sync(T)
    c.close()


def test_share_group_redelivers_what_was_released(admin, topic):
    produce(topic, [b'%d' % i for i in range(10)])
    c = share_consumer(admin, share_acknowledgement_mode='explicit')
    c.subscribe([topic])
    first, end = [], time.monotonic() + T
    while not first and time.monotonic() < end:
        first = [m for m in c.poll(1) if m.error() is None]
    assert first
    for m in first:
        c.acknowledge(m, AcknowledgeType.RELEASE if m.value() == b'3' else AcknowledgeType.ACCEPT)
    c.commit_sync(T)
    again, seen = [], {m.value() for m in first}
    while not again and time.monotonic() < end:
        batch = [m for m in c.poll(1) if m.error() is None]
        for m in batch:
            if m.value() == b'3' and m.value() in seen:
                again.append(m)
            c.acknowledge(m, AcknowledgeType.ACCEPT)
        c.commit_sync(T)
    assert [m.offset() for m in again] == [3]
    c.close()


# ---- admin

def test_create_delete_topic(admin):
    name = fresh()
    admin.create_topics([NewTopic(name, 3, 1)])[name].result(T)
    until(lambda: len(admin.list_topics(timeout=T).topics.get(name, NewTopic('', 0)).partitions or ()) == 3
          if name in admin.list_topics(timeout=T).topics else False)
    assert code(lambda: admin.create_topics([NewTopic(name, 3, 1)])[name].result(T)) == KafkaError.TOPIC_ALREADY_EXISTS
    admin.delete_topics([name])[name].result(T)
    until(lambda: name not in admin.list_topics(timeout=T).topics)
    assert code(lambda: admin.delete_topics([name])[name].result(T)) == KafkaError.UNKNOWN_TOPIC_OR_PART


@pytest.mark.parametrize('why,topic,want', [
    ('name', NewTopic('bad name!', 1, 1), KafkaError.TOPIC_EXCEPTION),
    ('replicas', NewTopic('ck-refused-1', 1, 30), KafkaError.INVALID_REPLICATION_FACTOR),
    ('partitions', NewTopic('ck-refused-2', -5, 1), KafkaError.INVALID_PARTITIONS),
    ('config', NewTopic('ck-refused-3', 1, 1, config={'no.such.config': '1'}), KafkaError.INVALID_CONFIG),
    ('config value', NewTopic('ck-refused-4', 1, 1, config={'retention.ms': 'soon'}), KafkaError.INVALID_CONFIG)])
def test_create_topic_refused(admin, why, topic, want):
    if why == 'partitions':
        with pytest.raises((KafkaException, ValueError)):
            admin.create_topics([topic])[topic.topic].result(T)
        return
    assert code(lambda: admin.create_topics([topic])[topic.topic].result(T)) == want


def test_create_topic_validate_only(admin):
    name = fresh()
    admin.create_topics([NewTopic(name, 1, 1)], validate_only=True)[name].result(T)
    time.sleep(0.5)
    assert name not in admin.list_topics(timeout=T).topics


def test_create_topic_broker_defaults(admin):
    name = fresh()
    admin.create_topics([NewTopic(name)])[name].result(T)
    until(lambda: name in admin.list_topics(timeout=T).topics)


def test_recreated_topic_is_empty(admin):
    topic = make_topic(admin)
    produce(topic, [b'old'] * 10)
    admin.delete_topics([topic])[topic].result(T)
    until(lambda: topic not in admin.list_topics(timeout=T).topics)
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(T)
    until(lambda: topic in admin.list_topics(timeout=T).topics)
    until(lambda: produce(topic, [b'new']))
    assert [m.value() for m in read_partitions(topic, 1, quiet=1)] == [b'new']


def test_create_partitions(admin, topic):
    produce(topic, [b'x'] * 3)
    admin.create_partitions([NewPartitions(topic, 5)])[topic].result(T)
    until(lambda: len(admin.list_topics(topic, timeout=T).topics[topic].partitions) == 5)
    assert code(lambda: admin.create_partitions([NewPartitions(topic, 2)])[topic].result(T)) == KafkaError.INVALID_PARTITIONS
    until(lambda: produce(topic, [b'y'], partition=4))
    assert len(read_partitions(topic, 4, range(5))) == 4


def test_topic_configs(admin, topic):
    r = ConfigResource(ConfigResource.Type.TOPIC, topic)
    show = lambda: admin.describe_configs([r])[r].result(T)
    before = show()
    assert {'retention.ms', 'cleanup.policy', 'segment.bytes', 'max.message.bytes', 'min.insync.replicas',
            'compression.type'} <= set(before)
    assert before['retention.ms'].value == '604800000' and before['retention.ms'].is_default

    def alter(*ops):
        x = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[
            ConfigEntry(k, v, incremental_operation=op) for k, v, op in ops])
        admin.incremental_alter_configs([x])[x].result(T)
    alter(('retention.ms', '3600000', AlterConfigOpType.SET), ('cleanup.policy', 'compact', AlterConfigOpType.APPEND))
    after = until(lambda: (c := show())['retention.ms'].value == '3600000' and c)
    assert after['retention.ms'].source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value or \
        after['retention.ms'].source == ConfigSource.DYNAMIC_TOPIC_CONFIG
    assert after['cleanup.policy'].value == 'delete,compact'
    alter(('retention.ms', None, AlterConfigOpType.DELETE), ('cleanup.policy', 'compact', AlterConfigOpType.SUBTRACT))
    back = until(lambda: (c := show())['retention.ms'].value == '604800000' and c)
    assert back['cleanup.policy'].value == 'delete'
    assert code(lambda: alter(('retention.ms', 'soon', AlterConfigOpType.SET))) == KafkaError.INVALID_CONFIG


def test_broker_configs(admin):
    broker = str(next(iter(admin.list_topics(timeout=T).brokers)))
    r = ConfigResource(ConfigResource.Type.BROKER, broker)
    got = admin.describe_configs([r])[r].result(T)
    assert {'log.retention.ms', 'num.partitions', 'message.max.bytes', 'advertised.listeners'} <= set(got)
    assert got['advertised.listeners'].is_read_only


def test_describe_cluster(admin):
    d = admin.describe_cluster(include_authorized_operations=True).result(T)
    assert d.cluster_id and len(d.nodes) >= 1 and d.controller is not None
    host, port = BROKER.rsplit(':', 1)
    assert int(port) in {n.port for n in d.nodes}
    assert d.cluster_id == admin.list_topics(timeout=T).cluster_id


def test_describe_topics(admin, topic4):
    d = admin.describe_topics(TopicCollection([topic4]), include_authorized_operations=True)[topic4].result(T)
    assert d.name == topic4 and len(d.partitions) == 4 and not d.is_internal
    assert str(d.topic_id) not in ('', 'AAAAAAAAAAAAAAAAAAAAAA')
    assert all(p.leader is not None and len(p.isr) == 1 for p in d.partitions)
    missing = fresh()
    assert code(lambda: admin.describe_topics(TopicCollection([missing]))[missing].result(T)) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_list_and_describe_groups(admin, topic4):
    classic, new = fresh('g'), fresh('g')
    a = Member(classic, [topic4], client_id='app-a')
    b = Member(new, [topic4], group_protocol='consumer')
    until(lambda: a.assigned and b.assigned)
    found = until(lambda: (x := {g.group_id: g for g in admin.list_consumer_groups().result(T).valid})
                  and classic in x and new in x and x)
    assert (found[classic].type, found[new].type) == (ConsumerGroupType.CLASSIC, ConsumerGroupType.CONSUMER)
    only = {g.group_id for g in admin.list_consumer_groups(types={ConsumerGroupType.CONSUMER}).result(T).valid}
    assert new in only and classic not in only
    d = admin.describe_consumer_groups([classic])[classic].result(T)
    assert d.state == ConsumerGroupState.STABLE and d.coordinator is not None
    assert d.members[0].client_id == 'app-a' and len(d.members[0].assignment.topic_partitions) == 4
    a.stop(), b.stop()
    empty = {g.group_id for g in admin.list_consumer_groups(states={ConsumerGroupState.EMPTY}).result(T).valid}
    assert classic in empty


def test_group_offsets_and_delete(admin, topic):
    group = fresh('g')
    produce(topic, [b'x'] * 10)
    m = Member(group, [topic])
    until(lambda: len(m.got) == 10)
    m.commit()
    assert code(lambda: admin.delete_consumer_groups([group])[group].result(T)) == KafkaError.NON_EMPTY_GROUP
    m.stop()
    offsets = lambda: {p.partition: p.offset for p in admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group)])[group].result(T).topic_partitions}
    assert offsets() == {0: 10}
    admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 4)])])[group].result(T)
    assert offsets() == {0: 4}
    c = consumer(group)
    c.subscribe([topic])
    assert read(c, 1)[0].offset() == 4
    c.close()
    until(lambda: admin.delete_consumer_groups([group])[group].result(T) is None)
    assert group not in {g.group_id for g in admin.list_consumer_groups().result(T).valid}
    nobody = fresh('nobody')
    assert code(lambda: admin.delete_consumer_groups([nobody])[nobody].result(T)) == KafkaError.GROUP_ID_NOT_FOUND


def test_acls(admin):
    name = fresh()
    acl = AclBinding(ResourceType.TOPIC, name, ResourcePatternType.PREFIXED, 'User:somebody', '*',
                     AclOperation.READ, AclPermissionType.ALLOW)
    admin.create_acls([acl])[acl].result(T)
    f = AclBindingFilter(ResourceType.TOPIC, name, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY)
    assert until(lambda: admin.describe_acls(f).result(T)) == [acl]
    match = AclBindingFilter(ResourceType.TOPIC, name + '-and-more', ResourcePatternType.MATCH, None, None,
                             AclOperation.ANY, AclPermissionType.ANY)
    assert acl in admin.describe_acls(match).result(T)
    assert admin.delete_acls([f])[f].result(T) == [acl]
    until(lambda: admin.describe_acls(f).result(T) == [])


def test_delete_records(admin, topic):
    produce(topic, [b'%d' % i for i in range(100)])
    tp = TopicPartition(topic, 0, 60)
    assert admin.delete_records([tp])[tp].result(T).low_watermark == 60
    c = consumer()
    assert until(lambda: c.get_watermark_offsets(TopicPartition(topic, 0), timeout=T) == (60, 100))
    c.close()
    assert [m.offset() for m in read_partitions(topic, 40)] == list(range(60, 100))
    too_far = TopicPartition(topic, 0, 1000)
    assert code(lambda: admin.delete_records([too_far])[too_far].result(T)) == KafkaError.OFFSET_OUT_OF_RANGE


def test_scram_credentials(admin):
    user = fresh('user')
    up = UserScramCredentialUpsertion(user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 8192), b'secret')
    admin.alter_user_scram_credentials([up])[user].result(T)
    got = until(lambda: admin.describe_user_scram_credentials([user])[user].result(T))
    assert [(i.mechanism, i.iterations) for i in got.scram_credential_infos] == [(ScramMechanism.SCRAM_SHA_256, 8192)]
    admin.alter_user_scram_credentials([UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_256)])[user].result(T)

    def gone():
        try:
            admin.describe_user_scram_credentials([user])[user].result(T)
        except KafkaException as e:
            return e.args[0].code() == KafkaError.RESOURCE_NOT_FOUND
    until(gone)


def test_elect_leaders(admin, topic):
    tp = TopicPartition(topic, 0)
    err = admin.elect_leaders(ElectionType.PREFERRED, [tp]).result(T)[tp]
    assert err is not None and err.args[0].code() == KafkaError.ELECTION_NOT_NEEDED \
        if isinstance(err, KafkaException) else err is None or err.code() == KafkaError.ELECTION_NOT_NEEDED


# ---- storage

def test_compaction_keeps_the_last_value(admin):
    topic = make_topic(admin, cleanup_policy='compact', segment_ms=1000, min_cleanable_dirty_ratio='0.01',
                       max_compaction_lag_ms=1000, delete_retention_ms=1000)
    for n in range(3):
        produce(topic, [{'key': b'k%d' % i, 'value': b'%d' % n} for i in range(50)])
        time.sleep(1.2)
    produce(topic, [{'key': b'roll', 'value': b'x'}])

    def compacted():
        got = [(m.key(), m.value()) for m in read_partitions(topic, 151, seconds=3)]
        assert {v for k, v in got[-51:-1]} == {b'2'} and len(got) >= 51
        return len(got) < 151
    until(compacted, 60, 2)


def test_retention_deletes_old_segments(admin):
    topic = make_topic(admin, retention_ms=1000, segment_ms=1000, file_delete_delay_ms=0)
    produce(topic, [b'old'] * 10)
    time.sleep(2)
    produce(topic, [b'new'])
    c = consumer()
    until(lambda: c.get_watermark_offsets(TopicPartition(topic, 0), timeout=T)[0] >= 10, 60, 2)
    c.close()
