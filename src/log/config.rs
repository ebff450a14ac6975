//! The settings of one log: those of its topic that `log/` acts on, as plain numbers. Who reads them from files and
//! metadata records is no concern of this module.

use crate::record::TimestampType;

/// Topic settings with Kafka's defaults. Times are milliseconds, sizes bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes` (`log.segment.bytes`).
    pub segment_bytes: u32,
    /// `segment.ms` (`log.roll.ms`).
    pub segment_ms: i64,
    /// `segment.jitter.ms` (`log.roll.jitter.ms`): each segment rolls earlier by a random part of it.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: an active segment whose index has this size is rolled.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: one index entry for this many bytes.
    pub index_interval_bytes: u32,
    /// `retention.ms`; -1 is "for ever".
    pub retention_ms: i64,
    /// `retention.bytes`; -1 is "any size".
    pub retention_bytes: i64,
    /// `max.message.bytes`: the largest batch; checked by who validates batches.
    pub max_message_bytes: u32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `cleanup.policy` contains `delete`.
    pub delete: bool,
    /// `cleanup.policy` contains `compact`.
    pub compact: bool,
    /// `flush.messages`: fsync after this many records.
    pub flush_messages: i64,
    /// `log.flush.interval.bytes`: fsync after this many bytes.
    pub flush_bytes: i64,
    /// `flush.ms`: fsync after this time.
    pub flush_ms: i64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
    /// `delete.retention.ms`: how long tombstones stay.
    pub delete_retention_ms: i64,
    /// `file.delete.delay.ms`: between a segment's end and the removal of its files.
    pub file_delete_delay_ms: i64,
    /// The CRC of what is read is checked (`log.verify.on.read`).
    pub verify_on_read: bool,
    /// `preallocate`: reserve `segment_bytes` on disk for each new segment.
    pub preallocate: bool,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: 7 * DAY_MS,
            retention_bytes: -1,
            max_message_bytes: (1 << 20) + 12,
            timestamp_type: TimestampType::CreateTime,
            delete: true,
            compact: false,
            flush_messages: i64::MAX,
            flush_bytes: i64::MAX,
            flush_ms: i64::MAX,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            delete_retention_ms: DAY_MS,
            file_delete_delay_ms: 60_000,
            verify_on_read: false,
            preallocate: false,
        }
    }
}
