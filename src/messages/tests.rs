use super::*;

/// A body whose array claims 2^31 - 1 elements is refused by its length, without memory for them.
#[test]
fn huge_counts_are_refused() {
    let create_acls = CreateAclsRequest::decode(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]), 1);
    assert!(matches!(
        create_acls.unwrap_err().fault,
        Fault::Truncated { .. }
    ));
    let metadata = MetadataRequest::decode(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x07]), 9);
    assert!(matches!(
        metadata.unwrap_err().fault,
        Fault::Truncated { .. }
    ));
    let produce = [0xff, 0xff, 0, 1, 0, 0, 0x75, 0x30, 0x7f, 0xff, 0xff, 0xff];
    let produce = ProduceRequest::decode(Bytes::copy_from_slice(&produce), 3);
    assert!(matches!(
        produce.unwrap_err().fault,
        Fault::Truncated { .. }
    ));
}

#[test]
fn metadata_records_carry_their_frame() {
    use records::frame::MetadataRecord;
    use records::metadata::{NoOpRecord, TopicRecord};
    let no_op = MetadataRecord::from(NoOpRecord::default());
    assert_eq!(no_op.encode(0).unwrap(), Bytes::from_static(&[1, 20, 0, 0]));
    let topic = MetadataRecord::from(TopicRecord {
        name: text("t"),
        ..Default::default()
    });
    assert_eq!(
        MetadataRecord::decode(topic.encode(0).unwrap()).unwrap(),
        (topic, 0)
    );
    let unknown = Bytes::from_static(&[1, 99, 7, 1, 2, 3]);
    let (record, version) = MetadataRecord::decode(unknown.clone()).unwrap();
    assert_eq!(record.encode(version).unwrap(), unknown);
}

/// The flexible versions are those whose layout has tagged fields, and the table knows each key of the requests.
#[test]
fn header_versions_follow_the_layouts() {
    fn holds<R: Request>() {
        for version in R::VERSIONS {
            let flexible = schema::layout(R::NAME, version).unwrap().ends_with(")}");
            assert_eq!(
                is_flexible(R::KEY, version),
                flexible,
                "{} {version}",
                R::NAME
            );
        }
    }
    holds::<ProduceRequest>();
    holds::<FetchRequest>();
    holds::<MetadataRequest>();
    holds::<ApiVersionsRequest>();
    holds::<SaslHandshakeRequest>();
    holds::<WriteTxnMarkersRequest>();
    holds::<OffsetDeleteRequest>();
    holds::<StreamsGroupHeartbeatRequest>();
    assert_eq!(request_header_version(18, 3), 2);
    assert_eq!(response_header_version(18, 3), 0);
    assert_eq!(response_header_version(0, 9), 1);
    assert_eq!(request_header_version(-1, 3), 1);
    assert_eq!(request_header_version(4711, 3), 1);
}

#[test]
fn request_header_leaves_the_body() {
    let header = RequestHeader {
        request_api_key: 3,
        request_api_version: 12,
        correlation_id: 7,
        client_id: Some(text("client")),
        ..Default::default()
    };
    let mut out = Writer::new();
    header.write(&mut out).unwrap();
    out.put_slice(b"body");
    let written = out.into_bytes();
    assert_eq!(&written[..], b"\0\x03\0\x0c\0\0\0\x07\0\x06client\0body");
    let mut frame = written.clone();
    assert_eq!(RequestHeader::read(&mut frame), Ok(header));
    assert_eq!(&frame[..], b"body");
    for cut in 0..written.len() - 4 {
        assert!(RequestHeader::read(&mut written.slice(..cut)).is_err());
    }
}

#[test]
fn fetch_response_weaves_in_file_ranges() {
    use fetch_response::{FetchableTopicResponse, PartitionData};
    let file = std::sync::Arc::new(tempfile::tempfile().unwrap());
    let range = FileRange {
        file,
        position: 128,
        len: 1000,
    };
    let response = FetchResponse {
        responses: vec![FetchableTopicResponse {
            partitions: vec![
                PartitionData {
                    records: Some(Records::File(range.clone())),
                    ..Default::default()
                },
                PartitionData {
                    records: Some(Bytes::from_static(b"small").into()),
                    ..Default::default()
                },
            ],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut out = Writer::new();
    response.encode(&mut out, 17).unwrap();
    let length = out.len();
    let frame = out.finish();
    let [Piece::Bytes(before), woven, Piece::Bytes(after)] = &frame.pieces[..] else {
        panic!("{frame:?}")
    };
    assert_eq!(*woven, Piece::File(range));
    assert_eq!(
        (frame.len, length),
        (before.len() + 1000 + after.len(), frame.len)
    );
    // The length of the records, plus one, in front of them: a varint of two bytes.
    assert_eq!(before[before.len() - 2..], [0xe9, 0x07]);
    assert!(after.windows(6).any(|window| window == b"\x06small"));
}

#[test]
fn what_a_version_cannot_say_is_an_error() {
    use records::metadata::PartitionRecord;
    let record = PartitionRecord {
        last_known_elr: Some(vec![1]),
        ..Default::default()
    };
    assert!(record.to_bytes(2).is_ok());
    assert_eq!(
        record.to_bytes(1),
        Err(EncodeError::FieldNotInVersion {
            message: "PartitionRecord",
            field: "last_known_elr",
            version: 1
        })
    );
    assert!(matches!(
        record.to_bytes(3),
        Err(EncodeError::UnsupportedVersion { .. })
    ));
}

#[test]
fn group_records_keep_what_they_do_not_know() {
    use records::group::GroupRecord;
    use records::group::classic::{OffsetCommitKey, OffsetCommitValue};
    let key = OffsetCommitKey {
        group: text("g"),
        topic: text("t"),
        partition: 1,
        ..Default::default()
    };
    let record = GroupRecord::OffsetCommit(
        key,
        Some(OffsetCommitValue {
            offset: 5,
            ..Default::default()
        }),
    );
    let (key, value) = record.encode(3).unwrap();
    assert_eq!(&key[..], b"\0\x01\0\x01g\0\x01t\0\0\0\x01");
    assert_eq!(GroupRecord::decode(key.clone(), value), Ok(record.clone()));
    assert_eq!(
        GroupRecord::decode(key.clone(), None),
        Ok(record.tombstone())
    );
    for (key, value) in [
        (key, b"\0\x63abc"),
        (Bytes::from_static(b"\0\x63key"), b"value"),
    ] {
        let value = Some(Bytes::copy_from_slice(value));
        let record = GroupRecord::decode(key.clone(), value.clone()).unwrap();
        assert!(matches!(record, GroupRecord::Unknown(_)));
        assert_eq!(record.encode(0), Ok((key, value)));
    }
    assert!(GroupRecord::decode(Bytes::from_static(b"\0"), None).is_err());
}

#[test]
fn a_newer_consumer_protocol_is_read_as_the_newest() {
    let subscription = ConsumerProtocolSubscription::default().with_topics(vec![text("t")]);
    let written = subscription.to_versioned_bytes(3).unwrap();
    assert_eq!(written[..2], [0, 3]);
    let newer = Bytes::from([b"\0\x09", &written[2..]].concat());
    let read = ConsumerProtocolSubscription::decode_versioned(newer.clone(), Newer::ReadAsNewest);
    assert_eq!(read, Ok((subscription, 9)));
    assert!(ConsumerProtocolSubscription::decode_versioned(newer, Newer::Refuse).is_err());
    assert!(
        ConsumerProtocolSubscription::decode_versioned(Bytes::new(), Newer::ReadAsNewest).is_err()
    );
}

#[test]
fn a_text_is_no_longer_than_an_int16() {
    let body = |length: u32| {
        let mut out = Writer::new();
        out.put_uvarint(length + 1);
        out.put_slice(&vec![b'x'; length as usize]);
        out.put_slice(&[0, 1, 0, 0, 0, 0, 1, 0]);
        out.into_bytes()
    };
    // ProduceRequest is ours; the walk stands before EndTxnRequest.
    assert!(ProduceRequest::decode(body(0x7fff), 9).is_ok());
    assert_eq!(
        ProduceRequest::decode(body(0x8000), 9).unwrap_err().fault,
        Fault::BadLength(0x8000)
    );
    assert_eq!(
        EndTxnRequest::decode(body(0x8000), 3).unwrap_err().fault,
        Fault::BadLength(0x8000)
    );
}

#[test]
fn texts_that_are_no_utf8_are_read_as_kafka_reads_them() {
    // JoinGroup's texts are found by the walk, OffsetCommit's and the header's as they are read.
    let join =
        b"\0\x03c\xe9!\0\0\0\x01\0\0\0\x02\0\0\0\x08consumer\0\0\0\x01\0\x02\xff\xfe\0\0\0\x01x";
    let join = JoinGroupRequest::decode_exact(Bytes::from_static(join), 1).unwrap();
    assert_eq!(&*join.group_id, "c\u{fffd}!");
    assert_eq!(&*join.protocols[0].name, "\u{fffd}\u{fffd}");
    assert_eq!(&*join.protocols[0].metadata, b"x");
    let commit = b"\0\x03c\xe9!\0\0\0\x01\0\0\0\0\0\0\0\0\0\x01\0\0\0\0";
    let commit = OffsetCommitRequest::decode_exact(Bytes::from_static(commit), 2).unwrap();
    assert_eq!(&*commit.group_id, "c\u{fffd}!");
    let mut frame = Bytes::from_static(b"\0\x0b\0\x01\0\0\0\x07\0\x02\xc3(body");
    let header = RequestHeader::read(&mut frame).unwrap();
    assert_eq!(header.client_id.as_deref(), Some("\u{fffd}("));
    assert_eq!(&*frame, b"body");
}

/// Compact lengths grow with the text.
#[test]
fn flexible_texts_that_are_no_utf8_too() {
    let mut heartbeat = vec![0x81, 0x01];
    heartbeat.extend([0xff; 128]);
    heartbeat.extend(b"\0\0\0\x05\x02m\0\0");
    let heartbeat = HeartbeatRequest::decode_exact(heartbeat.into(), 4).unwrap();
    assert_eq!(*heartbeat.group_id, *"\u{fffd}".repeat(128));
    assert_eq!(heartbeat.generation_id, 5);
    assert_eq!(&*heartbeat.member_id, "m");
    // Three times the bytes are more than a text may have.
    let mut long = vec![0x7f, 0xff];
    long.extend([0xff; 0x7fff]);
    long.extend(b"\0\0\0\x05\0\x01m");
    let long = HeartbeatRequest::decode_exact(long.into(), 0).unwrap_err();
    assert_eq!(long.fault, Fault::NotUtf8);
}
