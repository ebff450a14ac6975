//! Index files that are sound in themselves and wrong, or not even that: whatever they hold, no record is skipped and
//! none is dropped before its time.

use super::*;
use crate::log::transactions::ENTRY_SIZE;

const BATCHES: i64 = 80;

/// The largest timestamp of the batch at an offset: growing on the whole, not from each to the next.
fn timestamp(offset: i64) -> Timestamp {
    NOW.plus_ms(offset * 10 + (offset * 37) % 70)
}

/// A closed log of several segments.
fn closed() -> Fixture {
    let fixture = Fixture::default();
    let log = fixture.open();
    for offset in 0..BATCHES {
        let mut builder = BatchBuilder::new();
        builder.append(timestamp(offset), None, Some(&[5; 90]));
        append(&log, &builder.build_valid());
    }
    assert!(log.segments.load().len() > 2);
    log.close().unwrap();
    fixture
}

/// Everything that is answered with the help of an index.
fn check(log: &Log, what: &str) {
    let all: Vec<_> = (0..BATCHES).map(|offset| (offset, offset)).collect();
    for from in (0..BATCHES).step_by(3) {
        for max_bytes in [1, 700] {
            let outcome = log
                .read(Offset(from), max_bytes, Offset(i64::MAX), true)
                .unwrap();
            let found = read(log, from, max_bytes);
            assert!(!found.is_empty(), "{what}: nothing at {from}");
            let start = from as usize;
            assert_eq!(
                found,
                all[start..start + found.len()],
                "{what}: read from {from}"
            );
            let last = found[found.len() - 1].1;
            assert!(
                outcome.upper_bound.0 > last,
                "{what}: {last} is above the bound"
            );
        }
    }
    for ms in (0..BATCHES * 10 + 100).step_by(23) {
        let wanted = (0..BATCHES).find(|offset| timestamp(*offset) >= NOW.plus_ms(ms));
        let found = log.offset_for_timestamp(NOW.plus_ms(ms)).unwrap();
        assert_eq!(found.map(|found| found.offset.0), wanted, "{what}: {ms} ms");
    }
    let largest = (0..BATCHES).map(timestamp).max();
    assert_eq!(
        log.max_timestamp().unwrap().map(|found| found.timestamp),
        largest,
        "{what}"
    );
}

/// A file's bytes with one thing wrong, for many things.
fn damaged(bytes: &[u8], entry_size: usize, other: &[u8]) -> Vec<(String, Vec<u8>)> {
    let entries = bytes.len() / entry_size;
    let mut all = vec![
        ("empty".to_owned(), Vec::new()),
        ("of another segment".to_owned(), other.to_vec()),
        ("garbage".to_owned(), vec![0xa5; bytes.len()]),
        (
            "half an entry".to_owned(),
            bytes[..bytes.len() - 1].to_vec(),
        ),
        ("zeros behind".to_owned(), [bytes, &[0; 64 * 24]].concat()),
        ("twice".to_owned(), [bytes, bytes].concat()),
    ];
    for kept in 1..entries {
        all.push((
            format!("{kept} entries"),
            bytes[..kept * entry_size].to_vec(),
        ));
    }
    for entry in 0..entries {
        for field in [entry_size - 1, entry_size - 5] {
            for change in [1u8, 0xff] {
                let mut bytes = bytes.to_vec();
                let at = entry * entry_size + field;
                bytes[at] = bytes[at].wrapping_add(change);
                all.push((format!("entry {entry}, byte {field} + {change}"), bytes));
            }
        }
    }
    all
}

/// Damages a file of each segment in every way and checks what the log then answers, opened in every way.
fn damage_each(suffix: &str, entry_size: usize, options: &[LogOptions]) {
    let fixture = closed();
    let names: Vec<_> = fixture
        .names()
        .into_iter()
        .filter(|name| name.ends_with(&format!(".{suffix}")))
        .collect();
    let whole: Vec<_> = names
        .iter()
        .map(|name| std::fs::read(fixture.file(name)).unwrap())
        .collect();
    for (at, name) in names.iter().enumerate() {
        let other = &whole[(at + 1) % names.len()];
        for (what, bytes) in damaged(&whole[at], entry_size, other) {
            for options in options {
                std::fs::write(fixture.file(name), &bytes).unwrap();
                let log = fixture.open_with(options.clone());
                check(&log, &format!("{name}: {what}, {options:?}"));
                log.close().unwrap();
            }
        }
        std::fs::write(fixture.file(name), &whole[at]).unwrap();
    }
}

#[test]
fn no_offset_index_makes_a_log_skip_records() {
    damage_each("index", 8, &[LogOptions::default(), unclean(50)]);
}

#[test]
fn no_time_index_makes_a_log_miss_a_time() {
    damage_each("timeindex", 12, &[LogOptions::default(), unclean(50)]);
}

#[test]
fn no_time_index_makes_records_go_before_their_time() {
    let fixture = closed();
    let name = "00000000000000000000.timeindex";
    let whole = std::fs::read(fixture.file(name)).unwrap();
    let mut log = fixture.open();
    let segments = log.segments.load_full();
    let (first, second) = (segments[0].base_offset(), segments[1].base_offset());
    let largest = (first.0..second.0).map(timestamp).max().unwrap();
    for kept in (1..=whole.len() / 12).rev() {
        log.close().unwrap();
        std::fs::write(fixture.file(name), &whole[..kept * 12]).unwrap();
        log = fixture.open();
        log.update_config(LogConfig {
            retention_ms: 1000,
            ..config()
        });
        let now = moment(largest.0 + 1000 - NOW.0);
        let dropped = log.delete_old_segments(Offset(BATCHES), now).unwrap();
        assert_eq!(dropped.segments, 0, "{kept} entries");
    }
    let now = moment(largest.0 + 1001 - NOW.0);
    let dropped = log.delete_old_segments(Offset(BATCHES), now).unwrap();
    assert_eq!(dropped.segments, 1);
}

#[test]
fn a_segment_that_goes_gets_no_index_any_more() {
    let fixture = closed();
    let log = fixture.open();
    let first = log.segments.load()[0].clone();
    log.advance_log_start_offset(Offset(50)).unwrap();
    let dropped = log.delete_old_segments(Offset(BATCHES), moment(0)).unwrap();
    assert!(dropped.segments > 0);
    let before = fixture.names();
    // A reader that still has the segment.
    assert!(first.rebuild_indexes().is_err());
    assert_eq!(fixture.names(), before);
}

/// A log of several segments with aborted and committed transactions in all of them, and what is aborted.
fn transactions() -> (Fixture, Vec<AbortedTransaction>) {
    let fixture = Fixture::default();
    let log = fixture.open();
    let mut sequences = [0; 3];
    for n in 0..45 {
        let id = n % 3;
        let sequence = &mut sequences[id as usize];
        append(&log, &produced(id, 0, *sequence, 2, true));
        *sequence += 2;
        if n % 2 == 1 {
            continue;
        }
        end_transaction(&log, id, n % 4 == 0);
    }
    assert!(log.segments.load().len() > 2);
    let aborted = log
        .aborted_transactions(Offset(0), log.log_end_offset())
        .unwrap();
    assert!(aborted.len() > 6);
    log.close().unwrap();
    (fixture, aborted)
}

#[test]
fn no_transaction_index_tells_wrong_transactions() {
    let (fixture, aborted) = transactions();
    let names: Vec<_> = fixture
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".txnindex"))
        .collect();
    assert!(names.len() > 2);
    let whole: Vec<_> = names
        .iter()
        .map(|name| std::fs::read(fixture.file(name)).unwrap())
        .collect();
    for (at, name) in names.iter().enumerate() {
        let bytes = &whole[at];
        let mut wrong = vec![
            ("of another segment", whole[(at + 1) % names.len()].clone()),
            ("half an entry", bytes[..bytes.len() - 1].to_vec()),
            ("garbage", vec![0xa5; bytes.len()]),
        ];
        for (what, field) in [
            ("version", 1),
            ("producer", 9),
            ("first offset", 17),
            ("last offset", 25),
        ] {
            for entry in 0..bytes.len() / ENTRY_SIZE {
                let mut bytes = bytes.clone();
                bytes[entry * ENTRY_SIZE + field] ^= 1;
                wrong.push((what, bytes));
            }
        }
        for (what, bytes) in wrong {
            std::fs::write(fixture.file(name), &bytes).unwrap();
            let log = fixture.open();
            let found = log
                .aborted_transactions(Offset(0), log.log_end_offset())
                .unwrap();
            assert_eq!(found, aborted, "{name}: {what}");
            log.close().unwrap();
            assert_eq!(
                std::fs::read(fixture.file(name)).unwrap(),
                whole[at],
                "{name}: {what}"
            );
        }
    }
}
