use futures_util::FutureExt;
use uuid::Uuid;

use super::*;
use crate::api::testing::Node;
use crate::ids::{KafkaUuid, Timestamp};
use crate::log::Origin;
use crate::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use crate::messages::fetch_response::PartitionData;
use crate::record::BatchBuilder;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn append(node: &Node, topic: Uuid, value: &[u8]) {
    try_append(&partition(node, topic, 0), value).unwrap();
}

fn try_append(partition: &Partition, value: &[u8]) -> Result<(), replica::Error> {
    let mut builder = BatchBuilder::new();
    builder.append(NOW, None, Some(value));
    let appended = partition.append_as_leader(&builder.build_valid(), Origin::Client, 1, None, NOW);
    appended.map(|_| ())
}

fn partition(node: &Node, topic: Uuid, index: i32) -> Arc<Partition> {
    let replicas = node.broker.replicas();
    replicas
        .get(KafkaUuid(topic), PartitionIndex(index))
        .unwrap()
}

fn fetch(topic: Uuid, from: i64) -> FetchRequest {
    let partition = FetchPartition {
        fetch_offset: from,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic_id: topic,
        partitions: vec![partition],
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms: 60_000,
        min_bytes: 1,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

fn only(response: &FetchResponse) -> &PartitionData {
    assert_eq!((response.error_code, response.responses.len()), (0, 1));
    &response.responses[0].partitions[0]
}

fn length(data: &PartitionData) -> usize {
    data.records
        .as_ref()
        .map_or(0, crate::messages::Records::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_answered_at_once() {
    let mut node = Node::start().await;
    let topic = node.create_topic("t", 1, &[]).await;
    append(&node, topic, b"value");
    let response = node.call::<Fetch>(17, fetch(topic, 0)).await;
    let data = only(&response);
    assert_eq!(
        (
            data.high_watermark,
            data.last_stable_offset,
            data.log_start_offset
        ),
        (1, 1, 0)
    );
    assert_eq!((length(data), &data.aborted_transactions), (73, &None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_at_the_end_waits_for_the_next_records() {
    let mut node = Node::start().await;
    let topic = node.create_topic("t", 1, &[]).await;
    let Reply::Later(mut response) = node.handle::<Fetch>(17, fetch(topic, 0)) else {
        panic!("there is nothing")
    };
    assert!(response.as_mut().now_or_never().is_none());
    append(&node, topic, b"value");
    assert_eq!(length(only(&response.await)), 73);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_waits_for_min_bytes_and_not_longer_than_max_wait() {
    let mut node = Node::start().await;
    let topic = node.create_topic("t", 1, &[]).await;
    let request = FetchRequest {
        min_bytes: 100,
        ..fetch(topic, 0)
    };
    let Reply::Later(mut response) = node.handle::<Fetch>(17, request) else {
        panic!("there is nothing")
    };
    append(&node, topic, b"value");
    assert!(response.as_mut().now_or_never().is_none());
    append(&node, topic, b"value");
    assert_eq!(length(only(&response.await)), 146);
    let request = FetchRequest {
        max_wait_ms: 1,
        ..fetch(topic, 2)
    };
    assert_eq!(length(only(&node.call::<Fetch>(17, request).await)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_fetch_learns_that_its_topic_is_gone() {
    let mut node = Node::start().await;
    let topic = node.create_topic("t", 1, &[]).await;
    let Reply::Later(mut response) = node.handle::<Fetch>(17, fetch(topic, 0)) else {
        panic!("there is nothing")
    };
    assert!(response.as_mut().now_or_never().is_none());
    node.broker
        .replicas()
        .get(KafkaUuid(topic), PartitionIndex(0))
        .unwrap()
        .retire();
    let response = response.await;
    assert_eq!(
        only(&response).error_code,
        ErrorCode::UnknownTopicOrPartition.code()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_batch_comes_however_small_the_limits() {
    let mut node = Node::start().await;
    let topic = node.create_topic("t", 1, &[]).await;
    append(&node, topic, &[b'x'; 1000]);
    append(&node, topic, &[b'x'; 1000]);
    let mut request = FetchRequest {
        max_bytes: 1,
        ..fetch(topic, 0)
    };
    request.topics[0].partitions[0].partition_max_bytes = 1;
    assert_eq!(length(only(&node.call::<Fetch>(17, request).await)), 1070);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_told_at_once() {
    let mut node = Node::start().await;
    let topic = node.create_topic("t", 1, &[]).await;
    let with = |change: fn(&mut FetchPartition)| {
        let mut request = fetch(topic, 0);
        change(&mut request.topics[0].partitions[0]);
        request
    };
    let cases = [
        (
            with(|partition| partition.fetch_offset = 5),
            ErrorCode::OffsetOutOfRange,
        ),
        (
            with(|partition| partition.fetch_offset = -1),
            ErrorCode::OffsetOutOfRange,
        ),
        (
            with(|partition| partition.partition = 3),
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            with(|partition| partition.current_leader_epoch = 7),
            ErrorCode::UnknownLeaderEpoch,
        ),
        (
            with(|partition| partition.partition_max_bytes = -1),
            ErrorCode::UnknownServerError,
        ),
        (fetch(Uuid::from_u128(99), 0), ErrorCode::UnknownTopicId),
    ];
    for (request, expected) in cases {
        let Reply::Now(response) = node.handle::<Fetch>(17, request) else {
            panic!("{expected:?} is told at once")
        };
        let data = only(&response);
        assert_eq!(
            (ErrorCode::from_code(data.error_code), data.high_watermark),
            (expected, -1)
        );
    }
    let request = FetchRequest {
        isolation_level: 5,
        ..fetch(topic, 0)
    };
    assert_eq!(
        node.call::<Fetch>(17, request).await.error_code,
        ErrorCode::UnknownServerError.code()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_answered_with_what_is_new() {
    let mut node = Node::start().await;
    let topic = node.create_topic("t", 1, &[]).await;
    let first = node
        .call::<Fetch>(
            17,
            FetchRequest {
                session_epoch: 0,
                max_wait_ms: 0,
                ..fetch(topic, 0)
            },
        )
        .await;
    assert!(first.session_id > 0);
    let next = |epoch| FetchRequest {
        session_id: first.session_id,
        session_epoch: epoch,
        max_wait_ms: 0,
        topics: Vec::new(),
        ..fetch(topic, 0)
    };
    let second = node.call::<Fetch>(17, next(1)).await;
    assert_eq!(
        (second.session_id, second.responses.len()),
        (first.session_id, 0)
    );
    append(&node, topic, b"value");
    assert_eq!(length(only(&node.call::<Fetch>(17, next(2)).await)), 73);
    let stale = node.call::<Fetch>(17, next(2)).await;
    assert_eq!(stale.error_code, ErrorCode::InvalidFetchSessionEpoch.code());
    let unknown = FetchRequest {
        session_id: first.session_id ^ 1,
        ..next(3)
    };
    assert_eq!(
        node.call::<Fetch>(17, unknown).await.error_code,
        ErrorCode::FetchSessionIdNotFound.code()
    );
}

/// A session over all partitions of a topic, which are empty, after its first two requests.
async fn idle_session(
    node: &mut Node,
    topic: Uuid,
    partitions: i32,
) -> impl Fn(i32) -> FetchRequest + use<> {
    let mut request = FetchRequest {
        session_epoch: 0,
        max_wait_ms: 0,
        ..fetch(topic, 0)
    };
    let one = request.topics[0].partitions[0].clone();
    request.topics[0].partitions = (0..partitions)
        .map(|partition| FetchPartition {
            partition,
            ..one.clone()
        })
        .collect();
    let session_id = node.call::<Fetch>(17, request).await.session_id;
    let next = move |session_epoch| FetchRequest {
        session_id,
        session_epoch,
        topics: Vec::new(),
        ..fetch(topic, 0)
    };
    let first = FetchRequest {
        max_wait_ms: 0,
        ..next(1)
    };
    assert!(node.call::<Fetch>(17, first).await.responses.is_empty());
    next
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_session_is_woken_by_a_partition_that_had_nothing() {
    let mut node = Node::start().await;
    let topic = node.create_topic("t", 3, &[]).await;
    let next = idle_session(&mut node, topic, 3).await;
    let request = FetchRequest {
        min_bytes: 200,
        ..next(2)
    };
    let Reply::Later(mut response) = node.handle::<Fetch>(17, request) else {
        panic!("there is nothing")
    };
    for index in [2, 0] {
        try_append(&partition(&node, topic, index), b"value").unwrap();
        assert!(response.as_mut().now_or_never().is_none());
    }
    try_append(&partition(&node, topic, 2), b"value").unwrap();
    let response = response.await;
    let told: Vec<_> = response.responses[0].partitions.iter().collect();
    let told = told.iter().map(|data| (data.partition_index, length(data)));
    assert_eq!(told.collect::<Vec<_>>(), [(0, 73), (2, 146)]);
    // Each is read again from where the session says it is.
    let again = node.call::<Fetch>(17, next(3)).await;
    assert_eq!(again.responses[0].partitions.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_waits_in_vain_tells_of_what_needs_no_answer_at_once() {
    let mut node = Node::start().await;
    let topic = node.create_topic("t", 2, &[]).await;
    try_append(&partition(&node, topic, 1), b"value").unwrap();
    let next = idle_session(&mut node, topic, 1).await;
    let mut request = next(2);
    request.topics = fetch(topic, 1).topics;
    request.topics[0].partitions[0].partition = 1;
    request.max_wait_ms = 0;
    let response = node.call::<Fetch>(17, request).await;
    assert_eq!(only(&response).high_watermark, 1);
    let request = FetchRequest {
        max_wait_ms: 50,
        ..next(3)
    };
    let Reply::Later(mut response) = node.handle::<Fetch>(17, request) else {
        panic!("there is nothing")
    };
    assert!(response.as_mut().now_or_never().is_none());
    partition(&node, topic, 1).delete_records(None).unwrap();
    let response = response.await;
    assert_eq!(
        (
            only(&response).partition_index,
            only(&response).log_start_offset
        ),
        (1, 1)
    );
    let response = node
        .call::<Fetch>(
            17,
            FetchRequest {
                max_wait_ms: 1,
                ..next(4)
            },
        )
        .await;
    assert!(response.responses.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_session_learns_that_its_topic_is_gone() {
    let mut node = Node::start().await;
    let topic = node.create_topic("t", 2, &[]).await;
    let next = idle_session(&mut node, topic, 2).await;
    let Reply::Later(mut response) = node.handle::<Fetch>(17, next(2)) else {
        panic!("there is nothing")
    };
    assert!(response.as_mut().now_or_never().is_none());
    partition(&node, topic, 1).retire();
    let response = response.await;
    assert_eq!(only(&response).partition_index, 1);
    assert_eq!(
        only(&response).error_code,
        ErrorCode::UnknownTopicOrPartition.code()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_is_refused_when_its_session_ends() {
    let mut node = Node::start().await;
    let topic = node.create_topic("t", 2, &[]).await;
    let next = idle_session(&mut node, topic, 2).await;
    append(&node, topic, b"value");
    let request = FetchRequest {
        min_bytes: 1000,
        ..next(2)
    };
    let Reply::Later(mut response) = node.handle::<Fetch>(17, request) else {
        panic!("there is too little")
    };
    assert!(response.as_mut().now_or_never().is_none());
    let all = ForgottenTopic {
        topic_id: topic,
        partitions: vec![0, 1],
        ..Default::default()
    };
    let request = FetchRequest {
        forgotten_topics_data: vec![all],
        ..next(3)
    };
    assert_eq!(node.call::<Fetch>(17, request).await.session_id, 0);
    assert_eq!(
        response.await.error_code,
        ErrorCode::InvalidFetchSessionEpoch.code()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_a_sealed_segment_ends_its_partition_and_no_other() {
    /// In the second batch of a segment: its length, and a byte of its records.
    const LENGTH: usize = 73 + 8;
    const RECORDS: usize = 73 + 70;
    let cases = [("true", RECORDS), ("false", LENGTH), ("true", LENGTH)];
    for (verify_on_read, at) in cases {
        let mut node = Node::start_with(&[("log.verify.on.read", verify_on_read)]).await;
        let topic = node.create_topic("t", 2, &[]).await;
        let all = [0, 1].map(|index| partition(&node, topic, index));
        for partition in &all {
            (0..3).for_each(|_| try_append(partition, b"value").unwrap());
            partition.log().roll(NOW).unwrap();
            try_append(partition, b"value").unwrap();
        }
        let path = all[0].log().dir().join("00000000000000000000.log");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
        let mut read = async |index: i32, from: i64| {
            let mut request = fetch(topic, from);
            request.topics[0].partitions[0].partition = index;
            request.topics[0].partitions[0].partition_max_bytes = 1;
            let response = node.call::<Fetch>(17, request).await;
            let data = only(&response);
            (ErrorCode::from_code(data.error_code), length(data))
        };
        assert_eq!(read(0, 1).await, (ErrorCode::KafkaStorageError, 0), "{at}");
        assert!(matches!(
            try_append(&all[0], b"more"),
            Err(replica::Error::Storage(crate::log::Error::Offline { .. }))
        ));
        assert_eq!(read(0, 0).await, (ErrorCode::None, 73), "what is sound");
        assert_eq!(read(0, 3).await, (ErrorCode::None, 73));
        assert_eq!(read(1, 1).await, (ErrorCode::None, 73), "the other one");
        try_append(&all[1], b"more").unwrap();
        assert!(
            !node
                .broker
                .replicas()
                .directory_state()
                .borrow()
                .online
                .is_empty()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_is_needed_for_holds_up_nobody_else() {
    let mut node = Node::start().await;
    let topic = node.create_topic("t", 1, &[]).await;
    for n in 0..3 {
        append(&node, topic, format!("value {n}").as_bytes());
    }
    partition(&node, topic, 0).log().roll(NOW).unwrap();
    let warm = node.call::<Fetch>(17, fetch(topic, 1)).await;
    // The files of its first segment are not open now.
    let mut node = node.restarted().await;
    let led = partition(&node, topic, 0);
    let disk_reads = node.broker.replicas().disk_reads().clone();
    // All its threads are at work.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = Arc::new(std::sync::Mutex::new(wait));
    let threads = node.broker.settings().num_io_threads();
    let mut busy: Vec<_> = (0..threads)
        .map(|_| {
            let (disk_reads, wait) = (disk_reads.clone(), wait.clone());
            Box::pin(async move { disk_reads.run(move || wait.lock().unwrap().recv()).await })
        })
        .collect();
    for read in &mut busy {
        assert!(read.as_mut().now_or_never().is_none());
    }
    let Reply::Later(mut cold) = node.handle::<Fetch>(17, fetch(topic, 1)) else {
        panic!("it needs the disk")
    };
    assert!(cold.as_mut().now_or_never().is_none());
    // The same thread goes on with other requests, of the same partition, too.
    try_append(&led, b"value 3").unwrap();
    let end = FetchRequest {
        max_wait_ms: 0,
        ..fetch(topic, 3)
    };
    let Reply::Now(end) = node.handle::<Fetch>(17, end) else {
        panic!("it was just written")
    };
    assert_eq!((only(&end).high_watermark, length(only(&end))), (4, 75));
    assert!(cold.as_mut().now_or_never().is_none());
    drop(go);
    assert_eq!(length(only(&cold.await)), length(only(&warm)));
}
