//! The same log compacted by Apache Kafka 4.3.0's own cleaner: recorded by protocol-tests/record/CleanLog.java.

use std::path::{Path, PathBuf};

use super::*;
use crate::log::LogOptions;

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/log/cleaner/testdata")
        .join(name)
}

/// A log with these files, under the settings that were recorded with.
fn copy_of(name: &str) -> (Fixture, Log) {
    let fixture = Fixture::new(LogConfig {
        segment_bytes: 1 << 20,
        ..compacted()
    });
    for entry in std::fs::read_dir(testdata(name)).unwrap() {
        let from = entry.unwrap().path();
        let to = fixture.file(from.file_name().unwrap().to_str().unwrap());
        std::fs::copy(from, to).unwrap();
    }
    let log = fixture.open_with(LogOptions {
        producer_id_expiration_ms: i64::MAX,
        ..LogOptions::default()
    });
    (fixture, log)
}

/// Our segments are Kafka's: byte for byte where nothing is compressed, since its codecs are others.
fn assert_same(fixture: &Fixture, log: &Log, recorded: &str) {
    log.close().unwrap();
    let (_theirs, kafkas) = copy_of(recorded);
    let (ours, theirs) = (all_batches(log), all_batches(&kafkas));
    for (our, their) in ours.iter().zip(&theirs) {
        let (mut header, expected) = (our.header.clone(), &their.header);
        if header.compression() == Ok(Default::default()) {
            assert_eq!(our.bytes, their.bytes, "{expected:?}");
        }
        (header.batch_length, header.crc) = (expected.batch_length, expected.crc);
        assert_eq!(&header, expected);
        let records = |batch: &Batch| batch.records().unwrap().collect::<Vec<_>>();
        assert_eq!(records(our), records(their));
    }
    assert_eq!(ours.len(), theirs.len());
    let segments = |log: &Log| -> Vec<Offset> {
        let segments = log.segments.load();
        segments
            .iter()
            .map(|segment| segment.base_offset())
            .collect()
    };
    assert_eq!(segments(log), segments(&kafkas));
    for base in segments(log) {
        let index = format!("{base:020}.txnindex");
        let read = |path: PathBuf| std::fs::read(path).unwrap_or_default();
        assert_eq!(
            read(fixture.file(&index)),
            read(testdata(recorded).join(&index))
        );
    }
}

#[test]
fn a_log_is_compacted_as_kafka_does() {
    let (fixture, log) = copy_of("input");
    clean_at(&log, NOW).unwrap();
    assert_same(&fixture, &log, "first");
}

#[test]
fn behind_the_delete_horizons_as_well() {
    for by_kafka in [true, false] {
        let (fixture, log) = if by_kafka {
            copy_of("first")
        } else {
            let (fixture, log) = copy_of("input");
            clean_at(&log, NOW).unwrap();
            log.set_cleaned_to(None);
            (fixture, log)
        };
        clean_at(&log, NOW.plus_ms(HOUR)).unwrap();
        assert_same(&fixture, &log, "second");
    }
}
