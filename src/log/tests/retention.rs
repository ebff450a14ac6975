//! Segments that are dropped.

use super::*;

#[test]
fn retention_by_age_size_and_start_offset() {
    let day = 24 * 60 * 60 * 1000;
    let fill = |config: LogConfig| {
        let fixture = Fixture::new(config);
        let log = fixture.filled(100);
        (fixture, log)
    };
    let (fixture, log) = fill(config());
    let end = Offset(100);
    assert_eq!(
        log.delete_old_segments(end, moment(7 * day)).unwrap(),
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
        log.delete_old_segments(Offset(30), moment(0))
            .unwrap()
            .segments,
        1,
        "the high watermark is in the second"
    );
    assert_eq!(log.delete_old_segments(end, moment(0)).unwrap().segments, 1);
    assert_eq!(read_all(&log)[0], (50, 50));
    let deleted = || {
        let names = fixture.names();
        let deleted = names.iter().filter(|name| name.ends_with(".deleted"));
        deleted.count()
    };
    assert!(deleted() >= 6);
    assert_eq!(
        log.remove_deleted(SteadyTime(0)).unwrap(),
        Some(SteadyTime(60_000))
    );
    log.remove_deleted(SteadyTime(60_000)).unwrap();
    assert_eq!(deleted(), 0);
    assert!(
        log.delete_old_segments(end, moment(7 * day + 1))
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
        fixture.open_unclean(0).log_end_offset(),
        end,
        "an empty segment keeps the offset"
    );

    let (_fixture, log) = fill(LogConfig {
        retention_bytes: 9000,
        retention_ms: -1,
        ..config()
    });
    let before = log.size();
    let dropped = log.delete_old_segments(end, moment(0)).unwrap();
    assert!(dropped.segments > 0 && log.size() >= 9000 && log.size() < 9000 + 4096);
    assert_eq!(before - dropped.bytes, log.size());
}

#[test]
fn a_segment_that_retention_removed_needs_no_flush() {
    let fixture = Fixture::default();
    let log = fixture.open();
    for n in 0..40 {
        append(&log, &produced(1, 0, n, 1, true));
    }
    end_transaction(&log, 1, false);
    // What a flush holds that began before.
    let segments = log.segments.load_full();
    let end = log.log_end_offset();
    let later = moment(8 * 24 * 60 * 60 * 1000);
    let dropped = log.delete_old_segments(end, later).unwrap();
    assert_eq!(dropped.segments, segments.len());
    let before = fixture.names();
    for segment in segments.iter() {
        segment.sync(true).unwrap();
    }
    assert_eq!(fixture.names(), before);
    log.flush().unwrap();
}

#[test]
fn a_segment_that_compaction_is_replacing_is_no_failure_of_the_device() {
    let fixture = Fixture::default();
    fixture.filled(100).close().unwrap();
    let log = fixture.open();
    let later = moment(8 * 24 * 60 * 60 * 1000);
    // As compaction does: the files are renamed first, and the list changes before appends go on.
    let appender = log.lock_for_append().unwrap();
    let mut segments = Vec::clone(&log.segments.load());
    segments.remove(0).mark_deleted().unwrap();
    std::thread::scope(|scope| {
        let (ended, end) = std::sync::mpsc::channel();
        let log = &log;
        let retention = scope.spawn(move || {
            let dropped = log.delete_old_segments(Offset(100), later);
            ended.send(()).unwrap();
            dropped
        });
        // It waits, and where it does not it ends soon.
        let _ = end.recv_timeout(std::time::Duration::from_millis(100));
        let left = segments.len();
        log.segments.store(Arc::new(segments));
        drop(appender);
        assert_eq!(retention.join().unwrap().unwrap().segments, left);
    });
    assert!(!log.is_offline());
}

#[test]
fn damage_that_retention_meets_ends_appends() {
    const LENGTH: usize = 8;
    let fixture = Fixture::default();
    fixture.filled(100).close().unwrap();
    let log = fixture.open();
    let path = log.segments.load()[1].path();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[LENGTH] ^= 0x40;
    std::fs::write(&path, bytes).unwrap();
    std::fs::remove_file(path.with_extension("timeindex")).unwrap();
    let later = moment(8 * 24 * 60 * 60 * 1000);
    assert!(matches!(
        log.delete_old_segments(Offset(100), later),
        Err(Error::Corrupt { .. })
    ));
    assert!(log.is_offline());
    assert!(!log.home.health.is_failed());
}
