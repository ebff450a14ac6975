//! What a run leaves of a log. Here what the tests share: single rules, the model and Kafka's own results are in the
//! files beside.

mod due;
mod faults;
mod kafka;
mod meanwhile;
mod model;
mod rules;
mod segments;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::ids::{LeaderEpoch, Now, ProducerEpoch, ProducerId, SteadyTime, Timestamp};
use crate::log::tests::{Fixture, NOW, bytes};
use crate::log::{LogConfig, Origin};
use crate::record::compress::Codec;
use crate::record::control::EndMarker;
use crate::record::{Batch, BatchBuilder, Producer, ValidBatch, batches};

pub(super) const HOUR: i64 = 60 * 60 * 1000;

pub(super) const LIMITS: Limits = Limits {
    map_bytes: 1 << 20,
    map_load: 0.9,
    io_buffer_bytes: 1024,
};

/// Lets a run go on for so many steps, then does something.
pub(super) struct Steps<F: Fn() -> bool> {
    left: AtomicU64,
    then: F,
}

impl<F: Fn() -> bool> Watch for Steps<F> {
    fn go_on(&self) -> bool {
        if self.left.load(Ordering::Relaxed) == 0 {
            return (self.then)();
        }
        self.left.fetch_sub(1, Ordering::Relaxed);
        true
    }

    fn moved(&self, _: u64) {}

    fn begins(&self, _: Stage) {}
}

pub(super) fn after<F: Fn() -> bool>(steps: u64, then: F) -> Steps<F> {
    Steps {
        left: AtomicU64::new(steps),
        then,
    }
}

/// Small segments, a compacted log, tombstones for an hour.
pub(super) fn compacted() -> LogConfig {
    LogConfig {
        segment_bytes: 4096,
        index_interval_bytes: 200,
        compact: true,
        delete: false,
        delete_retention_ms: HOUR,
        min_cleanable_dirty_ratio: 0.0,
        ..LogConfig::default()
    }
}

/// A record to write: a key and a value or a tombstone.
pub(super) type Pair<'a> = (&'a str, Option<&'a str>);

/// A batch of these records.
pub(super) fn keyed(records: &[Pair<'_>]) -> BatchBuilder {
    keyed_with(BatchBuilder::new(), NOW, records)
}

pub(super) fn keyed_with(
    mut builder: BatchBuilder,
    at: Timestamp,
    records: &[Pair<'_>],
) -> BatchBuilder {
    for (key, value) in records {
        builder.append(at, Some(key.as_bytes()), value.map(str::as_bytes));
    }
    builder
}

pub(super) fn by(id: i64, sequence: i32) -> BatchBuilder {
    BatchBuilder::new().producer(Producer {
        id: ProducerId(id),
        epoch: ProducerEpoch(0),
        base_sequence: sequence,
    })
}

pub(super) fn marker(id: i64, commit: bool) -> ValidBatch {
    let marker = EndMarker {
        commit,
        coordinator_epoch: 0,
    };
    marker.batch(ProducerId(id), ProducerEpoch(0), NOW)
}

pub(super) fn write(log: &Log, batch: &ValidBatch) -> Offset {
    log.append_as_leader(batch, LeaderEpoch(3), Origin::Coordinator, NOW)
        .unwrap()
        .base_offset
}

pub(super) fn at(wall: Timestamp) -> Now {
    Now {
        wall,
        steady: SteadyTime(0),
    }
}

/// Compacts all that is sealed.
pub(super) fn clean_at(log: &Log, now: Timestamp) -> Result<CleanStats, CleanError> {
    clean_with(log, now, &LIMITS)
}

pub(super) fn clean_with(
    log: &Log,
    now: Timestamp,
    limits: &Limits,
) -> Result<CleanStats, CleanError> {
    let cleanable = log.cleanable(log.log_end_offset(), now)?;
    log.clean(&cleanable, limits, at(now), &after(u64::MAX, || true))
}

/// Every batch from the log's start on, as a read returns it.
pub(super) fn all_batches(log: &Log) -> Vec<Batch> {
    let mut all = Vec::new();
    let mut from = log.log_start_offset();
    loop {
        let outcome = log.read(from, 1000, Offset(i64::MAX), true).unwrap();
        let found: Vec<Batch> = batches(bytes(&outcome)).map(Result::unwrap).collect();
        let Some(last) = found.last() else {
            return all;
        };
        from = last.header.next_offset();
        for batch in &found {
            batch.check_crc().unwrap();
        }
        all.extend(found);
    }
}

/// A record as it was written: offset, timestamp, key, value.
pub(super) type Row = (i64, i64, String, Option<String>);

pub(super) fn rows(batch: &Batch) -> Vec<Row> {
    let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    batch
        .records()
        .unwrap()
        .map(|record| {
            let record = record.unwrap();
            let key = record.key.map(text).unwrap_or_default();
            (
                record.offset.0,
                record.timestamp.0,
                key,
                record.value.map(text),
            )
        })
        .collect()
}

/// The records that a consumer of committed data sees.
pub(super) fn committed(log: &Log) -> Vec<Row> {
    let end = log.last_stable_offset(log.log_end_offset());
    let start = log.log_start_offset();
    let mut aborted = log.aborted_transactions(start, end).unwrap();
    aborted.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
    let mut aborting = HashSet::new();
    let mut seen = Vec::new();
    for batch in all_batches(log) {
        let header = &batch.header;
        if header.last_offset() >= end {
            break;
        }
        while aborted
            .last()
            .is_some_and(|next| next.first_offset <= header.last_offset())
        {
            aborting.extend(aborted.pop().map(|transaction| transaction.producer_id));
        }
        if header.is_control() {
            if batch.end_marker().is_some_and(|marker| !marker.commit) {
                aborting.remove(&header.producer_id);
            }
        } else if !(header.is_transactional() && aborting.contains(&header.producer_id)) {
            seen.extend(rows(&batch).into_iter().filter(|row| row.0 >= start.0));
        }
    }
    seen
}

/// What is left of the rows for who keeps one value for each key.
pub(super) fn table(rows: impl IntoIterator<Item = Row>) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    for (_, _, key, value) in rows {
        match value {
            Some(value) => table.insert(key, value),
            None => table.remove(&key),
        };
    }
    table
}

/// Offsets and keys of all records.
pub(super) fn keys(log: &Log) -> Vec<(i64, String)> {
    let rows = all_batches(log).iter().flat_map(rows).collect::<Vec<_>>();
    rows.into_iter().map(|row| (row.0, row.2)).collect()
}

/// A compacted log.
pub(super) fn fixture() -> (Fixture, Log) {
    let fixture = Fixture::new(compacted());
    let log = fixture.open();
    (fixture, log)
}

pub(super) fn put(log: &Log, records: &[Pair<'_>]) {
    write(log, &keyed(records).build_valid());
}

pub(super) fn pairs(of: &[(i64, &str)]) -> Vec<(i64, String)> {
    of.iter()
        .map(|(at, key)| (*at, (*key).to_owned()))
        .collect()
}
