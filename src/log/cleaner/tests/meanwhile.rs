//! What else happens while a run works, and what ends it.

use std::cell::Cell;
use std::os::unix::fs::FileExt;

use super::*;
use crate::log::page_cache::Source;
use crate::messages::Records;
use crate::record::batch::HEADER_LEN;

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
    assert!(segment.aborted(Source::Disk).is_err());
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
fn records_whose_offsets_fall_end_the_run() {
    let (_fixture, log) = fixture();
    put(&log, &[("x", Some("1"))]);
    // As a client may have sent them to another broker, whose directory this was.
    let batch = keyed(&[("a", Some("1")), ("b", Some("1")), ("c", None)]).base_offset(Offset(1));
    let mut batch = batch.build();
    let mut bytes = batch.bytes.to_vec();
    let (first, size) = (HEADER_LEN + 3, usize::from(bytes[HEADER_LEN] / 2) + 1);
    bytes.swap(first, first + size);
    batch.header.crc = batch.header.compute_crc(&bytes[HEADER_LEN..]);
    bytes[..HEADER_LEN].copy_from_slice(&batch.header.encode());
    log.append_as_follower(&bytes.into(), NOW).unwrap();
    log.roll(NOW).unwrap();
    let error = clean_at(&log, NOW).unwrap_err();
    assert!(
        matches!(error, CleanError::Storage(Error::Corrupt { .. })),
        "{error}"
    );
    assert_eq!(keys(&log).len(), 4);
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
