//! A node through its socket: frames, headers, versions, order.

use dohle::messages::metadata_request::MetadataRequestTopic;
use dohle::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, Request, text};
use protocol_tests::{Connection, Node};

const BROKER: &str = include_str!("../fixtures/api_versions/broker.tsv");

async fn api_versions(connection: &mut Connection, version: i16) -> ApiVersionsResponse {
    let mut request = ApiVersionsRequest::default();
    if version >= 3 {
        request = request
            .with_client_software_name(text("test"))
            .with_client_software_version(text("1.0"));
    }
    connection.call(&request, version).await
}

#[tokio::test]
async fn every_advertised_api_has_all_versions_of_kafka() {
    let node = Node::start().await;
    let mut connection = node.connect().await;
    for version in 0..=4 {
        let response = api_versions(&mut connection, version).await;
        assert_eq!(response.error_code, 0);
        assert!(!response.api_keys.is_empty());
        for api in &response.api_keys {
            let row = BROKER
                .lines()
                .map(|line| line.split('\t').collect::<Vec<_>>());
            let row = row
                .into_iter()
                .find(|row| row[0] == api.api_key.to_string());
            let row =
                row.unwrap_or_else(|| panic!("Kafka's brokers do not serve key {}", api.api_key));
            let versions = [api.min_version.to_string(), api.max_version.to_string()];
            assert_eq!(&row[2..], versions, "{}", row[1]);
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn features_of_level_0_are_told_from_version_4_on() {
    let node = Node::start().await;
    let mut connection = node.connect().await;
    let names = |response: &ApiVersionsResponse| {
        response
            .supported_features
            .iter()
            .map(|feature| feature.name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(&api_versions(&mut connection, 3).await),
        ["metadata.version"]
    );
    assert_eq!(names(&api_versions(&mut connection, 4).await).len(), 7);
    node.stop().await;
}

/// A quorum with fixed voters has level 0, which is not told; one whose voters are in the log has level 1.
#[tokio::test]
async fn the_level_of_the_quorum_is_a_finalized_feature() {
    let voters_in_log = [
        ("controller.quorum.voters", ""),
        ("controller.quorum.bootstrap.servers", "127.0.0.1:0"),
    ];
    for (overrides, level) in [(&[][..], None), (&voters_in_log, Some(1))] {
        let node = Node::start_with(overrides).await;
        let response = api_versions(&mut node.connect().await, 4).await;
        let features = &response.finalized_features;
        let quorum = features
            .iter()
            .find(|feature| feature.name.as_str() == "kraft.version");
        assert_eq!(quorum.map(|feature| feature.max_version_level), level);
        assert_eq!(features.len(), 6 + usize::from(level.is_some()));
        node.stop().await;
    }
}

/// The bytes are those that Kafka 4.3.0 answers.
#[tokio::test]
async fn unknown_version_of_api_versions_is_answered_in_version_0() {
    let node = Node::start().await;
    let mut connection = node.connect().await;
    let id = connection
        .send_body(ApiVersionsRequest::KEY, 5, b"\x02a\x021\x00")
        .await;
    let frame = connection.receive_frame().await.expect("an answer");
    let expected = [
        &id.to_be_bytes()[..],
        &[0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4],
    ]
    .concat();
    assert_eq!(frame, expected);
    node.stop().await;
}

#[tokio::test]
async fn invalid_software_name_is_refused() {
    let node = Node::start().await;
    let mut connection = node.connect().await;
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("a b"))
        .with_client_software_version(text("1"));
    let response = connection.call(&request, 3).await;
    assert_eq!(response.error_code, 42);
    assert!(response.api_keys.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn what_cannot_be_served_closes_the_connection() {
    let node = Node::start().await;
    let unknown_key = (999, 0, &[][..]);
    let unknown_version = (MetadataRequest::KEY, 99, &[][..]);
    let produce_of_old_clients = (0, 2, &[][..]);
    // Arrays whose length is far beyond what follows: each would reserve gigabytes.
    let huge_acls = (30, 1, &[0x7f, 0xff, 0xff, 0xff][..]);
    let huge_metadata = (3, 4, &[0x7f, 0xff, 0xff, 0xff, 1][..]);
    let huge_produce = (
        0,
        3,
        &[0xff, 0xff, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff][..],
    );
    for (key, version, body) in [
        unknown_key,
        unknown_version,
        produce_of_old_clients,
        huge_acls,
        huge_metadata,
        huge_produce,
    ] {
        let mut connection = node.connect().await;
        connection.send_body(key, version, body).await;
        assert!(connection.is_closed().await, "key {key} version {version}");
    }
    for raw in [
        &(-1i32).to_be_bytes()[..],
        &i32::MAX.to_be_bytes(),
        &[0, 0, 0, 3, 1, 2, 3],
    ] {
        let mut connection = node.connect().await;
        connection.send_raw(raw).await;
        assert!(connection.is_closed().await, "{raw:?}");
    }
    node.stop().await;
}

#[tokio::test]
async fn answers_leave_in_the_order_of_the_requests() {
    let node = Node::start().await;
    let mut connection = node.connect().await;
    let mut sent = Vec::new();
    for version in [0, 1, 2].into_iter().cycle().take(1000) {
        sent.push((
            connection
                .send(&ApiVersionsRequest::default(), version)
                .await,
            version,
        ));
    }
    for (id, _) in sent {
        let frame = connection.receive_frame().await.expect("an answer");
        assert_eq!(frame[..4], id.to_be_bytes());
    }
    node.stop().await;
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let node = Node::start().await;
    let mut connection = node.connect().await;
    for byte in [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 5, 0xff, 0xff] {
        connection.send_raw(&[byte]).await;
        tokio::task::yield_now().await;
    }
    let frame = connection.receive_frame().await.expect("an answer");
    assert_eq!(frame[..6], [0, 0, 0, 5, 0, 0]);
    node.stop().await;
}

/// What a request takes that has begun and does not go on, others wait for; short ones do not.
#[tokio::test]
async fn long_requests_wait_for_memory_and_short_ones_are_served() {
    let bytes = "40000";
    let node = Node::start_with(&[
        ("socket.request.max.bytes", bytes),
        ("queued.max.request.bytes", bytes),
    ])
    .await;
    let mut slow = node.connect().await;
    let short = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    let long = 40_000_i32.to_be_bytes();
    slow.send_raw(&[&short[..], &long].concat()).await;
    // The answer to the short one leaves when the long one has taken its memory.
    slow.receive_frame().await.expect("an answer");

    let mut waiting = node.connect().await;
    let topic = MetadataRequestTopic::default().with_name(Some(text("x".repeat(30_000)).into()));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![topic]))
        .with_allow_auto_topic_creation(false);
    waiting.send(&request, 4).await;
    let mut other = node.connect().await;
    for version in 0..=4 {
        assert_eq!(api_versions(&mut other, version).await.error_code, 0);
    }
    tokio::select! {
        biased;
        closed = waiting.is_closed() => panic!("answered or closed: {closed}"),
        () = std::future::ready(()) => {}
    }
    drop(slow);
    let response = waiting.receive::<MetadataRequest>(4).await;
    assert_eq!(response.topics[0].error_code, 17);
    node.stop().await;
}
