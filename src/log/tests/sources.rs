//! Reads with no more than the page cache gives.

use super::*;
use crate::log::page_cache::is_cached;

fn would_wait<T: std::fmt::Debug>(found: Result<T, ReadError>) -> bool {
    matches!(found, Err(ReadError::Storage(error)) if error.would_wait())
}

fn read_from(log: &Log, from: i64, source: Source) -> Result<ReadOutcome, ReadError> {
    log.read_from(Offset(from), 300, Offset(i64::MAX), true, source)
}

#[test]
fn only_the_disk_opens_what_is_closed_and_then_both_find_the_same() {
    let fixture = Fixture::default();
    fixture.filled(60).close().unwrap();
    let log = fixture.open();
    let segments = log.segments.load_full();
    let active = segments.last().unwrap().base_offset().0;
    for from in 0..active {
        assert!(would_wait(read_from(&log, from, Source::PageCache)));
    }
    assert!(!segments[0].is_open(), "nothing was opened");
    let found = |source| (0..60).map(move |from| (from, source));
    let by_disk: Vec<_> = found(Source::Disk)
        .map(|(from, source)| read_from(&log, from, source).unwrap())
        .collect();
    let tells = is_cached(&segments[0].file().unwrap(), 0);
    for (from, source) in found(Source::PageCache) {
        let outcome = read_from(&log, from, source);
        match tells {
            true => assert_eq!(outcome.unwrap(), by_disk[from as usize]),
            // The kernel has put it out meanwhile.
            false => assert!(would_wait(outcome), "{from}"),
        }
    }
}

#[test]
fn what_is_at_the_end_of_the_log_is_found_without_looking() {
    let fixture = Fixture::default();
    let log = fixture.filled(60);
    for from in 50..=60 {
        let outcome = log.read_from(Offset(from), 1 << 20, Offset(60), true, Source::PageCache);
        let expected = log.read(Offset(from), 1 << 20, Offset(60), true);
        assert_eq!(outcome.unwrap(), expected.unwrap());
    }
}

#[test]
fn batches_are_verified_by_who_may_wait() {
    let fixture = Fixture::new(LogConfig {
        verify_on_read: true,
        ..config()
    });
    let log = fixture.filled(3);
    assert!(would_wait(read_from(&log, 2, Source::PageCache)));
    assert!(read_from(&log, 2, Source::Disk).is_ok());
    assert!(read_from(&log, 3, Source::PageCache).is_ok(), "nothing");
}

#[test]
fn aborted_transactions_are_held_against_the_segment_by_who_may_wait() {
    let fixture = Fixture::default();
    let log = fixture.open();
    append(&log, &produced(1, 0, 0, 2, true));
    end_transaction(&log, 1, false);
    log.roll(NOW).unwrap();
    append(&log, &batch(1, 10));
    log.close().unwrap();
    drop(log);
    let log = fixture.open();
    let aborted = |source| log.aborted_from(Offset(0), Offset(4), source);
    assert!(aborted(Source::PageCache).unwrap_err().would_wait());
    let found = aborted(Source::Disk).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(aborted(Source::PageCache).unwrap(), found);
}
