//! One rule a test.

use std::cell::Cell;
use std::os::unix::fs::FileExt;

use super::*;
use crate::ids::SteadyTime;
use crate::log::directory::LogDirectory;
use crate::log::{LogOptions, Storage};
use crate::messages::Records;
use crate::record::{Compression, TimestampType};

fn fixture() -> (Fixture, Log) {
    let fixture = Fixture::new(compacted());
    let log = fixture.open();
    (fixture, log)
}

fn put(log: &Log, records: &[Pair<'_>]) {
    write(log, &keyed(records).build_valid());
}

fn pairs(of: &[(i64, &str)]) -> Vec<(i64, String)> {
    of.iter()
        .map(|(at, key)| (*at, (*key).to_owned()))
        .collect()
}

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    let (fixture, log) = fixture();
    put(
        &log,
        &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))],
    );
    put(&log, &[("a", Some("3")), ("c", Some("1"))]);
    put(&log, &[("b", Some("2")), ("b", Some("3"))]);
    log.roll(NOW).unwrap();
    put(&log, &[("c", Some("2"))]);
    let stats = clean_at(&log, NOW).unwrap();
    let left = pairs(&[(3, "a"), (4, "c"), (6, "b"), (7, "c")]);
    assert_eq!(keys(&log), left);
    let spans: Vec<_> = all_batches(&log)
        .iter()
        .map(|batch| (batch.header.base_offset.0, batch.header.last_offset().0))
        .collect();
    assert_eq!(
        spans,
        [(3, 4), (5, 6), (7, 7)],
        "batches keep their offsets"
    );
    assert_eq!((stats.first_dirty, stats.end), (Offset(0), Offset(7)));
    assert_eq!((stats.read_records, stats.written_records), (7, 3));
    assert_eq!((stats.indexed_records, stats.keys), (7, 3));
    assert_eq!(log.cleaned_to(), Some(Offset(7)));
    assert_eq!(log.log_start_offset(), Offset(0));
    // Nothing is dirty until the next segment is sealed.
    assert!(!log.cleanable(Offset(8), NOW).unwrap().is_due());
    log.roll(NOW).unwrap();
    clean_at(&log, NOW).unwrap();
    assert_eq!(keys(&log), pairs(&[(3, "a"), (6, "b"), (7, "c")]));
    drop(log);
    let log = fixture.open_unclean(0);
    assert_eq!(keys(&log), pairs(&[(3, "a"), (6, "b"), (7, "c")]));
    assert_eq!(log.log_end_offset(), Offset(8));
}

#[test]
fn a_tombstone_stays_until_its_horizon() {
    let (_fixture, log) = fixture();
    put(&log, &[("a", Some("1")), ("b", Some("1"))]);
    put(&log, &[("a", None), ("c", Some("1"))]);
    put(&log, &[("end", Some("1"))]);
    log.roll(NOW).unwrap();
    clean_at(&log, NOW).unwrap();
    assert_eq!(
        keys(&log),
        pairs(&[(1, "b"), (2, "a"), (3, "c"), (4, "end")])
    );
    let batch = &all_batches(&log)[1];
    assert_eq!(batch.header.delete_horizon(), Some(NOW.plus_ms(HOUR)));
    assert_eq!(batch.header.max_timestamp, NOW);
    assert_eq!(
        rows(batch)[0].1,
        NOW.0,
        "the record's time is told from the horizon"
    );
    // The horizon is set once.
    log.set_cleaned_to(None);
    clean_at(&log, NOW.plus_ms(HOUR - 1)).unwrap();
    let batch = &all_batches(&log)[1];
    assert_eq!(batch.header.delete_horizon(), Some(NOW.plus_ms(HOUR)));
    log.set_cleaned_to(None);
    clean_at(&log, NOW.plus_ms(HOUR)).unwrap();
    assert_eq!(keys(&log), pairs(&[(1, "b"), (3, "c"), (4, "end")]));
    let horizon = all_batches(&log)[1].header.delete_horizon();
    assert_eq!(horizon, Some(NOW.plus_ms(HOUR)), "kept by what is left");
}

#[test]
fn aborted_records_go_and_their_marker_when_nothing_is_left() {
    let (fixture, log) = fixture();
    put(&log, &[("a", Some("1"))]);
    let aborted = keyed_with(by(5, 0).transactional(true), NOW, &[("a", Some("aborted"))]);
    write(&log, &aborted.build_valid());
    let later = keyed_with(by(6, 0).transactional(true), NOW, &[("b", Some("1"))]);
    write(&log, &later.build_valid());
    write(&log, &marker(5, false));
    write(&log, &marker(6, true));
    put(&log, &[("end", Some("1"))]);
    log.roll(NOW).unwrap();
    let later = keyed_with(by(5, 1).transactional(true), NOW, &[("d", Some("1"))]);
    write(&log, &later.build_valid());
    let later = keyed_with(by(6, 1).transactional(true), NOW, &[("d", Some("1"))]);
    write(&log, &later.build_valid());
    clean_at(&log, NOW).unwrap();
    assert_eq!(table(committed(&log))["a"], "1");
    let offsets = |log: &Log| -> Vec<i64> {
        let batches = all_batches(log);
        batches
            .iter()
            .map(|batch| batch.header.base_offset.0)
            .collect()
    };
    assert_eq!(offsets(&log), [0, 2, 3, 4, 5, 6, 7]);
    let aborted = log.aborted_transactions(Offset(0), Offset(5)).unwrap();
    assert_eq!(aborted.len(), 1, "the marker was met with a batch");
    // Now the marker of the aborted transaction ends nothing; its horizon begins.
    let again = |now| {
        log.set_cleaned_to(None);
        clean_at(&log, now).unwrap();
    };
    again(NOW);
    assert!(
        log.aborted_transactions(Offset(0), Offset(5))
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        all_batches(&log)[2].header.delete_horizon(),
        Some(NOW.plus_ms(HOUR))
    );
    assert_eq!(
        all_batches(&log)[3].header.delete_horizon(),
        None,
        "its transaction has records"
    );
    again(NOW.plus_ms(HOUR));
    assert_eq!(offsets(&log), [0, 2, 4, 5, 6, 7]);
    drop(log);
    assert_eq!(offsets(&fixture.open_unclean(0)), [0, 2, 4, 5, 6, 7]);
}

#[test]
fn nothing_of_an_open_transaction_or_behind_it_is_touched() {
    let (_fixture, log) = fixture();
    put(&log, &[("a", Some("1"))]);
    log.roll(NOW).unwrap();
    put(&log, &[("a", Some("2"))]);
    log.roll(NOW).unwrap();
    let open = keyed_with(by(5, 0).transactional(true), NOW, &[("a", Some("3"))]);
    write(&log, &open.build_valid());
    put(&log, &[("a", Some("4"))]);
    log.roll(NOW).unwrap();
    let cleanable = log.cleanable(log.log_end_offset(), NOW).unwrap();
    assert_eq!(cleanable.first_uncleanable, Offset(2));
    clean_at(&log, NOW).unwrap();
    assert_eq!(keys(&log), pairs(&[(1, "a"), (2, "a"), (3, "a")]));
    let below = log.cleanable(Offset(1), NOW).unwrap();
    assert!(!below.is_due(), "nothing above the high watermark");
    write(&log, &marker(5, true));
    clean_at(&log, NOW).unwrap();
    // The open segment has the marker alone.
    assert_eq!(keys(&log)[..1], pairs(&[(3, "a")]));
}

#[test]
fn the_last_batch_of_a_producer_stays_empty() {
    let (fixture, log) = fixture();
    write(
        &log,
        &keyed_with(by(5, 0), NOW, &[("a", Some("1"))]).build_valid(),
    );
    let codec = by(5, 1).codec(Codec::Zstd(3));
    let records = [("a", Some("2")), ("b", Some("1"))];
    write(&log, &keyed_with(codec, NOW, &records).build_valid());
    put(&log, &[("a", Some("3")), ("b", Some("3"))]);
    log.roll(NOW).unwrap();
    clean_at(&log, NOW).unwrap();
    assert_eq!(keys(&log), pairs(&[(3, "a"), (4, "b")]));
    let empty = &all_batches(&log)[0].header;
    assert_eq!(
        (empty.base_offset, empty.last_offset()),
        (Offset(1), Offset(2))
    );
    assert_eq!((empty.record_count, empty.base_sequence), (0, 1));
    assert_eq!(empty.max_timestamp, NOW);
    assert_eq!(empty.leader_epoch, LeaderEpoch(3));
    assert_eq!(empty.compression(), Ok(Compression::None));
    drop(log);
    // Also where the state is made from the log alone.
    for name in fixture
        .names()
        .iter()
        .filter(|name| name.ends_with("snapshot"))
    {
        std::fs::remove_file(fixture.file(name)).unwrap();
    }
    let log = fixture.open_unclean(0);
    assert_eq!(log.producers()[0].last_sequence(), 2);
    // A later batch of the producer lets it go.
    write(
        &log,
        &keyed_with(by(5, 3), NOW, &[("c", Some("1"))]).build_valid(),
    );
    log.roll(NOW).unwrap();
    clean_at(&log, NOW).unwrap();
    assert_eq!(all_batches(&log)[0].header.base_offset, Offset(3));
}

#[test]
fn a_batch_keeps_its_codec_and_its_times() {
    let codecs = [
        Codec::None,
        Codec::Gzip(None),
        Codec::Snappy,
        Codec::Lz4(9),
        Codec::Zstd(3),
    ];
    for codec in codecs {
        let (_fixture, log) = fixture();
        let mut builder = BatchBuilder::new().codec(codec);
        for n in 0..40 {
            let key = format!("{}", n % 20);
            let headers = [(&b"h"[..], Some(&b"v"[..])), (&b"h"[..], None)];
            let value = Some(&b"value"[..]);
            builder.append_with_headers(
                NOW.plus_ms(n),
                Some(key.as_bytes()),
                value,
                headers.into_iter(),
            );
        }
        write(&log, &builder.build_valid());
        log.roll(NOW).unwrap();
        let before: Vec<_> = all_batches(&log)[0].records().unwrap().skip(20).collect();
        clean_at(&log, NOW).unwrap();
        let batch = &all_batches(&log)[0];
        assert_eq!(batch.header.compression(), Ok(codec.compression()));
        assert_eq!(batch.header.max_timestamp, NOW.plus_ms(39));
        assert_eq!(batch.header.base_timestamp, NOW.plus_ms(20));
        assert_eq!(batch.records().unwrap().collect::<Vec<_>>(), before);
    }
    let (_fixture, log) = fixture();
    let appended = BatchBuilder::new().log_append_time(NOW.plus_ms(7));
    let records = [("a", Some("1")), ("a", None)];
    write(&log, &keyed_with(appended, NOW, &records).build_valid());
    log.roll(NOW).unwrap();
    clean_at(&log, NOW).unwrap();
    let batch = &all_batches(&log)[0];
    assert_eq!(batch.header.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(rows(batch), [(1, NOW.0 + 7, "a".to_owned(), None)]);
}

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
fn lags_and_the_ratio_decide_on_a_run() {
    let (_fixture, log) = fixture();
    let with = |change: &dyn Fn(&mut LogConfig)| {
        let mut config = compacted();
        change(&mut config);
        log.update_config(config);
    };
    let later = |hours: i64| NOW.plus_ms(hours * HOUR);
    for hours in 0..4 {
        let batch = keyed_with(
            BatchBuilder::new(),
            later(hours),
            &[("a", Some("0123456789"))],
        );
        write(&log, &batch.build_valid());
        log.roll(NOW).unwrap();
    }
    with(&|config| config.min_compaction_lag_ms = 2 * HOUR);
    let young = |now| log.cleanable(Offset(4), now).unwrap().first_uncleanable.0;
    assert_eq!(
        (young(later(1)), young(later(4)), young(later(9))),
        (0, 3, 4)
    );
    with(&|config| config.min_cleanable_dirty_ratio = 0.8);
    clean_at(&log, later(9)).unwrap();
    for _ in 0..2 {
        put(&log, &[("a", Some("0123456789"))]);
    }
    log.roll(NOW).unwrap();
    let cleanable = log.cleanable(Offset(6), later(1)).unwrap();
    assert!(
        (cleanable.ratio() - 2.0 / 3.0).abs() < 0.01,
        "{cleanable:?}"
    );
    assert!(!cleanable.is_due());
    with(&|config| config.min_cleanable_dirty_ratio = 0.6);
    assert!(log.cleanable(Offset(6), later(1)).unwrap().is_due());
    with(&|config| {
        config.min_cleanable_dirty_ratio = 1.0;
        config.max_compaction_lag_ms = 2 * HOUR;
    });
    assert!(!log.cleanable(Offset(6), later(2)).unwrap().is_due());
    let overdue = log.cleanable(Offset(6), later(3)).unwrap();
    assert!(overdue.is_due());
    assert_eq!(overdue.overdue_ms, HOUR);
}

#[test]
fn a_checkpoint_outside_the_log_is_not_believed() {
    let (fixture, log) = fixture();
    put(&log, &[("a", Some("1")), ("a", Some("2"))]);
    log.roll(NOW).unwrap();
    log.set_cleaned_to(Some(Offset(99)));
    assert_eq!(
        log.cleanable(Offset(2), NOW).unwrap().first_dirty,
        Offset(0)
    );
    assert_eq!(log.cleaned_to(), Some(Offset(0)));
    log.advance_log_start_offset(Offset(1)).unwrap();
    assert_eq!(
        log.cleanable(Offset(2), NOW).unwrap().first_dirty,
        Offset(1)
    );
    clean_at(&log, NOW).unwrap();
    assert_eq!(log.cleaned_to(), Some(Offset(2)));
    log.truncate_to(Offset(1)).unwrap();
    assert!(log.cleaned_to() <= Some(Offset(1)));
    drop(log);
    // What is appended behind the end of a log that has lost records was never compacted.
    let log = fixture.open_with(LogOptions {
        cleaned_to: Some(Offset(3)),
        ..LogOptions::default()
    });
    put(
        &log,
        &[("a", Some("3")), ("a", Some("4")), ("a", Some("5"))],
    );
    log.roll(NOW).unwrap();
    clean_at(&log, NOW).unwrap();
    let last = log.log_end_offset().0 - 1;
    assert_eq!(keys(&log), pairs(&[(last, "a")]));
}

#[test]
fn the_checkpoint_is_read_with_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("t-0")).unwrap();
    for name in ["cleaner-offset-checkpoint", "log-start-offset-checkpoint"] {
        std::fs::write(dir.path().join(name), "0\n1\nt 0 7\n").unwrap();
    }
    let directory = LogDirectory::open(dir.path().to_owned(), Storage::default()).unwrap();
    let found = directory.partitions().unwrap();
    let log = directory
        .open_log(&found[0], compacted(), NOW, i64::MAX)
        .unwrap();
    assert_eq!(log.cleaned_to(), Some(Offset(7)));
}

#[test]
fn records_without_a_key_go() {
    let (_fixture, log) = fixture();
    let mut builder = keyed(&[("a", Some("1"))]);
    builder.append(NOW, None, Some(b"keyless"));
    write(&log, &builder.build_valid());
    put(&log, &[("end", Some("1"))]);
    log.roll(NOW).unwrap();
    let stats = clean_at(&log, NOW).unwrap();
    assert_eq!(stats.keyless_records, 1);
    assert_eq!(keys(&log), pairs(&[(0, "a"), (2, "end")]));
}

#[test]
fn what_was_read_before_stays_readable() {
    let (_fixture, log) = fixture();
    for _ in 0..100 {
        put(&log, &[("a", Some("0123456789"))]);
    }
    log.roll(NOW).unwrap();
    let read = log.read(Offset(10), 2000, Offset(i64::MAX), true).unwrap();
    let old = bytes(&read);
    // One that is in the middle of a look-up.
    let segment = log.segments.load()[0].clone();
    clean_at(&log, NOW).unwrap();
    log.remove_deleted(SteadyTime(i64::MAX)).unwrap();
    let Records::File(range) = &read.records else {
        panic!("a file's range");
    };
    let mut again = vec![0; range.len];
    range
        .file
        .read_exact_at(&mut again, range.position)
        .unwrap();
    assert_eq!(again, old);
    assert!(segment.file().is_err(), "its name is another's now");
    assert!(segment.position_of(Offset(20), segment.size()).is_err());
    assert!(segment.rebuild_indexes().is_err());
    assert!(segment.aborted().is_err());
    assert_eq!(keys(&log), pairs(&[(99, "a")]));
}

#[test]
fn reads_go_on_while_a_log_is_compacted() {
    let (_fixture, log) = fixture();
    for n in 0..300 {
        put(&log, &[(&format!("{}", n % 7), Some("0123456789"))]);
    }
    log.roll(NOW).unwrap();
    let expected = table(committed(&log));
    std::thread::scope(|scope| {
        let cleaning = scope.spawn(|| {
            for _ in 0..10 {
                log.set_cleaned_to(None);
                clean_at(&log, NOW).unwrap();
            }
        });
        while !cleaning.is_finished() {
            assert_eq!(table(committed(&log)), expected);
            assert!(log.max_timestamp().unwrap().is_some());
        }
    });
}

#[test]
fn a_wrong_crc_ends_the_run_and_changes_nothing() {
    let (fixture, log) = fixture();
    for _ in 0..20 {
        put(&log, &[("a", Some("0123456789"))]);
    }
    log.roll(NOW).unwrap();
    log.flush().unwrap();
    let path = fixture.file("00000000000000000000.log");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[0xff], 300).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = clean_at(&log, NOW).unwrap_err();
    assert!(
        matches!(error, CleanError::Storage(Error::Corrupt { .. })),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(log.cleaned_to(), None);
}

#[test]
fn a_stopped_run_leaves_no_files() {
    for steps in 0..40 {
        let (fixture, log) = fixture();
        for n in 0..300 {
            put(&log, &[(&format!("{}", n % 7), Some("0123456789"))]);
        }
        log.roll(NOW).unwrap();
        let cleanable = log.cleanable(log.log_end_offset(), NOW).unwrap();
        let stopped = log.clean(&cleanable, &LIMITS, at(NOW), &after(steps, || false));
        assert!(matches!(stopped, Err(CleanError::Stopped)));
        assert_eq!(table(committed(&log)).len(), 7);
        let left = fixture
            .names()
            .into_iter()
            .filter(|name| name.ends_with("cleaned"));
        assert_eq!(left.count(), 0);
        assert_eq!(log.cleaned_to(), None);
    }
}

#[test]
fn a_log_that_changes_meanwhile_keeps_its_change() {
    type Change<'a> = &'a dyn Fn(&Log);
    let cut: Change<'_> = &|log| log.truncate_to(Offset(120)).unwrap();
    let restart: Change<'_> = &|log| log.truncate_fully_and_start_at(Offset(500)).unwrap();
    let retain: Change<'_> = &|log| {
        log.advance_log_start_offset(Offset(250)).unwrap();
        assert!(
            log.delete_old_segments(Offset(300), at(NOW))
                .unwrap()
                .segments
                > 0
        );
    };
    for (change, steps) in [cut, restart, retain]
        .into_iter()
        .flat_map(|change| (0..60).step_by(3).map(move |steps| (change, steps)))
    {
        let (_fixture, log) = fixture();
        for n in 0..300 {
            put(&log, &[(&format!("{}", n % 7), Some("0123456789"))]);
        }
        log.roll(NOW).unwrap();
        let done = Cell::new(false);
        let watch = after(steps, || {
            if !done.replace(true) {
                change(&log);
            }
            true
        });
        let cleanable = log.cleanable(log.log_end_offset(), NOW).unwrap();
        let outcome = log.clean(&cleanable, &LIMITS, at(NOW), &watch);
        assert!(done.get(), "the change came while it ran");
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        assert!(
            matches!(outcome, Err(CleanError::Changed) | Ok(_)),
            "{outcome:?}"
        );
        assert!(log.cleaned_to() <= Some(end));
        write(&log, &keyed(&[("z", Some("1"))]).build_valid());
        let found = keys(&log);
        assert_eq!(found.last().unwrap(), &(end.0, "z".to_owned()));
        assert!(found.iter().all(|(offset, _)| *offset >= start.0));
    }
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
