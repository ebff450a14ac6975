//! What stays of a batch: of each key the last record, of tombstones and markers those whose time has not come, of
//! aborted transactions nothing. A batch that loses records keeps its offsets, producer, sequence and epoch, since
//! followers and producers rely on them; one that loses all stays empty where it holds a producer's last sequence.
//!
//! Tombstones and markers get their delete horizon when they are first met (KIP-534): the batch is then written anew with
//! the horizon in place of its base timestamp, and after that time they go.
//! (org.apache.kafka.storage.internals.log.Cleaner, org.apache.kafka.common.record.MemoryRecords.filterTo)

use std::collections::HashMap;

use super::offset_map::OffsetMap;
use super::reader::Found;
use super::transactions::{Marker, Transactions};
use crate::ids::{Offset, ProducerEpoch, ProducerId, Timestamp};
use crate::log::{AbortedTransaction, ProducerState};
use crate::record::batch::{HEADER_LEN, LOG_OVERHEAD};
use crate::record::compress::Codec;
use crate::record::{
    BatchBuilder, BatchHeader, Compression, Corrupt, Producer, RecordReader, RecordView,
    TimestampType,
};

/// The last that a log knows of a producer.
#[derive(Clone, Copy, Debug)]
struct LastRecord {
    /// Of its last batch; `None` when only a marker is known.
    offset: Option<Offset>,
    epoch: ProducerEpoch,
}

/// See the module. Batches are shown to it in the order of their offsets.
pub(super) struct Filter<'a> {
    map: &'a OffsetMap,
    now: Timestamp,
    delete_retention_ms: i64,
    /// Where the run ends: the last batch before it stays, so that the log's offsets are still told.
    end: Offset,
    producers: HashMap<ProducerId, LastRecord>,
    pub(super) transactions: Transactions,
    /// Which records of the batch at hand stay.
    keep: Vec<bool>,
}

/// What was done with a batch.
#[derive(Debug, Default)]
pub(super) struct Filtered {
    /// The header of what was written; `None` when nothing was.
    pub(super) header: Option<BatchHeader>,
    pub(super) records_read: u64,
    pub(super) records_kept: u64,
    /// Records without a key, which have no place in a compacted log.
    pub(super) keyless: u64,
    /// The transaction that its marker aborts, when that is still needed.
    pub(super) aborted: Option<AbortedTransaction>,
}

/// What the records of a batch amount to.
#[derive(Default)]
struct Tally {
    read: u64,
    kept: u64,
    keyless: u64,
    tombstones: bool,
}

impl<'a> Filter<'a> {
    pub(super) fn new(
        map: &'a OffsetMap,
        now: Timestamp,
        delete_retention_ms: i64,
        end: Offset,
    ) -> Filter<'a> {
        Filter {
            map,
            now,
            delete_retention_ms,
            end,
            producers: HashMap::new(),
            transactions: Transactions::default(),
            keep: Vec::new(),
        }
    }

    /// Takes in what the log knows of its producers now.
    pub(super) fn know(&mut self, producers: &[ProducerState]) {
        let last = |state: &ProducerState| LastRecord {
            offset: state.last_offset(),
            epoch: state.epoch,
        };
        self.producers = producers
            .iter()
            .map(|state| (state.producer_id, last(state)))
            .collect();
    }

    /// Appends to `to` what stays of a batch.
    pub(super) fn filter(
        &mut self,
        found: &Found<'_>,
        to: &mut Vec<u8>,
    ) -> Result<Filtered, Corrupt> {
        let header = &found.header;
        let payload = &found.bytes[HEADER_LEN..];
        let marker = header
            .is_control()
            .then(|| self.transactions.on_control(header, payload));
        let drops_records = match marker {
            // It stays until its horizon, also with nothing left to end.
            Some(marker) => {
                marker == Marker::Ended && header.delete_horizon().is_some_and(|at| at <= self.now)
            }
            None => self.transactions.on_batch(header),
        };
        let mut filtered = Filtered::default();
        if let Some(Marker::NeededAborted(transaction)) = marker {
            filtered.aborted = Some(transaction);
        }
        let stays_empty = self.stays_empty(header);
        if drops_records && !stays_empty {
            return Ok(filtered);
        }
        let tally = self.tally(header, payload, drops_records)?;
        filtered.records_read = tally.read;
        filtered.records_kept = tally.kept;
        filtered.keyless = tally.keyless;
        let is_ended = marker == Some(Marker::Ended);
        let needs_horizon = (tally.tombstones || is_ended) && header.delete_horizon().is_none();
        if tally.kept == 0 {
            if stays_empty {
                filtered.header = Some(write_empty(header, to));
            }
        } else if tally.kept == tally.read && !needs_horizon {
            to.extend_from_slice(found.bytes);
            filtered.header = Some(header.clone());
        } else {
            let horizon = if needs_horizon {
                Some(self.now.plus_ms(self.delete_retention_ms))
            } else {
                header.delete_horizon()
            };
            filtered.header = Some(self.write_kept(header, payload, horizon, to)?);
        }
        Ok(filtered)
    }

    /// Whether a batch stays although it has no records left. (Cleaner.checkBatchRetention)
    fn stays_empty(&self, header: &BatchHeader) -> bool {
        if header.next_offset() == self.end {
            return true;
        }
        if !header.has_producer_id() {
            return false;
        }
        let is_last = |last: &LastRecord| match last.offset {
            // The sequence of the producer's next batch is checked against this one's.
            Some(offset) => header.last_offset() == offset,
            // All that is known is a marker, by whose epoch older producers are fenced.
            None => header.is_control() && header.producer_epoch == last.epoch,
        };
        self.producers.get(&header.producer_id).is_some_and(is_last)
    }

    /// Decides on each record.
    fn tally(
        &mut self,
        header: &BatchHeader,
        payload: &[u8],
        drops_all: bool,
    ) -> Result<Tally, Corrupt> {
        let mut tally = Tally::default();
        self.keep.clear();
        let mut records = RecordReader::open(header, payload)?;
        while let Some(record) = records.next()? {
            tally.read += 1;
            let is_keyless = !header.is_control() && record.key.is_none();
            tally.keyless += u64::from(is_keyless && !drops_all && self.is_mapped(&record));
            let keep = !drops_all && (header.is_control() || self.is_kept(header, &record));
            self.keep.push(keep);
            if keep {
                tally.kept += 1;
                tally.tombstones |= record.value.is_none();
            }
        }
        Ok(tally)
    }

    fn is_mapped(&self, record: &RecordView<'_>) -> bool {
        record.offset <= self.map.latest()
    }

    fn is_kept(&self, header: &BatchHeader, record: &RecordView<'_>) -> bool {
        if !self.is_mapped(record) {
            return true;
        }
        let Some(key) = record.key else {
            return false;
        };
        let is_latest = self.map.get(key).is_none_or(|last| record.offset >= last);
        let may_go = header.delete_horizon().is_some_and(|at| at <= self.now);
        is_latest && (record.value.is_some() || !may_go)
    }

    /// Writes the batch with the records that stay. Its offsets span what they did before.
    fn write_kept(
        &self,
        header: &BatchHeader,
        payload: &[u8],
        horizon: Option<Timestamp>,
        to: &mut Vec<u8>,
    ) -> Result<BatchHeader, Corrupt> {
        let mut builder = BatchBuilder::new()
            .base_offset(header.base_offset)
            .leader_epoch(header.leader_epoch)
            .producer(Producer {
                id: header.producer_id,
                epoch: header.producer_epoch,
                base_sequence: header.base_sequence,
            })
            .transactional(header.is_transactional())
            .control(header.is_control())
            .codec(Codec::of(header.compression()?));
        if header.timestamp_type() == TimestampType::LogAppendTime {
            builder = builder.log_append_time(header.max_timestamp);
        }
        if let Some(horizon) = horizon {
            builder = builder.delete_horizon(horizon);
        }
        let mut records = RecordReader::open(header, payload)?;
        let mut keep = self.keep.iter();
        while let Some(record) = records.next()? {
            if *keep.next().expect("as many records as were decided on") {
                builder.copy_at_offset(&record)?;
            }
        }
        let batch = builder
            .keep_last_offset_delta(header.last_offset_delta)
            .build();
        to.extend_from_slice(&batch.bytes);
        Ok(batch.header)
    }
}

/// Writes a batch without records: what it says of its producer, its offsets and its epoch stays.
/// (DefaultRecordBatch.writeEmptyHeader)
fn write_empty(header: &BatchHeader, to: &mut Vec<u8>) -> BatchHeader {
    let mut empty = BatchHeader {
        batch_length: (HEADER_LEN - LOG_OVERHEAD) as i32,
        attributes: header
            .attributes
            .with_compression(Compression::None)
            .with_delete_horizon(false),
        base_timestamp: Timestamp::NONE,
        record_count: 0,
        ..header.clone()
    };
    empty.crc = empty.compute_crc(&[]);
    to.extend_from_slice(&empty.encode());
    empty
}
