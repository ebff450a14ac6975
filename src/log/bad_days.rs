//! What a log and its directory do when the disk does not do what it is asked.

use std::sync::Arc;

use super::directory::LogDirectory;
use super::fs::DiskSpace;
use super::fs::faulty::{Fault, Faulty};
use super::tests::{Fixture, NOW, append, batch, config, moment, read_all};
use super::*;
use crate::ids::{KafkaUuid, LeaderEpoch, Offset, TopicPartition};

fn append_one(log: &Log) -> Result<AppendInfo, AppendError> {
    log.append_as_leader(&batch(1, 10), LeaderEpoch(0), Origin::Client, NOW)
}

fn is_offline(refused: &Result<AppendInfo, AppendError>) -> bool {
    matches!(refused, Err(AppendError::Storage(Error::Offline { .. })))
}

/// A directory on a disk that goes wrong, with the logs of `t-0` and so on.
struct Bad {
    _dir: tempfile::TempDir,
    disk: Arc<Faulty>,
    directory: LogDirectory,
    logs: Vec<Log>,
}

fn bad_directory(logs: i32) -> Bad {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Faulty::default());
    let storage = Storage {
        fs: disk.clone(),
        ..Storage::default()
    };
    let directory = LogDirectory::open(dir.path().to_owned(), storage).unwrap();
    let create = |index| {
        let partition = TopicPartition::new("t", index);
        directory
            .create_log(&partition, KafkaUuid::random(), config(), NOW)
            .unwrap()
    };
    let logs = (0..logs).map(create).collect();
    Bad {
        _dir: dir,
        disk,
        directory,
        logs,
    }
}

#[test]
fn the_first_failed_fsync_takes_the_whole_directory_offline() {
    let bad = bad_directory(2);
    for log in &bad.logs {
        append(log, &batch(1, 10));
    }
    bad.disk.fail_syncs(true);
    assert!(bad.logs[0].flush().is_err());
    bad.disk.fail_syncs(false);
    assert!(bad.directory.health().is_failed());
    for log in &bad.logs {
        assert!(is_offline(&append_one(log)));
        // The kernel may say now that all is well.
        assert!(log.flush().is_err());
        assert_eq!(log.recovery_point(), Offset(0));
        assert_eq!(read_all(log), [(0, 0)]);
    }
    let other = bad_directory(1);
    assert!(append_one(&other.logs[0]).is_ok());
}

#[test]
fn an_append_that_the_device_refuses_takes_the_directory_offline() {
    let bad = bad_directory(2);
    append(&bad.logs[0], &batch(1, 10));
    bad.disk.at(bad.disk.steps(), Fault::Broken);
    assert!(append_one(&bad.logs[0]).is_err());
    assert!(bad.directory.health().is_failed());
    assert!(is_offline(&append_one(&bad.logs[1])));
}

#[test]
fn an_append_that_finds_no_space_is_undone_and_the_next_one_works() {
    for records in [1, 60] {
        // The step after each append of 60 records is a roll.
        for step in 0..12 {
            for fault in [Fault::Fail, Fault::Tear] {
                let bad = bad_directory(1);
                let log = &bad.logs[0];
                append(log, &batch(records, 50));
                let before = read_all(log);
                bad.disk.at(bad.disk.steps() + step, fault);
                let refused = append_one(log).is_err();
                assert!(!bad.directory.health().is_failed());
                bad.disk.heal();
                bad.directory.health().look_for_space();
                let segment = log.active();
                if refused {
                    let len = std::fs::metadata(segment.path()).map_or(0, |file| file.len());
                    assert_eq!(len, segment.size(), "{fault:?} at {step}");
                    assert_eq!(read_all(log), before);
                }
                let info = append(log, &batch(1, 10));
                assert_eq!(info.base_offset.0, records as i64 + i64::from(!refused));
                log.flush().unwrap();
            }
        }
    }
}

#[test]
fn a_fsync_that_fails_for_want_of_space_is_a_failed_fsync() {
    let bad = bad_directory(1);
    append(&bad.logs[0], &batch(1, 10));
    bad.disk.at(bad.disk.steps(), Fault::Fail);
    assert!(bad.logs[0].flush().is_err());
    assert!(bad.directory.health().is_failed());
}

#[test]
fn the_flush_of_a_deleted_log_does_no_harm() {
    let bad = bad_directory(2);
    append(&bad.logs[0], &batch(1, 10));
    let path = bad
        .directory
        .mark_deleted(&bad.logs[0], &TopicPartition::new("t", 0))
        .unwrap();
    bad.directory.remove(&path).unwrap();
    assert!(bad.logs[0].flush().is_err());
    assert!(is_offline(&append_one(&bad.logs[0])));
    assert!(
        bad.logs[0]
            .delete_old_segments(Offset(1), moment(0))
            .is_err()
    );
    assert!(!bad.directory.health().is_failed());
    assert!(append_one(&bad.logs[1]).is_ok());
}

#[test]
fn a_log_start_moves_on_a_full_disk() {
    let bad = bad_directory(1);
    let log = &bad.logs[0];
    for _ in 0..20 {
        append(log, &batch(3, 100));
    }
    log.assign_epoch_start(LeaderEpoch(3), Offset(60)).unwrap();
    bad.disk.at(bad.disk.steps(), Fault::Fail);
    assert!(log.advance_log_start_offset(Offset(40)).unwrap());
    assert_eq!(log.log_start_offset(), Offset(40));
    let first = log.first_segment_offset();
    log.delete_old_segments(Offset(60), moment(0)).unwrap();
    assert!(log.first_segment_offset() > first);
    assert!(!bad.directory.health().is_failed());
}

#[test]
fn a_log_is_opened_with_what_a_full_disk_left() {
    let fixture = Fixture::default();
    let (log, disk) = fixture.open_faulty();
    for n in 0..60 {
        disk.at(disk.steps() + n % 5, Fault::Tear);
        let _ = append_one(&log);
    }
    let expected = read_all(&log);
    drop(log);
    assert_eq!(read_all(&fixture.open_unclean(0)), expected);
}

#[test]
fn a_full_disk_refuses_producers_and_keeps_the_rest_going() {
    let bad = bad_directory(2);
    let (log, other) = (&bad.logs[0], &bad.logs[1]);
    let set_free = |free| {
        bad.disk.set_space(DiskSpace {
            total: 100 << 20,
            free,
        });
    };
    let append_by = |origin| log.append_as_leader(&batch(1, 10), LeaderEpoch(0), origin, NOW);
    set_free(2 << 20);
    append(log, &batch(1, 10));
    set_free(1 << 20);
    bad.directory.health().reserve(1 << 20);
    for log in [log, other] {
        let refused = append_one(log);
        assert!(matches!(
            refused,
            Err(AppendError::Storage(Error::NoSpace { .. }))
        ));
    }
    assert!(bad.directory.health().is_short_of_space());
    assert_eq!(
        append_by(Origin::Coordinator).unwrap().base_offset,
        Offset(1)
    );
    assert_eq!(read_all(log), [(0, 0), (1, 1)]);
    log.flush().unwrap();
    log.advance_log_start_offset(Offset(1)).unwrap();
    set_free(2 << 20);
    assert!(append_one(log).is_err());
    bad.directory.health().look_for_space();
    assert_eq!(append_by(Origin::Client).unwrap().base_offset, Offset(2));
    assert!(!bad.directory.health().is_failed());
}
