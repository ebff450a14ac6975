//! Builds batches of our own: for coordinators, the controller, the cleaner, the tools, and for a leader that
//! must write another codec than the producer sent. (org.apache.kafka.common.record.MemoryRecordsBuilder)

use bytes::Bytes;

use super::batch::{
    Attributes, Batch, BatchHeader, Compression, Corrupt, HEADER_LEN, LOG_OVERHEAD, MAGIC,
    NO_SEQUENCE, TimestampType,
};
use super::compress::{self, Codec};
use super::records::RecordView;
use super::validate::ValidBatch;
use super::varint;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// Who a batch is from, when it is from an idempotent or transactional producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
    pub base_sequence: i32,
}

impl Producer {
    pub const NONE: Producer = Producer {
        id: ProducerId::NONE,
        epoch: ProducerEpoch::NONE,
        base_sequence: NO_SEQUENCE,
    };
}

/// Collects records and makes one batch of them.
pub struct BatchBuilder {
    header: BatchHeader,
    codec: Codec,
    /// Room for the header, then the records, uncompressed.
    bytes: Vec<u8>,
    /// Set by the first record unless it was given.
    base_timestamp: Option<Timestamp>,
    log_append_time: Option<Timestamp>,
}

impl Default for BatchBuilder {
    fn default() -> BatchBuilder {
        BatchBuilder::new()
    }
}

impl BatchBuilder {
    /// A batch at offset 0, uncompressed, from no producer.
    pub fn new() -> BatchBuilder {
        BatchBuilder {
            header: BatchHeader {
                base_offset: Offset::ZERO,
                batch_length: 0,
                leader_epoch: LeaderEpoch::UNKNOWN,
                magic: MAGIC,
                crc: 0,
                attributes: Attributes::default(),
                last_offset_delta: -1,
                base_timestamp: Timestamp::NONE,
                max_timestamp: Timestamp::NONE,
                producer_id: ProducerId::NONE,
                producer_epoch: ProducerEpoch::NONE,
                base_sequence: NO_SEQUENCE,
                record_count: 0,
            },
            codec: Codec::None,
            bytes: vec![0; HEADER_LEN],
            base_timestamp: None,
            log_append_time: None,
        }
    }

    #[must_use]
    pub fn base_offset(mut self, offset: Offset) -> BatchBuilder {
        self.header.base_offset = offset;
        self
    }

    #[must_use]
    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> BatchBuilder {
        self.header.leader_epoch = epoch;
        self
    }

    #[must_use]
    pub fn producer(mut self, producer: Producer) -> BatchBuilder {
        self.header.producer_id = producer.id;
        self.header.producer_epoch = producer.epoch;
        self.header.base_sequence = producer.base_sequence;
        self
    }

    #[must_use]
    pub fn transactional(mut self, yes: bool) -> BatchBuilder {
        self.header.attributes = self.header.attributes.with_transactional(yes);
        self
    }

    #[must_use]
    pub fn control(mut self, yes: bool) -> BatchBuilder {
        self.header.attributes = self.header.attributes.with_control(yes);
        self
    }

    #[must_use]
    pub fn codec(mut self, codec: Codec) -> BatchBuilder {
        self.codec = codec;
        self
    }

    /// Gives every record the time `at` in place of its own.
    #[must_use]
    pub fn log_append_time(mut self, at: Timestamp) -> BatchBuilder {
        self.header.attributes = self
            .header
            .attributes
            .with_timestamp_type(TimestampType::LogAppendTime);
        self.log_append_time = Some(at);
        self
    }

    /// Until when compaction keeps tombstones and markers of this batch. Comes before the first record.
    #[must_use]
    pub fn delete_horizon(mut self, at: Timestamp) -> BatchBuilder {
        self.header.attributes = self.header.attributes.with_delete_horizon(true);
        self.base_timestamp = Some(at);
        self
    }

    /// Appends a record at the next offset.
    pub fn append(&mut self, timestamp: Timestamp, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.append_with_headers(timestamp, key, value, std::iter::empty());
    }

    /// Appends a record with headers at the next offset.
    pub fn append_with_headers<'a>(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
    ) {
        self.write(
            self.header.last_offset_delta + 1,
            timestamp,
            key,
            value,
            headers,
        );
    }

    /// Appends a record of another batch at the offset that it has there, as compaction does. Offsets rise and begin at
    /// the base offset or later: a leader sees to that, but a log may have been written by another program.
    /// (MemoryRecordsBuilder.appendWithOffset)
    pub fn copy_at_offset(&mut self, record: &RecordView<'_>) -> Result<(), Corrupt> {
        let rises = |delta: &i32| *delta > self.header.last_offset_delta;
        let delta = i32::try_from(record.offset - self.header.base_offset);
        let Some(delta) = delta.ok().filter(rises) else {
            return Err(Corrupt::Record {
                index: self.header.record_count,
                what: "its offset is not above the one before it",
            });
        };
        self.write(
            delta,
            record.timestamp,
            record.key,
            record.value,
            record.headers,
        );
        Ok(())
    }

    /// Appends a record of another batch at the next offset.
    pub fn copy(&mut self, record: &RecordView<'_>) {
        self.append_with_headers(record.timestamp, record.key, record.value, record.headers);
    }

    /// Keeps the last offset of a batch whose last records were compacted away.
    #[must_use]
    pub fn keep_last_offset_delta(mut self, delta: i32) -> BatchBuilder {
        self.header.last_offset_delta = self.header.last_offset_delta.max(delta);
        self
    }

    pub fn record_count(&self) -> i32 {
        self.header.record_count
    }

    pub fn is_empty(&self) -> bool {
        self.header.record_count == 0
    }

    /// Bytes of the batch so far, before compression.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    fn write<'a>(
        &mut self,
        offset_delta: i32,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
    ) {
        let timestamp = self.log_append_time.unwrap_or(timestamp);
        let base_timestamp = *self.base_timestamp.get_or_insert(timestamp);
        let timestamp_delta = timestamp.0.wrapping_sub(base_timestamp.0);
        let (mut header_count, mut headers_size) = (0, 0);
        for (key, value) in headers.clone() {
            header_count += 1;
            headers_size += nullable_size(Some(key)) + nullable_size(value);
        }
        let body_size = 1
            + varint::size_i64(timestamp_delta)
            + varint::size_i32(offset_delta)
            + nullable_size(key)
            + nullable_size(value)
            + varint::size_i32(header_count)
            + headers_size;
        let to = &mut self.bytes;
        to.reserve(body_size + 5);
        varint::write_i32(
            to,
            i32::try_from(body_size).expect("a record is less than 2 GiB"),
        );
        to.push(0);
        varint::write_i64(to, timestamp_delta);
        varint::write_i32(to, offset_delta);
        write_nullable(to, key);
        write_nullable(to, value);
        varint::write_i32(to, header_count);
        for (key, value) in headers {
            write_nullable(to, Some(key));
            write_nullable(to, value);
        }
        self.header.last_offset_delta = offset_delta;
        self.header.record_count += 1;
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
    }

    /// The batch, checksummed, at the base offset and leader epoch that were given.
    pub fn build(self) -> Batch {
        let BatchBuilder {
            mut header,
            codec,
            mut bytes,
            base_timestamp,
            ..
        } = self;
        // MemoryRecordsBuilder.close: a batch without records has no compressed block.
        if codec.compression() != Compression::None && header.record_count > 0 {
            let mut compressed = vec![0; HEADER_LEN];
            compress::compress(codec, &bytes[HEADER_LEN..], &mut compressed);
            bytes = compressed;
            header.attributes = header.attributes.with_compression(codec.compression());
        }
        header.base_timestamp = base_timestamp.unwrap_or(Timestamp::NONE);
        header.batch_length =
            i32::try_from(bytes.len() - LOG_OVERHEAD).expect("a batch is less than 2 GiB");
        header.crc = header.compute_crc(&bytes[HEADER_LEN..]);
        bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        Batch {
            header,
            bytes: Bytes::from(bytes),
        }
    }

    /// The batch as a leader appends it.
    pub fn build_valid(self) -> ValidBatch {
        ValidBatch::built(self.build())
    }
}

fn nullable_size(bytes: Option<&[u8]>) -> usize {
    match bytes {
        Some(bytes) => varint::size_i32(length(bytes)) + bytes.len(),
        None => varint::size_i32(-1),
    }
}

fn write_nullable(to: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::write_i32(to, length(bytes));
            to.extend_from_slice(bytes);
        }
        None => varint::write_i32(to, -1),
    }
}

fn length(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).expect("a key, value or header is less than 2 GiB")
}
