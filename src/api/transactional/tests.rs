//! A producer's way through the APIs of transactions.

use bytes::Bytes;

use super::*;
use crate::api::add_offsets_to_txn::AddOffsetsToTxn;
use crate::api::add_partitions_to_txn::AddPartitionsToTxn;
use crate::api::describe_transactions::DescribeTransactions;
use crate::api::end_txn::EndTxn;
use crate::api::fetch::Fetch;
use crate::api::find_coordinator::FindCoordinator;
use crate::api::init_producer_id::InitProducerId;
use crate::api::list_transactions::ListTransactions;
use crate::api::offset_fetch::OffsetFetch;
use crate::api::produce::Produce;
use crate::api::testing::Node;
use crate::api::txn_offset_commit::TxnOffsetCommit;
use crate::api::write_txn_markers::WriteTxnMarkers;
use crate::coordinator::LookUp;
use crate::coordinator::groups::GroupCoordinator;
use crate::coordinator::markers::Markers;
use crate::coordinator::transactions::TransactionCoordinator;
use crate::ids::Timestamp;
use crate::log::Origin;
use crate::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use crate::messages::fetch_request::{FetchPartition, FetchTopic};
use crate::messages::fetch_response::PartitionData;
use crate::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use crate::messages::produce_request::{PartitionProduceData, TopicProduceData};
use crate::messages::records::transaction::{
    PartitionsSchema, TransactionLogKey, TransactionLogValue, TransactionRecord,
};
use crate::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use crate::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use crate::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest,
    FetchRequest, FindCoordinatorRequest, GroupId, InitProducerIdRequest, ListTransactionsRequest,
    OffsetFetchRequest, ProduceRequest, TopicName, TransactionalId, TxnOffsetCommitRequest,
    WriteTxnMarkersRequest, text,
};
use crate::metadata::{Delta, Image, MetadataListener as _, Published};
use crate::record::{BatchBuilder, Producer};

fn id() -> TransactionalId {
    TransactionalId(text("tx"))
}

async fn coordinator(node: &mut Node, key_type: i8, key: &str) {
    let request = FindCoordinatorRequest::default()
        .with_key_type(key_type)
        .with_coordinator_keys(vec![text(key)]);
    let response = node.call::<FindCoordinator>(4, request).await;
    assert_eq!(response.coordinators[0].node_id.0, 1);
}

/// A node with the topic `t` and a coordinator, and the first producer of `tx`.
async fn begin() -> (Node, ProducerIdAndEpoch) {
    let mut node = Node::start().await;
    node.create_topic("t", 2, &[]).await;
    coordinator(&mut node, 1, "tx").await;
    let producer = init(&mut node).await.unwrap();
    assert_eq!(producer.epoch.0, 0);
    (node, producer)
}

async fn init(node: &mut Node) -> Result<ProducerIdAndEpoch, ErrorCode> {
    let request = InitProducerIdRequest {
        transactional_id: Some(text("tx")),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let response = node.call::<InitProducerId>(4, request).await;
    match ErrorCode::from_code(response.error_code) {
        ErrorCode::None => Ok(producer(response.producer_id, response.producer_epoch)),
        code => Err(code),
    }
}

fn batch(producer: ProducerIdAndEpoch, sequence: i32) -> Bytes {
    let producer = Producer {
        id: producer.id,
        epoch: producer.epoch,
        base_sequence: sequence,
    };
    let mut builder = BatchBuilder::new().producer(producer).transactional(true);
    builder.append(Timestamp(1_700_000_000_000), None, Some(b"value"));
    builder.build().bytes
}

async fn produce(
    node: &mut Node,
    version: i16,
    producer: ProducerIdAndEpoch,
    sequence: i32,
) -> ErrorCode {
    let data = PartitionProduceData {
        records: Some(batch(producer, sequence)),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: text("t"),
        partition_data: vec![data],
        ..Default::default()
    };
    let request = ProduceRequest {
        transactional_id: Some(text("tx")),
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![topic],
        ..Default::default()
    };
    let response = node.call::<Produce>(version, request).await;
    ErrorCode::from_code(response.responses[0].partition_responses[0].error_code)
}

async fn end(
    node: &mut Node,
    version: i16,
    producer: ProducerIdAndEpoch,
    commit: bool,
) -> Result<ProducerIdAndEpoch, ErrorCode> {
    let request = EndTxnRequest::default()
        .with_transactional_id(id())
        .with_producer_id(producer.id.0.into())
        .with_producer_epoch(producer.epoch.0)
        .with_committed(commit);
    let response = node.call::<EndTxn>(version, request).await;
    match ErrorCode::from_code(response.error_code) {
        ErrorCode::None => Ok(super::producer(
            response.producer_id.0,
            response.producer_epoch,
        )),
        code => Err(code),
    }
}

async fn add(
    node: &mut Node,
    version: i16,
    producer: ProducerIdAndEpoch,
    verify_only: bool,
) -> ErrorCode {
    let topics = vec![
        AddPartitionsToTxnTopic::default()
            .with_name(TopicName(text("t")))
            .with_partitions(vec![0]),
    ];
    let request = AddPartitionsToTxnRequest::default();
    let request = if version < 4 {
        request
            .with_v3_and_below_transactional_id(id())
            .with_v3_and_below_producer_id(producer.id.0.into())
            .with_v3_and_below_producer_epoch(producer.epoch.0)
            .with_v3_and_below_topics(topics)
    } else {
        request.with_transactions(vec![
            AddPartitionsToTxnTransaction::default()
                .with_transactional_id(id())
                .with_producer_id(producer.id.0.into())
                .with_producer_epoch(producer.epoch.0)
                .with_verify_only(verify_only)
                .with_topics(topics),
        ])
    };
    let response = node.call::<AddPartitionsToTxn>(version, request).await;
    let results = match version {
        ..4 => &response.results_by_topic_v3_and_below,
        _ => &response.results_by_transaction[0].topic_results,
    };
    ErrorCode::from_code(results[0].results_by_partition[0].partition_error_code)
}

async fn state(node: &mut Node) -> String {
    let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![id()]);
    let response = node.call::<DescribeTransactions>(0, request).await;
    response.transaction_states[0].transaction_state.to_string()
}

/// Once the coordinator has read its partition.
async fn loaded(node: &mut Node) -> String {
    loop {
        let state = state(node).await;
        if !state.is_empty() {
            return state;
        }
        tokio::task::yield_now().await;
    }
}

/// Until the markers are written.
async fn completed(node: &mut Node) -> String {
    loop {
        let state = state(node).await;
        if state.starts_with("Complete") {
            return state;
        }
        tokio::task::yield_now().await;
    }
}

async fn read_committed(node: &mut Node) -> PartitionData {
    let partition = FetchPartition {
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic: text("t"),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = FetchRequest {
        session_epoch: -1,
        isolation_level: 1,
        topics: vec![topic],
        ..Default::default()
    };
    let response = node.call::<Fetch>(12, request).await;
    response.responses[0].partitions[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_transaction_has_an_epoch_and_adds_its_partitions_by_itself() {
    let (mut node, first) = begin().await;
    assert_eq!(produce(&mut node, 12, first, 0).await, ErrorCode::None);
    assert_eq!(state(&mut node).await, "Ongoing");
    assert_eq!(read_committed(&mut node).await.last_stable_offset, 0);
    let second = end(&mut node, 5, first, true).await.unwrap();
    assert_eq!((second.id, second.epoch.0), (first.id, 1));
    // This waits for the markers of the first one.
    assert_eq!(produce(&mut node, 12, second, 0).await, ErrorCode::None);
    let data = read_committed(&mut node).await;
    assert_eq!((data.last_stable_offset, data.high_watermark), (2, 3));
    let third = end(&mut node, 5, second, false).await.unwrap();
    assert_eq!(third.epoch.0, 2);
    assert_eq!(completed(&mut node).await, "CompleteAbort");
    let data = read_committed(&mut node).await;
    assert_eq!((data.last_stable_offset, data.high_watermark), (4, 4));
    let aborted = data.aborted_transactions.unwrap();
    assert_eq!((aborted.len(), aborted[0].first_offset), (1, 2));
    // A late record of a transaction that is over.
    let late = produce(&mut node, 12, first, 1).await;
    assert_eq!(late, ErrorCode::InvalidProducerEpoch);
    let fenced = end(&mut node, 5, first, true).await;
    assert_eq!(fenced, Err(ErrorCode::ProducerFenced));
    assert_eq!(
        end(&mut node, 1, first, true).await,
        Err(ErrorCode::InvalidProducerEpoch)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_old_producers_are_verified() {
    let (mut node, first) = begin().await;
    let unverified = [
        (9, ErrorCode::InvalidTxnState),
        (11, ErrorCode::TransactionAbortable),
    ];
    for (version, code) in unverified {
        assert_eq!(produce(&mut node, version, first, 0).await, code);
    }
    assert_eq!(
        add(&mut node, 4, first, true).await,
        ErrorCode::TransactionAbortable
    );
    assert_eq!(add(&mut node, 3, first, false).await, ErrorCode::None);
    assert_eq!(add(&mut node, 4, first, true).await, ErrorCode::None);
    assert_eq!(produce(&mut node, 11, first, 0).await, ErrorCode::None);
    assert_eq!(produce(&mut node, 11, first, 1).await, ErrorCode::None);
    end(&mut node, 4, first, true).await.unwrap();
    assert_eq!(completed(&mut node).await, "CompleteCommit");
    assert_eq!(read_committed(&mut node).await.last_stable_offset, 3);
    // Without being added again the next transaction does not begin.
    let unverified = produce(&mut node, 11, first, 2).await;
    assert_eq!(unverified, ErrorCode::TransactionAbortable);
    let stranger = producer(first.id.0 + 1, 0);
    assert_eq!(
        produce(&mut node, 12, stranger, 0).await,
        ErrorCode::InvalidProducerIdMapping
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_producer_fences_the_first() {
    let (mut node, first) = begin().await;
    assert_eq!(produce(&mut node, 12, first, 0).await, ErrorCode::None);
    assert_eq!(
        init(&mut node).await,
        Err(ErrorCode::ConcurrentTransactions)
    );
    assert_eq!(completed(&mut node).await, "CompleteAbort");
    assert_eq!(init(&mut node).await, Ok(producer(first.id.0, 2)));
    assert_eq!(
        produce(&mut node, 12, first, 1).await,
        ErrorCode::InvalidProducerEpoch
    );
    let request = ListTransactionsRequest::default()
        .with_state_filters(vec![text("Empty"), text("None")])
        .with_duration_filter(-1);
    let listed = node.call::<ListTransactions>(1, request).await;
    assert_eq!(listed.unknown_state_filters, [text("None")]);
    assert_eq!(listed.transaction_states[0].producer_id.0, first.id.0);
    let request = ListTransactionsRequest::default().with_transactional_id_pattern(Some(text("(")));
    let refused = node.call::<ListTransactions>(2, request).await;
    assert_eq!(
        refused.error_code,
        ErrorCode::InvalidRegularExpression.code()
    );
}

async fn commit_offset(
    node: &mut Node,
    version: i16,
    producer: ProducerIdAndEpoch,
    offset: i64,
) -> ErrorCode {
    let partition = TxnOffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset);
    let topic = TxnOffsetCommitRequestTopic::default()
        .with_name(TopicName(text("t")))
        .with_partitions(vec![partition]);
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(id())
        .with_group_id(GroupId(text("g")))
        .with_producer_id(producer.id.0.into())
        .with_producer_epoch(producer.epoch.0)
        .with_generation_id(-1)
        .with_topics(vec![topic]);
    let response = node.call::<TxnOffsetCommit>(version, request).await;
    ErrorCode::from_code(response.topics[0].partitions[0].error_code)
}

/// The committed offset, and the error of a reader that wants stable ones.
async fn offset(node: &mut Node) -> (i64, ErrorCode) {
    let topic = OffsetFetchRequestTopics {
        name: text("t"),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let group = OffsetFetchRequestGroup {
        group_id: text("g"),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let request = OffsetFetchRequest {
        groups: vec![group],
        require_stable: true,
        ..Default::default()
    };
    let response = node.call::<OffsetFetch>(9, request).await;
    let partition = &response.groups[0].topics[0].partitions[0];
    (
        partition.committed_offset,
        ErrorCode::from_code(partition.error_code),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_count_when_their_transaction_is_committed() {
    let (mut node, first) = begin().await;
    coordinator(&mut node, 0, "g").await;
    assert_eq!(
        commit_offset(&mut node, 3, first, 5).await,
        ErrorCode::InvalidTxnState
    );
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(id())
        .with_producer_id(first.id.0.into())
        .with_producer_epoch(0)
        .with_group_id(GroupId(text("g")));
    let added = node.call::<AddOffsetsToTxn>(3, request).await;
    assert_eq!(added.error_code, 0);
    assert_eq!(commit_offset(&mut node, 3, first, 5).await, ErrorCode::None);
    assert_eq!(
        offset(&mut node).await,
        (-1, ErrorCode::UnstableOffsetCommit)
    );
    end(&mut node, 4, first, true).await.unwrap();
    completed(&mut node).await;
    assert_eq!(offset(&mut node).await, (5, ErrorCode::None));
    // The way of newer producers, and an abort.
    assert_eq!(commit_offset(&mut node, 5, first, 7).await, ErrorCode::None);
    let second = end(&mut node, 5, first, false).await.unwrap();
    assert_eq!(second.epoch.0, 1);
    completed(&mut node).await;
    assert_eq!(offset(&mut node).await, (5, ErrorCode::None));
    assert_eq!(
        commit_offset(&mut node, 5, first, 9).await,
        ErrorCode::InvalidProducerEpoch
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn markers_of_other_coordinators_are_written() {
    let (mut node, first) = begin().await;
    assert_eq!(produce(&mut node, 12, first, 0).await, ErrorCode::None);
    let marker = |epoch, coordinator_epoch| WritableTxnMarker {
        producer_id: first.id.0,
        producer_epoch: epoch,
        transaction_result: false,
        coordinator_epoch,
        transaction_version: 2,
        topics: vec![WritableTxnMarkerTopic {
            name: text("t"),
            partition_indexes: vec![0, 9],
            ..Default::default()
        }],
        ..Default::default()
    };
    let request = WriteTxnMarkersRequest {
        markers: vec![marker(0, 5), marker(1, 5), marker(2, 4)],
        ..Default::default()
    };
    let response = node.call::<WriteTxnMarkers>(2, request).await;
    assert_eq!(response.markers.len(), 1);
    let codes: Vec<ErrorCode> = response.markers[0].topics[0]
        .partitions
        .iter()
        .filter(|partition| partition.partition_index == 0)
        .map(|partition| ErrorCode::from_code(partition.error_code))
        .collect();
    assert_eq!(
        codes,
        [
            ErrorCode::InvalidProducerEpoch,
            ErrorCode::None,
            ErrorCode::TransactionCoordinatorFenced
        ]
    );
    let unknown = &response.markers[0].topics[0].partitions[1];
    assert_eq!(
        unknown.error_code,
        ErrorCode::UnknownTopicOrPartition.code()
    );
    assert_eq!(read_committed(&mut node).await.last_stable_offset, 2);
}

/// A decision as a coordinator may have left it when it died: written, and no marker sent.
async fn decide(node: &Node, producer: ProducerIdAndEpoch) {
    let key = TransactionLogKey {
        transactional_id: text("tx"),
        ..Default::default()
    };
    let value = TransactionLogValue {
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0 + 1,
        transaction_timeout_ms: 60_000,
        transaction_status: 2,
        transaction_partitions: Some(vec![PartitionsSchema {
            topic: text("t"),
            partition_ids: vec![0, 1],
            ..Default::default()
        }]),
        client_transaction_version: 2,
        ..Default::default()
    };
    let record = TransactionRecord::TransactionLog(key, Some(value));
    let (key, value) = record.encode(1).unwrap();
    let mut builder = BatchBuilder::new();
    let now = node.broker.clock().now();
    builder.append(now, Some(&key), value.as_deref());
    let partition = node.broker.transactions().partition_for("tx");
    let replicas = node.broker.replicas();
    let replica = replicas.by_name(&node.broker.image(), TRANSACTION_STATE, partition);
    let batch = builder.build_valid();
    replica
        .unwrap()
        .append_as_leader(&batch, Origin::Coordinator, -1, None, now)
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_coordinator_writes_the_markers_that_its_predecessor_did_not() {
    let (mut node, first) = begin().await;
    assert_eq!(produce(&mut node, 12, first, 0).await, ErrorCode::None);
    decide(&node, first).await;
    node = node.restarted().await;
    assert_eq!(completed(&mut node).await, "CompleteCommit");
    let data = read_committed(&mut node).await;
    assert_eq!((data.last_stable_offset, data.high_watermark), (2, 2));
    assert_eq!(data.aborted_transactions, Some(Vec::new()));
    // It goes on where the decision left it.
    let second = producer(first.id.0, 1);
    assert_eq!(produce(&mut node, 12, second, 0).await, ErrorCode::None);
    // What is open stays open over a restart.
    node = node.restarted().await;
    assert_eq!(loaded(&mut node).await, "Ongoing");
    assert_eq!(end(&mut node, 5, second, false).await.unwrap().epoch.0, 2);
    assert_eq!(completed(&mut node).await, "CompleteAbort");
}

/// A coordinator hears of an image before it is published; the one before names no partitions when a node starts.
#[tokio::test(flavor = "multi_thread")]
async fn no_marker_is_left_out_by_an_image_of_before() {
    let (mut node, first) = begin().await;
    assert_eq!(produce(&mut node, 12, first, 0).await, ErrorCode::None);
    decide(&node, first).await;
    let (settings, clock) = (node.broker.settings(), node.broker.clock());
    let look_up = || -> LookUp {
        let replicas = node.broker.replicas().clone();
        Box::new(move |topic, partition| replicas.get(topic, partition).ok())
    };
    let groups = Arc::new(GroupCoordinator::start(settings, clock.clone(), look_up()));
    let timeout = std::time::Duration::from_secs(30);
    let markers = Markers::new(look_up(), groups, clock.clone(), timeout);
    let published = Arc::new(Published::of(Image::empty()));
    let starting = TransactionCoordinator::start(
        settings,
        clock.clone(),
        published.clone(),
        Arc::new(markers),
        look_up(),
    );
    let image = node.broker.image();
    starting.apply(&image, &Delta::default());
    let state = async || {
        let describe = Request::Describe { id: "tx".into() };
        match hear(starting.ask("tx", describe)).await {
            Ok(Response::Describe(state)) => state.transaction_state.to_string(),
            _ => String::new(),
        }
    };
    while state().await.is_empty() {
        tokio::task::yield_now().await;
    }
    // As much time as it had to go wrong.
    for _ in 0..1000 {
        assert_eq!(state().await, "PrepareCommit");
        tokio::task::yield_now().await;
    }
    published.publish(image);
    while state().await != "CompleteCommit" {
        tokio::task::yield_now().await;
    }
    let data = read_committed(&mut node).await;
    assert_eq!((data.last_stable_offset, data.high_watermark), (2, 2));
}
