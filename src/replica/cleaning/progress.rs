//! How far a run is, and the lines that tell of it: one for each run that has ended with the figures that Kafka gives
//! (LogCleaner.CleanerThread.recordStats), and one from time to time where a run takes long.

use std::sync::{Mutex, PoisonError};

use tracing::info;

use super::RunStatus;
use crate::ids::{SteadyTime, TopicPartition};
use crate::log::cleaner::{CleanStats, Cleanable, Stage};

/// A run that takes longer tells how far it is each time this has passed.
const LINE_MS: i64 = 30_000;
const MB: f64 = 1024.0 * 1024.0;

/// See the module.
#[derive(Debug)]
pub(super) struct Progress {
    partition: TopicPartition,
    began: SteadyTime,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stage: Option<Stage>,
    moved_bytes: u64,
    /// When cleaning began, after indexing.
    indexed: SteadyTime,
    last_line: SteadyTime,
}

impl Progress {
    pub(super) fn begin(partition: TopicPartition, now: SteadyTime) -> Progress {
        Progress {
            partition,
            began: now,
            state: Mutex::new(State {
                stage: None,
                moved_bytes: 0,
                indexed: now,
                last_line: now,
            }),
        }
    }

    pub(super) fn begins(&self, stage: Stage, now: SteadyTime) {
        let mut state = self.lock();
        state.stage = Some(stage);
        state.moved_bytes = 0;
        if matches!(stage, Stage::Cleaning { .. }) {
            state.indexed = now;
        }
    }

    pub(super) fn moved(&self, bytes: u64, now: SteadyTime) {
        let mut state = self.lock();
        state.moved_bytes += bytes;
        if now.0 - state.last_line.0 < LINE_MS {
            return;
        }
        state.last_line = now;
        let (what, of) = match state.stage {
            Some(Stage::Cleaning { bytes }) => ("read and written", bytes),
            Some(Stage::Indexing { bytes }) => ("indexed", bytes),
            None => return,
        };
        info!(
            partition = %self.partition,
            "being compacted for {} s: {:.1} MB {what} for {:.1} MB",
            (now.0 - self.began.0) / 1000,
            state.moved_bytes as f64 / MB,
            of as f64 / MB,
        );
    }

    pub(super) fn status(&self) -> RunStatus {
        let state = self.lock();
        RunStatus {
            partition: self.partition.clone(),
            stage: state.stage,
            moved_bytes: state.moved_bytes,
        }
    }

    pub(super) fn report(&self, cleanable: &Cleanable, stats: &CleanStats, now: SteadyTime) {
        let seconds = |from: SteadyTime, to: SteadyTime| (to.0 - from.0).max(1) as f64 / 1000.0;
        let indexed = self.lock().indexed;
        let (all, indexing) = (seconds(self.began, now), seconds(self.began, indexed));
        let cleaning = seconds(indexed, now);
        let mb = |bytes: u64| bytes as f64 / MB;
        let rate = |bytes: u64, seconds: f64| mb(bytes) / seconds;
        let less = |from: u64, to: u64| 100.0 * (1.0 - to as f64 / from.max(1) as f64);
        info!(
            partition = %self.partition,
            "compacted offsets {} to {}, dirty {:.2} of all: {:.1} MB in {all:.1} s; indexed {:.1} MB in {indexing:.1} s \
             ({:.1} MB/s), {} keys, {:.1} % of the map, {:.1} MB for it; cleaned {:.1} MB in {cleaning:.1} s ({:.1} MB/s); \
             {:.1} MB in {} segments with {} records became {:.1} MB in {} with {}: {:.1} % less, {:.1} % fewer records",
            stats.first_dirty,
            stats.end,
            cleanable.ratio(),
            mb(stats.indexed_bytes + stats.read_bytes),
            mb(stats.indexed_bytes),
            rate(stats.indexed_bytes, indexing),
            stats.keys,
            100.0 * stats.map_utilization,
            mb(stats.map_bytes),
            mb(stats.read_bytes),
            rate(stats.read_bytes, cleaning),
            mb(stats.read_bytes),
            stats.segments_before,
            stats.read_records,
            mb(stats.written_bytes),
            stats.segments_after,
            stats.written_records,
            less(stats.read_bytes, stats.written_bytes),
            less(stats.read_records, stats.written_records),
        );
        if stats.keyless_records > 0 {
            // (LogCleaner.CleanerThread.recordStats)
            info!(partition = %self.partition, "found {} records without a key", stats.keyless_records);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
