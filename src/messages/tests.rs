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
