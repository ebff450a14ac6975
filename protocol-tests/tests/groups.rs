//! The requests of groups, answered byte for byte as Kafka 4.3.0 answered them. Member ids hold a random uuid: where
//! Kafka's answer has one, ours is taken for it from there on, in requests and answers.

use std::collections::HashMap;

use bytes::Bytes;
use dohle::messages::{FindCoordinatorRequest, ResponseHeader, text};
use protocol_tests::Node;
use protocol_tests::exchange::exchanges;

const FIXTURE: &str = include_str!("../fixtures/groups/groups.tsv");

const UUID_LEN: usize = 36;

/// Kafka's uuids and ours in their place.
#[derive(Default)]
struct Uuids(HashMap<Vec<u8>, Vec<u8>>);

impl Uuids {
    fn positions(bytes: &[u8]) -> Vec<usize> {
        let is_uuid = |window: &[u8]| {
            window.iter().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
        };
        let windows = bytes.windows(UUID_LEN).enumerate();
        windows
            .filter(|(_, window)| is_uuid(window))
            .map(|(at, _)| at)
            .collect()
    }

    /// Learns from two answers that are alike but for what is random.
    fn learn(&mut self, theirs: &[u8], ours: &[u8]) {
        for at in Uuids::positions(theirs) {
            if let Some(uuid) = ours.get(at..at + UUID_LEN) {
                self.0
                    .entry(theirs[at..at + UUID_LEN].to_vec())
                    .or_insert_with(|| uuid.to_vec());
            }
        }
    }

    fn replace(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        for at in Uuids::positions(&bytes) {
            if let Some(ours) = self.0.get(&bytes[at..at + UUID_LEN]) {
                bytes[at..at + UUID_LEN].copy_from_slice(ours);
            }
        }
        bytes
    }
}

#[tokio::test]
async fn groups_are_answered_as_by_kafka() {
    let node = Node::start_with(&[("offsets.topic.num.partitions", "50")]).await;
    let mut connection = node.connect().await;
    let find = FindCoordinatorRequest::default().with_key(text("g0"));
    let found = connection.call(&find, 3).await;
    assert_eq!(found.error_code, 0, "the answer waits for the topic");
    let mut uuids = Uuids::default();
    for exchange in exchanges(FIXTURE) {
        let (key, version) = (exchange.key, exchange.version);
        let request = uuids.replace(exchange.request);
        connection.send_body(key, version, &request).await;
        let mut answer: Bytes = connection.receive_frame().await.expect("an answer");
        ResponseHeader::read(&mut answer, key, version).expect("a header");
        uuids.learn(&exchange.response, &answer);
        assert_eq!(
            answer.escape_ascii().to_string(),
            uuids.replace(exchange.response).escape_ascii().to_string(),
            "{}",
            exchange.line
        );
    }
    node.stop().await;
}
