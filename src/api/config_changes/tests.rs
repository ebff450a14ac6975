//! Kafka's answers to changes of settings (`protocol-tests/fixtures/configs`), and ours to the same requests.

use std::path::Path;

use bytes::Bytes;

use crate::api::Api;
use crate::api::alter_configs::AlterConfigs;
use crate::api::create_topics::CreateTopics;
use crate::api::describe_configs::DescribeConfigs;
use crate::api::incremental_alter_configs::IncrementalAlterConfigs;
use crate::api::list_config_resources::ListConfigResources;
use crate::api::testing::Node;
use crate::clock::Clock;
use crate::ids::{KafkaUuid, LeaderEpoch, PartitionIndex, ProducerEpoch, ProducerId};
use crate::log::Origin;
use crate::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use crate::messages::list_config_resources_response::ConfigResource;
use crate::messages::{
    DescribeConfigsResponse, IncrementalAlterConfigsRequest, ListConfigResourcesResponse, Message,
    Request, Writer, text,
};
use crate::record::{BatchBuilder, Producer};
use crate::replica::Partition;

fn unhex(text: &str) -> Bytes {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// One line of the fixture.
struct Asked<'a> {
    line: usize,
    version: i16,
    request: &'a str,
    response: &'a str,
}

impl Asked<'_> {
    /// Asks the same, and tells both requests where a client of that version sees another answer.
    async fn check<A: Api>(
        &self,
        node: &mut Node,
        as_compared: impl Fn(&mut <A::Request as Request>::Response),
    ) -> Result<(), String> {
        let request = A::Request::decode(unhex(self.request), self.version).unwrap();
        let asked = format!("{request:?}");
        let ours = node.call::<A>(self.version, request).await;
        let mut out = Writer::new();
        ours.encode(&mut out, self.version).unwrap();
        let decode = |bytes| {
            let mut response =
                <A::Request as Request>::Response::decode_exact(bytes, self.version).unwrap();
            as_compared(&mut response);
            format!("{response:?}")
        };
        let (ours, kafkas) = (decode(out.into_bytes()), decode(unhex(self.response)));
        if ours == kafkas {
            return Ok(());
        }
        Err(format!(
            "line {}: {asked}\n  ours:   {ours}\n  Kafka's: {kafkas}",
            self.line
        ))
    }
}

/// Kafka answers in the order of a hash table.
fn sort(response: &mut DescribeConfigsResponse) {
    for result in &mut response.results {
        result.configs.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

#[tokio::test]
async fn changes_are_answered_as_by_kafka() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol-tests/fixtures/configs/configs.tsv");
    let mut node = Node::start().await;
    let mut differences = Vec::new();
    for (at, line) in std::fs::read_to_string(path).unwrap().lines().enumerate() {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[api, version, request, response] = &fields[..] else {
            continue;
        };
        let asked = Asked {
            line: at + 1,
            version: version.parse().unwrap(),
            request,
            response,
        };
        let node = &mut node;
        let checked = match api {
            // What matters of it is in fixtures/topics.
            "CreateTopics" => {
                let _ = asked.check::<CreateTopics>(node, |_| {}).await;
                Ok(())
            }
            "AlterConfigs" => asked.check::<AlterConfigs>(node, |_| {}).await,
            "IncrementalAlterConfigs" => asked.check::<IncrementalAlterConfigs>(node, |_| {}).await,
            "DescribeConfigs" => asked.check::<DescribeConfigs>(node, sort).await,
            "ListConfigResources" => {
                let sort = |response: &mut ListConfigResourcesResponse| {
                    let key = |resource: &ConfigResource| {
                        (resource.resource_type, resource.resource_name.clone())
                    };
                    response.config_resources.sort_by_key(key);
                };
                asked.check::<ListConfigResources>(node, sort).await
            }
            other => panic!("{other} is not asked"),
        };
        differences.extend(checked.err());
    }
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        differences.join("\n")
    );
}

async fn set(node: &mut Node, kind: i8, name: &str, setting: &str, value: Option<&str>) {
    let config = AlterableConfig::default()
        .with_name(text(setting))
        .with_config_operation(i8::from(value.is_none()))
        .with_value(value.map(text));
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let response = node.call::<IncrementalAlterConfigs>(1, request).await;
    assert_eq!(response.responses[0].error_code, 0, "{response:?}");
}

#[tokio::test]
async fn open_logs_follow_their_settings() {
    const TOPIC: i8 = 2;
    const BROKER: i8 = 4;
    let mut node = Node::start().await;
    let own = node
        .create_topic("own", 1, &[("retention.ms", "1000")])
        .await;
    let inherits = node.create_topic("inherits", 1, &[]).await;
    let [own, inherits] = [own, inherits].map(|id| {
        let partition = node.broker.replicas().get(KafkaUuid(id), PartitionIndex(0));
        partition.unwrap()
    });
    let retention = |partition: &Partition| {
        assert_eq!(
            partition.log().config().retention_ms,
            partition.config().log.retention_ms
        );
        partition.config().log.retention_ms
    };
    set(&mut node, BROKER, "", "log.retention.ms", Some("2000")).await;
    assert_eq!((retention(&own), retention(&inherits)), (1000, 2000));
    set(&mut node, BROKER, "1", "log.retention.ms", Some("3000")).await;
    assert_eq!((retention(&own), retention(&inherits)), (1000, 3000));
    set(&mut node, TOPIC, "own", "retention.ms", None).await;
    set(&mut node, TOPIC, "inherits", "retention.ms", Some("4000")).await;
    assert_eq!((retention(&own), retention(&inherits)), (3000, 4000));
    set(&mut node, BROKER, "1", "message.max.bytes", Some("100")).await;
    assert_eq!(inherits.config().rules.max_message_bytes, 100);
    set(
        &mut node,
        TOPIC,
        "inherits",
        "max.message.bytes",
        Some("200"),
    )
    .await;
    assert_eq!(inherits.config().rules.max_message_bytes, 200);
    assert_eq!(own.config().rules.max_message_bytes, 100);
}

#[tokio::test]
async fn what_was_set_holds_after_a_restart() {
    const TOPIC: i8 = 2;
    const BROKER: i8 = 4;
    let mut node = Node::start().await;
    let topic = node.create_topic("t", 1, &[]).await;
    set(&mut node, BROKER, "", "log.cleaner.backoff.ms", Some("111")).await;
    set(
        &mut node,
        BROKER,
        "",
        "log.cleaner.io.buffer.size",
        Some("600000"),
    )
    .await;
    set(
        &mut node,
        BROKER,
        "1",
        "log.cleaner.io.buffer.size",
        Some("700000"),
    )
    .await;
    set(&mut node, BROKER, "1", "log.retention.ms", Some("3000")).await;
    set(&mut node, TOPIC, "t", "segment.ms", Some("4000")).await;
    for _ in 0..2 {
        let settings = node.broker.current_settings().now();
        assert_eq!(settings.long("log.cleaner.backoff.ms"), 111);
        assert_eq!(settings.int("log.cleaner.io.buffer.size"), 700_000);
        let partition = node
            .broker
            .replicas()
            .get(KafkaUuid(topic), PartitionIndex(0))
            .unwrap();
        let config = partition.log().config();
        assert_eq!((config.retention_ms, config.segment_ms), (3000, 4000));
        drop((partition, settings));
        node = node.restarted().await;
    }
}

#[tokio::test]
async fn logs_are_opened_with_what_was_set() {
    let mut node = Node::start().await;
    let topic = node.create_topic("t", 1, &[]).await;
    let log = |node: &Node| {
        let replicas = node.broker.replicas();
        let partition = replicas.get(KafkaUuid(topic), PartitionIndex(0));
        partition.unwrap().log().clone()
    };
    let an_hour_ago = Clock::system().now().plus_ms(-3_600_000);
    let mut batch = BatchBuilder::new().producer(Producer {
        id: ProducerId(7),
        epoch: ProducerEpoch(0),
        base_sequence: 0,
    });
    batch.append(an_hour_ago, None, Some(b"value"));
    log(&node)
        .append_as_leader(
            &batch.build_valid(),
            LeaderEpoch(0),
            Origin::Coordinator,
            an_hour_ago,
        )
        .unwrap();
    node = node.restarted().await;
    assert_eq!(log(&node).producers().len(), 1);
    set(&mut node, 4, "", "producer.id.expiration.ms", Some("60000")).await;
    node = node.restarted().await;
    assert_eq!(log(&node).producers().len(), 0);
}
