use bytes::Bytes;

use super::*;
use crate::ids::{ProducerEpoch, ProducerId};
use crate::log::fs::faulty::{Fault, Faulty};
use crate::record::control::EndMarker;
use crate::record::{BatchBuilder, Producer, batches};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// Small segments and dense indexes.
fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 4096,
        index_interval_bytes: 200,
        ..LogConfig::default()
    }
}

fn open(dir: &tempfile::TempDir, options: LogOptions) -> Log {
    Log::open(dir.path().to_owned(), config(), options, Storage::default()).unwrap()
}

fn unclean(recovery_point: i64) -> LogOptions {
    LogOptions {
        clean: false,
        recovery_point: Offset(recovery_point),
        now: NOW,
        ..LogOptions::default()
    }
}

fn batch(records: usize, size: usize) -> ValidBatch {
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        builder.append(NOW, None, Some(&vec![7; size]));
    }
    builder.build_valid()
}

fn produced(id: i64, epoch: i16, sequence: i32, records: usize, transactional: bool) -> ValidBatch {
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

fn append(log: &Log, batch: &ValidBatch) -> AppendInfo {
    log.append_as_leader(batch, LeaderEpoch(0), Origin::Client, NOW)
        .unwrap()
}

/// All that a read returns.
fn bytes(outcome: &ReadOutcome) -> Bytes {
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
fn read(log: &Log, from: i64, max_bytes: usize) -> Vec<(i64, i64)> {
    read_below(log, from, max_bytes, i64::MAX)
}

fn read_below(log: &Log, from: i64, max_bytes: usize, below: i64) -> Vec<(i64, i64)> {
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
fn read_all(log: &Log) -> Vec<(i64, i64)> {
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
