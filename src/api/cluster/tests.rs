//! Kafka's answers to Metadata and the Describe* requests (`protocol-tests/fixtures/describe`), and ours over the same
//! cluster: the one that `fixtures/topics` makes.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::View;
use crate::api::{
    auto_topics, describe_cluster, describe_configs, describe_topic_partitions, metadata,
};
use crate::config::Settings;
use crate::controller::{Answer, Command, Machine, Seeded};
use crate::ids::{LeaderEpoch, SteadyTime, Timestamp};
use crate::messages::broker_registration_request::{Feature, Listener};
use crate::messages::*;
use crate::metadata::{Image, Provenance};

const CLUSTER_ID: &str = "n2m8VcnBRlW5n78OhLp-dA";

/// A node as the one that was asked.
struct Node {
    settings: Arc<Settings>,
    machine: Machine,
    image: Image,
    random: Seeded,
}

impl Node {
    fn new() -> Node {
        let given = [
            (
                "listeners",
                "PLAINTEXT://127.0.0.1:23400,CONTROLLER://127.0.0.1:23401",
            ),
            ("group.initial.rebalance.delay.ms", "0"),
        ];
        let settings = Arc::new(
            Settings::default_for(Path::new("data"))
                .with(&given)
                .unwrap(),
        );
        let machine = Machine::new(CLUSTER_ID, settings.clone());
        let mut node = Node {
            settings,
            machine,
            image: Image::empty(),
            random: Seeded::new(1),
        };
        let bootstrap = crate::controller::default_bootstrap();
        node.give(Command::Activate {
            in_transaction: false,
            bootstrap,
        });
        node.start(-1);
        node
    }

    /// Registers a new incarnation, after one that stopped with this epoch.
    fn start(&mut self, previous_epoch: i64) {
        let listener = Listener::default()
            .with_name(text("PLAINTEXT"))
            .with_host(text("127.0.0.1"))
            .with_port(23400);
        let features = crate::config::features::FEATURES.iter().map(|feature| {
            let range = Feature::default().with_name(text(feature.name));
            range
                .with_min_supported_version(feature.min)
                .with_max_supported_version(feature.max)
        });
        let incarnation = self.image.provenance().end_offset.0 as u128;
        let registration = BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(1))
            .with_cluster_id(text(CLUSTER_ID))
            .with_incarnation_id(Uuid::from_u128(incarnation))
            .with_listeners(vec![listener])
            .with_features(features.collect())
            .with_rack(None)
            .with_log_dirs(vec![Uuid::from_u128(1000)])
            .with_previous_broker_epoch(previous_epoch);
        self.give(Command::RegisterBroker(registration));
        self.heartbeat(|_| {});
    }

    fn heartbeat(&mut self, wish: impl FnOnce(&mut BrokerHeartbeatRequest)) {
        let mut request = BrokerHeartbeatRequest {
            broker_id: 1,
            broker_epoch: self.epoch(),
            current_metadata_offset: i64::MAX,
            ..Default::default()
        };
        wish(&mut request);
        self.give(Command::BrokerHeartbeat(request));
    }

    fn epoch(&self) -> i64 {
        self.image.brokers().iter().next().unwrap().epoch.0
    }

    fn restart(&mut self) {
        for _ in 0..2 {
            self.heartbeat(|request| request.want_shut_down = true);
        }
        let bootstrap = crate::controller::default_bootstrap();
        self.machine = Machine::new(CLUSTER_ID, self.settings.clone());
        self.give(Command::Activate {
            in_transaction: false,
            bootstrap,
        });
        self.start(self.epoch());
    }

    fn give(&mut self, command: Command) -> Answer {
        let decision = self
            .machine
            .decide(&self.image, &command, SteadyTime(1), &mut self.random);
        let end_offset = self.image.provenance().end_offset + decision.records.len() as i64;
        let provenance = Provenance {
            end_offset,
            epoch: LeaderEpoch(1),
            timestamp: Timestamp(1),
        };
        self.image = self.image.apply(&decision.records, provenance).unwrap().0;
        decision.answer
    }

    fn create(&mut self, names: &[TopicName]) {
        let topics = names
            .iter()
            .map(|name| auto_topics::topic(&self.settings, name))
            .collect();
        self.give(Command::CreateTopics(
            CreateTopicsRequest::default().with_topics(topics),
        ));
    }

    fn view(&self) -> View<'_> {
        View {
            image: &self.image,
            settings: &self.settings,
            cluster_id: CLUSTER_ID,
            listener: "PLAINTEXT",
        }
    }
}

/// One line of a fixture.
struct Asked {
    line: usize,
    api: String,
    version: i16,
    request: Bytes,
    response: Bytes,
}

fn fixture(name: &str) -> Vec<Asked> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("protocol-tests/fixtures")
        .join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with('#'));
    let asked = lines.map(|(at, line)| {
        let fields: Vec<&str> = line.split('\t').collect();
        Asked {
            line: at + 1,
            api: fields[0].to_owned(),
            version: fields[1].parse().unwrap(),
            request: unhex(fields[2]),
            response: unhex(fields[3]),
        }
    });
    asked.collect()
}

fn unhex(text: &str) -> Bytes {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// Asks as the fixture did, and compares what a client of that version sees.
fn check<Q: Request>(
    asked: &Asked,
    answer: impl FnOnce(Q) -> Q::Response,
    as_compared: impl Fn(&mut Q::Response),
) {
    let ours = answer(Q::decode(asked.request.clone(), asked.version).unwrap());
    let mut out = Writer::new();
    ours.encode(&mut out, asked.version).unwrap();
    let mut ours = Q::Response::decode(out.into_bytes(), asked.version).unwrap();
    let mut kafkas = Q::Response::decode(asked.response.clone(), asked.version).unwrap();
    as_compared(&mut ours);
    as_compared(&mut kafkas);
    assert_eq!(
        format!("{ours:#?}"),
        format!("{kafkas:#?}"),
        "{} in line {}",
        asked.api,
        asked.line
    );
}

/// Ids of topics are random; what counts is whether there is one.
fn blank(id: &mut Uuid) {
    *id = Uuid::from_u128(u128::from(!id.is_nil()));
}

#[test]
fn the_cluster_is_described_as_kafka_does() {
    let mut node = Node::new();
    for asked in fixture("topics/topics.tsv") {
        let command = match asked.api.as_str() {
            "CreateTopics" => {
                Command::CreateTopics(Message::decode_exact(asked.request, asked.version).unwrap())
            }
            "DeleteTopics" => {
                Command::DeleteTopics(Message::decode_exact(asked.request, asked.version).unwrap())
            }
            _ => Command::CreatePartitions(
                Message::decode_exact(asked.request, asked.version).unwrap(),
            ),
        };
        node.give(command);
    }
    node.create(&[TopicName(text("__consumer_offsets"))]);
    for asked in fixture("describe/describe.tsv") {
        let mut missing = Vec::new();
        match asked.api.as_str() {
            "CreateTopics" => {
                let request =
                    CreateTopicsRequest::decode(asked.request.clone(), asked.version).unwrap();
                node.give(Command::CreateTopics(request));
            }
            "Metadata" => check::<MetadataRequest>(
                &asked,
                |request| {
                    let (response, wanted) =
                        metadata::answer(node.view(), asked.version, &request, 0);
                    missing = wanted;
                    response
                },
                |response| {
                    response
                        .topics
                        .iter_mut()
                        .for_each(|topic| blank(&mut topic.topic_id));
                    response.topics.sort_by(|a, b| a.name.cmp(&b.name));
                },
            ),
            "DescribeTopicPartitions" => check::<DescribeTopicPartitionsRequest>(
                &asked,
                |request| describe_topic_partitions::answer(node.view(), &request),
                |response| {
                    response
                        .topics
                        .iter_mut()
                        .for_each(|topic| blank(&mut topic.topic_id))
                },
            ),
            "DescribeCluster" => check::<DescribeClusterRequest>(
                &asked,
                |request| describe_cluster::answer(node.view(), &request, 0),
                |_| {},
            ),
            "DescribeConfigs" => check::<DescribeConfigsRequest>(
                &asked,
                |request| describe_configs::answer(node.view(), &request),
                |response| {
                    for result in &mut response.results {
                        result.configs.sort_by(|a, b| a.name.cmp(&b.name));
                        // Kafka's documentation is not served.
                        result
                            .configs
                            .iter_mut()
                            .for_each(|config| config.documentation = None);
                    }
                },
            ),
            "Restart" => node.restart(),
            // Timeouts of 0, which the handlers answer.
            _ => {}
        }
        node.create(&missing);
    }
}

#[test]
fn every_setting_of_a_broker_that_kafka_shows_is_shown() {
    let node = Node::new();
    let resource = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(4)
        .with_resource_name(text("1"))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let response = describe_configs::answer(node.view(), &request);
    assert_eq!(response.results[0].configs.len(), 340);
}

#[test]
fn a_fenced_broker_is_not_told_to_clients() {
    let mut node = Node::new();
    node.create(&[TopicName(text("t"))]);
    node.heartbeat(|request| request.want_fence = true);
    let (response, _) = metadata::answer(
        node.view(),
        12,
        &MetadataRequest::default().with_topics(None),
        3,
    );
    assert!(response.brokers.is_empty() && response.controller_id == BrokerId(-1));
    let partition = &response.topics[0].partitions[0];
    assert_eq!(
        (partition.error_code, partition.leader_id),
        (5, BrokerId(-1))
    );
    assert_eq!(partition.offline_replicas, [BrokerId(1)]);
}
