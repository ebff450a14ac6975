//! What a topic's settings mean to a replica of it: how its log is kept and what its leader takes.

use std::sync::Arc;

use crate::config::TopicSettings;
use crate::log::LogConfig;
use crate::record::compress::Codec;
use crate::record::{Rules, TimestampType};

/// The settings of a partition, read once for each change of its topic's.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionConfig {
    /// Shared with the log.
    pub log: Arc<LogConfig>,
    pub rules: Rules,
    /// `min.insync.replicas`
    pub min_insync_replicas: usize,
    pub flush_before: FlushBefore,
}

/// What waits until a record is on the device. Where anything does, consumers do not see it before either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushBefore {
    /// Nothing: replication is what keeps records, as with Kafka's defaults.
    #[default]
    Nothing,
    /// Answers to acks=all: `log.flush.acks=all`.
    AcksAll,
    /// Answers to acks=1 as well: `flush.messages=1`, with which Kafka flushes before it goes on.
    AnyAcks,
}

impl Default for PartitionConfig {
    fn default() -> PartitionConfig {
        PartitionConfig {
            log: Arc::default(),
            rules: Rules::default(),
            min_insync_replicas: 1,
            flush_before: FlushBefore::Nothing,
        }
    }
}

impl PartitionConfig {
    pub fn of(topic: &TopicSettings<'_>) -> PartitionConfig {
        let policies = topic.list("cleanup.policy");
        let has = |policy: &str| policies.iter().any(|given| given == policy);
        let timestamp_type = match topic.string("message.timestamp.type").as_str() {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        };
        let log = LogConfig {
            segment_bytes: unsigned(topic.segment_bytes()),
            segment_ms: topic.long("segment.ms"),
            segment_jitter_ms: topic.long("segment.jitter.ms"),
            segment_index_bytes: unsigned(topic.int("segment.index.bytes")),
            index_interval_bytes: unsigned(topic.int("index.interval.bytes")),
            retention_ms: topic.long("retention.ms"),
            retention_bytes: topic.long("retention.bytes"),
            max_message_bytes: unsigned(topic.int("max.message.bytes")),
            timestamp_type,
            delete: has("delete"),
            compact: has("compact"),
            flush_messages: topic.long("flush.messages"),
            flush_bytes: topic.flush_bytes(),
            flush_ms: topic.long("flush.ms"),
            min_compaction_lag_ms: topic.long("min.compaction.lag.ms"),
            max_compaction_lag_ms: topic.long("max.compaction.lag.ms"),
            min_cleanable_dirty_ratio: topic.double("min.cleanable.dirty.ratio"),
            delete_retention_ms: topic.long("delete.retention.ms"),
            file_delete_delay_ms: topic.long("file.delete.delay.ms"),
            verify_on_read: topic.verifies_on_read(),
            preallocate: topic.boolean("preallocate"),
        };
        let rules = Rules {
            max_message_bytes: log.max_message_bytes as usize,
            compacted: log.compact,
            timestamp_type,
            timestamp_before_max_ms: topic.long("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: topic.long("message.timestamp.after.max.ms"),
            codec: codec(topic),
            open_compressed: false,
        };
        let min_insync_replicas = unsigned(topic.int("min.insync.replicas")) as usize;
        let flush_before = match log.flush_messages {
            ..=1 => FlushBefore::AnyAcks,
            _ if topic.flushes_for_acks_all() => FlushBefore::AcksAll,
            _ => FlushBefore::Nothing,
        };
        PartitionConfig {
            log: Arc::new(log),
            rules,
            min_insync_replicas,
            flush_before,
        }
    }
}

/// `compression.type` with its level; `None` for `producer`.
fn codec(topic: &TopicSettings<'_>) -> Option<Codec> {
    match topic.string("compression.type").as_str() {
        "uncompressed" => Some(Codec::None),
        "gzip" => Some(Codec::Gzip(
            u32::try_from(topic.int("compression.gzip.level")).ok(),
        )),
        "snappy" => Some(Codec::Snappy),
        "lz4" => Some(Codec::Lz4(topic.int("compression.lz4.level"))),
        "zstd" => Some(Codec::Zstd(topic.int("compression.zstd.level"))),
        _ => None,
    }
}

/// Settings that are sizes and counts are checked not to be negative.
fn unsigned(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}
