//! Random appends, transactions, rolls, runs, restarts and crashes within a run, held against all that was ever written.

use proptest::prelude::*;

use super::*;
use crate::log::LogOptions;
use crate::log::fs::faulty::Fault;
use crate::log::random;
use crate::log::tests::unclean;

#[derive(Clone, Debug)]
enum Operation {
    /// Producers 0 none, 1 and 2 idempotent, 3 to 5 transactional.
    Append {
        producer: i64,
        codec: usize,
        records: Vec<(u8, Option<u8>)>,
    },
    End {
        producer: i64,
        commit: bool,
    },
    Roll,
    Clean {
        map_slots: u64,
        io_buffer_bytes: usize,
    },
    FaultyClean {
        step: u64,
        fault: usize,
    },
    Wait {
        hours: i64,
    },
    Truncate {
        percent: i64,
    },
    AdvanceStart {
        percent: i64,
    },
    Reopen {
        clean: bool,
        forget_snapshots: bool,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    let record = (0..12_u8, prop::option::weighted(0.8, any::<u8>()));
    let records = prop::collection::vec(record, 1..6);
    prop_oneof![
        30 => (0..6_i64, 0..5_usize, records)
            .prop_map(|(producer, codec, records)| Operation::Append { producer, codec, records }),
        8 => (3..6_i64, any::<bool>()).prop_map(|(producer, commit)| Operation::End { producer, commit }),
        4 => Just(Operation::Roll),
        4 => (2..40_u64, 100..2000_usize)
            .prop_map(|(map_slots, io_buffer_bytes)| Operation::Clean { map_slots, io_buffer_bytes }),
        3 => (0..80_u64, 0..4_usize).prop_map(|(step, fault)| Operation::FaultyClean { step, fault }),
        2 => (0..3_i64).prop_map(|hours| Operation::Wait { hours }),
        1 => (0..=100_i64).prop_map(|percent| Operation::Truncate { percent }),
        1 => (0..=20_i64).prop_map(|percent| Operation::AdvanceStart { percent }),
        2 => (any::<bool>(), any::<bool>())
            .prop_map(|(clean, forget_snapshots)| Operation::Reopen { clean, forget_snapshots }),
    ]
}

/// A batch as it was written.
#[derive(Debug)]
struct Written {
    batch: Batch,
    /// For a marker, whether it commits.
    marker: Option<bool>,
}

impl Written {
    fn producer(&self) -> i64 {
        self.batch.header.producer_id.0
    }

    fn is_open(&self) -> bool {
        self.batch.header.is_transactional() && self.marker.is_none()
    }
}

struct Run {
    fixture: Fixture,
    log: Log,
    written: Vec<Written>,
    now: Timestamp,
    /// The high watermark of the last run.
    replicated: Offset,
}

impl Run {
    fn new() -> Run {
        let fixture = Fixture::new(LogConfig {
            segment_bytes: 1500,
            ..compacted()
        });
        let log = fixture.open();
        Run {
            fixture,
            log,
            written: Vec::new(),
            now: NOW,
            replicated: Offset::ZERO,
        }
    }

    /// Whether each written batch is committed, aborted or (`None`) undecided.
    fn decisions(&self) -> Vec<Option<bool>> {
        let mut decided = vec![Some(true); self.written.len()];
        for (at, written) in self.written.iter().enumerate().filter(|(_, w)| w.is_open()) {
            let end = self.written[at..]
                .iter()
                .find(|later| later.producer() == written.producer() && later.marker.is_some());
            decided[at] = end.and_then(|end| end.marker);
        }
        decided
    }

    fn next_sequence(&self, producer: i64) -> i32 {
        let last = self.written.iter().rev();
        let mut last = last.filter(|w| w.producer() == producer && w.marker.is_none());
        last.next()
            .map_or(0, |last| last.batch.header.last_sequence() + 1)
    }

    fn write(&mut self, batch: &ValidBatch, marker: Option<bool>) {
        let info = self
            .log
            .append_as_leader(batch, LeaderEpoch(0), Origin::Coordinator, self.now)
            .unwrap();
        self.written.push(Written {
            batch: appended(batch, info.base_offset),
            marker,
        });
    }

    fn step(&mut self, operation: &Operation) {
        match operation {
            Operation::Append {
                producer,
                codec,
                records,
            } => self.append(*producer, *codec, records),
            Operation::End { producer, commit } => {
                let is_open = self
                    .written
                    .iter()
                    .rev()
                    .find(|w| w.producer() == *producer)
                    .is_some_and(Written::is_open);
                if is_open {
                    self.write(&marker(*producer, *commit), Some(*commit));
                }
            }
            Operation::Roll => drop(self.log.roll(self.now).unwrap()),
            Operation::Clean {
                map_slots,
                io_buffer_bytes,
            } => self.clean(*map_slots, *io_buffer_bytes),
            Operation::FaultyClean { step, fault } => self.faulty_clean(*step, *fault),
            Operation::Wait { hours } => self.now = self.now.plus_ms(hours * HOUR),
            Operation::Truncate { percent } => self.truncate(*percent),
            Operation::AdvanceStart { percent } => {
                let (start, stable) = (self.log.log_start_offset(), self.stable());
                let to = start + (stable - start) * percent / 100;
                self.log.advance_log_start_offset(to).unwrap();
                self.log.delete_old_segments(stable, at(self.now)).unwrap();
            }
            Operation::Reopen {
                clean,
                forget_snapshots,
            } => self.reopen(*clean, *forget_snapshots),
        }
    }

    fn stable(&self) -> Offset {
        self.log.last_stable_offset(self.log.log_end_offset())
    }

    fn append(&mut self, producer: i64, codec: usize, records: &[(u8, Option<u8>)]) {
        let codecs = [
            Codec::None,
            Codec::Gzip(None),
            Codec::Snappy,
            Codec::Lz4(9),
            Codec::Zstd(3),
        ];
        let mut builder = match producer {
            0 => BatchBuilder::new(),
            id => by(id, self.next_sequence(id)).transactional(id > 2),
        };
        builder = builder.codec(codecs[codec]);
        for (key, value) in records {
            let value = value.map(|value| format!("value-{value}"));
            builder.append(
                self.now,
                Some(format!("key-{key}").as_bytes()),
                value.as_deref().map(str::as_bytes),
            );
        }
        self.write(&builder.build_valid(), None);
    }

    fn clean(&mut self, map_slots: u64, io_buffer_bytes: usize) {
        let limits = Limits {
            map_bytes: map_slots * 24,
            map_load: 0.9,
            io_buffer_bytes,
        };
        let cleanable = self
            .log
            .cleanable(self.log.log_end_offset(), self.now)
            .unwrap();
        assert!(cleanable.first_uncleanable <= self.stable().max(cleanable.first_dirty));
        let stats = clean_with(&self.log, self.now, &limits).unwrap();
        assert!(stats.end > stats.first_dirty || cleanable.cleanable_bytes == 0);
        self.replicated = self.log.log_end_offset();
        self.check_compacted(stats.end);
    }

    /// Below `end` each key has one record and nothing is aborted.
    fn check_compacted(&self, end: Offset) {
        let decisions = self.decisions();
        let start = self.log.log_start_offset();
        let mut seen = HashSet::new();
        for batch in all_batches(&self.log) {
            let original = self.original(&batch);
            for row in rows(&batch)
                .into_iter()
                .filter(|row| (start.0..end.0).contains(&row.0))
            {
                if !batch.header.is_control() {
                    assert_eq!(decisions[original], Some(true), "{row:?} was aborted");
                    assert!(seen.insert(row.2.clone()), "{row:?} is not the only one");
                }
            }
        }
    }

    fn faulty_clean(&mut self, step: u64, fault: usize) {
        let fault = [Fault::Fail, Fault::Tear, Fault::Crash, Fault::TornCrash][fault];
        let cleaned_to = self.log.cleaned_to();
        // On other files from here to the next opening.
        self.log.close().unwrap();
        let (log, fs) = self.fixture.open_faulty_with(LogOptions {
            cleaned_to,
            now: self.now,
            log_start_offset: self.log.log_start_offset(),
            producer_id_expiration_ms: i64::MAX,
            recovery_point: self.log.log_end_offset(),
            ..LogOptions::default()
        });
        fs.at(fs.steps() + step, fault);
        self.replicated = log.log_end_offset();
        let outcome = clean_at(&log, self.now);
        let options = LogOptions {
            cleaned_to: log.cleaned_to(),
            log_start_offset: log.log_start_offset(),
            producer_id_expiration_ms: i64::MAX,
            ..unclean(log.recovery_point().0)
        };
        drop(log);
        self.log = self.fixture.open_with(options);
        if let Ok(stats) = outcome {
            self.check_compacted(stats.end);
        }
    }

    /// Never below the high watermark that a run was given.
    fn truncate(&mut self, percent: i64) {
        let from = self.replicated.max(self.log.log_start_offset());
        let end = self.log.log_end_offset();
        if from >= end {
            return;
        }
        self.log
            .truncate_to(from + (end - from) * percent / 100)
            .unwrap();
        let end = self.log.log_end_offset();
        self.written.retain(|w| w.batch.header.base_offset < end);
    }

    fn reopen(&mut self, clean: bool, forget_snapshots: bool) {
        if clean {
            self.log.close().unwrap();
        }
        if forget_snapshots {
            for name in self
                .fixture
                .names()
                .iter()
                .filter(|name| name.ends_with("snapshot"))
            {
                std::fs::remove_file(self.fixture.file(name)).unwrap();
            }
        }
        let options = LogOptions {
            clean,
            cleaned_to: self.log.cleaned_to(),
            log_start_offset: self.log.log_start_offset(),
            now: self.now,
            producer_id_expiration_ms: i64::MAX,
            ..unclean(self.log.recovery_point().0)
        };
        self.log = self.fixture.open_with(options);
    }

    /// The place of the written batch that `batch` is what is left of.
    fn original(&self, batch: &Batch) -> usize {
        let base = batch.header.base_offset;
        self.written
            .binary_search_by_key(&base, |w| w.batch.header.base_offset)
            .unwrap_or_else(|_| panic!("no batch was written at {base}"))
    }

    fn check(&self) {
        let start = self.log.log_start_offset();
        let end = self
            .written
            .last()
            .map_or(Offset::ZERO, |w| w.batch.header.next_offset());
        assert_eq!(self.log.log_end_offset(), end.max(start));
        let mut next = Offset::ZERO;
        for batch in all_batches(&self.log) {
            let original = &self.written[self.original(&batch)].batch;
            let (header, was) = (&batch.header, &original.header);
            assert!(header.base_offset >= next);
            assert_eq!(
                (
                    header.last_offset_delta,
                    header.producer_id,
                    header.base_sequence
                ),
                (was.last_offset_delta, was.producer_id, was.base_sequence)
            );
            let written = rows(original);
            assert!(rows(&batch).iter().all(|row| written.contains(row)));
            next = header.next_offset();
        }
        let decisions = self.decisions();
        let stable = self.stable();
        let committed_rows = self
            .written
            .iter()
            .zip(&decisions)
            .filter(|(w, decision)| {
                w.marker.is_none()
                    && **decision == Some(true)
                    && w.batch.header.last_offset() < stable
            })
            .flat_map(|(w, _)| rows(&w.batch))
            .filter(|row| row.0 >= start.0);
        assert_eq!(table(committed(&self.log)), table(committed_rows));
        self.check_producers(start);
    }

    /// Whoever has a batch in the log goes on with the next sequence.
    fn check_producers(&self, start: Offset) {
        for producer in 1..6 {
            let last = self.written.iter().rev().find(|w| {
                w.producer() == producer
                    && w.marker.is_none()
                    && w.batch.header.base_offset >= start
            });
            let Some(last) = last else { continue };
            let known = self.log.producers();
            let known = known.iter().find(|state| state.producer_id.0 == producer);
            let known = known.map(|state| (state.last_sequence(), state.last_offset()));
            let header = &last.batch.header;
            assert_eq!(
                known,
                Some((header.last_sequence(), Some(header.last_offset())))
            );
        }
    }
}

/// A batch as it was appended at an offset.
fn appended(batch: &ValidBatch, at: Offset) -> Batch {
    let mut bytes = batch.header_bytes(at, LeaderEpoch(0)).to_vec();
    bytes.extend_from_slice(batch.payload());
    Batch::parse(&bytes.into()).unwrap()
}

#[test]
fn a_compacted_log_says_what_was_written() {
    random::sequences(operation(), 150, 2_000, |operations| {
        let mut run = Run::new();
        for operation in operations {
            run.step(operation);
            run.check();
        }
    });
}
