//! Record batches by the hundred thousand: the records are made once, and a batch is a copy of the first of them with the
//! send times, the keys and the header written over it. Where nothing in the records changes, they are not even copied.

use bytes::Bytes;

use super::workload::{KEY_LEN, KeyDistributor, Workload};
use crate::ids::{LeaderEpoch, Offset, Timestamp};
use crate::messages::Writer;
use crate::record::batch::{Attributes, BatchHeader, Compression, HEADER_LEN, LOG_OVERHEAD, MAGIC};
use crate::record::compress::{self, Codec};
use crate::record::{BatchBuilder, Producer};

/// Bytes of a stamp, at the front of a value: the run's tag, then the intended send time in nanoseconds of the run.
pub(super) const STAMP_LEN: usize = 12;

/// What each record has of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// When it was to be sent.
    pub intended: u64,
    pub key: [u8; KEY_LEN],
}

/// What batches are made of; shared by all producers.
#[derive(Debug)]
pub(super) struct Template {
    records: Bytes,
    /// Where each record ends, its key begins and its value begins.
    ends: Vec<usize>,
    keys_at: Option<Vec<usize>>,
    values_at: Vec<usize>,
    stamp: Option<[u8; 4]>,
    codec: Codec,
}

impl Template {
    /// `tag` marks the records of this run; without it they carry no send times.
    pub(super) fn new(workload: &Workload, tag: Option<[u8; 4]>) -> Template {
        let count = workload.records_per_batch();
        let keyed = workload.key_distributor != KeyDistributor::NoKey;
        let stamp = tag.filter(|_| workload.message_size >= STAMP_LEN);
        let mut values = Values::new(workload);
        let mut builder = BatchBuilder::new();
        let (mut ends, mut keys_at, mut values_at) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            let mut value = values.next();
            if let Some(stamp) = stamp {
                value[..stamp.len()].copy_from_slice(&stamp);
            }
            let key = [0; KEY_LEN];
            builder.append(Timestamp(0), keyed.then_some(&key[..]), Some(&value));
            // A record ends with its count of headers, one byte for 0; before it stand the value, its length, the key.
            let end = builder.size() - HEADER_LEN;
            let value_at = end - 1 - value.len();
            ends.push(end);
            values_at.push(value_at);
            if keyed {
                keys_at.push(value_at - varint_len(value.len()) - KEY_LEN);
            }
        }
        Template {
            records: builder.build().bytes.slice(HEADER_LEN..),
            ends,
            keys_at: keyed.then_some(keys_at),
            values_at,
            stamp,
            codec: workload.codec,
        }
    }

    /// Records in a full batch.
    pub(super) fn records_max(&self) -> u32 {
        u32::try_from(self.ends.len()).expect("it was made of a 32-bit count")
    }

    /// Whether the entries of a batch are written into its records.
    pub(super) fn needs_entries(&self) -> bool {
        self.keys_at.is_some() || self.stamp.is_some()
    }

    /// Whether records carry their send times.
    pub(super) fn is_stamped(&self) -> bool {
        self.stamp.is_some()
    }

    /// Writes a batch of `count` records, with its length before it: the field `records` of a Produce request. `entries`
    /// has one for each record if [`Template::needs_entries`].
    pub(super) fn write(&self, out: &mut Writer, flexible: bool, batch: &Outline<'_>) {
        let len = self.ends[batch.count as usize - 1];
        if self.codec.compression() != Compression::None {
            let mut plain = self.records[..len].to_vec();
            self.patch(&mut plain, batch.entries);
            let mut packed = Vec::with_capacity(len / 2);
            compress::compress(self.codec, &plain, &mut packed);
            put_length(out, flexible, HEADER_LEN + packed.len());
            out.put_slice(&self.header(batch, &packed));
            out.put_bytes(&packed.into());
        } else if self.needs_entries() {
            put_length(out, flexible, HEADER_LEN + len);
            let buffer = out.buffer();
            let at = buffer.len();
            buffer.extend_from_slice(&[0; HEADER_LEN]);
            buffer.extend_from_slice(&self.records[..len]);
            let (header, records) = buffer[at..].split_at_mut(HEADER_LEN);
            self.patch(records, batch.entries);
            header.copy_from_slice(&self.header(batch, records));
        } else {
            put_length(out, flexible, HEADER_LEN + len);
            let records = self.records.slice(..len);
            out.put_slice(&self.header(batch, &records));
            out.put_bytes(&records);
        }
    }

    fn patch(&self, records: &mut [u8], entries: &[Entry]) {
        if self.stamp.is_some() {
            for (entry, at) in entries.iter().zip(&self.values_at) {
                records[at + 4..at + STAMP_LEN].copy_from_slice(&entry.intended.to_be_bytes());
            }
        }
        if let Some(keys_at) = &self.keys_at {
            for (entry, at) in entries.iter().zip(keys_at) {
                records[*at..at + KEY_LEN].copy_from_slice(&entry.key);
            }
        }
    }

    fn header(&self, batch: &Outline<'_>, records: &[u8]) -> [u8; HEADER_LEN] {
        let count = i32::try_from(batch.count).expect("a batch of less than 2 GiB");
        let length = HEADER_LEN - LOG_OVERHEAD + records.len();
        let mut header = BatchHeader {
            base_offset: Offset::ZERO,
            batch_length: i32::try_from(length).expect("a batch of less than 2 GiB"),
            leader_epoch: LeaderEpoch::UNKNOWN,
            magic: MAGIC,
            crc: 0,
            attributes: Attributes::default()
                .with_compression(self.codec.compression())
                .with_transactional(batch.transactional),
            last_offset_delta: count - 1,
            base_timestamp: batch.timestamp,
            max_timestamp: batch.timestamp,
            producer_id: batch.producer.id,
            producer_epoch: batch.producer.epoch,
            base_sequence: batch.producer.base_sequence,
            record_count: count,
        };
        header.crc = header.compute_crc(records);
        header.encode()
    }
}

/// A batch to be written.
pub(super) struct Outline<'a> {
    /// From 1 to [`Template::records_max`].
    pub count: u32,
    pub timestamp: Timestamp,
    pub producer: Producer,
    pub transactional: bool,
    pub entries: &'a [Entry],
}

/// The intended send time in a value of the run with that tag.
pub(super) fn read_stamp(value: &[u8], tag: [u8; 4]) -> Option<u64> {
    let (front, rest) = value.split_first_chunk::<4>()?;
    let time = rest.first_chunk::<8>()?;
    (*front == tag).then(|| u64::from_be_bytes(*time))
}

/// The length of a field of bytes, in the form of the version.
fn put_length(out: &mut Writer, flexible: bool, len: usize) {
    if flexible {
        out.put_uvarint(u32::try_from(len + 1).unwrap_or(u32::MAX));
    } else {
        out.put_i32(i32::try_from(len).unwrap_or(i32::MAX));
    }
}

/// Bytes of a length within a record.
fn varint_len(len: usize) -> usize {
    let zigzag = (len as u64) << 1;
    (70 - (zigzag | 1).leading_zeros() as usize) / 7
}

/// A value.
#[cfg(feature = "rdkafka")]
pub(super) fn value(workload: &Workload) -> Vec<u8> {
    Values::new(workload).next()
}

/// Values: a payload given by the user, or bytes of which a part is random, from a fixed seed.
struct Values<'a> {
    payload: Option<&'a [u8]>,
    size: usize,
    random: usize,
    state: u64,
}

impl<'a> Values<'a> {
    fn new(workload: &'a Workload) -> Values<'a> {
        Values {
            payload: workload.payload.as_deref(),
            size: workload.message_size,
            random: (workload.message_size as f64 * workload.random_bytes_ratio) as usize,
            state: 0x9e37_79b9_7f4a_7c15,
        }
    }

    fn next(&mut self) -> Vec<u8> {
        if let Some(payload) = self.payload {
            return payload.iter().copied().cycle().take(self.size).collect();
        }
        let mut value = vec![b'x'; self.size];
        for byte in &mut value[..self.random] {
            *byte = random(&mut self.state) as u8;
        }
        value
    }
}

/// A pseudo-random number. (xorshift64*, Marsaglia and Vigna)
pub(super) fn random(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ProducerEpoch, ProducerId};
    use crate::record::{Batch, batches};

    const TAG: [u8; 4] = *b"run1";

    fn written(template: &Template, count: u32, entries: &[Entry]) -> Batch {
        let mut out = Writer::new();
        let batch = Outline {
            count,
            timestamp: Timestamp(1000),
            producer: Producer {
                id: ProducerId(7),
                epoch: ProducerEpoch(1),
                base_sequence: 30,
            },
            transactional: true,
            entries,
        };
        template.write(&mut out, false, &batch);
        let bytes = out.into_bytes();
        let mut found = batches(bytes.slice(4..));
        let batch = found.next().unwrap().unwrap();
        assert_eq!(batch.bytes.len(), bytes.len() - 4);
        assert_eq!(&bytes[..4], (batch.bytes.len() as i32).to_be_bytes());
        batch.check_crc().unwrap();
        batch
    }

    fn workload(codec: Codec, key_distributor: KeyDistributor) -> Workload {
        Workload {
            message_size: 300,
            batch_records: Some(200),
            codec,
            key_distributor,
            ..Workload::default()
        }
    }

    fn entries(count: u64) -> Vec<Entry> {
        let entry = |number: u64| Entry {
            intended: number * 1000,
            key: (number ^ 0x55).to_be_bytes(),
        };
        (0..count).map(entry).collect()
    }

    #[test]
    fn records_carry_keys_and_send_times() {
        for compression in [Compression::None, Compression::Lz4, Compression::Gzip] {
            let workload = workload(Codec::of(compression), KeyDistributor::Random);
            let template = Template::new(&workload, Some(TAG));
            assert!(template.is_stamped() && template.needs_entries());
            let entries = entries(130);
            let batch = written(&template, 130, &entries);
            assert_eq!(batch.header.compression(), Ok(compression));
            assert_eq!(batch.header.record_count, 130);
            assert!(batch.header.is_transactional());
            assert_eq!(batch.header.last_sequence(), 30 + 129);
            let records: Vec<_> = batch.records().unwrap().map(Result::unwrap).collect();
            assert_eq!(records.len(), 130);
            for (record, entry) in records.iter().zip(&entries) {
                assert_eq!(record.key.as_deref(), Some(&entry.key[..]));
                let value = record.value.as_ref().unwrap();
                assert_eq!(value.len(), 300);
                assert_eq!(read_stamp(value, TAG), Some(entry.intended));
                assert_eq!(read_stamp(value, *b"run2"), None);
            }
        }
    }

    #[test]
    fn records_that_never_change_are_not_copied() {
        let template = Template::new(&workload(Codec::None, KeyDistributor::NoKey), None);
        assert!(!template.needs_entries());
        let batch = written(&template, 200, &[]);
        assert_eq!(batch.records().unwrap().count(), 200);
        let mut out = Writer::new();
        let outline = Outline {
            count: 200,
            timestamp: Timestamp(0),
            producer: Producer::NONE,
            transactional: false,
            entries: &[],
        };
        template.write(&mut out, true, &outline);
        assert_eq!(out.finish().pieces.len(), 2);
    }

    #[test]
    fn values_too_small_for_a_stamp_have_none() {
        let tiny = Workload {
            message_size: STAMP_LEN - 1,
            ..Workload::default()
        };
        assert!(!Template::new(&tiny, Some(TAG)).is_stamped());
        assert_eq!(read_stamp(b"run1short", TAG), None);
    }

    #[test]
    fn lengths_of_varints() {
        for (len, bytes) in [(0, 1), (63, 1), (64, 2), (8191, 2), (8192, 3)] {
            assert_eq!(varint_len(len), bytes, "{len}");
        }
    }
}
