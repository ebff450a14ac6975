//! Appends and what reads find of them.

use std::os::unix::fs::MetadataExt;

use super::super::fs::EXT4;
use super::super::fs::faulty::Fault;
use super::*;
use crate::record::batch::HEADER_LEN;
use crate::record::compress::Codec;
use crate::record::{Rules, validate};

#[test]
fn appended_batches_are_read_before_and_after_reopening() {
    let fixture = Fixture::default();
    let path = fixture.path().to_owned();
    let log = Log::create(path, config(), Offset::ZERO, Storage::default(), NOW).unwrap();
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
        let log = fixture.open_with(options);
        assert_eq!(log.log_end_offset(), end);
        assert_eq!(read_all(&log), expected);
    }
}

#[test]
fn an_empty_log_has_no_files() {
    let fixture = Fixture::default();
    let path = fixture.file("t-0");
    let log = Log::create(
        path.clone(),
        config(),
        Offset::ZERO,
        Storage::default(),
        NOW,
    )
    .unwrap();
    assert!(names(&path).is_empty());
    assert_eq!(read(&log, 0, 100), []);
    log.close().unwrap();
    assert!(names(&path).is_empty());
}

#[test]
fn reads_are_bounded() {
    let fixture = Fixture::default();
    let log = fixture.filled(30);
    let size = batch(1, 100).size();
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
fn readers_see_whole_batches_while_a_writer_rolls() {
    let fixture = Fixture::default();
    let log = fixture.open();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..500 {
                append(&log, &batch(2, 100));
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut from = 0;
                while from < 1000 {
                    let found = read(&log, from, 700);
                    if let Some((base, _)) = found.first() {
                        assert_eq!(*base, from);
                    }
                    from = found.last().map_or(from, |(_, last)| last + 1);
                }
            });
        }
    });
}

#[test]
fn files_of_unused_segments_are_closed() {
    let mut fixture = Fixture::default();
    fixture.storage.open = Arc::new(OpenSegments::new(3));
    let log = fixture.filled(300);
    assert!(log.segments.load().len() > 10);
    let expected: Vec<(i64, i64)> = (0..300).map(|offset| (offset, offset)).collect();
    for _ in 0..3 {
        assert_eq!(read_all(&log), expected);
        let open = log
            .segments
            .load()
            .iter()
            .filter(|segment| segment.is_open())
            .count();
        assert!(open <= 4, "{open}");
        append(&log, &batch(1, 1));
        log.truncate_to(Offset(300)).unwrap();
    }
}

#[test]
fn segments_that_are_gone_keep_no_place() {
    let fixture = Fixture::default();
    let log = fixture.open();
    for _ in 0..100 {
        for _ in 0..100 {
            append(&log, &batch(1, 100));
        }
        log.truncate_fully_and_start_at(Offset(0)).unwrap();
    }
    let places = fixture.storage.open.places();
    assert!(places < 200, "{places}");
}

/// A log with ten batches of 1 MB in one segment.
struct Grown {
    fixture: Fixture,
    log: Log,
}

impl Grown {
    fn new(fails: bool) -> Grown {
        let mut fixture = Fixture::new(LogConfig {
            segment_bytes: 64 << 20,
            ..config()
        });
        let fs = Arc::new(Faulty::default());
        if fails {
            fs.fail_set_aside();
        }
        fixture.storage.fs = fs;
        let log = fixture.open();
        let grown = Grown { fixture, log };
        for _ in 0..10 {
            append(&grown.log, &batch(1, 1 << 20));
            assert_eq!(grown.file().len(), grown.log.active().size());
        }
        grown
    }

    fn file(&self) -> std::fs::Metadata {
        std::fs::metadata(self.fixture.file("00000000000000000000.log")).unwrap()
    }

    /// Whether it has blocks behind its end; `None` where the file system has others there, or none at all.
    fn has_aside(&self) -> Option<bool> {
        let file = std::fs::File::open(self.fixture.path()).unwrap();
        let is_ext4 = rustix::fs::fstatfs(&file).unwrap().f_type as u64 == EXT4;
        is_ext4.then(|| self.file().blocks() * 512 > self.file().len() + 65_536)
    }
}

#[test]
fn a_segment_that_grows_has_blocks_set_aside_until_it_is_sealed() {
    let grown = Grown::new(false);
    assert_ne!(grown.has_aside(), Some(false));
    let len = grown.file().len();
    grown.log.roll(NOW).unwrap();
    assert_ne!(grown.has_aside(), Some(true));
    assert_eq!(grown.file().len(), len);
}

#[test]
fn blocks_that_were_set_aside_come_back_after_a_crash() {
    let grown = Grown::new(false);
    let len = grown.file().len();
    let log = grown.fixture.open_unclean(0);
    assert_ne!(grown.has_aside(), Some(true));
    assert_eq!((grown.file().len(), log.log_end_offset().0), (len, 10));
}

#[test]
fn where_no_blocks_can_be_set_aside_appends_go_on() {
    let grown = Grown::new(true);
    assert_ne!(grown.has_aside(), Some(true));
    assert_eq!(read_all(&grown.log).len(), 10);
}

#[test]
fn others_make_room_when_no_more_files_can_be_opened() {
    let mut fixture = Fixture::default();
    let fs = Arc::new(Faulty::default());
    fixture.storage.fs = fs.clone();
    let log = fixture.filled(300);
    let open = || {
        let segments = log.segments.load();
        segments.iter().filter(|segment| segment.is_open()).count()
    };
    assert_eq!(read_all(&log).len(), 300);
    let before = open();
    assert!(before > 10);
    let rolled = (0..100).any(|_| {
        fs.at(fs.steps(), Fault::Crowded);
        append(&log, &batch(1, 1)).rolled
    });
    assert!(rolled && open() < before, "{before} and {} open", open());
}

#[test]
fn offsets_by_timestamp() {
    let fixture = Fixture::default();
    let log = fixture.open();
    let mut expected = Vec::new();
    for n in 0..200_i64 {
        let mut builder = BatchBuilder::new();
        for k in 0..3 {
            let timestamp = NOW.plus_ms((n * 37) % 100 + n + k);
            builder.append(timestamp, None, Some(&[0; 30]));
            expected.push(timestamp);
        }
        append(&log, &builder.build_valid());
    }
    for reopen in [false, true] {
        let log = if reopen {
            log.close().unwrap();
            fixture.open()
        } else {
            fixture.open_unclean(0)
        };
        for ms in -1..302 {
            let first = expected
                .iter()
                .position(|timestamp| *timestamp >= NOW.plus_ms(ms));
            let found = log.offset_for_timestamp(NOW.plus_ms(ms)).unwrap();
            assert_eq!(
                found.map(|found| found.offset.0),
                first.map(|first| first as i64),
                "{ms}"
            );
            if let Some(found) = found {
                assert_eq!(found.timestamp, expected[first.unwrap()]);
            }
        }
        let largest = *expected.iter().max().unwrap();
        let found = log.max_timestamp().unwrap().unwrap();
        let first = expected
            .iter()
            .position(|timestamp| *timestamp == largest)
            .unwrap();
        assert_eq!((found.timestamp, found.offset.0), (largest, first as i64));
    }
}

#[test]
fn records_that_were_written_unreadable_are_no_damage() {
    let fixture = Fixture::default();
    let log = fixture.open();
    // A leader does not open what is compressed.
    let mut builder = BatchBuilder::new().codec(Codec::Gzip(None));
    builder.append(NOW, None, Some(b"value"));
    let mut batch = builder.build();
    let mut bytes = batch.bytes.to_vec();
    bytes[HEADER_LEN] ^= 0x40;
    batch.header.crc = batch.header.compute_crc(&bytes[HEADER_LEN..]);
    bytes[..HEADER_LEN].copy_from_slice(&batch.header.encode());
    batch.bytes = bytes.into();
    let written = validate(batch, &Rules::default(), NOW).unwrap();
    append(&log, &written);
    let is_told = |error| matches!(error, Error::Unreadable { position: 0, .. });
    assert!(log.offset_for_timestamp(NOW).is_err_and(is_told));
    assert!(log.max_timestamp().is_err_and(is_told));
    assert!(!log.is_offline());
    append(&log, &written);
}
