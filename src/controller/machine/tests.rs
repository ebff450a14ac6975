//! The machine against scripts (`testdata/*.txt`; `UPDATE=1` writes what it answers now) and against Kafka's answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::config::Settings;
use crate::ids::{KafkaUuid, LeaderEpoch, NodeId, Offset, SteadyTime, Timestamp};
use crate::messages::records::frame::MetadataRecord;
use crate::messages::{
    broker_registration_request as registration, create_partitions_request as grow,
};
use crate::messages::{create_topics_request as create, *};
use crate::metadata::record::text;
use crate::metadata::{Image, Provenance};

use super::{Answer, Command, Machine, Seeded};

/// A machine with the image that its records make.
struct Bench {
    machine: Machine,
    image: Image,
    records: Vec<MetadataRecord>,
    now: SteadyTime,
    random: Seeded,
}

impl Bench {
    fn new(settings: &[(&str, &str)]) -> Bench {
        let settings = Settings::default_for(Path::new("data"))
            .with(settings)
            .unwrap();
        Bench {
            machine: Machine::new("cluster", Arc::new(settings)),
            image: Image::empty(),
            records: Vec::new(),
            now: SteadyTime(1_000),
            random: Seeded::new(7),
        }
    }

    fn give(&mut self, command: &Command) -> (Vec<MetadataRecord>, Answer) {
        let decision = self
            .machine
            .decide(&self.image, command, self.now, &mut self.random);
        let end_offset = self.image.provenance().end_offset + decision.records.len() as i64;
        let provenance = Provenance {
            end_offset,
            epoch: LeaderEpoch(1),
            timestamp: Timestamp(self.now.0),
        };
        self.image = self.image.apply(&decision.records, provenance).unwrap().0;
        self.records.extend(decision.records.iter().cloned());
        (decision.records, decision.answer)
    }

    /// An active node 1 as it stands after its start.
    fn with_broker() -> Bench {
        let mut bench = Bench::new(&[]);
        for line in ["activate", "register 1", "heartbeat 1"] {
            let command = bench.command(line);
            bench.give(&command);
        }
        bench
    }

    /// All records again, and the snapshot, make the same image.
    fn check_replay(&self) {
        let again = Image::empty()
            .apply(&self.records, self.image.provenance())
            .unwrap()
            .0;
        assert_eq!(again, self.image);
        let snapshot: Vec<_> = self.image.records().collect();
        assert_eq!(
            Image::empty()
                .apply(&snapshot, self.image.provenance())
                .unwrap()
                .0,
            self.image
        );
    }

    fn command(&mut self, line: &str) -> Command {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap();
        let (mut names, mut given) = (Vec::new(), BTreeMap::new());
        for word in words {
            match word.split_once('=') {
                Some((key, value)) => drop(given.insert(key, value)),
                None => names.push(word),
            }
        }
        let number =
            |key: &str, default: i64| given.get(key).map_or(default, |text| text.parse().unwrap());
        match verb {
            "activate" => Command::Activate {
                in_transaction: names.contains(&"in-transaction"),
                bootstrap: crate::controller::default_bootstrap(),
            },
            "register" => {
                Command::RegisterBroker(self.registration(names[0].parse().unwrap(), &given))
            }
            "heartbeat" => {
                let id: i32 = names[0].parse().unwrap();
                let epoch = self
                    .image
                    .brokers()
                    .get(NodeId(id))
                    .map_or(-1, |broker| broker.epoch.0);
                let caught_up = self.image.provenance().end_offset.0;
                Command::BrokerHeartbeat(BrokerHeartbeatRequest {
                    broker_id: id,
                    broker_epoch: number("epoch", epoch),
                    current_metadata_offset: number("offset", caught_up),
                    want_fence: names.contains(&"fence"),
                    want_shut_down: names.contains(&"shutdown"),
                    cordoned_log_dirs: Some(Vec::new()),
                    ..Default::default()
                })
            }
            "unregister" => {
                let id = BrokerId(names[0].parse().unwrap());
                Command::UnregisterBroker(UnregisterBrokerRequest::default().with_broker_id(id))
            }
            "create" => {
                let topics = names.iter().map(|name| new_topic(name, &given)).collect();
                Command::CreateTopics(CreateTopicsRequest::default().with_topics(topics))
            }
            "delete" => {
                let names = names.iter().map(|name| TopicName(text(name))).collect();
                Command::DeleteTopics(DeleteTopicsRequest::default().with_topic_names(names))
            }
            "grow" => {
                let count = number("to", 0) as i32;
                let assignments = given.get("assign").map(|text| {
                    assignments(text)
                        .map(|ids| grow::CreatePartitionsAssignment::default().with_broker_ids(ids))
                        .collect()
                });
                let topic = |name: &&str| {
                    let topic =
                        grow::CreatePartitionsTopic::default().with_name(TopicName(text(name)));
                    topic
                        .with_count(count)
                        .with_assignments(assignments.clone())
                };
                let topics = names.iter().map(topic).collect();
                Command::CreatePartitions(CreatePartitionsRequest::default().with_topics(topics))
            }
            "allocate" => {
                let id: i32 = names[0].parse().unwrap();
                let epoch = self
                    .image
                    .brokers()
                    .get(NodeId(id))
                    .map_or(-1, |broker| broker.epoch.0);
                let request = AllocateProducerIdsRequest::default().with_broker_id(BrokerId(id));
                Command::AllocateProducerIds(request.with_broker_epoch(number("epoch", epoch)))
            }
            "fence-stale" => Command::FenceStaleBrokers,
            "no-op" => Command::NoOp,
            other => panic!("no command {other}"),
        }
    }

    fn registration(&self, id: i32, given: &BTreeMap<&str, &str>) -> BrokerRegistrationRequest {
        let features = crate::config::features::FEATURES.iter().map(|feature| {
            let max = given
                .get(feature.name)
                .map_or(feature.max, |max| max.parse().unwrap());
            let range = registration::Feature::default().with_name(text(feature.name));
            range
                .with_min_supported_version(feature.min)
                .with_max_supported_version(max)
        });
        let previous = match given.get("previous") {
            Some(&"clean") => self
                .image
                .brokers()
                .get(NodeId(id))
                .map_or(-1, |broker| broker.epoch.0),
            _ => -1,
        };
        let dirs = given.get("dirs").map_or(1, |dirs| dirs.parse().unwrap());
        let dir = |at: u128| uuid::Uuid::from_u128(id as u128 * 1000 + at);
        BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(id))
            .with_cluster_id(text(given.get("cluster").unwrap_or(&"cluster")))
            .with_incarnation_id(uuid::Uuid::from_u128(
                given.get("incarnation").map_or(1, |n| n.parse().unwrap()),
            ))
            .with_features(features.collect())
            .with_rack(given.get("rack").map(|rack| text(rack)))
            .with_log_dirs((0..dirs).map(dir).collect())
            .with_previous_broker_epoch(previous)
    }
}

fn new_topic(name: &str, given: &BTreeMap<&str, &str>) -> create::CreatableTopic {
    let number = |key: &str| given.get(key).map_or(-1, |text| text.parse().unwrap());
    let configs = given
        .iter()
        .filter(|(key, _)| key.contains('.'))
        .map(|(key, value)| {
            create::CreatableTopicConfig::default()
                .with_name(text(key))
                .with_value(Some(text(value)))
        });
    let assigned = given
        .get("assign")
        .map(|text| assignments(text))
        .into_iter()
        .flatten()
        .zip(0..);
    let assigned = assigned.map(|(ids, index)| {
        create::CreatableReplicaAssignment::default()
            .with_partition_index(index)
            .with_broker_ids(ids)
    });
    create::CreatableTopic::default()
        .with_name(TopicName(text(name)))
        .with_num_partitions(number("partitions"))
        .with_replication_factor(number("replicas") as i16)
        .with_assignments(assigned.collect())
        .with_configs(configs.collect())
}

/// `1,2;2,1`
fn assignments(text: &str) -> impl Iterator<Item = Vec<BrokerId>> {
    text.split(';').map(|ids| {
        ids.split(',')
            .map(|id| BrokerId(id.parse().unwrap()))
            .collect()
    })
}

/// A script: a command a line, `----`, what came of it, an empty line. `advance <ms>` moves the clock.
fn run(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/controller/testdata")
        .join(name);
    let script = std::fs::read_to_string(&path).unwrap();
    let mut bench = Bench::new(&[]);
    let mut out = String::new();
    for block in script.trim_end().split("\n\n") {
        let input = block.split("----").next().unwrap().trim_end();
        writeln!(out, "{input}\n----").unwrap();
        for line in input.lines().filter(|line| !line.starts_with('#')) {
            if let Some(ms) = line.strip_prefix("advance ") {
                bench.now = bench.now.plus_ms(ms.parse().unwrap());
                continue;
            }
            let command = bench.command(line);
            let (records, answer) = bench.give(&command);
            records
                .iter()
                .for_each(|record| writeln!(out, "{}", plain(&format!("{record:?}"))).unwrap());
            writeln!(out, "{}", answer_line(&answer)).unwrap();
        }
        out.push('\n');
    }
    bench.check_replay();
    let out = out.trim_end().to_owned() + "\n";
    match std::env::var_os("UPDATE") {
        Some(_) => std::fs::write(path, out).unwrap(),
        None => assert_eq!(
            out, script,
            "run with UPDATE=1 to take over what {name} gives now"
        ),
    }
}

/// Debug's text without what is as usual.
fn plain(debug: &str) -> String {
    let mut text = debug
        .replace(", unknown_tagged_fields: TaggedFields([])", "")
        .replace("unknown_tagged_fields: TaggedFields([])", "");
    for usual in [
        "isr: None",
        "leader: -2",
        "replicas: None",
        "removing_replicas: None",
        "adding_replicas: None",
    ] {
        text = text.replace(&format!(" {usual},"), "");
    }
    for usual in [
        "leader_recovery_state: -1",
        "directories: None",
        "removing_replicas: []",
        "adding_replicas: []",
    ] {
        text = text.replace(&format!(" {usual},"), "");
    }
    if let (Some(from), Some(to)) = (text.find(" features: ["), text.find("}], rack:")) {
        text.replace_range(from..to + 3, "");
    }
    text
}

fn answer_line(answer: &Answer) -> String {
    let Answer::CreateTopics(response) = answer else {
        return format!("=> {}", plain(&format!("{answer:?}")));
    };
    let topic = |topic: &create_topics_response::CreatableTopicResult| {
        let message = topic.error_message.as_deref().unwrap_or("created");
        format!("=> {} {}: {message}", &*topic.name.0, topic.error_code)
    };
    response
        .topics
        .iter()
        .map(topic)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_node_starts_stops_and_starts_again() {
    run("single.txt");
}

#[test]
fn three_brokers_come_and_go() {
    run("brokers.txt");
}

/// `fixtures/topics`: the same requests in the same order have the same answers as Kafka's, up to the ids of topics
/// and the order of answers, which is that of a hash table there.
#[test]
fn topics_are_answered_as_kafka_does() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol-tests/fixtures/topics/topics.tsv");
    let mut bench = Bench::with_broker();
    for (at, line) in std::fs::read_to_string(path).unwrap().lines().enumerate() {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[api, version, request, response] = &fields[..] else {
            continue;
        };
        let version = version.parse().unwrap();
        let (request, response) = (unhex(request), unhex(response));
        let command = match api {
            "CreateTopics" => {
                Command::CreateTopics(CreateTopicsRequest::decode(request, version).unwrap())
            }
            "CreatePartitions" => Command::CreatePartitions(
                CreatePartitionsRequest::decode(request, version).unwrap(),
            ),
            _ => Command::DeleteTopics(DeleteTopicsRequest::decode(request, version).unwrap()),
        };
        let (ours, kafkas) = match bench.give(&command).1 {
            Answer::CreateTopics(ours) => {
                let kafkas = CreateTopicsResponse::decode(response, version).unwrap();
                let ours = reencode(&ours, version);
                (
                    format!("{:#?}", created(&ours)),
                    format!("{:#?}", created(&kafkas)),
                )
            }
            Answer::CreatePartitions(ours) => {
                let kafkas = CreatePartitionsResponse::decode(response, version).unwrap();
                (
                    format!("{:#?}", grown(&ours)),
                    format!("{:#?}", grown(&kafkas)),
                )
            }
            Answer::DeleteTopics(ours) => {
                let kafkas = DeleteTopicsResponse::decode(response, version).unwrap();
                let ours = reencode(&ours, version);
                (
                    format!("{:#?}", deleted(&ours)),
                    format!("{:#?}", deleted(&kafkas)),
                )
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(ours, kafkas, "line {}", at + 1);
    }
    bench.check_replay();
}

/// What a client of this version sees of a response.
fn reencode<M: Message>(message: &M, version: i16) -> M {
    let mut out = Writer::new();
    message.encode(&mut out, version).unwrap();
    M::decode_exact(out.into_bytes(), version).unwrap()
}

fn created(response: &CreateTopicsResponse) -> Vec<create_topics_response::CreatableTopicResult> {
    let mut topics = response.topics.clone();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    for topic in &mut topics {
        topic.topic_id = uuid::Uuid::from_u128((topic.topic_id != KafkaUuid::ZERO.0) as u128);
    }
    topics
}

fn grown(
    response: &CreatePartitionsResponse,
) -> Vec<create_partitions_response::CreatePartitionsTopicResult> {
    let mut results = response.results.clone();
    results.sort_by(|a, b| a.name.cmp(&b.name));
    results
}

fn deleted(response: &DeleteTopicsResponse) -> Vec<delete_topics_response::DeletableTopicResult> {
    let mut results = response.responses.clone();
    results.sort_by_key(|result| (result.name.clone(), result.error_code));
    for result in results.iter_mut().filter(|result| result.error_code == 0) {
        result.topic_id = uuid::Uuid::nil();
    }
    results
}

fn unhex(text: &str) -> Bytes {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[test]
fn an_end_offset_is_the_epoch_of_a_broker() {
    let bench = Bench::with_broker();
    let broker = bench.image.brokers().get(NodeId(1)).unwrap();
    assert_eq!(Offset(broker.epoch.0), Offset(9));
    assert!(broker.is_active());
}
