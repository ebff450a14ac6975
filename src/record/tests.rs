//! Batches built, read, damaged and validated.

use bytes::Bytes;
use proptest::prelude::*;

use super::batch::{HEADER_LEN, decrement_sequence, increment_sequence};
use super::compress::Codec;
use super::control::{ControlType, EndMarker};
use super::validate::{RecordError, produced_batch};
use super::*;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const CODECS: [Codec; 5] = [
    Codec::None,
    Codec::Gzip(None),
    Codec::Snappy,
    Codec::Lz4(9),
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
