//! Records through a node: what is acknowledged is there, in order, once, and after a restart.

use bytes::Bytes;
use dohle::clock::Clock;
use dohle::ids::{ProducerEpoch, ProducerId};
use dohle::messages::create_topics_request::CreatableTopic;
use dohle::messages::fetch_request::{FetchPartition, FetchTopic};
use dohle::messages::fetch_response::PartitionData;
use dohle::messages::produce_request::{PartitionProduceData, TopicProduceData};
use dohle::messages::produce_response::PartitionProduceResponse;
use dohle::messages::{
    ApiVersionsRequest, CreateTopicsRequest, DescribeProducersRequest, FetchRequest,
    FindCoordinatorRequest, InitProducerIdRequest, ListTransactionsRequest, ProduceRequest,
    Records, describe_producers_request, text,
};
use dohle::record::{BatchBuilder, Producer, batches};
use protocol_tests::{Connection, Node, within};

/// The last versions that name topics.
const PRODUCE: i16 = 12;
const FETCH: i16 = 12;

async fn create_topic(connection: &mut Connection, name: &str) {
    let topic = CreatableTopic::default()
        .with_name(text(name).into())
        .with_num_partitions(1)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(10_000);
    let response = connection.call(&request, 7).await;
    assert_eq!(
        response.topics[0].error_code, 0,
        "{:?}",
        response.topics[0].error_message
    );
}

fn batch(values: &[&str], producer: Producer) -> Bytes {
    let mut batch = BatchBuilder::new().producer(producer);
    for value in values {
        // Kafka forgets a producer whose last record is a day old, also when it loads a snapshot.
        batch.append(Clock::system().now(), None, Some(value.as_bytes()));
    }
    batch.build().bytes
}

fn produce_request(topic: &str, acks: i16, records: Bytes) -> ProduceRequest {
    let partition_data = vec![PartitionProduceData {
        records: Some(records),
        ..Default::default()
    }];
    let topic_data = vec![TopicProduceData {
        name: text(topic),
        partition_data,
        ..Default::default()
    }];
    ProduceRequest {
        acks,
        timeout_ms: 10_000,
        topic_data,
        ..Default::default()
    }
}

async fn produce(
    connection: &mut Connection,
    topic: &str,
    records: Bytes,
) -> PartitionProduceResponse {
    let mut response = connection
        .call(&produce_request(topic, -1, records), PRODUCE)
        .await;
    response.responses.remove(0).partition_responses.remove(0)
}

fn fetch_request(topic: &str, fetch_offset: i64, max_wait_ms: i32) -> FetchRequest {
    let partitions = vec![FetchPartition {
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    }];
    let topics = vec![FetchTopic {
        topic: text(topic),
        partitions,
        ..Default::default()
    }];
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics,
        ..Default::default()
    }
}

async fn fetch(connection: &mut Connection, topic: &str, offset: i64) -> PartitionData {
    let mut response = connection
        .call(&fetch_request(topic, offset, 0), FETCH)
        .await;
    assert_eq!(response.error_code, 0);
    response.responses.remove(0).partitions.remove(0)
}

fn values(fetched: PartitionData) -> Vec<String> {
    let Some(Records::Bytes(records)) = fetched.records else {
        panic!("no records")
    };
    let records = batches(records).flat_map(|batch| {
        let batch = batch.expect("a whole batch");
        batch.check_crc().expect("an intact batch");
        batch
            .records()
            .expect("readable")
            .map(|record| record.expect("a record"))
            .collect::<Vec<_>>()
    });
    records
        .map(|record| String::from_utf8(record.value.expect("a value").to_vec()).expect("text"))
        .collect()
}

#[tokio::test]
async fn records_are_read_as_written_also_after_a_restart() {
    let mut node = Node::start().await;
    let mut connection = node.connect().await;
    create_topic(&mut connection, "t").await;
    for (base_offset, pair) in [(0, ["a", "b"]), (2, ["c", "d"])] {
        let answer = produce(&mut connection, "t", batch(&pair, Producer::NONE)).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, base_offset));
    }
    for _ in 0..2 {
        let mut connection = node.connect().await;
        let fetched = fetch(&mut connection, "t", 0).await;
        assert_eq!((fetched.error_code, fetched.high_watermark), (0, 4));
        assert_eq!(values(fetched), ["a", "b", "c", "d"]);
        // A batch is sent whole: what lies before the offset is skipped by the client.
        assert_eq!(values(fetch(&mut connection, "t", 3).await), ["c", "d"]);
        node = node.restart().await;
    }
    node.stop().await;
}

#[tokio::test]
async fn produce_without_acks_is_not_answered() {
    let node = Node::start().await;
    let mut connection = node.connect().await;
    create_topic(&mut connection, "t").await;
    connection
        .send(
            &produce_request("t", 0, batch(&["quiet"], Producer::NONE)),
            PRODUCE,
        )
        .await;
    let id = connection.send(&ApiVersionsRequest::default(), 0).await;
    let frame = connection.receive_frame().await.expect("an answer");
    assert_eq!(frame[..4], id.to_be_bytes(), "the answer to what came next");
    assert_eq!(values(fetch(&mut connection, "t", 0).await), ["quiet"]);
    node.stop().await;
}

#[tokio::test]
async fn idempotent_producer_writes_each_batch_once() {
    let node = Node::start().await;
    let mut connection = node.connect().await;
    create_topic(&mut connection, "t").await;
    let request = InitProducerIdRequest {
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let init = connection.call(&request, 4).await;
    assert_eq!(init.error_code, 0);
    let producer = |base_sequence| Producer {
        id: ProducerId(init.producer_id),
        epoch: ProducerEpoch(init.producer_epoch),
        base_sequence,
    };
    for base_offset in [0, 0] {
        let answer = produce(&mut connection, "t", batch(&["a", "b"], producer(0))).await;
        assert_eq!(
            (answer.error_code, answer.base_offset),
            (0, base_offset),
            "also when it comes again"
        );
    }
    let gap = produce(&mut connection, "t", batch(&["d"], producer(3))).await;
    assert_eq!(gap.error_code, 45, "OUT_OF_ORDER_SEQUENCE_NUMBER");
    let next = produce(&mut connection, "t", batch(&["c"], producer(2))).await;
    assert_eq!((next.error_code, next.base_offset), (0, 2));
    let node = node.restart().await;
    let mut connection = node.connect().await;
    let again = produce(&mut connection, "t", batch(&["c"], producer(2))).await;
    assert_eq!(
        (again.error_code, again.base_offset),
        (0, 2),
        "known over a restart"
    );
    assert_eq!(
        values(fetch(&mut connection, "t", 0).await),
        ["a", "b", "c"]
    );
    node.stop().await;
}

#[tokio::test]
async fn a_fetch_that_waits_is_answered_by_the_next_record() {
    let node = Node::start().await;
    let (mut reader, mut writer) = (node.connect().await, node.connect().await);
    create_topic(&mut writer, "t").await;
    // Longer than any test may take.
    reader.send(&fetch_request("t", 0, 3_600_000), FETCH).await;
    produce(&mut writer, "t", batch(&["late"], Producer::NONE)).await;
    let mut response = reader.receive::<FetchRequest>(FETCH).await;
    assert_eq!(
        values(response.responses.remove(0).partitions.remove(0)),
        ["late"]
    );
    node.stop().await;
}

#[tokio::test]
async fn who_waits_for_the_disk_keeps_nobody_else_waiting() {
    let settings = [("log.segment.bytes", "1048576"), ("num.io.threads", "1")];
    let node = Node::start_with(&settings).await;
    let mut writer = node.connect().await;
    create_topic(&mut writer, "t").await;
    let old = "old".repeat(200_000);
    for value in [&*old, &*old, "new"] {
        produce(&mut writer, "t", batch(&[value], Producer::NONE)).await;
    }
    // The first segment is closed then, and the one thread that may open it is at work.
    let node = node.restart().await;
    let disk_reads = node.broker().replicas().disk_reads().clone();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (end, wait_for_end) = std::sync::mpsc::channel::<()>();
    let busy = tokio::spawn(async move {
        let work = move || {
            begun.send(()).expect("it is waited for");
            let _ = wait_for_end.recv();
        };
        disk_reads.run(work).await;
    });
    has_begun.await.expect("it begins");
    let (mut slow, mut other) = (node.connect().await, node.connect().await);
    slow.send(&fetch_request("t", 0, 0), FETCH).await;
    let answer = produce(&mut other, "t", batch(&["newer"], Producer::NONE)).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 3));
    assert_eq!(values(fetch(&mut other, "t", 3).await), ["newer"]);
    drop(end);
    let mut response = slow.receive::<FetchRequest>(FETCH).await;
    let read = response.responses.remove(0).partitions.remove(0);
    assert_eq!(values(read), [old]);
    busy.await.expect("it ends");
    node.stop().await;
}

#[tokio::test]
async fn an_offset_beyond_the_end_is_out_of_range() {
    let node = Node::start().await;
    let mut connection = node.connect().await;
    create_topic(&mut connection, "t").await;
    assert_eq!(
        fetch(&mut connection, "t", 1).await.error_code,
        1,
        "OFFSET_OUT_OF_RANGE"
    );
    node.stop().await;
}

/// A producer that sends and closes at once; what it sent without waiting is there.
#[tokio::test]
async fn what_a_client_sent_before_it_closed_is_written() {
    let node = Node::start().await;
    let mut connection = node.connect().await;
    create_topic(&mut connection, "t").await;
    let mut waiting = node.connect().await;
    waiting.send(&fetch_request("t", 0, 3_600_000), FETCH).await;
    let mut writer = node.connect().await;
    writer
        .send(
            &produce_request("t", 0, batch(&["last words"], Producer::NONE)),
            PRODUCE,
        )
        .await;
    drop(writer);
    let mut response = waiting.receive::<FetchRequest>(FETCH).await;
    assert_eq!(
        values(response.responses.remove(0).partitions.remove(0)),
        ["last words"]
    );
    node.stop().await;
}

/// Of a producer that is forgotten any sequence will do; one that goes on is told that it is out of order.
#[tokio::test]
async fn silent_producers_are_forgotten() {
    let node = Node::start_with(&[
        // Longer than two requests take, on a busy machine too.
        ("producer.id.expiration.ms", "3000"),
        ("producer.id.expiration.check.interval.ms", "20"),
    ])
    .await;
    let mut connection = node.connect().await;
    create_topic(&mut connection, "t").await;
    let producer = |base_sequence| Producer {
        id: ProducerId(7),
        epoch: ProducerEpoch(0),
        base_sequence,
    };
    let begin = produce(&mut connection, "t", batch(&["a"], producer(0))).await;
    assert_eq!(begin.error_code, 0);
    let topic = describe_producers_request::TopicRequest::default()
        .with_name(text("t").into())
        .with_partition_indexes(vec![0]);
    let describe = DescribeProducersRequest::default().with_topics(vec![topic]);
    let gap = produce(&mut connection, "t", batch(&["c"], producer(9))).await;
    assert_eq!(gap.error_code, 45, "OUT_OF_ORDER_SEQUENCE_NUMBER");
    within("the end of the producer", async {
        loop {
            let mut described = connection.call(&describe, 0).await;
            let partition = described.topics.remove(0).partitions.remove(0);
            if partition.active_producers.is_empty() {
                break;
            }
        }
    })
    .await;
    let later = produce(&mut connection, "t", batch(&["c"], producer(9))).await;
    assert_eq!((later.error_code, later.base_offset), (0, 1));
    node.stop().await;
}

#[tokio::test]
async fn idle_transactional_ids_are_forgotten() {
    let node = Node::start_with(&[
        ("transactional.id.expiration.ms", "50"),
        (
            "transaction.remove.expired.transaction.cleanup.interval.ms",
            "20",
        ),
        ("transaction.state.log.num.partitions", "1"),
    ])
    .await;
    let mut connection = node.connect().await;
    let find = FindCoordinatorRequest::default()
        .with_key(text("t"))
        .with_key_type(1);
    assert_eq!(connection.call(&find, 3).await.error_code, 0);
    let init = InitProducerIdRequest {
        transactional_id: Some(text("t")),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let first = connection.call(&init, 4).await;
    assert_eq!((first.error_code, first.producer_epoch), (0, 0));
    let list = ListTransactionsRequest::default();
    within("the end of the id", async {
        while !connection
            .call(&list, 0)
            .await
            .transaction_states
            .is_empty()
        {}
    })
    .await;
    let second = connection.call(&init, 4).await;
    assert_eq!((second.error_code, second.producer_epoch), (0, 0));
    assert!(second.producer_id > first.producer_id, "another one");
    node.stop().await;
}

/// Who has long requests to send is served in the order in which they began, whatever is answered meanwhile.
#[tokio::test]
async fn the_place_in_the_queue_for_memory_outlasts_an_answer() {
    const LONGEST: i32 = 40_000;
    let bytes = LONGEST.to_string();
    let node = Node::start_with(&[
        ("socket.request.max.bytes", &bytes),
        ("queued.max.request.bytes", &bytes),
    ])
    .await;
    let mut other = node.connect().await;
    create_topic(&mut other, "t").await;
    // One takes all the memory; two wait, the first of them also for an answer.
    let mut holder = node.connect().await;
    holder.send_raw(&LONGEST.to_be_bytes()).await;
    other.call(&ApiVersionsRequest::default(), 0).await;
    let mut first = node.connect().await;
    first.send(&fetch_request("t", 0, 60_000), FETCH).await;
    let long = batch(&["x".repeat(30_000).as_str()], Producer::NONE);
    first.send(&produce_request("t", 1, long), PRODUCE).await;
    other.call(&ApiVersionsRequest::default(), 0).await;
    let mut second = node.connect().await;
    second.send_raw(&LONGEST.to_be_bytes()).await;
    other.call(&ApiVersionsRequest::default(), 0).await;

    let appended = produce(&mut other, "t", batch(&["a"], Producer::NONE)).await;
    assert_eq!(appended.error_code, 0);
    let answered = first.receive::<FetchRequest>(FETCH).await;
    assert_eq!(answered.error_code, 0);
    drop(holder);
    within("the request that began first", async {
        let response = first.receive::<ProduceRequest>(PRODUCE).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    })
    .await;
    drop(second);
    node.stop().await;
}
