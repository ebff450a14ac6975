//! What a leader checks before it takes a batch from a client, and what it changes in it: the timestamp type, the
//! greatest timestamp, the codec. A [`ValidBatch`] has passed, or was built here; only such a batch is appended.
//!
//! The order of the checks, and so the error that a batch with two faults gets, is Kafka's: ProduceRequest
//! .validateRecords, UnifiedLog.analyzeAndValidateRecords, LogValidator. Sequences and producer epochs are checked
//! under the log's append lock, in `log::producers`.

use bytes::Bytes;

use super::batch::{Batch, BatchHeader, Compression, Corrupt, HEADER_LEN, TimestampType, batches};
use super::builder::{BatchBuilder, Producer};
use super::compress::Codec;
use super::control::EndMarker;
use super::records::{RecordReader, RecordView};
use crate::ids::{LeaderEpoch, Offset, Timestamp};

/// From this version on a Produce request may carry zstd.
const PRODUCE_VERSION_ZSTD: i16 = 7;

/// What a topic asks of the batches written to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `max.message.bytes`
    pub max_message_bytes: usize,
    /// Whether `cleanup.policy` has `compact`: each record then needs a key.
    pub compacted: bool,
    /// `message.timestamp.type`
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// `compression.type`; `None` is `producer`.
    pub codec: Option<Codec>,
    /// `log.validate.records=always`: compressed batches are opened and their records checked.
    pub open_compressed: bool,
}

impl Default for Rules {
    /// Kafka's defaults.
    fn default() -> Rules {
        Rules {
            max_message_bytes: 1_048_588,
            compacted: false,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            codec: None,
            open_compressed: false,
        }
    }
}

/// Why a batch is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// CORRUPT_MESSAGE
    #[error("{0}")]
    Corrupt(#[from] Corrupt),
    /// MESSAGE_TOO_LARGE
    #[error(
        "the record batch has {size} bytes, which exceeds the maximum configured value of {max}"
    )]
    TooLarge { size: usize, max: usize },
    /// UNSUPPORTED_COMPRESSION_TYPE
    #[error("Produce requests with version {version} are not allowed to use ZStandard compression")]
    Zstd { version: i16 },
    /// INVALID_RECORD for the batch as a whole
    #[error("{0}")]
    Batch(String),
    /// INVALID_TIMESTAMP when one is of that kind, else INVALID_RECORD; never empty
    #[error("{} records are at fault", .0.len())]
    Records(Vec<RecordError>),
}

/// A record at fault: its place in the batch and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    pub batch_index: i32,
    pub fault: RecordFault,
}

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    #[error("Compacted topic cannot accept message without key")]
    NoKey,
    #[error(
        "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be within \
         [{first}, {last}]"
    )]
    Timestamp {
        timestamp: Timestamp,
        offset: Offset,
        first: Timestamp,
        last: Timestamp,
    },
    #[error(
        "Invalid timestamp type in message DefaultRecord(offset={offset}, timestamp={timestamp}, key={key} bytes, \
         value={value} bytes). Producer should not set timestamp type to LogAppendTime."
    )]
    LogAppendTime {
        offset: Offset,
        timestamp: Timestamp,
        key: usize,
        value: usize,
    },
}

impl RecordFault {
    /// Whether the answer is INVALID_TIMESTAMP.
    pub fn is_timestamp(&self) -> bool {
        !matches!(self, RecordFault::NoKey)
    }
}

/// At most this many records at fault are told; a batch of a million bad ones must not make an answer of them.
const RECORD_ERRORS_MAX: usize = 100;

/// A batch that may be appended: exactly one, as Kafka's leader takes them. Its header may differ from the one in
/// its bytes, since those may be shared; what is written is [`ValidBatch::header_bytes`] and then
/// [`ValidBatch::payload`].
#[derive(Clone, Debug)]
pub struct ValidBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl ValidBatch {
    /// Vouches for a batch that this process made.
    pub(super) fn built(batch: Batch) -> ValidBatch {
        ValidBatch {
            header: batch.header,
            bytes: batch.bytes,
        }
    }

    /// The header as it is to be written, but for base offset and leader epoch, which the append gives.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The header's bytes at the offset and epoch that the append gives. The CRC covers neither.
    pub fn header_bytes(&self, base_offset: Offset, leader_epoch: LeaderEpoch) -> [u8; HEADER_LEN] {
        BatchHeader {
            base_offset,
            leader_epoch,
            ..self.header.clone()
        }
        .encode()
    }

    /// The bytes behind the header.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// Bytes of header and payload.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn record_count(&self) -> i32 {
        self.header.record_count
    }

    pub fn reader(&self) -> Result<RecordReader<'_>, Corrupt> {
        RecordReader::open(&self.header, self.payload())
    }

    /// The end of a transaction that this batch marks; `None` when it is another batch.
    pub fn end_marker(&self) -> Option<EndMarker> {
        EndMarker::of(&self.header, self.payload())
    }
}

/// The one batch that a partition's records in a Produce request of `version` must be.
/// (ProduceRequest.validateRecords)
pub fn produced_batch(records: Bytes, version: i16) -> Result<Batch, Invalid> {
    let mut found = batches(records);
    let batch = match found.next() {
        None => {
            return Err(Invalid::Batch(format!(
                "Produce requests with version {version} must have at least one record batch per partition"
            )));
        }
        Some(Err(Corrupt::Magic(0 | 1))) => {
            return Err(Invalid::Batch(format!(
                "Produce requests with version {version} are only allowed to contain record batches with magic version 2"
            )));
        }
        Some(batch) => batch?,
    };
    if version < PRODUCE_VERSION_ZSTD && batch.header.compression() == Ok(Compression::Zstd) {
        return Err(Invalid::Zstd { version });
    }
    if found.next().is_some() {
        return Err(Invalid::Batch(format!(
            "Produce requests with version {version} are only allowed to contain exactly one record batch per partition"
        )));
    }
    Ok(batch)
}

/// Checks a client's batch by the topic's rules and makes of it what is appended.
pub fn validate(batch: Batch, rules: &Rules, now: Timestamp) -> Result<ValidBatch, Invalid> {
    if batch.header.base_offset != Offset::ZERO {
        let got = batch.header.base_offset;
        return Err(Invalid::Batch(format!(
            "The baseOffset of the record batch should be 0, but it is {got}"
        )));
    }
    if batch.bytes.len() > rules.max_message_bytes {
        return Err(Invalid::TooLarge {
            size: batch.bytes.len(),
            max: rules.max_message_bytes,
        });
    }
    batch.check_crc()?;
    let source = batch.header.compression()?;
    check_header(&batch.header)?;
    let target = match rules.codec {
        Some(codec) if codec.compression() != source => Some(codec),
        _ => None,
    };
    if target.is_none() && !must_open(&batch.header, source, rules, now) {
        return Ok(finish(batch, None, rules, now));
    }
    let walked = walk(&batch, rules, now)?;
    if target.is_none() && walked.offsets_in_sequence {
        return Ok(finish(batch, Some(walked.max_timestamp), rules, now));
    }
    let built = rebuild(&batch, target.unwrap_or(Codec::of(source)), rules, now)?;
    if built.size() > rules.max_message_bytes {
        return Err(Invalid::TooLarge {
            size: built.size(),
            max: rules.max_message_bytes,
        });
    }
    Ok(built)
}

/// What is asked of a client's batch by its header alone. (LogValidator.validateBatch)
fn check_header(header: &BatchHeader) -> Result<(), Invalid> {
    let (first, last) = (header.base_offset, header.last_offset());
    let count_from_offsets = last - first + 1;
    let count = i64::from(header.record_count);
    if count_from_offsets <= 0 {
        return Err(Invalid::Batch(format!(
            "Batch has an invalid offset range: [{first}, {last}]"
        )));
    }
    if count <= 0 {
        return Err(Invalid::Batch(format!(
            "Invalid reported count for record batch: {count}"
        )));
    }
    if count_from_offsets != count {
        return Err(Invalid::Batch(format!(
            "Inconsistent batch offset range [{first}, {last}] and count of records {count}"
        )));
    }
    if header.is_control() {
        return Err(Invalid::Batch(
            "Clients are not allowed to write control records".to_owned(),
        ));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return Err(Invalid::Batch(format!(
            "Invalid sequence number {} in record batch with producerId {}",
            header.base_sequence, header.producer_id
        )));
    }
    Ok(())
}

/// Whether the records have to be looked at. Plain ones always are; compressed ones where the topic has a rule
/// that the header cannot answer.
fn must_open(header: &BatchHeader, source: Compression, rules: &Rules, now: Timestamp) -> bool {
    if source == Compression::None || rules.open_compressed || rules.compacted {
        return true;
    }
    match rules.timestamp_type {
        TimestampType::LogAppendTime => header.timestamp_type() == TimestampType::LogAppendTime,
        TimestampType::CreateTime => {
            rules.timestamp_before_max_ms != i64::MAX
                || header.timestamp_type() == TimestampType::LogAppendTime
                || header.delete_horizon().is_some()
                || out_of_range(header.max_timestamp, rules, now)
        }
    }
}

/// What the records of one compressed batch may come to. A batch that says more is made to exhaust the broker.
const OPENED_BYTES_MAX: usize = 256 << 20;

struct Walked {
    max_timestamp: Timestamp,
    /// Whether the records' offset deltas are 0, 1, 2 and so on.
    offsets_in_sequence: bool,
}

fn walk(batch: &Batch, rules: &Rules, now: Timestamp) -> Result<Walked, Invalid> {
    let mut walked = Walked {
        max_timestamp: Timestamp::NONE,
        offsets_in_sequence: true,
    };
    let mut errors = Vec::new();
    let (mut index, mut opened_bytes) = (0, 0);
    let mut reader = batch.reader()?;
    while let Some(record) = reader.next().map_err(structure)? {
        opened_bytes += record.size;
        if opened_bytes > OPENED_BYTES_MAX.max(rules.max_message_bytes) {
            return Err(Invalid::TooLarge {
                size: opened_bytes,
                max: OPENED_BYTES_MAX,
            });
        }
        walked.offsets_in_sequence &= record.offset_delta == index;
        walked.max_timestamp = walked.max_timestamp.max(record.timestamp);
        if let Some(fault) = check_record(&record, &batch.header, rules, now)
            && errors.len() < RECORD_ERRORS_MAX
        {
            errors.push(RecordError {
                batch_index: index,
                fault,
            });
        }
        index += 1;
    }
    if errors.is_empty() {
        Ok(walked)
    } else {
        Err(Invalid::Records(errors))
    }
}

/// A batch with a good CRC whose records do not parse is an invalid one, not one damaged on the way.
fn structure(corrupt: Corrupt) -> Invalid {
    match corrupt {
        Corrupt::Record { .. } | Corrupt::Count { .. } | Corrupt::RecordTooLarge { .. } => {
            Invalid::Batch(corrupt.to_string())
        }
        other => Invalid::Corrupt(other),
    }
}

/// LogValidator.validateRecord
fn check_record(
    record: &RecordView<'_>,
    header: &BatchHeader,
    rules: &Rules,
    now: Timestamp,
) -> Option<RecordFault> {
    if rules.compacted && record.key.is_none() {
        return Some(RecordFault::NoKey);
    }
    if rules.timestamp_type == TimestampType::CreateTime && record.timestamp != Timestamp::NONE {
        return out_of_range(record.timestamp, rules, now).then(|| RecordFault::Timestamp {
            timestamp: record.timestamp,
            offset: record.offset,
            first: Timestamp(now.0.saturating_sub(rules.timestamp_before_max_ms)),
            last: now.plus_ms(rules.timestamp_after_max_ms),
        });
    }
    (header.timestamp_type() == TimestampType::LogAppendTime).then(|| RecordFault::LogAppendTime {
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.map_or(0, <[u8]>::len),
        value: record.value.map_or(0, <[u8]>::len),
    })
}

fn out_of_range(timestamp: Timestamp, rules: &Rules, now: Timestamp) -> bool {
    let age = now.0.saturating_sub(timestamp.0);
    age > rules.timestamp_before_max_ms || age.saturating_neg() > rules.timestamp_after_max_ms
}

/// Sets the timestamp type and the greatest timestamp, and the CRC when that changed the header. `walked` is the
/// greatest timestamp of the records where they were looked at.
fn finish(batch: Batch, walked: Option<Timestamp>, rules: &Rules, now: Timestamp) -> ValidBatch {
    let Batch { mut header, bytes } = batch;
    let attributes = header.attributes.with_timestamp_type(rules.timestamp_type);
    let max_timestamp = match rules.timestamp_type {
        TimestampType::LogAppendTime => now,
        TimestampType::CreateTime => walked.unwrap_or(header.max_timestamp),
    };
    if header.attributes != attributes || header.max_timestamp != max_timestamp {
        header.attributes = attributes;
        header.max_timestamp = max_timestamp;
        header.crc = header.compute_crc(&bytes[HEADER_LEN..]);
    }
    ValidBatch { header, bytes }
}

/// Writes the records anew, in the topic's codec and with offset deltas in sequence.
/// (LogValidator.buildRecordsAndAssignOffsets)
fn rebuild(
    batch: &Batch,
    codec: Codec,
    rules: &Rules,
    now: Timestamp,
) -> Result<ValidBatch, Invalid> {
    let header = &batch.header;
    let mut builder = BatchBuilder::new()
        .codec(codec)
        .transactional(header.is_transactional())
        .producer(Producer {
            id: header.producer_id,
            epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
        });
    if rules.timestamp_type == TimestampType::LogAppendTime {
        builder = builder.log_append_time(now);
    }
    let mut reader = batch.reader()?;
    while let Some(record) = reader.next().map_err(structure)? {
        builder.copy(&record);
    }
    Ok(builder.build_valid())
}
