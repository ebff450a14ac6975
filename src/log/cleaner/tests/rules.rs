//! What stays of the records.

use super::*;
use crate::record::{Compression, TimestampType};

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
