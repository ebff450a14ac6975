//! The requests of transactions, right and wrong ones, answered as Kafka 4.3.0 answered them: byte for byte but for the
//! order of partitions and transactions where Kafka's is that of a hash map.

use bytes::Bytes;
use dohle::messages::add_partitions_to_txn_response::AddPartitionsToTxnTopicResult;
use dohle::messages::create_topics_request::CreatableTopic;
use dohle::messages::update_features_request::FeatureUpdateKey;
use dohle::messages::{
    AddPartitionsToTxnResponse, CreateTopicsRequest, FindCoordinatorRequest,
    ListTransactionsRequest, ListTransactionsResponse, Message, ResponseHeader, TopicName,
    UpdateFeaturesRequest, text,
};
use protocol_tests::exchange::{Exchange, exchanges};
use protocol_tests::{Connection, Node, within};

const TRANSACTIONS: &str = include_str!("../fixtures/transactions/transactions.tsv");
const LEVEL_0: &str = include_str!("../fixtures/transactions/level-0.tsv");
const TWO_PHASE: &str = include_str!("../fixtures/transactions/two-phase.tsv");
const NOT_TWO_PHASE: &str = include_str!("../fixtures/transactions/two-phase-disabled.tsv");

const TRANSACTION_VERSION: &str = "transaction.version";
/// The upgrade type of UpdateFeatures that loses nothing.
const SAFE_DOWNGRADE: i8 = 2;

/// The type of key of FindCoordinator that is a transactional id.
const TRANSACTION: i8 = 1;

#[tokio::test]
async fn transactions_are_answered_as_by_kafka() {
    check(TRANSACTIONS, &[], 2).await;
}

#[tokio::test]
async fn without_transaction_version_too() {
    check(LEVEL_0, &[], 0).await;
}

#[tokio::test]
async fn two_phase_commits_too() {
    for (fixture, enabled) in [(TWO_PHASE, "true"), (NOT_TWO_PHASE, "false")] {
        let settings = [
            ("unstable.api.versions.enable", "true"),
            ("unstable.feature.versions.enable", "true"),
            ("transaction.two.phase.commit.enable", enabled),
        ];
        check(fixture, &settings, 2).await;
    }
}

/// Asks a new node whose `transaction.version` has this level all that stands in a fixture.
async fn check(fixture: &str, settings: &[(&str, &str)], level: i16) {
    let one = [
        ("offsets.topic.num.partitions", "1"),
        ("transaction.state.log.num.partitions", "1"),
    ];
    let node = Node::start_with(&[&one, settings].concat()).await;
    let mut connection = node.connect().await;
    set_level(&node, &mut connection, level).await;
    prepare(&mut connection).await;
    let mut different = Vec::new();
    for exchange in exchanges(fixture) {
        let (key, version) = (exchange.key, exchange.version);
        connection.send_body(key, version, &exchange.request).await;
        let mut answer = connection.receive_frame().await.expect("an answer");
        ResponseHeader::read(&mut answer, key, version).expect("a header");
        let ours = shown(&exchange, &answer);
        let theirs = shown(&exchange, &exchange.response);
        if ours != theirs {
            different.push(format!(
                "{}\nours    {ours}\nkafka's {theirs}",
                exchange.line
            ));
        }
        settle(&mut connection).await;
    }
    assert!(different.is_empty(), "{}", different.join("\n\n"));
    node.stop().await;
}

async fn set_level(node: &Node, connection: &mut Connection, level: i16) {
    let current = || node.broker().image().features().level(TRANSACTION_VERSION);
    if current() == level {
        return;
    }
    let update = FeatureUpdateKey::default()
        .with_feature(text(TRANSACTION_VERSION))
        .with_max_version_level(level)
        .with_upgrade_type(SAFE_DOWNGRADE);
    let request = UpdateFeaturesRequest::default()
        .with_timeout_ms(60_000)
        .with_feature_updates(vec![update]);
    let updated = connection.call(&request, 1).await;
    assert_eq!(updated.error_code, 0);
    within("the level", async {
        while current() != level {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// The topics `a` and `b` of two partitions, and those of the coordinators.
async fn prepare(connection: &mut Connection) {
    let topic = |name| {
        CreatableTopic::default()
            .with_name(TopicName(text(name)))
            .with_num_partitions(2)
            .with_replication_factor(1)
    };
    let create = CreateTopicsRequest::default()
        .with_topics(vec![topic("a"), topic("b")])
        .with_timeout_ms(10_000);
    let created = connection.call(&create, 5).await;
    assert!(created.topics.iter().all(|it| it.error_code == 0));
    for key_type in [TRANSACTION, 0] {
        let find = FindCoordinatorRequest::default()
            .with_key(text("t"))
            .with_key_type(key_type);
        let found = connection.call(&find, 3).await;
        assert_eq!(found.error_code, 0, "the answer waits for the topic");
    }
}

/// Waits until no transaction is being ended, as the recorder slept.
async fn settle(connection: &mut Connection) {
    let prepared = ["PrepareCommit", "PrepareAbort"].map(text).to_vec();
    let request = ListTransactionsRequest::default().with_state_filters(prepared);
    within("the transactions' ends", async {
        while !connection
            .call(&request, 0)
            .await
            .transaction_states
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A response as text in which the order of a hash map does not show.
fn shown(exchange: &Exchange<'_>, body: &[u8]) -> String {
    let bytes = Bytes::copy_from_slice(body);
    let version = exchange.version;
    match exchange.api {
        "AddPartitionsToTxn" => {
            let mut response =
                AddPartitionsToTxnResponse::decode_exact(bytes, version).expect("a response");
            response
                .results_by_transaction
                .sort_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
            let inner = response.results_by_transaction.iter_mut();
            inner.for_each(|it| sort(&mut it.topic_results));
            sort(&mut response.results_by_topic_v3_and_below);
            format!("{response:?}")
        }
        "ListTransactions" => {
            let mut response =
                ListTransactionsResponse::decode_exact(bytes, version).expect("a response");
            response
                .transaction_states
                .sort_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
            format!("{response:?}")
        }
        _ => body.escape_ascii().to_string(),
    }
}

fn sort(topics: &mut [AddPartitionsToTxnTopicResult]) {
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    for topic in topics {
        topic
            .results_by_partition
            .sort_by_key(|it| it.partition_index);
    }
}
