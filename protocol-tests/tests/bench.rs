//! `dohle bench` against a node in this process: what it counts is what the logs hold.

use std::time::Duration;

use dohle::messages::MetadataRequest;
use dohle::tool::bench::{KeyDistributor, Outcome, Run, Workload};
use dohle::tool::client::Client;
use protocol_tests::Node;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

async fn measure(node: &Node, workload: Workload) -> Outcome {
    let client = Client::new(&node.address().to_string(), "test").expect("an address");
    let run = Run {
        broker_pid: Some(std::process::id()),
        ..Run::new(workload)
    };
    run.measure(client).await.expect("the run succeeds")
}

fn short() -> Workload {
    Workload {
        partitions_per_topic: 4,
        message_size: 200,
        producers_per_topic: 2,
        consumers_per_subscription: 2,
        warm_up: Duration::from_millis(100),
        duration: Duration::from_secs(1),
        ..Workload::default()
    }
}

async fn topics(node: &Node) -> usize {
    let request = MetadataRequest::default().with_topics(None);
    let response = node.connect().await.call(&request, 12).await;
    response.topics.len()
}

/// As after half an hour in which only the load's own connections were used.
#[tokio::test]
async fn a_connection_that_the_broker_closed_is_opened_again() {
    let node = Node::start_with(&[("connections.max.idle.ms", "200")]).await;
    let mut client = Client::new(&node.address().to_string(), "test").expect("an address");
    let request = MetadataRequest::default().with_topics(None);
    client.call(&request).await.expect("an answer");
    // Two that are idle one after the other: the client's was so for longer.
    for _ in 0..2 {
        let mut idle = TcpStream::connect(node.address()).await.expect("a place");
        let read = idle.read(&mut [0; 1]).await;
        assert_eq!(read.expect("closed in order"), 0);
    }
    client.call(&request).await.expect("an answer");
    node.stop().await;
}

#[tokio::test]
async fn an_open_loop_sends_what_is_due_and_consumers_get_all_of_it() {
    let node = Node::start().await;
    let workload = Workload {
        producer_rate: 2000.0,
        linger: Duration::from_millis(2),
        subscriptions_per_topic: 2,
        ..short()
    };
    let outcome = measure(&node, workload).await;
    assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    // 1.1 s of it, whether the machine was fast or not.
    assert_eq!(outcome.totals.records + outcome.unsent, 2200);
    assert_eq!(outcome.logged, outcome.totals.records);
    assert_eq!(outcome.totals.consumed, 2 * outcome.totals.records);
    // Latencies are of the records that were meant for the window of one second.
    assert_eq!(outcome.produce.len() + outcome.unsent, 2000);
    assert_eq!(outcome.end_to_end.len(), 2 * outcome.produce.len());
    assert!(outcome.end_to_end.max() > 0);
    assert!(outcome.broker.expect("its process is known").resident_bytes > 0);
    assert_eq!(topics(&node).await, 0, "the topics are deleted");
    node.stop().await;
}

#[tokio::test]
async fn idempotent_producers_with_keys_lose_and_repeat_nothing() {
    let node = Node::start().await;
    let workload = Workload {
        idempotent: true,
        key_distributor: KeyDistributor::Random,
        codec: dohle::record::compress::Codec::Lz4(9),
        batch_size: 2000,
        max_in_flight: 3,
        ..short()
    };
    let outcome = measure(&node, workload).await;
    assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    assert!(outcome.counts.records > 0);
    assert_eq!(outcome.logged, outcome.totals.records);
    assert_eq!(outcome.totals.consumed, outcome.totals.records);
    node.stop().await;
}

#[tokio::test]
async fn a_backlog_is_written_first_and_read_again_and_again() {
    let node = Node::start().await;
    let workload = Workload {
        consumer_backlog_bytes: 200 * 5000,
        pause_producers: true,
        read_repeatedly: true,
        fetch_max_wait: Duration::ZERO,
        ..short()
    };
    let outcome = measure(&node, workload).await;
    assert_eq!((outcome.backlog, outcome.logged), (5000, 5000));
    assert_eq!(outcome.totals.records, 0);
    assert!(outcome.totals.consumed > 5000);
    node.stop().await;
}

#[tokio::test]
async fn without_acks_what_was_sent_is_counted() {
    let node = Node::start().await;
    let workload = Workload {
        acks: 0,
        producer_rate: 1000.0,
        partitions_per_request: 2,
        burst: 20,
        batch_records: Some(10),
        ..short()
    };
    let outcome = measure(&node, workload).await;
    assert_eq!(outcome.totals.records + outcome.unsent, 1100);
    assert_eq!(outcome.totals.consumed, outcome.totals.records);
    node.stop().await;
}

#[tokio::test]
async fn transactions_are_committed_and_their_records_consumed() {
    let node = Node::start().await;
    let workload = Workload {
        records_per_transaction: Some(30),
        partitions_per_transaction: Some(3),
        ..short()
    };
    let outcome = measure(&node, workload).await;
    assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    assert_eq!(outcome.totals.consumed, outcome.totals.records);
    let transactions = outcome.totals.transactions;
    assert!(transactions > 2 && !outcome.transaction_ends.is_empty());
    assert!(outcome.totals.records <= 30 * transactions);
    assert_eq!(outcome.logged, outcome.totals.records);
    // A marker in each of three partitions, but that the last transaction of both producers may be cut short.
    let (markers, whole) = (outcome.totals.markers, 3 * transactions);
    assert!(
        (whole - 4..=whole).contains(&markers),
        "{markers} of {whole}"
    );
    node.stop().await;
}

/// The same load from librdkafka: `cargo test -p protocol-tests --features rdkafka --test bench`.
#[cfg(feature = "rdkafka")]
#[tokio::test]
async fn librdkafka_sends_what_is_due_and_its_consumers_get_all_of_it() {
    let node = Node::start().await;
    let workload = Workload {
        producer_rate: 2000.0,
        linger: Duration::from_millis(2),
        idempotent: true,
        key_distributor: KeyDistributor::Random,
        ..short()
    };
    let client = Client::new(&node.address().to_string(), "test").expect("an address");
    let run = Run {
        client: dohle::tool::bench::Kind::Librdkafka,
        ..Run::new(workload)
    };
    let outcome = run.measure(client).await.expect("the run succeeds");
    assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    assert_eq!(outcome.totals.records + outcome.unsent, 2200);
    assert_eq!(outcome.logged, outcome.totals.records);
    assert_eq!(outcome.totals.consumed, outcome.totals.records);
    assert_eq!(outcome.produce.len() + outcome.unsent, 2000);
    assert_eq!(outcome.end_to_end.len(), outcome.produce.len());
    node.stop().await;
}
