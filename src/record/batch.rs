//! A record batch as a view over its bytes, its header parsed and its records untouched.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | base offset |
//! | 8 | 4 | batch length: bytes after this field |
//! | 12 | 4 | partition leader epoch (outside the CRC) |
//! | 16 | 1 | magic = 2 |
//! | 17 | 4 | CRC-32C of everything from the attributes on |
//! | 21 | 2 | attributes: bits 0-2 compression, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon |
//! | 23 | 4 | last offset delta |
//! | 27 | 8 | base timestamp, or delete horizon |
//! | 35 | 8 | max timestamp |
//! | 43 | 8 | producer id, -1 none |
//! | 51 | 2 | producer epoch, -1 none |
//! | 53 | 4 | base sequence, -1 none |
//! | 57 | 4 | record count |
//! | 61 | - | records, compressed as one block when compression is not none |
//!
//! (org.apache.kafka.common.record.DefaultRecordBatch)

use bytes::{Buf, BufMut, Bytes};
use crc_fast::{CrcAlgorithm, Digest};

use super::control::EndMarker;
use super::records::{RecordReader, Records};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// Bytes before the records.
pub const HEADER_LEN: usize = 61;
/// Bytes of base offset and batch length, which the batch length does not count.
pub const LOG_OVERHEAD: usize = 12;
/// Bytes up to and with the magic byte: what the size and the format of a batch are told by.
pub const HEADER_UP_TO_MAGIC: usize = 17;
/// The only batch format that is read and written.
pub const MAGIC: i8 = 2;
/// `base_sequence` of a batch without a producer.
pub const NO_SEQUENCE: i32 = -1;

const CRC_FROM: usize = 21;

/// Why bytes are no record batch or its records cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    #[error("{got} bytes are too few for a record batch of {need}")]
    TooShort { need: usize, got: usize },
    #[error("batch length {0} is less than a batch header")]
    Length(i32),
    #[error("record batches of magic {0} are not supported")]
    Magic(i8),
    #[error("stored CRC {stored:#010x} is not the computed one {computed:#010x}")]
    Crc { stored: u32, computed: u32 },
    #[error("unknown compression type {0}")]
    Compression(u8),
    #[error("the batch cannot be decompressed: {0}")]
    Decompression(String),
    #[error("record {index} is malformed: {what}")]
    Record { index: i32, what: &'static str },
    #[error("{declared} records are declared and {found} found")]
    Count { declared: i32, found: i32 },
    #[error("a record of {len} bytes exceeds the limit of {max} bytes")]
    RecordTooLarge { len: usize, max: usize },
}

/// A codec of record batches, by its number in the attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    #[default]
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

/// Who gives a record its timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    #[default]
    CreateTime = 0,
    LogAppendTime = 1,
}

/// The attribute bits of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    const COMPRESSION: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    pub fn compression(self) -> Result<Compression, Corrupt> {
        match self.0 & Self::COMPRESSION {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            other => Err(Corrupt::Compression(other as u8)),
        }
    }

    pub fn timestamp_type(self) -> TimestampType {
        if self.has(Self::LOG_APPEND_TIME) {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    pub fn is_transactional(self) -> bool {
        self.has(Self::TRANSACTIONAL)
    }

    pub fn is_control(self) -> bool {
        self.has(Self::CONTROL)
    }

    pub fn has_delete_horizon(self) -> bool {
        self.has(Self::DELETE_HORIZON)
    }

    #[must_use]
    pub fn with_compression(self, compression: Compression) -> Attributes {
        Attributes(self.0 & !Self::COMPRESSION | compression as i16)
    }

    #[must_use]
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Attributes {
        self.with(
            Self::LOG_APPEND_TIME,
            timestamp_type == TimestampType::LogAppendTime,
        )
    }

    #[must_use]
    pub fn with_transactional(self, yes: bool) -> Attributes {
        self.with(Self::TRANSACTIONAL, yes)
    }

    #[must_use]
    pub fn with_control(self, yes: bool) -> Attributes {
        self.with(Self::CONTROL, yes)
    }

    #[must_use]
    pub fn with_delete_horizon(self, yes: bool) -> Attributes {
        self.with(Self::DELETE_HORIZON, yes)
    }

    fn has(self, bit: i16) -> bool {
        self.0 & bit != 0
    }

    fn with(self, bit: i16, yes: bool) -> Attributes {
        Attributes(if yes { self.0 | bit } else { self.0 & !bit })
    }
}

/// The first [`HEADER_LEN`] bytes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Bytes after this field; at least those of the rest of the header.
    pub batch_length: i32,
    pub leader_epoch: LeaderEpoch,
    pub magic: i8,
    pub crc: u32,
    pub attributes: Attributes,
    pub last_offset_delta: i32,
    pub base_timestamp: Timestamp,
    pub max_timestamp: Timestamp,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl BatchHeader {
    /// Parses the header at the front of `bytes`, which need not hold the records. Neither the CRC nor the counts
    /// are checked, only that this is a batch of magic 2 with a possible length.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, Corrupt> {
        batch_size(bytes)?;
        if bytes.len() < HEADER_LEN {
            return Err(Corrupt::TooShort {
                need: HEADER_LEN,
                got: bytes.len(),
            });
        }
        let mut at = bytes;
        Ok(BatchHeader {
            base_offset: Offset(at.get_i64()),
            batch_length: at.get_i32(),
            leader_epoch: LeaderEpoch(at.get_i32()),
            magic: at.get_i8(),
            crc: at.get_u32(),
            attributes: Attributes(at.get_i16()),
            last_offset_delta: at.get_i32(),
            base_timestamp: Timestamp(at.get_i64()),
            max_timestamp: Timestamp(at.get_i64()),
            producer_id: ProducerId(at.get_i64()),
            producer_epoch: ProducerEpoch(at.get_i16()),
            base_sequence: at.get_i32(),
            record_count: at.get_i32(),
        })
    }

    /// The header's bytes, CRC as it stands in the field.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0u8; HEADER_LEN];
        let mut to = bytes.as_mut_slice();
        to.put_i64(self.base_offset.0);
        to.put_i32(self.batch_length);
        to.put_i32(self.leader_epoch.0);
        to.put_i8(self.magic);
        to.put_u32(self.crc);
        to.put_i16(self.attributes.0);
        to.put_i32(self.last_offset_delta);
        to.put_i64(self.base_timestamp.0);
        to.put_i64(self.max_timestamp.0);
        to.put_i64(self.producer_id.0);
        to.put_i16(self.producer_epoch.0);
        to.put_i32(self.base_sequence);
        to.put_i32(self.record_count);
        bytes
    }

    /// Bytes of the whole batch, header and records.
    pub fn size(&self) -> usize {
        LOG_OVERHEAD + self.batch_length as usize
    }

    pub fn last_offset(&self) -> Offset {
        Offset(
            self.base_offset
                .0
                .wrapping_add(i64::from(self.last_offset_delta)),
        )
    }

    /// The offset after this batch.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.wrapping_add(1))
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id.0 > ProducerId::NONE.0
    }

    /// Sequence of the last record, [`NO_SEQUENCE`] when the batch has none.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        increment_sequence(self.base_sequence, self.last_offset_delta)
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    pub fn compression(&self) -> Result<Compression, Corrupt> {
        self.attributes.compression()
    }

    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    /// Until when tombstones and markers of this batch are kept by compaction (KIP-534); `None` when it is not set.
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        self.attributes
            .has_delete_horizon()
            .then_some(self.base_timestamp)
    }

    /// The CRC of this header with `records` behind it.
    pub fn compute_crc(&self, records: &[u8]) -> u32 {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        digest.update(&self.encode()[CRC_FROM..]);
        digest.update(records);
        digest.finalize() as u32
    }
}

/// The sequence `by` records after `sequence`; after `i32::MAX` comes 0. (DefaultRecordBatch.incrementSequence)
pub fn increment_sequence(sequence: i32, by: i32) -> i32 {
    if sequence > i32::MAX.wrapping_sub(by) {
        return by
            .wrapping_sub(i32::MAX.wrapping_sub(sequence))
            .wrapping_sub(1);
    }
    sequence.wrapping_add(by)
}

/// The sequence `by` records before `sequence`. (DefaultRecordBatch.decrementSequence)
pub fn decrement_sequence(sequence: i32, by: i32) -> i32 {
    if sequence < by {
        return i32::MAX
            .wrapping_sub(by.wrapping_sub(sequence))
            .wrapping_add(1);
    }
    sequence.wrapping_sub(by)
}

/// Bytes of the batch that begins `bytes`, which must hold at least [`HEADER_UP_TO_MAGIC`] of them: what a scan
/// of a file asks before it reads on.
pub fn batch_size(bytes: &[u8]) -> Result<usize, Corrupt> {
    if bytes.len() < HEADER_UP_TO_MAGIC {
        return Err(Corrupt::TooShort {
            need: HEADER_UP_TO_MAGIC,
            got: bytes.len(),
        });
    }
    let length = (&bytes[8..]).get_i32();
    let magic = bytes[16] as i8;
    if magic != MAGIC {
        return Err(Corrupt::Magic(magic));
    }
    if length < (HEADER_LEN - LOG_OVERHEAD) as i32 {
        return Err(Corrupt::Length(length));
    }
    Ok(LOG_OVERHEAD + length as usize)
}

/// A whole batch: a slice of the frame, file or buffer that it came in.
#[derive(Clone, Debug)]
pub struct Batch {
    pub header: BatchHeader,
    /// Header and records, exactly [`BatchHeader::size`] bytes.
    pub bytes: Bytes,
}

impl Batch {
    /// Takes the first batch of `bytes`, which may go on behind it.
    pub fn parse(bytes: &Bytes) -> Result<Batch, Corrupt> {
        let header = BatchHeader::parse(bytes)?;
        let size = header.size();
        if bytes.len() < size {
            return Err(Corrupt::TooShort {
                need: size,
                got: bytes.len(),
            });
        }
        Ok(Batch {
            header,
            bytes: bytes.slice(..size),
        })
    }

    /// Whether the bytes are those that the writer checksummed.
    pub fn check_crc(&self) -> Result<(), Corrupt> {
        let computed = crc_fast::crc32_iscsi(&self.bytes[CRC_FROM..]);
        if computed == self.header.crc {
            return Ok(());
        }
        Err(Corrupt::Crc {
            stored: self.header.crc,
            computed,
        })
    }

    /// The bytes behind the header, as they lie there.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// The records one after another, each borrowed until the next is asked for.
    pub fn reader(&self) -> Result<RecordReader<'_>, Corrupt> {
        RecordReader::open(&self.header, self.payload())
    }

    /// The end of a transaction that this batch marks; `None` when it is another batch.
    pub fn end_marker(&self) -> Option<EndMarker> {
        EndMarker::of(&self.header, self.payload())
    }

    /// The records as values of their own: slices of the batch, or copies when it is compressed.
    pub fn records(&self) -> Result<Records<'_>, Corrupt> {
        Ok(Records::new(self, self.reader()?))
    }
}

/// The batches of `bytes` in order. Ends at the first fault, and silently at a batch that `bytes` does not hold
/// whole, as the end of a Fetch answer may be cut. (ByteBufferLogInputStream.nextBatch)
pub fn batches(bytes: Bytes) -> Batches {
    Batches { rest: bytes }
}

/// See [`batches`].
pub struct Batches {
    rest: Bytes,
}

impl Iterator for Batches {
    type Item = Result<Batch, Corrupt>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.len() < HEADER_UP_TO_MAGIC {
            return None;
        }
        let batch = match batch_size(&self.rest) {
            Ok(size) if size > self.rest.len() => return None,
            Ok(_) => Batch::parse(&self.rest),
            Err(corrupt) => Err(corrupt),
        };
        match &batch {
            Ok(batch) => self.rest.advance(batch.bytes.len()),
            Err(_) => self.rest.clear(),
        }
        Some(batch)
    }
}
