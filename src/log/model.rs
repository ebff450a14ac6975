//! Random operations on a log, with restarts clean and unclean and power losses, held against a list of batches.
//!
//! How many and which ones: see [`random`]. What another part does to a log (compaction) joins as one more [`Operation`] with what it means to the [`Model`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::fs::power_loss::{self, PowerLoss};
use super::tests::{NOW, bytes, config, moment, read_all, unclean};
use super::*;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use crate::record::control::EndMarker;
use crate::record::{BatchBuilder, Producer, ValidBatch, batches};

/// Operations in one life of a log, at most.
const OPERATIONS_MAX: usize = 120;
/// Producers from this id on write in transactions.
const TRANSACTIONAL: i64 = 4;

/// Offsets are given as shares of what is there, in percent.
#[derive(Clone, Debug)]
enum Operation {
    Append {
        records: usize,
        producer: i64,
        /// Milliseconds after [`NOW`].
        at: i64,
    },
    Repeat,
    EndTransaction {
        producer: i64,
        commit: bool,
    },
    NextEpoch,
    Roll,
    Flush,
    FlushSealed,
    /// What the recovery point's file says is what it was then.
    Checkpoint,
    Truncate {
        percent: i64,
    },
    Restart {
        offset: i64,
    },
    AdvanceStart {
        percent: i64,
    },
    Retain,
    Read {
        percent: i64,
        max_bytes: usize,
        below_percent: i64,
    },
    Find {
        at: i64,
    },
    ReopenClean,
    Crash,
    TornCrash {
        bytes: u64,
    },
    LosePower {
        seed: u64,
    },
    StopAndLosePower {
        seed: u64,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        20 => (1..5_usize, 1..6_i64, 0..1000_i64)
            .prop_map(|(records, producer, at)| Operation::Append { records, producer, at }),
        2 => Just(Operation::Repeat),
        4 => (TRANSACTIONAL..6_i64, any::<bool>())
            .prop_map(|(producer, commit)| Operation::EndTransaction { producer, commit }),
        2 => Just(Operation::NextEpoch),
        1 => Just(Operation::Roll),
        3 => Just(Operation::Flush),
        1 => Just(Operation::FlushSealed),
        1 => Just(Operation::Checkpoint),
        2 => (50..=100_i64).prop_map(|percent| Operation::Truncate { percent }),
        1 => (0..50_i64).prop_map(|offset| Operation::Restart { offset }),
        1 => (0..=30_i64).prop_map(|percent| Operation::AdvanceStart { percent }),
        2 => Just(Operation::Retain),
        6 => (0..=100_i64, 0..3000_usize, 0..=100_i64)
            .prop_map(|(percent, max_bytes, below_percent)| Operation::Read { percent, max_bytes, below_percent }),
        2 => (0..1000_i64).prop_map(|at| Operation::Find { at }),
        2 => Just(Operation::ReopenClean),
        2 => Just(Operation::Crash),
        2 => (1..400_u64).prop_map(|bytes| Operation::TornCrash { bytes }),
        3 => any::<u64>().prop_map(|seed| Operation::LosePower { seed }),
        1 => any::<u64>().prop_map(|seed| Operation::StopAndLosePower { seed }),
    ]
}

/// What the log must be.
#[derive(Default)]
struct Model {
    batches: Vec<Batch>,
    start: i64,
    end: i64,
    epoch: i32,
}

#[derive(Clone, Copy, Debug)]
struct Batch {
    base: i64,
    last: i64,
    epoch: i32,
    producer: i64,
    base_sequence: i32,
    /// Milliseconds after [`NOW`].
    at: i64,
    size: u64,
    /// Of a marker: whether it commits.
    commit: Option<bool>,
}

/// A producer, with the first and the last offset of its transaction.
type Aborted = (i64, i64, i64);

impl Batch {
    fn records(&self) -> usize {
        (self.last - self.base) as usize + 1
    }
}

impl Model {
    fn at(&self, percent: i64) -> i64 {
        self.start + (self.end - self.start) * percent / 100
    }

    fn add(&mut self, batch: Batch) {
        self.end = batch.last + 1;
        self.batches.push(batch);
    }

    fn truncate(&mut self, end: i64) {
        let cut = self
            .batches
            .iter()
            .find(|batch| batch.base < end && end <= batch.last);
        let end = cut.map_or(end, |batch| batch.base);
        self.batches.retain(|batch| batch.last < end);
        self.end = self.end.min(end);
        self.start = self.start.min(end);
    }

    fn next_sequence(&self, producer: i64) -> i32 {
        let last = self
            .batches
            .iter()
            .rev()
            .find(|batch| batch.producer == producer && batch.commit.is_none());
        last.map_or(0, |batch| batch.base_sequence + batch.records() as i32)
    }

    /// The batches that can still be read.
    fn readable(&self) -> Vec<(i64, i64)> {
        let readable = self.batches.iter().filter(|batch| batch.last >= self.start);
        readable.map(|batch| (batch.base, batch.last)).collect()
    }

    /// The transactions that were aborted, as producer, first and last offset; and those that are open.
    fn transactions(&self) -> (Vec<Aborted>, BTreeMap<i64, i64>) {
        let (mut aborted, mut open) = (Vec::new(), BTreeMap::new());
        for batch in self
            .batches
            .iter()
            .filter(|batch| batch.producer >= TRANSACTIONAL)
        {
            match batch.commit {
                None => drop(open.entry(batch.producer).or_insert(batch.base)),
                Some(commit) => {
                    let first = open.remove(&batch.producer);
                    if let Some(first) = first.filter(|_| !commit) {
                        aborted.push((batch.producer, first, batch.last));
                    }
                }
            }
        }
        (aborted, open)
    }

    /// The first record of at least this time.
    fn find(&self, at: i64) -> Option<i64> {
        let reaches = |batch: &&Batch| batch.last >= self.start && batch.at >= at;
        let found = self.batches.iter().find(reaches)?;
        Some(found.base.max(self.start))
    }
}

struct Run {
    root: tempfile::TempDir,
    power: Arc<PowerLoss>,
    log: Log,
    model: Model,
    /// The recovery point that the next start finds.
    checkpoint: i64,
}

impl Run {
    fn new() -> Run {
        let root = power_loss::directory();
        let power = Arc::new(PowerLoss::new(root.path()));
        let log = Log::create(
            root.path().join("t-0"),
            config(),
            Offset::ZERO,
            storage(&power),
            NOW,
        );
        Run {
            log: log.unwrap(),
            root,
            power,
            model: Model::default(),
            checkpoint: 0,
        }
    }

    fn step(&mut self, operation: &Operation) {
        let Run { log, model, .. } = self;
        match *operation {
            Operation::Append { .. } | Operation::Repeat | Operation::EndTransaction { .. } => {
                self.append(operation);
            }
            Operation::NextEpoch => model.epoch += 1,
            Operation::Roll => drop(log.roll(NOW).unwrap()),
            Operation::Flush => drop(log.flush().unwrap()),
            Operation::FlushSealed => drop(log.flush_sealed().unwrap()),
            Operation::Checkpoint => self.checkpoint = log.recovery_point().0,
            Operation::Truncate { .. }
            | Operation::Restart { .. }
            | Operation::AdvanceStart { .. }
            | Operation::Retain => self.cut(operation),
            Operation::Read {
                percent,
                max_bytes,
                below_percent,
            } => {
                let (from, below) = (model.at(percent), model.at(below_percent));
                check_read(log, model, from, max_bytes, below);
            }
            Operation::Find { at } => {
                let found = log.offset_for_timestamp(NOW.plus_ms(at)).unwrap();
                assert_eq!(found.map(|found| found.offset.0), model.find(at));
            }
            Operation::ReopenClean
            | Operation::Crash
            | Operation::TornCrash { .. }
            | Operation::LosePower { .. }
            | Operation::StopAndLosePower { .. } => self.reopen(operation),
        }
    }

    fn append(&mut self, operation: &Operation) {
        let Run { log, model, .. } = self;
        let epoch = LeaderEpoch(model.epoch);
        match *operation {
            Operation::Append {
                records,
                producer,
                at,
            } => {
                let base_sequence = model.next_sequence(producer);
                let batch = produced(producer, base_sequence, records, at);
                // A producer whose records are gone may be unknown or known: both follow from what is left.
                let info = log
                    .append_as_leader(&batch, epoch, Origin::Coordinator, NOW)
                    .unwrap();
                assert_eq!(info.base_offset.0, model.end);
                model.add(Batch {
                    base: model.end,
                    last: model.end + records as i64 - 1,
                    epoch: model.epoch,
                    producer,
                    base_sequence,
                    at,
                    size: batch.size() as u64,
                    commit: None,
                });
            }
            Operation::Repeat => {
                // Below the log's start a restart forgets who wrote it.
                let known = model
                    .batches
                    .last()
                    .filter(|batch| batch.base >= model.start && batch.commit.is_none());
                let Some(last) = known.copied() else { return };
                let batch = produced(last.producer, last.base_sequence, last.records(), last.at);
                let info = log
                    .append_as_leader(&batch, epoch, Origin::Client, NOW)
                    .unwrap();
                assert!(info.duplicate);
                let found = (info.base_offset.0, info.last_offset.0);
                assert_eq!(found, (last.base, last.last));
            }
            Operation::EndTransaction { producer, commit } => {
                let first = model.transactions().1.get(&producer).copied();
                if first.is_none_or(|first| first < model.start) {
                    return;
                }
                let marker = EndMarker {
                    commit,
                    coordinator_epoch: 0,
                };
                let batch = marker.batch(ProducerId(producer), ProducerEpoch(0), NOW);
                log.append_as_leader(&batch, epoch, Origin::Coordinator, NOW)
                    .unwrap();
                model.add(Batch {
                    base: model.end,
                    last: model.end,
                    epoch: model.epoch,
                    producer,
                    base_sequence: -1,
                    at: 0,
                    size: batch.size() as u64,
                    commit: Some(commit),
                });
            }
            _ => unreachable!("the caller sorts them"),
        }
    }

    fn cut(&mut self, operation: &Operation) {
        let Run { log, model, .. } = self;
        match *operation {
            Operation::Truncate { percent } => {
                let end = model.at(percent);
                log.truncate_to(Offset(end)).unwrap();
                model.truncate(end);
            }
            Operation::Restart { offset } => {
                log.truncate_fully_and_start_at(Offset(offset)).unwrap();
                model.batches.clear();
                (model.start, model.end) = (offset, offset);
            }
            Operation::AdvanceStart { percent } => {
                let start = model.at(percent);
                log.advance_log_start_offset(Offset(start)).unwrap();
                model.start = start;
            }
            Operation::Retain => {
                log.delete_old_segments(Offset(model.end), moment(0))
                    .unwrap();
                log.remove_deleted(moment(60_000).steady).unwrap();
            }
            _ => unreachable!("the caller sorts them"),
        }
        // As who truncates has to see to. (LogManager.truncateTo)
        self.checkpoint = self.checkpoint.min(log.recovery_point().0);
    }

    fn reopen(&mut self, operation: &Operation) {
        let clean = matches!(
            operation,
            Operation::ReopenClean | Operation::StopAndLosePower { .. }
        );
        if clean {
            self.log.close().unwrap();
            self.checkpoint = self.log.recovery_point().0;
        }
        let flushed = self.log.recovery_point().0;
        match operation {
            Operation::TornCrash { bytes } => self.tear(*bytes, flushed),
            Operation::LosePower { seed } | Operation::StopAndLosePower { seed } => {
                self.power.lose(*seed);
            }
            _ => {}
        }
        let options = LogOptions {
            clean,
            log_start_offset: Offset(self.model.start),
            ..unclean(self.checkpoint)
        };
        let (dir, storage) = (self.dir(), storage(&self.power));
        storage.fs.create_directory(&dir).unwrap();
        self.log = Log::open(dir, config(), options, storage).unwrap();
        self.forget_hole();
        if matches!(operation, Operation::LosePower { .. }) {
            // Whatever else is there, all that was flushed is.
            let end = self.log.log_end_offset().0;
            assert!(end >= flushed, "{flushed} were flushed, {end} are there");
            self.adopt(flushed);
            self.model.end = end;
        }
    }

    /// A power loss may leave a hole before a segment. A log that was cut within one ends there until it is opened again:
    /// no batch tells of its end. (The same in LocalLog.truncateTo)
    fn forget_hole(&mut self) {
        let last = self.model.batches.last().map(|batch| batch.last + 1);
        if let Some(last) = last.filter(|last| *last < self.model.end) {
            let active = self.log.active().base_offset().0;
            self.model.end = self.model.end.min(last.max(active));
        }
    }

    /// What was not flushed may be gone from the end of any segment.
    fn adopt(&mut self, flushed: i64) {
        let found = read_all(&self.log);
        let start = self.model.start;
        self.model.batches.retain(|batch| {
            let is_there = found.contains(&(batch.base, batch.last));
            assert!(is_there || batch.last < start || batch.base >= flushed);
            is_there || batch.last < start
        });
        assert_eq!(found, self.model.readable());
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("t-0")
    }

    /// Cuts bytes off the active segment, but none that were flushed.
    fn tear(&mut self, bytes: u64, recovery_point: i64) {
        let active = self.log.active();
        let Ok(file) = std::fs::OpenOptions::new().write(true).open(active.path()) else {
            return;
        };
        let mut left = active.size().saturating_sub(bytes);
        let mut end = active.base_offset().0;
        let mut position = 0;
        let in_active = self
            .model
            .batches
            .iter()
            .filter(|batch| batch.base >= active.base_offset().0);
        for batch in in_active {
            if position + batch.size > left && batch.base >= recovery_point.max(self.model.start) {
                break;
            }
            position += batch.size;
            end = batch.last + 1;
        }
        left = left.max(position);
        self.power.tear(&file, left);
        // Where nothing is left behind the start, the log begins anew there.
        self.model.truncate(end.max(self.model.start));
    }

    fn check(&self) {
        let Run { log, model, .. } = self;
        assert_eq!(
            (log.log_start_offset().0, log.log_end_offset().0),
            (model.start, model.end)
        );
        assert_eq!(read_all(log), model.readable());
        for batch in &model.batches {
            if batch.last >= model.start {
                let (_, end) = log.end_offset_for_epoch(LeaderEpoch(batch.epoch)).unwrap();
                assert!(batch.last < end.0, "{batch:?} ends behind its epoch, {end}");
            }
        }
        // Below the log's start a restart may forget where a transaction began.
        let (mut aborted, open) = model.transactions();
        let cut: Vec<i64> = aborted
            .iter()
            .filter(|(_, first, _)| *first < model.start)
            .map(|(.., last)| *last)
            .collect();
        aborted.retain(|(.., last)| !cut.contains(last));
        let found = log
            .aborted_transactions(Offset(model.start), Offset(model.end))
            .unwrap();
        let mut found: Vec<_> = found
            .iter()
            .map(|found| {
                (
                    found.producer_id.0,
                    found.first_offset.0,
                    found.last_offset.0,
                )
            })
            .filter(|(.., last)| !cut.contains(last))
            .collect();
        found.sort_unstable_by_key(|(.., last)| *last);
        assert_eq!(found, aborted);
        if open.values().all(|first| *first >= model.start) {
            let stable = open.values().min().copied().unwrap_or(model.end);
            assert_eq!(log.last_stable_offset(Offset(model.end)).0, stable);
        }
    }
}

fn storage(power: &Arc<PowerLoss>) -> Storage {
    Storage {
        fs: power.clone(),
        ..Storage::default()
    }
}

fn produced(producer: i64, base_sequence: i32, records: usize, at: i64) -> ValidBatch {
    let by = Producer {
        id: ProducerId(producer),
        epoch: ProducerEpoch(0),
        base_sequence,
    };
    let mut builder = BatchBuilder::new()
        .producer(by)
        .transactional(producer >= TRANSACTIONAL);
    for _ in 0..records {
        builder.append(NOW.plus_ms(at), None, Some(&[1; 50]));
    }
    builder.build_valid()
}

fn check_read(log: &Log, model: &Model, from: i64, max_bytes: usize, below: i64) {
    let outcome = log
        .read(Offset(from), max_bytes, Offset(below), true)
        .unwrap();
    let found = batches(bytes(&outcome)).map(|batch| batch.unwrap());
    let found: Vec<_> = found
        .map(|batch| (batch.header.base_offset.0, batch.header.last_offset().0))
        .collect();
    let expected: Vec<_> = model
        .readable()
        .into_iter()
        .filter(|(_, last)| *last >= from && *last < below && from < below)
        .collect();
    assert_eq!(found[..], expected[..found.len()]);
    assert_eq!(
        found.is_empty(),
        expected.is_empty(),
        "{from} {max_bytes} {below}"
    );
    assert!(found.len() <= 1 || outcome.records.len() <= max_bytes);
    assert!(
        found
            .last()
            .is_none_or(|(_, last)| *last < outcome.upper_bound.0)
    );
}

#[test]
fn a_log_is_what_was_done_to_it() {
    random::sequences(operation(), OPERATIONS_MAX, 2_000, |operations| {
        let mut run = Run::new();
        for operation in operations {
            run.step(operation);
            run.check();
        }
    });
}
