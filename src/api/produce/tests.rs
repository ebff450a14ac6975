use bytes::Bytes;

use super::*;
use crate::api::testing::Node;
use crate::ids::{ProducerEpoch, ProducerId};
use crate::record::{BatchBuilder, Producer};

fn records(key: Option<&[u8]>, producer: Producer) -> Bytes {
    let mut builder = BatchBuilder::new().producer(producer);
    builder.append(Timestamp(1_700_000_000_000), key, Some(b"value"));
    builder.build().bytes
}

fn produce(topic: &str, partition: i32, acks: i16, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData {
        index: partition,
        records: Some(records),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: topic.to_owned().into(),
        partition_data: vec![data],
        ..Default::default()
    };
    ProduceRequest {
        acks,
        timeout_ms: 1000,
        topic_data: vec![topic],
        ..Default::default()
    }
}

async fn answer(
    node: &mut Node,
    version: i16,
    request: ProduceRequest,
) -> PartitionProduceResponse {
    let response = node.call::<Produce>(version, request).await;
    response.responses[0].partition_responses[0].clone()
}

fn code(answer: &PartitionProduceResponse) -> ErrorCode {
    ErrorCode::from_code(answer.error_code)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_appended_one_after_another() {
    let mut node = Node::start().await;
    let id = node.create_topic("t", 1, &[]).await;
    for expected in 0..3 {
        let answer = answer(
            &mut node,
            9,
            produce("t", 0, -1, records(None, Producer::NONE)),
        )
        .await;
        assert_eq!(
            (code(&answer), answer.base_offset, answer.log_start_offset),
            (ErrorCode::None, expected, 0)
        );
    }
    let mut by_id = produce("", 0, 1, records(None, Producer::NONE));
    by_id.topic_data[0].topic_id = id;
    assert_eq!(answer(&mut node, 13, by_id).await.base_offset, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_appended_is_told_as_kafka_tells_it() {
    let mut node = Node::start().await;
    node.create_topic("t", 1, &[]).await;
    node.create_topic("compacted", 1, &[("cleanup.policy", "compact")])
        .await;
    let good = || records(None, Producer::NONE);
    let cases = [
        (
            9,
            produce("nope", 0, 1, good()),
            ErrorCode::UnknownTopicOrPartition,
            -1,
        ),
        (
            9,
            produce("t", 7, 1, good()),
            ErrorCode::UnknownTopicOrPartition,
            -1,
        ),
        (
            13,
            produce("t", 0, 1, good()),
            ErrorCode::UnknownTopicId,
            -1,
        ),
        (
            9,
            produce("t", 0, 2, good()),
            ErrorCode::InvalidRequiredAcks,
            -1,
        ),
        (
            9,
            produce("t", 0, 1, Bytes::new()),
            ErrorCode::InvalidRecord,
            -1,
        ),
        (
            9,
            produce("t", 0, 1, [good(), good()].concat().into()),
            ErrorCode::InvalidRecord,
            -1,
        ),
        (
            9,
            produce("compacted", 0, 1, good()),
            ErrorCode::InvalidRecord,
            0,
        ),
    ];
    for (version, request, expected, log_start_offset) in cases {
        let answer = answer(&mut node, version, request).await;
        assert_eq!(
            (code(&answer), answer.base_offset, answer.log_start_offset),
            (expected, -1, log_start_offset)
        );
    }
    let answer = answer(&mut node, 9, produce("compacted", 0, 1, good())).await;
    let message =
        "Compacted topic cannot accept message without key in topic partition compacted-0";
    assert_eq!(
        answer.record_errors[0].batch_index_error_message.as_deref(),
        Some(message)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_0_is_silent_and_closes_on_failure() {
    let mut node = Node::start().await;
    node.create_topic("t", 1, &[]).await;
    let good = || records(None, Producer::NONE);
    assert!(matches!(
        node.handle::<Produce>(9, produce("t", 0, 0, good())),
        Reply::Silent
    ));
    assert!(matches!(
        node.handle::<Produce>(9, produce("nope", 0, 0, good())),
        Reply::Close
    ));
    assert_eq!(
        answer(&mut node, 9, produce("t", 0, 1, good()))
            .await
            .base_offset,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_producer_is_answered_from_what_it_sent_before() {
    let mut node = Node::start().await;
    node.create_topic("t", 1, &[]).await;
    let mut send = async |sequence: i32, epoch: i16| {
        let producer = Producer {
            id: ProducerId(4000),
            epoch: ProducerEpoch(epoch),
            base_sequence: sequence,
        };
        let answer = answer(&mut node, 9, produce("t", 0, -1, records(None, producer))).await;
        (code(&answer), answer.base_offset, answer.log_append_time_ms)
    };
    assert_eq!(send(0, 0).await, (ErrorCode::None, 0, -1));
    assert_eq!(send(0, 0).await, (ErrorCode::None, 0, 1_700_000_000_000));
    assert_eq!(
        send(2, 0).await,
        (ErrorCode::OutOfOrderSequenceNumber, -1, -1)
    );
    assert_eq!(send(1, 0).await, (ErrorCode::None, 1, -1));
    assert_eq!(send(0, 1).await, (ErrorCode::None, 2, -1));
    assert_eq!(send(2, 0).await, (ErrorCode::InvalidProducerEpoch, -1, -1));
}
