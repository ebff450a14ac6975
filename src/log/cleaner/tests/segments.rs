//! What becomes of segments, and how much one run takes.

use super::*;
use crate::log::LogOptions;

#[test]
fn a_batch_may_be_larger_than_the_buffers() {
    let (_fixture, log) = fixture();
    log.update_config(LogConfig {
        segment_bytes: 1 << 20,
        ..compacted()
    });
    let large = "x".repeat(200_000);
    put(&log, &[("a", Some(&large))]);
    put(&log, &[("b", Some("1"))]);
    put(&log, &[("a", Some(&large)), ("b", Some(&large))]);
    log.roll(NOW).unwrap();
    clean_at(&log, NOW).unwrap();
    assert_eq!(keys(&log), pairs(&[(2, "a"), (3, "b")]));
}

#[test]
fn segments_that_shrink_become_one() {
    let (fixture, log) = fixture();
    for n in 0..400 {
        put(
            &log,
            &[(
                &format!("{}", n % 10),
                Some("0123456789012345678901234567890"),
            )],
        );
    }
    log.roll(NOW).unwrap();
    let before = log.segments.load().len();
    assert!(before > 10);
    let stats = clean_at(&log, NOW).unwrap();
    assert_eq!(
        (stats.segments_before, stats.segments_after),
        (before - 1, before - 1)
    );
    // By their sizes of before: full segments stay by themselves. The next run takes what is left together.
    log.set_cleaned_to(None);
    let stats = clean_at(&log, NOW).unwrap();
    assert_eq!(stats.segments_after, 1);
    assert_eq!(keys(&log).len(), 10);
    assert_eq!(log.first_segment_offset(), Offset(0));
    log.remove_deleted(SteadyTime(i64::MAX)).unwrap();
    let names = fixture.names();
    assert!(
        !names
            .iter()
            .any(|name| name.contains("deleted") || name.contains("swap")),
        "{names:?}"
    );
    let snapshots = names
        .iter()
        .filter(|name| name.ends_with("snapshot"))
        .count();
    assert_eq!(snapshots, 1, "that of the active segment: {names:?}");
    let log = fixture.open();
    assert_eq!(keys(&log).len(), 10);
    for n in 0..400 {
        let outcome = log.read(Offset(n), 1000, Offset(i64::MAX), true).unwrap();
        let first = batches(bytes(&outcome)).next().unwrap().unwrap();
        assert_eq!(first.header.base_offset.0, n.max(390));
    }
}

#[test]
fn groups_keep_offsets_within_31_bits() {
    let (_fixture, log) = fixture();
    for n in 0..4_i64 {
        let base = Offset(n * (i64::from(i32::MAX) / 2));
        let batch = keyed(&[("a", Some("1")), ("b", Some("1"))])
            .base_offset(base)
            .build();
        log.append_as_follower(&batch.bytes, NOW).unwrap();
        log.roll(NOW).unwrap();
    }
    for _ in 0..2 {
        clean_at(&log, NOW).unwrap();
        log.set_cleaned_to(None);
    }
    let bases: Vec<i64> = log
        .segments
        .load()
        .iter()
        .map(|segment| segment.base_offset().0)
        .collect();
    let span = i64::from(i32::MAX) + 1;
    assert_eq!(bases[..2], [0, span], "the first group ends just within");
    assert_eq!(bases.len(), 3);
    assert_eq!(keys(&log).len(), 2);
}

#[test]
fn a_full_map_ends_the_run_where_it_came_to() {
    let (_fixture, log) = fixture();
    for round in 0..3 {
        for n in 0..30 {
            put(&log, &[(&format!("{n}"), Some(&format!("{round}")))]);
        }
    }
    log.roll(NOW).unwrap();
    let limits = Limits {
        map_bytes: 24 * 10,
        ..LIMITS
    };
    let mut ends = Vec::new();
    while log.cleanable(Offset(90), NOW).unwrap().is_due() {
        let stats = clean_with(&log, NOW, &limits).unwrap();
        assert!(stats.keys <= 9 && stats.end > stats.first_dirty);
        assert_eq!(table(committed(&log)).len(), 30);
        ends.push(stats.end);
    }
    assert!(ends.len() > 2 && ends.is_sorted(), "{ends:?}");
    let left: Vec<i64> = keys(&log).iter().map(|(offset, _)| *offset).collect();
    assert_eq!(left, (60..90).collect::<Vec<_>>());
}

#[test]
fn time_is_kept_for_segments_without_timestamps() {
    let (fixture, log) = fixture();
    let batch = keyed_with(BatchBuilder::new(), Timestamp::NONE, &[("a", Some("1"))]);
    write(&log, &batch.build_valid());
    log.roll(NOW).unwrap();
    let path = fixture.file("00000000000000000000.log");
    let written = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(written).unwrap();
    clean_at(&log, NOW).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().modified().unwrap(),
        written
    );
}

#[test]
fn a_segment_without_records_stays_and_goes() {
    let (fixture, log) = fixture();
    put(&log, &[("a", Some("1"))]);
    log.roll(NOW).unwrap();
    put(&log, &[("a", Some("2")), ("b", Some("1"))]);
    log.roll(NOW).unwrap();
    log.update_config(LogConfig {
        segment_bytes: 100,
        ..compacted()
    });
    clean_at(&log, NOW).unwrap();
    let sizes = |log: &Log| -> Vec<u64> { log.segments.load().iter().map(|s| s.size()).collect() };
    assert_eq!(sizes(&log)[0], 0);
    assert_eq!(keys(&log), pairs(&[(1, "a"), (2, "b")]));
    assert_eq!(
        log.read(Offset(0), 1, Offset(9), true)
            .unwrap()
            .records
            .len(),
        79
    );
    let options = LogOptions {
        cleaned_to: log.cleaned_to(),
        ..LogOptions::default()
    };
    drop(log);
    let log = fixture.open_with(options);
    assert_eq!(keys(&log), pairs(&[(1, "a"), (2, "b")]));
    assert_eq!(log.log_start_offset(), Offset(0));
    log.advance_log_start_offset(Offset(2)).unwrap();
    let dropped = log.delete_old_segments(Offset(3), at(NOW)).unwrap();
    assert_eq!(dropped.segments, 1);
}
