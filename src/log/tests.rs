//! Logs on good and bad days: one file for each subject, and here what they share.

mod append_read;
mod faults;
mod kafka;
mod producers;
mod recovery;
mod replication;
mod retention;
mod sources;
mod verify;
mod wrong_indexes;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::fs::faulty::Faulty;
use super::*;
use crate::ids::{LeaderEpoch, Now, Offset, ProducerEpoch, ProducerId, SteadyTime, Timestamp};
use crate::messages::Records;
use crate::record::control::EndMarker;
use crate::record::{BatchBuilder, Producer, ValidBatch, batches};

pub(super) const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// This many milliseconds after [`NOW`].
pub(super) fn moment(ms: i64) -> Now {
    Now {
        wall: NOW.plus_ms(ms),
        steady: SteadyTime(ms),
    }
}

/// Small segments and dense indexes.
pub(super) fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 4096,
        index_interval_bytes: 200,
        ..LogConfig::default()
    }
}

/// The directory of one log, and how the log is opened there.
pub(super) struct Fixture {
    dir: tempfile::TempDir,
    pub(super) config: LogConfig,
    pub(super) storage: Storage,
}

impl Default for Fixture {
    fn default() -> Fixture {
        Fixture::new(config())
    }
}

impl Fixture {
    pub(super) fn new(config: LogConfig) -> Fixture {
        Fixture {
            dir: tempfile::tempdir().unwrap(),
            config,
            storage: Storage::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The names of the files, in order.
    pub(super) fn names(&self) -> Vec<String> {
        names(self.path())
    }

    /// After a clean stop.
    pub(super) fn open(&self) -> Log {
        self.open_with(LogOptions::default())
    }

    pub(super) fn open_unclean(&self, recovery_point: i64) -> Log {
        self.open_with(unclean(recovery_point))
    }

    pub(super) fn open_with(&self, options: LogOptions) -> Log {
        self.try_open(options).unwrap()
    }

    pub(super) fn try_open(&self, options: LogOptions) -> Result<Log, Error> {
        let storage = self.storage.clone();
        Log::open(
            self.path().to_owned(),
            self.config.clone(),
            options,
            storage,
        )
    }

    /// On files of which one can go wrong. What is opened later has good ones.
    pub(super) fn open_faulty(&self) -> (Log, Arc<Faulty>) {
        self.open_faulty_with(LogOptions::default())
    }

    pub(super) fn open_faulty_with(&self, options: LogOptions) -> (Log, Arc<Faulty>) {
        let fs = Arc::new(Faulty::default());
        let storage = Storage {
            fs: fs.clone(),
            ..Storage::default()
        };
        let (dir, config) = (self.path().to_owned(), self.config.clone());
        let log = Log::open(dir, config, options, storage).unwrap();
        (log, fs)
    }

    /// An open log with this many batches of one record of 100 bytes.
    pub(super) fn filled(&self, batches: usize) -> Log {
        let log = self.open();
        for _ in 0..batches {
            append(&log, &batch(1, 100));
        }
        log
    }
}

pub(super) fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(super) fn unclean(recovery_point: i64) -> LogOptions {
    LogOptions {
        clean: false,
        recovery_point: Offset(recovery_point),
        now: NOW,
        ..LogOptions::default()
    }
}

pub(super) fn batch(records: usize, size: usize) -> ValidBatch {
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        builder.append(NOW, None, Some(&vec![7; size]));
    }
    builder.build_valid()
}

pub(super) fn produced(
    id: i64,
    epoch: i16,
    sequence: i32,
    records: usize,
    transactional: bool,
) -> ValidBatch {
    let producer = Producer {
        id: ProducerId(id),
        epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
    };
    let mut builder = BatchBuilder::new()
        .producer(producer)
        .transactional(transactional);
    for _ in 0..records {
        builder.append(NOW, None, Some(&[1; 50]));
    }
    builder.build_valid()
}

pub(super) fn append(log: &Log, batch: &ValidBatch) -> AppendInfo {
    log.append_as_leader(batch, LeaderEpoch(0), Origin::Client, NOW)
        .unwrap()
}

/// Commits or aborts what a producer has open.
pub(super) fn end_transaction(log: &Log, producer_id: i64, commit: bool) {
    let marker = EndMarker {
        commit,
        coordinator_epoch: 0,
    };
    let marker = marker.batch(ProducerId(producer_id), ProducerEpoch(0), NOW);
    log.append_as_leader(&marker, LeaderEpoch(0), Origin::Coordinator, NOW)
        .unwrap();
}

/// All that a read returns.
pub(super) fn bytes(outcome: &ReadOutcome) -> Bytes {
    use std::os::unix::fs::FileExt;
    match &outcome.records {
        Records::Bytes(bytes) => bytes.clone(),
        Records::File(range) => {
            let mut bytes = vec![0; range.len];
            range
                .file
                .read_exact_at(&mut bytes, range.position)
                .unwrap();
            bytes.into()
        }
    }
}

/// The base and last offsets of the batches that a read from `from` finds.
pub(super) fn read(log: &Log, from: i64, max_bytes: usize) -> Vec<(i64, i64)> {
    read_below(log, from, max_bytes, i64::MAX)
}

pub(super) fn read_below(log: &Log, from: i64, max_bytes: usize, below: i64) -> Vec<(i64, i64)> {
    let outcome = log
        .read(Offset(from), max_bytes, Offset(below), true)
        .unwrap();
    let found = batches(bytes(&outcome)).map(|batch| {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        (batch.header.base_offset.0, batch.header.last_offset().0)
    });
    found.collect()
}

/// Reads the whole log.
pub(super) fn read_all(log: &Log) -> Vec<(i64, i64)> {
    let mut all = Vec::new();
    let mut from = log.log_start_offset().0;
    loop {
        let found = read(log, from, 1000);
        let Some((_, last)) = found.last() else {
            return all;
        };
        from = last + 1;
        all.extend(found);
    }
}
