//! Logs on good and bad days.

use std::sync::Arc;

use bytes::Bytes;

use super::fs::faulty::{Fault, Faulty};
use super::*;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use crate::messages::Records;
use crate::record::control::EndMarker;
use crate::record::{BatchBuilder, Producer, ValidBatch, batches};

pub(super) const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// Small segments and dense indexes.
pub(super) fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 4096,
        index_interval_bytes: 200,
        ..LogConfig::default()
    }
}

pub(super) fn open(dir: &tempfile::TempDir, options: LogOptions) -> Log {
    Log::open(dir.path().to_owned(), config(), options, Storage::default()).unwrap()
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

#[test]
fn appended_batches_are_read_before_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::create(
        dir.path().to_owned(),
        config(),
        Offset::ZERO,
        Storage::default(),
        NOW,
    )
    .unwrap();
    let mut expected = Vec::new();
    for n in 0..100 {
        let info = append(&log, &batch(1 + n % 3, 100));
        assert_eq!(info.last_offset - info.base_offset, (n % 3) as i64);
        expected.push((info.base_offset.0, info.last_offset.0));
    }
    assert!(log.segments.load().len() > 5);
    assert_eq!(read_all(&log), expected);
    for (base, last) in &expected {
        for offset in *base..=*last {
            assert_eq!(read(&log, offset, 1)[..], [(*base, *last)]);
        }
    }
    log.close().unwrap();
    let end = log.log_end_offset();
    for options in [
        LogOptions::default(),
        unclean(0),
        unclean(50),
        unclean(end.0),
    ] {
        let log = open(&dir, options);
        assert_eq!(log.log_end_offset(), end);
        assert_eq!(read_all(&log), expected);
    }
}

#[test]
fn an_empty_log_has_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::create(
        dir.path().join("t-0"),
        config(),
        Offset::ZERO,
        Storage::default(),
        NOW,
    )
    .unwrap();
    assert_eq!(
        std::fs::read_dir(dir.path().join("t-0")).unwrap().count(),
        0
    );
    assert_eq!(read(&log, 0, 100), []);
    log.close().unwrap();
    assert_eq!(
        std::fs::read_dir(dir.path().join("t-0")).unwrap().count(),
        0
    );
}

#[test]
fn reads_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, LogOptions::default());
    let size = batch(1, 100).size();
    for _ in 0..30 {
        append(&log, &batch(1, 100));
    }
    for first in 0..20 {
        for count in 0..5 {
            for extra in [0, 1, size - 1] {
                let found = read(&log, first, count * size + extra);
                assert!(
                    !found.is_empty() && found.len() <= count.max(1),
                    "{first} {count} {extra}: {found:?}"
                );
                assert_eq!(found[0].0, first);
            }
        }
        let none = log
            .read(Offset(first), size - 1, Offset(30), false)
            .unwrap();
        assert!(none.records.is_empty());
    }
    for below in 0..30 {
        let found = read_below(&log, 0, 100_000, below);
        assert_eq!(
            found.last().map_or(0, |(_, last)| last + 1),
            below.min(24.max(found.len() as i64))
        );
    }
    let error = log.read(Offset(31), 10, Offset(31), true).unwrap_err();
    assert!(matches!(
        error,
        ReadError::OutOfRange {
            got: Offset(31),
            start: Offset(0),
            end: Offset(30)
        }
    ));
}

#[test]
fn a_torn_tail_is_cut_at_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, LogOptions::default());
    for _ in 0..3 {
        append(&log, &batch(1, 50));
    }
    drop(log);
    let path = dir.path().join("00000000000000000000.log");
    let whole = std::fs::read(&path).unwrap();
    let size = whole.len() / 3;
    for len in 0..whole.len() {
        for index in ["index", "timeindex"] {
            let _ = std::fs::remove_file(dir.path().join(format!("00000000000000000000.{index}")));
        }
        std::fs::write(&path, &whole[..len]).unwrap();
        let log = open(&dir, unclean(0));
        assert_eq!(log.log_end_offset().0, (len / size) as i64, "{len} bytes");
        assert_eq!(
            std::fs::metadata(&path).unwrap().len(),
            (len / size * size) as u64
        );
        let info = append(&log, &batch(1, 1));
        assert_eq!(info.base_offset.0, (len / size) as i64);
    }
}

#[test]
fn a_flipped_bit_cuts_behind_and_refuses_below_the_recovery_point() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, LogOptions::default());
    for _ in 0..100 {
        append(&log, &batch(1, 100));
    }
    let sealed = log.segments.load()[1].clone();
    drop(log);
    let mut bytes = std::fs::read(sealed.path()).unwrap();
    let second = bytes.len() / 24 + 70;
    bytes[second] ^= 4;
    std::fs::write(sealed.path(), &bytes).unwrap();
    let log = open(&dir, unclean(sealed.base_offset().0));
    assert_eq!(log.log_end_offset(), sealed.base_offset() + 1);
    assert_eq!(log.segments.load().len(), 2);
    drop(log);
    bytes[16] = 1;
    std::fs::write(sealed.path(), &bytes).unwrap();
    let options = unclean(sealed.base_offset().0 + 1);
    let error =
        Log::open(dir.path().to_owned(), config(), options, Storage::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("{:020}.log", sealed.base_offset())),
        "{error}"
    );
}

#[test]
fn a_base_offset_out_of_reach_is_bad() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, LogOptions::default());
    for _ in 0..10 {
        append(&log, &batch(1, 100));
    }
    let segment = log.segments.load()[0].clone();
    let position = segment.position_of(Offset(6), segment.size()).unwrap() as usize;
    drop(log);
    let mut bytes = std::fs::read(segment.path()).unwrap();
    for (at, bit) in [(3, 1), (4, 0x80), (0, 0x40)] {
        bytes[position + at] ^= bit;
        std::fs::write(segment.path(), &bytes).unwrap();
        let error = segment.rebuild_indexes().unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert_eq!(open(&dir, unclean(0)).log_end_offset(), Offset(6));
        bytes[position + at] ^= bit;
    }
}

#[test]
fn wrong_or_missing_indexes_are_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, LogOptions::default());
    for _ in 0..100 {
        append(&log, &batch(1, 100));
    }
    let expected = read_all(&log);
    let base = log.segments.load()[1].base_offset();
    log.close().unwrap();
    let index = dir.path().join(format!("{base:020}.index"));
    let good = std::fs::read(&index).unwrap();
    for wrong in [
        None,
        Some(good[..good.len() - 3].to_vec()),
        Some(shifted(&good)),
        Some(vec![0xff; 16]),
    ] {
        match wrong {
            None => std::fs::remove_file(&index).unwrap(),
            Some(bytes) => std::fs::write(&index, bytes).unwrap(),
        }
        let log = open(&dir, LogOptions::default());
        for (base, last) in &expected {
            assert_eq!(read(&log, *base, 1)[..], [(*base, *last)]);
        }
    }
}

/// Each entry with the position of the next one: sorted and within the segment, but wrong.
fn shifted(index: &[u8]) -> Vec<u8> {
    let mut wrong = index.to_vec();
    for at in (0..wrong.len() - 8).step_by(8) {
        wrong.copy_within(at + 12..at + 16, at + 4);
    }
    wrong
}

#[test]
fn a_repeated_batch_is_answered_and_a_gap_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&dir, LogOptions::default());
    for reopen in [None, Some(LogOptions::default()), Some(unclean(0))] {
        if let Some(options) = reopen {
            log.close().unwrap();
            log = open(&dir, options);
        }
        let first = log.log_end_offset();
        let sequence = i32::try_from(first.0).unwrap();
        append(&log, &produced(7, 0, sequence, 3, false));
        let again = append(&log, &produced(7, 0, sequence, 3, false));
        assert!(again.duplicate);
        assert_eq!((again.base_offset, again.last_offset), (first, first + 2));
        let gap = log.append_as_leader(
            &produced(7, 0, sequence + 5, 1, false),
            LeaderEpoch(0),
            Origin::Client,
            NOW,
        );
        let expected = sequence + 3;
        assert!(
            matches!(gap, Err(AppendError::OutOfOrderSequence { expected: e, got, .. }) if e == expected && got == expected + 2)
        );
        assert_eq!(log.log_end_offset(), first + 3);
    }
}

#[test]
fn aborted_transactions_and_the_last_stable_offset() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, LogOptions::default());
    append(&log, &produced(1, 0, 0, 2, true));
    append(&log, &produced(2, 0, 0, 1, true));
    append(&log, &batch(1, 10));
    assert_eq!(log.last_stable_offset(Offset(4)), Offset(0));
    let end = |id, commit| {
        let marker = EndMarker {
            commit,
            coordinator_epoch: 0,
        };
        let batch = marker.batch(ProducerId(id), ProducerEpoch(0), NOW);
        log.append_as_leader(&batch, LeaderEpoch(0), Origin::Coordinator, NOW)
            .unwrap();
    };
    end(1, false);
    assert_eq!(
        log.last_stable_offset(Offset(4)),
        Offset(0),
        "the marker is above the high watermark"
    );
    assert_eq!(log.last_stable_offset(Offset(5)), Offset(2));
    end(2, true);
    assert_eq!(log.last_stable_offset(Offset(6)), Offset(6));
    let aborted = log.aborted_transactions(Offset(0), Offset(6)).unwrap();
    assert_eq!(aborted.len(), 1);
    assert_eq!(
        (aborted[0].first_offset, aborted[0].last_offset),
        (Offset(0), Offset(4))
    );
    assert_eq!(aborted[0].last_stable_offset, Offset(2));
    assert!(
        log.aborted_transactions(Offset(5), Offset(6))
            .unwrap()
            .is_empty()
    );
    drop(log);
    let log = open(&dir, unclean(0));
    assert_eq!(
        log.aborted_transactions(Offset(0), Offset(6)).unwrap(),
        aborted
    );
    log.close().unwrap();
    drop(log);
    let index = dir.path().join("00000000000000000000.txnindex");
    let whole = std::fs::read(&index).unwrap();
    std::fs::write(&index, &whole[..20]).unwrap();
    let log = open(&dir, unclean(3));
    assert_eq!(
        log.aborted_transactions(Offset(0), Offset(6)).unwrap(),
        aborted,
        "a torn entry is made again"
    );
    log.close().unwrap();
    drop(log);
    assert_eq!(std::fs::read(&index).unwrap(), whole);
    let log = open(&dir, LogOptions::default());
    assert_eq!(
        log.aborted_transactions(Offset(0), Offset(6)).unwrap(),
        aborted
    );
}

#[test]
fn truncation_takes_records_epochs_and_producers_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, LogOptions::default());
    for n in 0..100 {
        log.append_as_leader(
            &produced(7, 0, n, 1, false),
            LeaderEpoch(n / 30),
            Origin::Client,
            NOW,
        )
        .unwrap();
    }
    log.truncate_to(Offset(45)).unwrap();
    assert_eq!(log.log_end_offset(), Offset(45));
    assert_eq!(read_all(&log).len(), 45);
    assert_eq!(
        log.latest_epoch().unwrap(),
        EpochEntry {
            epoch: LeaderEpoch(1),
            start_offset: Offset(30)
        }
    );
    assert_eq!(log.producers()[0].last_sequence(), 44);
    append(&log, &produced(7, 0, 45, 1, false));
    let expected = read_all(&log);
    log.close().unwrap();
    let log = open(&dir, LogOptions::default());
    assert_eq!(read_all(&log), expected);
    log.truncate_fully_and_start_at(Offset(1000)).unwrap();
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset()),
        (Offset(1000), Offset(1000))
    );
    drop(log);
    assert_eq!(open(&dir, unclean(0)).log_end_offset(), Offset(1000));
}

#[test]
fn a_follower_keeps_offsets_and_epochs() {
    let (leader_dir, follower_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (leader, follower) = (
        open(&leader_dir, LogOptions::default()),
        open(&follower_dir, LogOptions::default()),
    );
    for n in 0..100 {
        leader
            .append_as_leader(
                &produced(7, 0, n, 1, false),
                LeaderEpoch(n / 40),
                Origin::Client,
                NOW,
            )
            .unwrap();
    }
    while follower.log_end_offset() < leader.log_end_offset() {
        let found = leader
            .read(follower.log_end_offset(), 5000, Offset(i64::MAX), true)
            .unwrap();
        follower.append_as_follower(&bytes(&found), NOW).unwrap();
    }
    assert_eq!(read_all(&follower), read_all(&leader));
    assert_eq!(follower.epoch_entries(), leader.epoch_entries());
    assert_eq!(follower.producers(), leader.producers());
    let again = bytes(&leader.read(Offset(0), 1, Offset(i64::MAX), true).unwrap());
    let error = follower.append_as_follower(&again, NOW).unwrap_err();
    assert!(matches!(
        error,
        AppendError::UnexpectedOffset {
            expected: Offset(100),
            got: Offset(0)
        }
    ));
    assert!(matches!(
        follower.append_as_follower(&again.slice(1..), NOW),
        Err(AppendError::Malformed)
    ));
}

/// Appends with rolls and a flush; the offsets and sizes that were acknowledged.
fn run_script(log: &Log) -> Vec<(i64, i64)> {
    let mut acknowledged = Vec::new();
    let mut sequence = 0;
    for n in 0..40 {
        let batch = produced(7, 0, sequence, 1 + n % 3, false);
        if let Ok(info) =
            log.append_as_leader(&batch, LeaderEpoch(n as i32 / 15), Origin::Client, NOW)
        {
            sequence += batch.record_count();
            acknowledged.push((info.base_offset.0, info.last_offset.0));
        }
        if n == 20 {
            let _ = log.flush();
        }
    }
    acknowledged
}

#[test]
fn no_single_fault_loses_or_doubles_an_acknowledged_batch() {
    let small = LogConfig {
        segment_bytes: 1500,
        index_interval_bytes: 200,
        ..LogConfig::default()
    };
    let run = |fault: Option<(u64, Fault)>| {
        let dir = tempfile::tempdir().unwrap();
        let fs = Arc::new(Faulty::default());
        let storage = Storage {
            fs: fs.clone(),
            ..Storage::default()
        };
        let log = Log::open(
            dir.path().to_owned(),
            small.clone(),
            LogOptions::default(),
            storage,
        )
        .unwrap();
        if let Some((step, fault)) = fault {
            fs.at(step, fault);
        }
        let acknowledged = run_script(&log);
        let recovery_point = log.recovery_point().0;
        if matches!(fault, Some((_, Fault::Fail | Fault::Tear))) {
            assert_eq!(read_all(&log), acknowledged, "{fault:?}");
        }
        drop(log);
        let log = Log::open(
            dir.path().to_owned(),
            small.clone(),
            unclean(recovery_point),
            Storage::default(),
        )
        .unwrap();
        let found = read_all(&log);
        assert_eq!(found[..acknowledged.len()], acknowledged, "{fault:?}");
        assert!(
            found.len() <= acknowledged.len() + 1,
            "{fault:?}: {found:?}"
        );
        assert_eq!(
            log.log_end_offset().0,
            found.last().map_or(0, |(_, last)| last + 1)
        );
        fs.steps()
    };
    let steps = run(None);
    assert!(steps > 80);
    for step in 0..steps {
        for fault in [Fault::Fail, Fault::Tear, Fault::Crash, Fault::TornCrash] {
            run(Some((step, fault)));
        }
    }
}

#[test]
fn a_failed_fsync_takes_the_log_offline() {
    let dir = tempfile::tempdir().unwrap();
    let fs = Arc::new(Faulty::default());
    let storage = Storage {
        fs: fs.clone(),
        ..Storage::default()
    };
    let log = Log::open(
        dir.path().to_owned(),
        config(),
        LogOptions::default(),
        storage,
    )
    .unwrap();
    append(&log, &batch(1, 10));
    fs.fail_syncs();
    assert!(log.flush().is_err());
    assert_eq!(log.recovery_point(), Offset(0));
    let refused = log.append_as_leader(&batch(1, 10), LeaderEpoch(0), Origin::Client, NOW);
    assert!(matches!(
        refused,
        Err(AppendError::Storage(Error::Offline { .. }))
    ));
    assert_eq!(read(&log, 0, 100).len(), 1);
}

#[test]
fn kafkas_log_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/src/log/testdata/fx-0");
    for file in std::fs::read_dir(recorded).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    let names = |dir: &std::path::Path| {
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    for options in [
        LogOptions::default(),
        unclean(29),
        unclean(20),
        unclean(15),
        unclean(3),
        unclean(0),
    ] {
        let kafkas = LogConfig {
            index_interval_bytes: 1024,
            ..LogConfig::default()
        };
        let log = Log::open(
            dir.path().to_owned(),
            kafkas,
            options.clone(),
            Storage::default(),
        )
        .unwrap();
        assert_eq!(
            (log.log_start_offset(), log.log_end_offset()),
            (Offset(0), Offset(29)),
            "{options:?}"
        );
        assert_eq!(read_all(&log).len(), 29);
        assert_eq!(
            log.latest_epoch(),
            Some(EpochEntry {
                epoch: LeaderEpoch(0),
                start_offset: Offset(0)
            })
        );
        let aborted = log.aborted_transactions(Offset(0), Offset(29)).unwrap();
        let aborted: Vec<_> = aborted
            .iter()
            .map(|entry| (entry.first_offset.0, entry.last_offset.0))
            .collect();
        assert_eq!(aborted, [(16, 19), (24, 27)], "{options:?}");
        assert_eq!(log.last_stable_offset(Offset(29)), Offset(28));
        let found = log
            .offset_for_timestamp(Timestamp(1_700_000_000_051))
            .unwrap()
            .unwrap();
        assert_eq!(
            (found.offset, found.timestamp),
            (Offset(6), Timestamp(1_700_000_000_060))
        );
        let mut producers = log.producers();
        producers.sort_by_key(|state| state.producer_id);
        assert_eq!(producers.len(), 2, "{options:?}");
        assert_eq!(producers[0].last_sequence(), 11);
        assert_eq!(producers[1].current_txn_first_offset, Some(Offset(28)));
        log.close().unwrap();
        assert_eq!(
            names(dir.path()),
            names(std::path::Path::new(recorded)),
            "{options:?}"
        );
        for name in names(dir.path()) {
            let same = std::fs::read(dir.path().join(&name)).unwrap()
                == std::fs::read(std::path::Path::new(recorded).join(&name)).unwrap();
            assert!(same, "{name:?} after {options:?}");
        }
    }
}

#[test]
fn offsets_by_timestamp() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, LogOptions::default());
    let mut expected = Vec::new();
    for n in 0..200_i64 {
        let mut builder = BatchBuilder::new();
        for k in 0..3 {
            let timestamp = NOW.plus_ms((n * 37) % 100 + n + k);
            builder.append(timestamp, None, Some(&[0; 30]));
            expected.push(timestamp);
        }
        append(&log, &builder.build_valid());
    }
    for reopen in [false, true] {
        let log = if reopen {
            log.close().unwrap();
            open(&dir, LogOptions::default())
        } else {
            open(&dir, unclean(0))
        };
        for ms in -1..302 {
            let first = expected
                .iter()
                .position(|timestamp| *timestamp >= NOW.plus_ms(ms));
            let found = log.offset_for_timestamp(NOW.plus_ms(ms)).unwrap();
            assert_eq!(
                found.map(|found| found.offset.0),
                first.map(|first| first as i64),
                "{ms}"
            );
            if let Some(found) = found {
                assert_eq!(found.timestamp, expected[first.unwrap()]);
            }
        }
        let largest = *expected.iter().max().unwrap();
        let found = log.max_timestamp().unwrap().unwrap();
        let first = expected
            .iter()
            .position(|timestamp| *timestamp == largest)
            .unwrap();
        assert_eq!((found.timestamp, found.offset.0), (largest, first as i64));
    }
}

#[test]
fn retention_by_age_size_and_start_offset() {
    let day = 24 * 60 * 60 * 1000;
    let fill = |config: LogConfig| {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(
            dir.path().to_owned(),
            config,
            LogOptions::default(),
            Storage::default(),
        )
        .unwrap();
        for _ in 0..100 {
            append(&log, &batch(1, 100));
        }
        (dir, log)
    };
    let (dir, log) = fill(config());
    let end = Offset(100);
    assert_eq!(
        log.delete_old_segments(end, NOW.plus_ms(7 * day)).unwrap(),
        Dropped::default()
    );
    log.advance_log_start_offset(Offset(50)).unwrap();
    assert!(matches!(
        log.read(Offset(49), 1, end, true),
        Err(ReadError::OutOfRange {
            start: Offset(50),
            ..
        })
    ));
    assert_eq!(
        log.delete_old_segments(Offset(30), NOW).unwrap().segments,
        1,
        "the high watermark is in the second"
    );
    assert_eq!(log.delete_old_segments(end, NOW).unwrap().segments, 1);
    assert_eq!(read_all(&log)[0], (50, 50));
    let deleted = || {
        let names = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_str().unwrap().ends_with(".deleted"))
            .count()
    };
    assert!(deleted() >= 6);
    assert_eq!(log.remove_deleted(NOW).unwrap(), Some(NOW.plus_ms(60_000)));
    log.remove_deleted(NOW.plus_ms(60_000)).unwrap();
    assert_eq!(deleted(), 0);
    assert!(
        log.delete_old_segments(end, NOW.plus_ms(7 * day + 1))
            .unwrap()
            .segments
            > 1
    );
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset(), log.size()),
        (end, end, 0)
    );
    drop(log);
    assert_eq!(
        open(&dir, unclean(0)).log_end_offset(),
        end,
        "an empty segment keeps the offset"
    );

    let (_dir, log) = fill(LogConfig {
        retention_bytes: 9000,
        retention_ms: -1,
        ..config()
    });
    let before = log.size();
    let dropped = log.delete_old_segments(end, NOW).unwrap();
    assert!(dropped.segments > 0 && log.size() >= 9000 && log.size() < 9000 + 4096);
    assert_eq!(before - dropped.bytes, log.size());
}

#[test]
fn a_segment_that_retention_removed_needs_no_flush() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, LogOptions::default());
    for n in 0..40 {
        append(&log, &produced(1, 0, n, 1, true));
    }
    let marker = EndMarker {
        commit: false,
        coordinator_epoch: 0,
    };
    let marker = marker.batch(ProducerId(1), ProducerEpoch(0), NOW);
    log.append_as_leader(&marker, LeaderEpoch(0), Origin::Coordinator, NOW)
        .unwrap();
    // What a flush holds that began before.
    let segments = log.segments.load_full();
    let end = log.log_end_offset();
    let later = NOW.plus_ms(8 * 24 * 60 * 60 * 1000);
    let dropped = log.delete_old_segments(end, later).unwrap();
    assert_eq!(dropped.segments, segments.len());
    let files = || {
        let entries = std::fs::read_dir(dir.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    for segment in segments.iter() {
        segment.sync(true).unwrap();
    }
    assert_eq!(files(), before);
    log.flush().unwrap();
}

#[test]
fn files_of_unused_segments_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage {
        open: Arc::new(OpenSegments::new(3)),
        ..Storage::default()
    };
    let log = Log::open(
        dir.path().to_owned(),
        config(),
        LogOptions::default(),
        storage,
    )
    .unwrap();
    for _ in 0..300 {
        append(&log, &batch(1, 100));
    }
    assert!(log.segments.load().len() > 10);
    let expected: Vec<(i64, i64)> = (0..300).map(|offset| (offset, offset)).collect();
    for _ in 0..3 {
        assert_eq!(read_all(&log), expected);
        let open = log
            .segments
            .load()
            .iter()
            .filter(|segment| segment.is_open())
            .count();
        assert!(open <= 4, "{open}");
        append(&log, &batch(1, 1));
        log.truncate_to(Offset(300)).unwrap();
    }
}

#[test]
fn readers_see_whole_batches_while_a_writer_rolls() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, LogOptions::default());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..500 {
                append(&log, &batch(2, 100));
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut from = 0;
                while from < 1000 {
                    let found = read(&log, from, 700);
                    if let Some((base, _)) = found.first() {
                        assert_eq!(*base, from);
                    }
                    from = found.last().map_or(from, |(_, last)| last + 1);
                }
            });
        }
    });
}

#[test]
fn an_interrupted_compaction_is_completed_or_undone() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, LogOptions::default());
    for _ in 0..100 {
        append(&log, &batch(1, 100));
    }
    log.close().unwrap();
    let expected = read_all(&log);
    drop(log);
    let at = |name: &str| dir.path().join(name);
    let first = "00000000000000000000.log";
    std::fs::write(at("00000000000000000000.log.cleaned"), "half").unwrap();
    std::fs::write(at("00000000000000000000.index.cleaned"), "half").unwrap();
    std::fs::write(at("00000000000000000000.timeindex.deleted"), "old").unwrap();
    assert_eq!(read_all(&open(&dir, LogOptions::default())), expected);
    assert!(!at("00000000000000000000.log.cleaned").exists());
    assert!(!at("00000000000000000000.timeindex.deleted").exists());
    // Both of the first two segments were compacted into one, which was not renamed yet.
    let second = "00000000000000000024.log";
    let mut both = std::fs::read(at(first)).unwrap();
    both.extend(std::fs::read(at(second)).unwrap());
    std::fs::write(at("00000000000000000000.log.swap"), both).unwrap();
    assert_eq!(read_all(&open(&dir, LogOptions::default())), expected);
    assert!(!at(second).exists() && !at("00000000000000000000.log.swap").exists());
}

#[test]
fn a_fault_in_a_truncation_leaves_a_prefix() {
    let run = |fault: Option<(u64, Fault)>| {
        let dir = tempfile::tempdir().unwrap();
        let fs = Arc::new(Faulty::default());
        let storage = Storage {
            fs: fs.clone(),
            ..Storage::default()
        };
        let log = Log::open(
            dir.path().to_owned(),
            config(),
            LogOptions::default(),
            storage,
        )
        .unwrap();
        for n in 0..100 {
            let batch = produced(7, 0, n, 1, false);
            log.append_as_leader(&batch, LeaderEpoch(n / 15), Origin::Client, NOW)
                .unwrap();
        }
        let before = fs.steps();
        if let Some((step, fault)) = fault {
            fs.at(before + step, fault);
        }
        let truncated = log.truncate_to(Offset(30)).is_ok();
        let appended = log.append_as_leader(&batch(1, 1), LeaderEpoch(9), Origin::Client, NOW);
        assert!(truncated || appended.is_err(), "{fault:?}");
        drop(log);
        let log = open(&dir, unclean(0));
        let offsets: Vec<i64> = read_all(&log).iter().map(|(base, _)| *base).collect();
        assert!(offsets.len() >= 30, "{fault:?}");
        assert_eq!(
            offsets,
            (0..offsets.len() as i64).collect::<Vec<_>>(),
            "{fault:?}"
        );
        if truncated {
            assert!(offsets.len() <= 31, "{fault:?}");
        }
        fs.steps() - before
    };
    for step in 0..run(None) {
        for fault in [Fault::Fail, Fault::Crash] {
            run(Some((step, fault)));
        }
    }
}
