use super::*;

#[test]
fn every_line_of_the_table_parses() {
    for (class, first, last, _) in parse::lines() {
        for version in first..=last {
            assert!(
                parse::program(class, version).is_some(),
                "{class} {version}"
            );
        }
    }
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
