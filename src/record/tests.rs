//! Batches built, read, damaged and validated.

use bytes::Bytes;
use proptest::prelude::*;

use super::batch::{HEADER_LEN, decrement_sequence, increment_sequence};
use super::compress::{self, Codec};
use super::control::{ControlType, EndMarker};
use super::validate::{RecordError, RecordFault, produced_batch};
use super::*;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const CODECS: [Codec; 8] = [
    Codec::None,
    Codec::Gzip(None),
    Codec::Snappy,
    Codec::Lz4(9),
    Codec::Lz4(1),
    Codec::Lz4(8),
    Codec::Lz4(17),
    Codec::Zstd(3),
];

fn three_records(codec: Codec) -> Batch {
    let mut builder = BatchBuilder::new().codec(codec);
    builder.append(NOW, Some(b"k0"), Some(b"v0"));
    builder.append(NOW.plus_ms(-5), Some(b"k1"), None);
    let headers = [(&b"h"[..], Some(&b"1"[..])), (b"h", None)];
    builder.append_with_headers(
        NOW.plus_ms(7),
        None,
        Some(&[b'x'; 100_000]),
        headers.into_iter(),
    );
    builder.build()
}

/// The batch with a field of its header changed and the CRC made right again.
fn with_header(batch: &Batch, change: impl FnOnce(&mut BatchHeader)) -> Batch {
    let mut header = batch.header.clone();
    change(&mut header);
    header.crc = header.compute_crc(batch.payload());
    let mut bytes = batch.bytes.to_vec();
    bytes[..HEADER_LEN].copy_from_slice(&header.encode());
    Batch {
        header,
        bytes: bytes.into(),
    }
}

#[test]
fn records_come_out_as_they_went_in_with_every_codec() {
    for codec in CODECS {
        let bytes = three_records(codec).bytes;
        let read: Vec<Batch> = batches(bytes.clone()).collect::<Result<_, _>>().unwrap();
        assert_eq!(read.len(), 1);
        let batch = &read[0];
        batch.check_crc().unwrap();
        assert_eq!(batch.header.compression(), Ok(codec.compression()));
        assert_eq!(
            (batch.header.last_offset(), batch.header.max_timestamp),
            (Offset(2), NOW.plus_ms(7))
        );
        let records: Vec<Record> = batch.records().unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(records[0].key.as_deref(), Some(&b"k0"[..]));
        assert_eq!(
            (records[1].timestamp, &records[1].value),
            (NOW.plus_ms(-5), &None)
        );
        assert_eq!(records[2].value.as_ref().unwrap().len(), 100_000);
        let header = |value: Option<&'static [u8]>| Header {
            key: Bytes::from_static(b"h"),
            value: value.map(Bytes::from_static),
        };
        assert_eq!(records[2].headers, [header(Some(b"1")), header(None)]);
    }
}

/// The records of every fixture, which `protocol-tests/fixtures/record/MakeBatches.java` describes.
fn fixture_builder() -> BatchBuilder {
    let large: Vec<u8> = (0..100_000).map(|at| (at % 251) as u8).collect();
    let mut builder = BatchBuilder::new()
        .base_offset(Offset(42))
        .leader_epoch(LeaderEpoch(5));
    builder.append(NOW, Some(b"k0"), Some(b"v0"));
    builder.append(NOW.plus_ms(-5), Some(b"k1"), None);
    let headers = [(&b"h"[..], Some(&b"1"[..])), (b"h", None)];
    builder.append_with_headers(NOW.plus_ms(7), None, Some(&large), headers.into_iter());
    builder
}

macro_rules! fixture {
    ($name:literal) => {
        Bytes::from_static(include_bytes!(concat!(
            "../../protocol-tests/fixtures/record/",
            $name,
            ".bin"
        )))
    };
}

#[test]
fn kafkas_batches_are_read_with_every_codec() {
    let expected = fixture_builder().build();
    let expected: Vec<Record> = expected.records().unwrap().map(Result::unwrap).collect();
    let of_kafka = [
        (Compression::None, fixture!("none")),
        (Compression::Gzip, fixture!("gzip")),
        (Compression::Snappy, fixture!("snappy")),
        (Compression::Lz4, fixture!("lz4")),
        (Compression::Zstd, fixture!("zstd")),
    ];
    for (compression, bytes) in of_kafka {
        let batch = Batch::parse(&bytes).unwrap();
        batch.check_crc().unwrap();
        assert_eq!(batch.header.compression(), Ok(compression));
        assert_eq!(batch.header.leader_epoch, LeaderEpoch(5));
        let records: Vec<Record> = batch.records().unwrap().map(Result::unwrap).collect();
        assert_eq!(records, expected, "{compression:?}");
    }
}

#[test]
fn batches_are_built_byte_for_byte_as_kafka_does() {
    assert_eq!(fixture_builder().build().bytes, fixture!("none"));
    let producer = Producer {
        id: ProducerId(7),
        epoch: ProducerEpoch(3),
        base_sequence: i32::MAX - 1,
    };
    let batch = fixture_builder()
        .producer(producer)
        .transactional(true)
        .build();
    assert_eq!(batch.bytes, fixture!("transactional"));
    assert_eq!(batch.header.last_sequence(), 0);
}

#[test]
fn end_markers_are_kafkas() {
    for (commit, bytes) in [(true, fixture!("commit")), (false, fixture!("abort"))] {
        let marker = EndMarker {
            commit,
            coordinator_epoch: 9,
        };
        let valid = marker.batch(ProducerId(7), ProducerEpoch(3), NOW);
        let mut written = valid.header_bytes(Offset(42), LeaderEpoch(5)).to_vec();
        written.extend_from_slice(valid.payload());
        assert_eq!(written, bytes);
        let batch = Batch::parse(&bytes).unwrap();
        let mut reader = batch.reader().unwrap();
        assert_eq!(
            EndMarker::parse(&reader.next().unwrap().unwrap()),
            Some(marker)
        );
    }
    let batch = Batch::parse(&fixture!("leader_change")).unwrap();
    let mut reader = batch.reader().unwrap();
    let record = reader.next().unwrap().unwrap();
    assert_eq!(
        ControlType::of_key(record.key.unwrap()),
        Some(ControlType::LeaderChange)
    );
    assert_eq!(EndMarker::parse(&record), None);
}

#[test]
fn log_append_time_stands_for_every_records_own() {
    let batch = Batch::parse(&fixture!("log_append_time")).unwrap();
    assert_eq!(batch.header.timestamp_type(), TimestampType::LogAppendTime);
    for record in batch.records().unwrap() {
        assert_eq!(record.unwrap().timestamp, NOW.plus_ms(1000));
    }
}

#[test]
fn sequences_wrap_after_the_greatest() {
    assert_eq!(increment_sequence(i32::MAX, 1), 0);
    assert_eq!(increment_sequence(i32::MAX - 2, 5), 2);
    assert_eq!(decrement_sequence(0, 1), i32::MAX);
    assert_eq!(decrement_sequence(5, 2), 3);
}

#[test]
fn compaction_keeps_offsets_with_holes_and_the_last_offset() {
    let batch = three_records(Codec::None);
    let mut kept = BatchBuilder::new();
    let mut reader = batch.reader().unwrap();
    while let Some(record) = reader.next().unwrap() {
        if record.offset == Offset(1) {
            kept.copy_at_offset(&record).unwrap();
            assert!(kept.copy_at_offset(&record).is_err(), "no offset twice");
        }
    }
    let kept = kept.keep_last_offset_delta(2).build();
    let records: Vec<Record> = kept.records().unwrap().map(Result::unwrap).collect();
    assert_eq!(
        (records.len(), records[0].offset, kept.header.next_offset()),
        (1, Offset(1), Offset(3))
    );
}

#[test]
fn a_cut_batch_ends_the_walk_and_a_bad_one_fails_it() {
    let first = three_records(Codec::Zstd(3)).bytes;
    let mut two = first.to_vec();
    two.extend_from_slice(&first[..first.len() - 1]);
    assert_eq!(batches(two.clone().into()).map(Result::unwrap).count(), 1);
    two[first.len() + 16] = 1;
    let found: Vec<_> = batches(two.into()).collect();
    assert!(matches!(found[..], [Ok(_), Err(Corrupt::Magic(1))]));
    let mut short = first.to_vec();
    short[8..12].copy_from_slice(&48i32.to_be_bytes());
    assert!(matches!(
        Batch::parse(&short.into()),
        Err(Corrupt::Length(48))
    ));
}

#[test]
fn a_flipped_bit_is_noticed() {
    let batch = three_records(Codec::Lz4(9));
    for at in 17..batch.bytes.len() {
        let mut bytes = batch.bytes.to_vec();
        bytes[at] ^= 4;
        let damaged = Batch::parse(&bytes.into()).unwrap();
        assert!(matches!(damaged.check_crc(), Err(Corrupt::Crc { .. })));
    }
}

#[test]
fn a_level_of_lz4_is_slower_and_smaller() {
    let text: Vec<u8> = (0..50_000_u64)
        .flat_map(|n| (n * n % 7919).to_string().into_bytes())
        .collect();
    let size = |level| {
        let mut compressed = Vec::new();
        compress::compress(Codec::Lz4(level), &text, &mut compressed);
        compressed.len()
    };
    assert!(size(12) < size(3) && size(3) < size(9), "9 is the fast one");
    // Blocks of 64 KB by themselves, no checksums and no size: what Kafka writes. (Lz4BlockOutputStream)
    let mut compressed = Vec::new();
    compress::compress(Codec::Lz4(12), &text, &mut compressed);
    assert_eq!(compressed[..6], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40]);
}

#[test]
fn a_record_too_large_to_hold_is_refused_unread() {
    for codec in [
        Codec::Gzip(None),
        Codec::Snappy,
        Codec::Lz4(9),
        Codec::Zstd(3),
    ] {
        let batch = three_records(codec);
        let mut reader = batch.reader().unwrap().with_record_bytes_max(1000);
        reader.next().unwrap();
        reader.next().unwrap();
        assert!(matches!(
            reader.next(),
            Err(Corrupt::RecordTooLarge { max: 1000, .. })
        ));
    }
}

#[test]
fn declared_counts_must_hold() {
    for codec in CODECS {
        let batch = three_records(codec);
        for declared in [2, 4, -1] {
            let wrong = with_header(&batch, |header| header.record_count = declared);
            let failed = wrong
                .records()
                .and_then(|records| records.collect::<Result<Vec<_>, _>>());
            assert!(
                matches!(failed, Err(Corrupt::Count { .. })),
                "{codec:?} {declared}"
            );
        }
    }
}

proptest! {
    #[test]
    fn nothing_in_a_payload_panics(codec in 0..5usize, at in 0..400usize, bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let mut builder = BatchBuilder::new().codec(CODECS[codec]);
        for value in [&[b'y'; 300][..], b"short", b""] {
            builder.append(NOW, Some(b"key"), Some(value));
        }
        let batch = builder.build();
        let mut damaged = batch.bytes.to_vec();
        let at = HEADER_LEN + at % (damaged.len() - HEADER_LEN);
        for (offset, byte) in bytes.iter().enumerate() {
            if let Some(place) = damaged.get_mut(at + offset) {
                *place = *byte;
            }
        }
        let damaged = with_header(&Batch::parse(&damaged.into()).unwrap(), |_| ());
        if let Ok(records) = damaged.records() {
            let _ = records.count();
        }
        let _ = validate(damaged, &Rules { open_compressed: true, ..Rules::default() }, NOW);
    }

    #[test]
    fn nothing_in_a_header_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120), magic in any::<bool>()) {
        let mut bytes = bytes;
        if magic && bytes.len() > 17 {
            bytes[16] = 2;
            bytes[8..11].fill(0);
        }
        for batch in batches(bytes.into()).flatten() {
            let _ = (batch.header.next_offset(), batch.header.last_sequence(), batch.check_crc());
            let _ = batch.records().map(Iterator::count);
            let _ = validate(batch, &Rules::default(), NOW);
        }
    }
}

fn refused(batch: Batch, rules: &Rules) -> Invalid {
    validate(batch, rules, NOW).expect_err("the batch is invalid")
}

#[test]
fn a_good_batch_is_taken_as_it_is() {
    for codec in CODECS {
        let batch = three_records(codec);
        let valid = validate(batch.clone(), &Rules::default(), NOW).unwrap();
        assert_eq!(valid.header(), &batch.header);
        assert_eq!(valid.payload(), batch.payload());
    }
}

#[test]
fn a_produce_request_carries_exactly_one_batch_of_magic_2() {
    let one = three_records(Codec::Zstd(3)).bytes;
    assert!(produced_batch(one.clone(), 9).is_ok());
    assert_eq!(
        produced_batch(one.clone(), 6).unwrap_err(),
        Invalid::Zstd { version: 6 }
    );
    assert!(matches!(
        produced_batch(Bytes::new(), 9),
        Err(Invalid::Batch(_))
    ));
    assert!(matches!(
        produced_batch([&one[..], &one[..]].concat().into(), 9),
        Err(Invalid::Batch(_))
    ));
    let mut old = one.to_vec();
    old[16] = 1;
    assert!(matches!(
        produced_batch(old.into(), 9),
        Err(Invalid::Batch(_))
    ));
}

#[test]
fn header_faults_are_told_as_kafka_tells_them() {
    let rules = Rules::default();
    let batch = three_records(Codec::None);
    let fault =
        |change: fn(&mut BatchHeader)| refused(with_header(&batch, change), &rules).to_string();
    assert!(fault(|header| header.base_offset = Offset(3)).contains("should be 0, but it is 3"));
    assert!(fault(|header| header.record_count = 0).contains("Invalid reported count"));
    assert!(fault(|header| header.last_offset_delta = -1).contains("invalid offset range"));
    assert!(
        fault(|header| header.last_offset_delta = 7)
            .contains("Inconsistent batch offset range [0, 7]")
    );
    assert!(
        fault(|header| header.attributes = header.attributes.with_control(true))
            .contains("control records")
    );
    assert!(
        fault(|header| header.producer_id = ProducerId(1)).contains("Invalid sequence number -1")
    );
    let small = Rules {
        max_message_bytes: 1000,
        ..Rules::default()
    };
    assert_eq!(
        refused(batch.clone(), &small),
        Invalid::TooLarge {
            size: batch.bytes.len(),
            max: 1000
        }
    );
    let mut damaged = batch.bytes.to_vec();
    damaged[80] ^= 1;
    assert!(matches!(
        refused(Batch::parse(&damaged.into()).unwrap(), &rules),
        Invalid::Corrupt(Corrupt::Crc { .. })
    ));
}

#[test]
fn compacted_topics_want_keys_also_inside_compressed_batches() {
    let rules = Rules {
        compacted: true,
        ..Rules::default()
    };
    for codec in CODECS {
        let Invalid::Records(errors) = refused(three_records(codec), &rules) else {
            panic!("the third record has no key")
        };
        assert_eq!(
            errors,
            [RecordError {
                batch_index: 2,
                fault: RecordFault::NoKey
            }]
        );
    }
}

#[test]
fn timestamps_out_of_range_are_refused_record_by_record() {
    for codec in CODECS {
        let late = Rules {
            timestamp_after_max_ms: 5,
            ..Rules::default()
        };
        let Invalid::Records(errors) = refused(three_records(codec), &late) else {
            panic!()
        };
        assert_eq!(
            errors
                .iter()
                .map(|error| error.batch_index)
                .collect::<Vec<_>>(),
            [2]
        );
        let early = Rules {
            timestamp_before_max_ms: 4,
            ..Rules::default()
        };
        let Invalid::Records(errors) = refused(three_records(codec), &early) else {
            panic!()
        };
        assert_eq!(
            errors
                .iter()
                .map(|error| error.batch_index)
                .collect::<Vec<_>>(),
            [1]
        );
    }
}

#[test]
fn log_append_time_topics_stamp_the_batch() {
    let rules = Rules {
        timestamp_type: TimestampType::LogAppendTime,
        ..Rules::default()
    };
    for codec in CODECS {
        let now = NOW.plus_ms(99_999_999);
        let valid = validate(three_records(codec), &rules, now).unwrap();
        assert_eq!(
            (
                valid.header().max_timestamp,
                valid.header().timestamp_type()
            ),
            (now, TimestampType::LogAppendTime)
        );
        assert_eq!(
            valid.header().crc,
            valid.header().compute_crc(valid.payload())
        );
        let stamped = with_header(&three_records(codec), |header| {
            header.attributes = header
                .attributes
                .with_timestamp_type(TimestampType::LogAppendTime);
        });
        assert!(matches!(refused(stamped, &rules), Invalid::Records(_)));
    }
}

#[test]
fn a_topics_own_codec_replaces_the_producers() {
    let producer = Producer {
        id: ProducerId(7),
        epoch: ProducerEpoch(3),
        base_sequence: 11,
    };
    for to in CODECS {
        let rules = Rules {
            codec: Some(to),
            ..Rules::default()
        };
        let batch = fixture_builder()
            .base_offset(Offset::ZERO)
            .producer(producer)
            .codec(Codec::Gzip(Some(1)))
            .build();
        let expected: Vec<Record> = batch.records().unwrap().map(Result::unwrap).collect();
        let valid = validate(batch, &rules, NOW).unwrap();
        assert_eq!(valid.header().compression(), Ok(to.compression()));
        assert_eq!(
            (valid.header().producer_id, valid.header().base_sequence),
            (ProducerId(7), 11)
        );
        let mut bytes = valid.header_bytes(Offset::ZERO, LeaderEpoch(0)).to_vec();
        bytes.extend_from_slice(valid.payload());
        let written = Batch::parse(&bytes.into()).unwrap();
        written.check_crc().unwrap();
        assert_eq!(
            written
                .records()
                .unwrap()
                .map(Result::unwrap)
                .collect::<Vec<_>>(),
            expected
        );
    }
}

#[test]
fn a_wrong_greatest_timestamp_is_set_right() {
    let batch = with_header(&three_records(Codec::None), |header| {
        header.max_timestamp = Timestamp(5)
    });
    let valid = validate(batch, &Rules::default(), NOW).unwrap();
    assert_eq!(valid.header().max_timestamp, NOW.plus_ms(7));
    assert_eq!(
        valid.header().crc,
        valid.header().compute_crc(valid.payload())
    );
}

#[test]
fn records_out_of_sequence_are_numbered_anew() {
    let mut builder = BatchBuilder::new();
    let source = three_records(Codec::None);
    let mut reader = source.reader().unwrap();
    while let Some(record) = reader.next().unwrap() {
        let moved = RecordView {
            offset: record.offset + i64::from(record.offset_delta),
            ..record
        };
        builder.copy_at_offset(&moved).unwrap();
    }
    let batch = with_header(&builder.build(), |header| header.last_offset_delta = 2);
    let valid = validate(batch, &Rules::default(), NOW).unwrap();
    let mut deltas = Vec::new();
    let mut reader = valid.reader().unwrap();
    while let Some(record) = reader.next().unwrap() {
        deltas.push(record.offset_delta);
    }
    assert_eq!(deltas, [0, 1, 2]);
}
