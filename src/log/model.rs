//! Random operations on a log, with restarts clean and unclean, held against a list of batches.

use proptest::prelude::*;

use super::tests::{Fixture, NOW, bytes, moment, produced, read_all, unclean};
use super::*;
use crate::ids::{LeaderEpoch, Offset};
use crate::record::batches;

/// Offsets are given as shares of what is there, in percent.
#[derive(Clone, Debug)]
enum Operation {
    Append {
        records: usize,
        producer: i64,
    },
    Repeat,
    NextEpoch,
    Roll,
    Flush,
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
    ReopenClean,
    Crash,
    TornCrash {
        bytes: u64,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        20 => (1..5_usize, 1..4_i64).prop_map(|(records, producer)| Operation::Append { records, producer }),
        2 => Just(Operation::Repeat),
        2 => Just(Operation::NextEpoch),
        1 => Just(Operation::Roll),
        2 => Just(Operation::Flush),
        2 => (50..=100_i64).prop_map(|percent| Operation::Truncate { percent }),
        1 => (0..50_i64).prop_map(|offset| Operation::Restart { offset }),
        1 => (0..=30_i64).prop_map(|percent| Operation::AdvanceStart { percent }),
        2 => Just(Operation::Retain),
        6 => (0..=100_i64, 0..3000_usize, 0..=100_i64)
            .prop_map(|(percent, max_bytes, below_percent)| Operation::Read { percent, max_bytes, below_percent }),
        2 => Just(Operation::ReopenClean),
        2 => Just(Operation::Crash),
        2 => (1..400_u64).prop_map(|bytes| Operation::TornCrash { bytes }),
    ]
}

/// What the log must be.
#[derive(Default)]
struct Model {
    /// Base and last offsets, epoch and producer with last sequence.
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
}

impl Model {
    fn at(&self, percent: i64) -> i64 {
        self.start + (self.end - self.start) * percent / 100
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
            .find(|batch| batch.producer == producer);
        last.map_or(0, |batch| {
            batch.base_sequence + (batch.last - batch.base) as i32 + 1
        })
    }

    /// The batches that can still be read.
    fn readable(&self) -> Vec<(i64, i64)> {
        let readable = self.batches.iter().filter(|batch| batch.last >= self.start);
        readable.map(|batch| (batch.base, batch.last)).collect()
    }
}

struct Run {
    fixture: Fixture,
    log: Log,
    model: Model,
}

impl Run {
    fn step(&mut self, operation: &Operation) {
        let Run { log, model, .. } = self;
        match *operation {
            Operation::Append { records, producer } => {
                let base_sequence = model.next_sequence(producer);
                let batch = produced(producer, 0, base_sequence, records, false);
                // A producer whose records are gone may be unknown or known: both follow from what is left.
                let info = log
                    .append_as_leader(&batch, LeaderEpoch(model.epoch), Origin::Coordinator, NOW)
                    .unwrap();
                assert_eq!(info.base_offset.0, model.end);
                let (base, last) = (model.end, model.end + records as i64 - 1);
                model.batches.push(Batch {
                    base,
                    last,
                    epoch: model.epoch,
                    producer,
                    base_sequence,
                });
                model.end += records as i64;
            }
            Operation::Repeat => {
                // Below the log's start a restart forgets who wrote it.
                let known = model
                    .batches
                    .last()
                    .filter(|batch| batch.base >= model.start);
                let Some(last) = known.copied() else { return };
                let records = (last.last - last.base) as usize + 1;
                let batch = produced(last.producer, 0, last.base_sequence, records, false);
                let info = log
                    .append_as_leader(&batch, LeaderEpoch(model.epoch), Origin::Client, NOW)
                    .unwrap();
                assert!(info.duplicate);
                assert_eq!(
                    (info.base_offset.0, info.last_offset.0),
                    (last.base, last.last)
                );
            }
            Operation::NextEpoch => model.epoch += 1,
            Operation::Roll => drop(log.roll(NOW).unwrap()),
            Operation::Flush => drop(log.flush().unwrap()),
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
            Operation::ReopenClean | Operation::Crash | Operation::TornCrash { .. } => {
                self.reopen(operation)
            }
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
    }

    fn reopen(&mut self, operation: &Operation) {
        let clean = matches!(operation, Operation::ReopenClean);
        if clean {
            self.log.close().unwrap();
        }
        let recovery_point = self.log.recovery_point();
        if let Operation::TornCrash { bytes } = operation {
            self.tear(*bytes, recovery_point.0);
        }
        let log_start_offset = Offset(self.model.start);
        let options = LogOptions {
            clean,
            log_start_offset,
            ..unclean(recovery_point.0)
        };
        self.log = self.fixture.open_with(options);
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
            let size =
                produced(1, 0, 0, (batch.last - batch.base) as usize + 1, false).size() as u64;
            if position + size > left && batch.base >= recovery_point.max(self.model.start) {
                break;
            }
            position += size;
            end = batch.last + 1;
        }
        left = left.max(position);
        file.set_len(left).unwrap();
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
    }
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_what_was_done_to_it(operations in prop::collection::vec(operation(), 1..120)) {
        let fixture = Fixture::default();
        let log = fixture.open();
        let mut run = Run { fixture, log, model: Model::default() };
        for operation in &operations {
            run.step(operation);
            run.check();
        }
    }
}
