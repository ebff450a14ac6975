//! Every setting of a topic, a group and a client-metrics subscription that Kafka 4.3.0 knows, with the settings of
//! the broker that give its default (the first that is set counts, times its factor). The names are in order.

use super::key::{Key, Kind, Valid, boolean, double, int, list, long, string, unset};

#[rustfmt::skip]
pub const TOPIC_KEYS: &[Key] = &[
    list("cleanup.policy", "delete").distinct(&["compact", "delete"]).broker(&[("log.cleanup.policy", 1)]),
    int("compression.gzip.level", "-1").valid(Valid::GzipLevel).broker(&[("compression.gzip.level", 1)]),
    int("compression.lz4.level", "9").between(1, 17).broker(&[("compression.lz4.level", 1)]),
    string("compression.type", "producer").one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]).broker(&[("compression.type", 1)]),
    int("compression.zstd.level", "3").between(-131072, 22).broker(&[("compression.zstd.level", 1)]),
    long("delete.retention.ms", "86400000").min(0).broker(&[("log.cleaner.delete.retention.ms", 1)]),
    long("file.delete.delay.ms", "60000").min(0).broker(&[("log.segment.delete.delay.ms", 1)]),
    long("flush.messages", "9223372036854775807").min(1).broker(&[("log.flush.interval.messages", 1)]),
    long("flush.ms", "9223372036854775807").min(0).broker(&[("log.flush.interval.ms", 1), ("log.flush.scheduler.interval.ms", 1)]),
    list("follower.replication.throttled.replicas", "").valid(Valid::ThrottledReplicas),
    int("index.interval.bytes", "4096").min(0).broker(&[("log.index.interval.bytes", 1)]),
    unset(Kind::Int, "internal.segment.bytes").internal(),
    list("leader.replication.throttled.replicas", "").valid(Valid::ThrottledReplicas),
    long("local.retention.bytes", "-2").min(-2).broker(&[("log.local.retention.bytes", 1)]),
    long("local.retention.ms", "-2").min(-2).broker(&[("log.local.retention.ms", 1)]),
    long("max.compaction.lag.ms", "9223372036854775807").min(1).broker(&[("log.cleaner.max.compaction.lag.ms", 1)]),
    int("max.message.bytes", "1048588").min(0).broker(&[("message.max.bytes", 1)]),
    long("message.timestamp.after.max.ms", "3600000").min(0).broker(&[("log.message.timestamp.after.max.ms", 1)]),
    long("message.timestamp.before.max.ms", "9223372036854775807").min(0).broker(&[("log.message.timestamp.before.max.ms", 1)]),
    string("message.timestamp.type", "CreateTime").one_of(&["CreateTime", "LogAppendTime"]).broker(&[("log.message.timestamp.type", 1)]),
    double("min.cleanable.dirty.ratio", "0.5").within(0.0, 1.0).broker(&[("log.cleaner.min.cleanable.ratio", 1)]),
    long("min.compaction.lag.ms", "0").min(0).broker(&[("log.cleaner.min.compaction.lag.ms", 1)]),
    int("min.insync.replicas", "1").min(1).broker(&[("min.insync.replicas", 1)]),
    boolean("preallocate", "false").broker(&[("log.preallocate", 1)]),
    boolean("remote.log.copy.disable", "false"),
    boolean("remote.log.delete.on.disable", "false"),
    boolean("remote.storage.enable", "false"),
    long("retention.bytes", "-1").broker(&[("log.retention.bytes", 1)]),
    long("retention.ms", "604800000").min(-1).broker(&[("log.retention.ms", 1), ("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)]),
    int("segment.bytes", "1073741824").min(1048576).broker(&[("log.segment.bytes", 1)]),
    int("segment.index.bytes", "10485760").min(4).broker(&[("log.index.size.max.bytes", 1)]),
    long("segment.jitter.ms", "0").min(0).broker(&[("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", 3_600_000)]),
    long("segment.ms", "604800000").min(1).broker(&[("log.roll.ms", 1), ("log.roll.hours", 3_600_000)]),
    boolean("unclean.leader.election.enable", "false").broker(&[("unclean.leader.election.enable", 1)]),
];

#[rustfmt::skip]
pub const GROUP_KEYS: &[Key] = &[
    int("consumer.assignment.interval.ms", "1000").min(0).broker(&[("group.consumer.assignment.interval.ms", 1)]),
    int("consumer.heartbeat.interval.ms", "5000").min(1).broker(&[("group.consumer.heartbeat.interval.ms", 1)]),
    int("consumer.session.timeout.ms", "45000").min(1).broker(&[("group.consumer.session.timeout.ms", 1)]),
    int("share.assignment.interval.ms", "1000").min(0).broker(&[("group.share.assignment.interval.ms", 1)]),
    string("share.auto.offset.reset", "latest").valid(Valid::AutoOffsetReset),
    int("share.delivery.count.limit", "5").min(2).broker(&[("group.share.delivery.count.limit", 1)]),
    int("share.heartbeat.interval.ms", "5000").min(1).broker(&[("group.share.heartbeat.interval.ms", 1)]),
    string("share.isolation.level", "read_uncommitted").one_of(&["read_committed", "read_uncommitted"]),
    int("share.partition.max.record.locks", "2000").min(100).broker(&[("group.share.partition.max.record.locks", 1)]),
    int("share.record.lock.duration.ms", "30000").min(1000).broker(&[("group.share.record.lock.duration.ms", 1)]),
    boolean("share.renew.acknowledge.enable", "true"),
    int("share.session.timeout.ms", "45000").min(1).broker(&[("group.share.session.timeout.ms", 1)]),
    int("streams.assignment.interval.ms", "1000").min(0).broker(&[("group.streams.assignment.interval.ms", 1)]),
    int("streams.heartbeat.interval.ms", "5000").min(1).broker(&[("group.streams.heartbeat.interval.ms", 1)]),
    int("streams.initial.rebalance.delay.ms", "3000").min(0).broker(&[("group.streams.initial.rebalance.delay.ms", 1)]),
    int("streams.num.standby.replicas", "0").min(0).broker(&[("group.streams.num.standby.replicas", 1)]),
    int("streams.session.timeout.ms", "45000").min(1).broker(&[("group.streams.session.timeout.ms", 1)]),
];

#[rustfmt::skip]
pub const CLIENT_METRICS_KEYS: &[Key] = &[
    int("interval.ms", "300000"),
    list("match", ""),
    list("metrics", ""),
];
