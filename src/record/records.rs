//! The records inside a batch: read one after another from its bytes, or from the stream of its codec, with one
//! buffer for the record at hand. Nothing is allocated by a count or length that has not been seen to hold.
//!
//! A record is: varint length, int8 attributes, varlong timestamp delta, varint offset delta, varint key length
//! (-1 null) and key, varint value length (-1 null) and value, varint header count, then for each header varint
//! key length and key, varint value length (-1 null) and value. (org.apache.kafka.common.record.DefaultRecord)

use std::io::Read;

use bytes::Bytes;

use super::batch::{Batch, BatchHeader, Compression, Corrupt, TimestampType};
use super::compress::Decompressor;
use super::varint;
use crate::ids::{Offset, Timestamp};

/// The largest single record that is taken out of a compressed batch.
pub const RECORD_BYTES_MAX: usize = 256 << 20;

/// One record, borrowed from its batch or from the reader's buffer.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    /// Bytes of the record in its uncompressed form, with its length field.
    pub size: usize,
    pub attributes: i8,
    pub offset: Offset,
    /// Distance to the batch's base offset.
    pub offset_delta: i32,
    /// The producer's time, or the batch's when it has log append time.
    pub timestamp: Timestamp,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// A record's headers in their order, duplicates kept.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        let key = take(&mut self.bytes).flatten()?;
        let value = take(&mut self.bytes)?;
        Some((key, value))
    }
}

/// A record header as a value of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// A record as a value of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub offset: Offset,
    pub timestamp: Timestamp,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

/// Walks the records of a batch; see [`Batch::reader`].
pub struct RecordReader<'a> {
    source: Source<'a>,
    base_offset: Offset,
    base_timestamp: Timestamp,
    /// What every record's timestamp is when the batch has log append time.
    log_append_time: Option<Timestamp>,
    count: i32,
    index: i32,
    record_bytes_max: usize,
}

enum Source<'a> {
    Plain(&'a [u8]),
    Stream {
        stream: Box<Decompressor<'a>>,
        record: Vec<u8>,
    },
}

impl<'a> RecordReader<'a> {
    /// Reads the records in `payload`, which lies behind `header`.
    pub fn open(header: &BatchHeader, payload: &'a [u8]) -> Result<RecordReader<'a>, Corrupt> {
        let source = match header.compression()? {
            // An empty batch (compaction leaves such) has no payload to open, compressed or not.
            _ if header.record_count == 0 && payload.is_empty() => Source::Plain(payload),
            Compression::None => Source::Plain(payload),
            codec => Source::Stream {
                stream: Box::new(Decompressor::open(codec, payload)?),
                record: Vec::new(),
            },
        };
        if header.record_count < 0 {
            return Err(Corrupt::Count {
                declared: header.record_count,
                found: 0,
            });
        }
        Ok(RecordReader {
            source,
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            log_append_time: (header.timestamp_type() == TimestampType::LogAppendTime)
                .then_some(header.max_timestamp),
            count: header.record_count,
            index: 0,
            record_bytes_max: RECORD_BYTES_MAX,
        })
    }

    /// Lowers the bound on one record taken out of a compressed batch.
    #[must_use]
    pub fn with_record_bytes_max(mut self, max: usize) -> RecordReader<'a> {
        self.record_bytes_max = max;
        self
    }

    /// The next record; `None` after the last, once it is sure that nothing follows it.
    #[expect(
        clippy::should_implement_trait,
        reason = "an item borrows the reader's buffer"
    )]
    pub fn next(&mut self) -> Result<Option<RecordView<'_>>, Corrupt> {
        let index = self.index;
        if index == self.count {
            return self.expect_end().map(|()| None);
        }
        self.index += 1;
        let fault = |what| Corrupt::Record { index, what };
        let (size, body) = match &mut self.source {
            Source::Plain(rest) => {
                let before = rest.len();
                let length =
                    varint::read_i32(rest).ok_or_else(|| ended(index, self.count, before))?;
                let length =
                    usize::try_from(length).map_err(|_| fault("its length is negative"))?;
                let body = rest
                    .get(..length)
                    .ok_or_else(|| fault("its length exceeds the batch"))?;
                *rest = &rest[length..];
                (before - rest.len(), body)
            }
            Source::Stream { stream, record } => {
                let length = varint::read_i32_from(stream)
                    .map_err(|error| Corrupt::Decompression(error.to_string()))?
                    .ok_or_else(|| ended(index, self.count, 0))?;
                let size = varint::size_i32(length);
                let length =
                    usize::try_from(length).map_err(|_| fault("its length is negative"))?;
                if length > self.record_bytes_max {
                    return Err(Corrupt::RecordTooLarge {
                        len: length,
                        max: self.record_bytes_max,
                    });
                }
                record.clear();
                // Grows as bytes come out, not by the length that is claimed.
                let read = stream
                    .take(length as u64)
                    .read_to_end(record)
                    .map_err(|error| Corrupt::Decompression(error.to_string()))?;
                if read != length {
                    return Err(fault("its length exceeds the batch"));
                }
                (size + length, record.as_slice())
            }
        };
        let mut record = parse(body).map_err(fault)?;
        record.size = size;
        record.offset = self.base_offset + i64::from(record.offset_delta);
        record.timestamp = match self.log_append_time {
            Some(time) => time,
            None => Timestamp(self.base_timestamp.0.wrapping_add(record.timestamp.0)),
        };
        Ok(Some(record))
    }

    fn expect_end(&mut self) -> Result<(), Corrupt> {
        let at_end = match &mut self.source {
            Source::Plain(rest) => rest.is_empty(),
            Source::Stream { stream, .. } => {
                let read = stream
                    .read(&mut [0u8; 1])
                    .map_err(|error| Corrupt::Decompression(error.to_string()))?;
                read == 0
            }
        };
        if at_end {
            return Ok(());
        }
        Err(Corrupt::Count {
            declared: self.count,
            found: self.count.saturating_add(1),
        })
    }
}

fn ended(index: i32, count: i32, left: usize) -> Corrupt {
    if left == 0 {
        Corrupt::Count {
            declared: count,
            found: index,
        }
    } else {
        Corrupt::Record {
            index,
            what: "its length is malformed",
        }
    }
}

/// Parses a record's body; `timestamp` holds the delta and `offset` nothing yet.
fn parse(body: &[u8]) -> Result<RecordView<'_>, &'static str> {
    let mut rest = body;
    let (&attributes, after) = rest.split_first().ok_or("it is empty")?;
    rest = after;
    let timestamp_delta = varint::read_i64(&mut rest).ok_or("its timestamp delta is malformed")?;
    let offset_delta = varint::read_i32(&mut rest).ok_or("its offset delta is malformed")?;
    let key = take(&mut rest).ok_or("its key exceeds it")?;
    let value = take(&mut rest).ok_or("its value exceeds it")?;
    let count = varint::read_i32(&mut rest).ok_or("its header count is malformed")?;
    let count = usize::try_from(count).map_err(|_| "its header count is negative")?;
    let headers = Headers { count, bytes: rest };
    for _ in 0..count {
        take(&mut rest)
            .flatten()
            .ok_or("a header key exceeds it or is null")?;
        take(&mut rest).ok_or("a header value exceeds it")?;
    }
    if !rest.is_empty() {
        return Err("its length is more than its fields");
    }
    Ok(RecordView {
        size: 0,
        attributes: attributes as i8,
        offset: Offset::ZERO,
        offset_delta,
        timestamp: Timestamp(timestamp_delta),
        key,
        value,
        headers,
    })
}

/// Takes nullable bytes with their length before them; the outer `None` when they exceed `rest`.
#[expect(
    clippy::option_option,
    reason = "malformed, null and present are three things"
)]
fn take<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint::read_i32(rest)?;
    let Ok(length) = usize::try_from(length) else {
        return Some(None);
    };
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(Some(bytes))
}

/// The records of a batch as values; ends after the first fault. See [`Batch::records`].
pub struct Records<'a> {
    batch: &'a Batch,
    reader: RecordReader<'a>,
    failed: bool,
}

impl<'a> Records<'a> {
    pub(super) fn new(batch: &'a Batch, reader: RecordReader<'a>) -> Records<'a> {
        Records {
            batch,
            reader,
            failed: false,
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Corrupt>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let shared = matches!(self.reader.source, Source::Plain(_));
        let batch = self.batch;
        let own = |bytes: &[u8]| {
            if shared {
                batch.bytes.slice_ref(bytes)
            } else {
                Bytes::copy_from_slice(bytes)
            }
        };
        match self.reader.next() {
            Ok(Some(view)) => Some(Ok(Record {
                offset: view.offset,
                timestamp: view.timestamp,
                key: view.key.map(own),
                value: view.value.map(own),
                headers: view
                    .headers
                    .map(|(key, value)| Header {
                        key: own(key),
                        value: value.map(own),
                    })
                    .collect(),
            })),
            Ok(None) => None,
            Err(corrupt) => {
                self.failed = true;
                Some(Err(corrupt))
            }
        }
    }
}
