use super::*;

#[test]
fn every_line_of_the_table_parses() {
    for line in parse::lines() {
        for version in line.first..=line.last {
            assert_eq!(layout(line.class, version), Some(line.layout), "{line:?}");
            assert!(parse::program(line.class, version).is_some(), "{line:?}");
        }
    }
    assert_eq!(layout("Metadata", 1), None);
    assert_eq!(layout("AAA", 1), None);
    assert_eq!(layout("Zzz", 1), None);
    assert_eq!(layout("MetadataRequest", 99), None);
}

#[test]
fn a_body_reads_as_kafkas_json() {
    use crate::messages::{Message, TopicName, metadata_request::MetadataRequestTopic, text};
    let request = crate::messages::MetadataRequest::default().with_topics(Some(vec![
        MetadataRequestTopic::default().with_name(Some(TopicName(text("t")))),
    ]));
    let body = request.to_bytes(12).unwrap();
    assert_eq!(
        describe("MetadataRequest", 12, &body).unwrap().to_string(),
        r#"{"topics":[{"topicId":"AAAAAAAAAAAAAAAAAAAAAA","name":"t"}],"allowAutoTopicCreation":true,"includeTopicAuthorizedOperations":false}"#
    );
}

#[test]
fn numbers_and_texts_that_json_has_not_read_as_kafkas() {
    let record = |value: f64| {
        let entity = b"\x02\x02u\x03\xff\xfe\0".as_slice();
        [entity, b"\x02k", &value.to_be_bytes(), b"\0\0"].concat()
    };
    for (value, json) in [
        (f64::NAN, r#""NaN""#),
        (f64::INFINITY, r#""Infinity""#),
        (f64::NEG_INFINITY, r#""-Infinity""#),
        (0.5, "0.5"),
    ] {
        let described = describe("ClientQuotaRecord", 0, &record(value)).unwrap();
        assert_eq!(
            described.to_string(),
            format!(
                r#"{{"entity":[{{"entityType":"u","entityName":"��"}}],"key":"k","value":{json},"remove":false}}"#
            )
        );
    }
}
