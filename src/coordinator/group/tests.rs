//! Runs the scripts of `testdata/`: commands, `----`, and what came of them. `UPDATE=1` rewrites what came of them.
//! After every command a fresh state that is fed the bytes of all records so far must equal the live one.
//!
//! `#<n>` in an answer is the number of the request that it answers. Member ids end in the number of the request that
//! made them: `a-1` stands for `a-00000000-0000-0000-0000-000000000001`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::ids::Offset;
use crate::messages::join_group_request::JoinGroupRequestProtocol;
use crate::messages::leave_group_request::MemberIdentity;
use crate::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use crate::messages::offset_fetch_request::OffsetFetchRequestTopics;
use crate::messages::sync_group_request::SyncGroupRequestAssignment;
use crate::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use crate::messages::{GroupId, TopicName, text};

mod print;

const UUID_PREFIX: &str = "-00000000-0000-0000-0000-";

#[test]
fn scripts() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/coordinator/group/testdata");
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let script = std::fs::read_to_string(&path).unwrap();
        let result = run(&script);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &result).unwrap();
            continue;
        }
        assert_eq!(script, result, "{}", path.display());
    }
}

/// Runs the blocks of a script; a block ends at an empty line.
fn run(script: &str) -> String {
    let mut world = World::new();
    let mut result = String::new();
    for block in script
        .split("\n\n")
        .filter(|block| !block.trim().is_empty())
    {
        let commands = block.split("\n----").next().unwrap().trim_matches('\n');
        let _ = writeln!(result, "{commands}");
        if commands.lines().all(|line| line.starts_with('#')) {
            result.push('\n');
            continue;
        }
        world.printed.clear();
        for command in commands.lines().filter(|line| !line.starts_with('#')) {
            world.command(command);
        }
        let _ = write!(result, "----\n{}\n", world.printed);
    }
    while result.ends_with("\n\n") {
        result.pop();
    }
    result
}

struct World {
    config: Config,
    state: State,
    scratch: Scratch,
    log: Vec<(Position, Bytes, Option<Bytes>)>,
    /// Ends of transactions, by the number of records before them.
    markers: Vec<(usize, ProducerId, bool)>,
    /// The steady time; answers are printed with it.
    now: i64,
    /// The wall clock.
    wall: i64,
    requests: u64,
    fail_append: Option<ErrorCode>,
    printed: String,
}

/// The words of a command after the first: `name=value`.
struct Arguments<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Arguments<'a> {
    fn parse(words: impl Iterator<Item = &'a str>) -> Arguments<'a> {
        Arguments(
            words
                .map(|word| word.split_once('=').unwrap_or((word, "")))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    fn number(&self, name: &str, default: i64) -> i64 {
        self.get(name)
            .map_or(default, |value| value.parse().unwrap())
    }

    fn version(&self, default: i16) -> i16 {
        i16::try_from(self.number("v", i64::from(default))).unwrap()
    }

    fn int(&self, name: &str, default: i32) -> i32 {
        i32::try_from(self.number(name, i64::from(default))).unwrap()
    }

    fn text(&self, name: &str) -> StrBytes {
        text(self.get(name).unwrap_or_default())
    }

    fn group(&self) -> &'a str {
        self.get("group").unwrap_or("g")
    }

    /// `a:x,b:y`
    fn pairs(&self, name: &str) -> Vec<(&'a str, &'a str)> {
        let pairs = self
            .get(name)
            .unwrap_or_default()
            .split(',')
            .filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.rsplit_once(':').unwrap_or((pair, "")))
            .collect()
    }

    fn member(&self) -> StrBytes {
        text(member_id(self.get("member").unwrap_or_default()))
    }

    fn instance(&self) -> Option<StrBytes> {
        self.get("instance").map(text)
    }
}

/// `a-1` as it is in full.
fn member_id(short: &str) -> String {
    match short
        .rsplit_once('-')
        .and_then(|(name, number)| Some((name, number.parse::<u64>().ok()?)))
    {
        Some((name, number)) => format!("{name}{UUID_PREFIX}{number:012}"),
        None => short.to_owned(),
    }
}

fn txn_commit(arguments: &Arguments<'_>) -> TxnOffsetCommitRequest {
    let topics = arguments
        .pairs("offsets")
        .into_iter()
        .map(|(partition, offset)| {
            let (topic, index) = partition.rsplit_once('/').unwrap();
            let partition = TxnOffsetCommitRequestPartition::default()
                .with_partition_index(index.parse().unwrap())
                .with_committed_offset(offset.parse().unwrap())
                .with_committed_metadata(arguments.get("metadata").map(text));
            TxnOffsetCommitRequestTopic::default()
                .with_name(TopicName(text(topic)))
                .with_partitions(vec![partition])
        });
    TxnOffsetCommitRequest::default()
        .with_group_id(GroupId(text(arguments.group())))
        .with_producer_id(arguments.number("producer", 1).into())
        .with_member_id(arguments.member())
        .with_group_instance_id(arguments.instance())
        .with_generation_id(arguments.int("generation", -1))
        .with_topics(topics.collect())
}

/// A consumer's subscription; `-` is bytes that are none.
fn subscription(topics: &str) -> Bytes {
    if topics == "-" {
        return Bytes::from_static(b"?");
    }
    let topics: Vec<&str> = topics
        .split('+')
        .filter(|topic| !topic.is_empty())
        .collect();
    let mut bytes = vec![0, 1];
    bytes.extend(u32::try_from(topics.len()).unwrap().to_be_bytes());
    for topic in topics {
        bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1i32).to_be_bytes());
    bytes.into()
}

impl World {
    fn new() -> World {
        World {
            config: Config {
                initial_rebalance_delay_ms: 3000,
                min_session_timeout_ms: 6000,
                max_session_timeout_ms: 1_800_000,
                max_size: usize::MAX,
                offset_metadata_max_units: 8,
                retention_ms: 86_400_000,
                retention_check_interval_ms: 600_000,
            },
            state: State::default(),
            scratch: Scratch::default(),
            log: Vec::new(),
            markers: Vec::new(),
            now: 0,
            wall: 0,
            requests: 0,
            fail_append: None,
            printed: String::new(),
        }
    }

    fn command(&mut self, command: &str) {
        let mut words = command.split_whitespace();
        let name = words.next().unwrap();
        let arguments = Arguments::parse(words);
        match name {
            "config" => self.configure(&arguments),
            "step-clock" => self.wall += arguments.number("ms", 0),
            "wait" => self.wait(arguments.number("ms", 0)),
            "fail-append" => self.fail_append = Some(ErrorCode::NotEnoughReplicas),
            "restart" => self.restart(),
            "transactional" => self.transactional(&arguments),
            "end" => self.end(&arguments),
            "other" => self.other(&arguments),
            _ => {
                self.requests += 1;
                let request = self.request(name, &arguments);
                self.event(Event::Request {
                    ticket: Ticket(self.requests),
                    request,
                });
            }
        }
        self.check_replay();
    }

    fn configure(&mut self, arguments: &Arguments<'_>) {
        let config = &mut self.config;
        config.initial_rebalance_delay_ms =
            arguments.number("delay", config.initial_rebalance_delay_ms);
        if let Some(size) = arguments.get("max-size") {
            config.max_size = size.parse().unwrap();
        }
    }

    fn wait(&mut self, ms: i64) {
        let until = self.now + ms;
        while let Some(at) = Machine::new(self.config.clone()).next_deadline(&self.scratch)
            && at.0 <= until
        {
            self.pass(at.0);
            self.event(Event::Deadline);
        }
        self.pass(until);
    }

    fn pass(&mut self, until: i64) {
        let ms = (until - self.now).max(0);
        self.now += ms;
        self.wall += ms;
    }

    fn times(&self) -> Now {
        Now {
            wall: Timestamp(self.wall),
            steady: SteadyTime(self.now),
        }
    }

    fn event(&mut self, event: Event<Request>) {
        let machine = Machine::new(self.config.clone());
        let now = self.times();
        let outcome = machine.handle(&self.state, &mut self.scratch, event, now);
        self.take(outcome);
    }

    fn take(&mut self, outcome: Outcome) {
        if !outcome.records.is_empty()
            && let Some(error) = self.fail_append.take()
        {
            let machine = Machine::new(self.config.clone());
            let now = self.times();
            let replies =
                machine.append_failed(&self.state, &mut self.scratch, outcome, error, now);
            replies
                .into_iter()
                .for_each(|(ticket, response)| self.print_reply(ticket, &response));
            return;
        }
        let producer_id = outcome
            .transactional
            .map_or(ProducerId::NONE, |transactional| transactional.producer.id);
        for record in outcome.records {
            self.append(record, producer_id);
        }
        for (ticket, response) in outcome.replies {
            self.print_reply(ticket, &response);
        }
    }

    fn append(&mut self, record: Record, producer_id: ProducerId) {
        let (key, value) = Machine::encode(&record).unwrap();
        let at = Position {
            offset: Offset(i64::try_from(self.log.len()).unwrap()),
            producer_id,
        };
        let line = print::record(&record);
        self.print(&format!("record {line}"));
        self.log.push((at, key, value));
        Machine::apply(&mut self.state, record, at);
    }

    /// Offsets of an open transaction, as found in the log of a Kafka.
    fn transactional(&mut self, arguments: &Arguments<'_>) {
        let producer_id = ProducerId(arguments.number("producer", 1));
        for (partition, offset) in arguments.pairs("offsets") {
            let (topic, partition) = partition.rsplit_once('/').unwrap();
            let value = records::OffsetValue {
                offset: offset.parse().unwrap(),
                leader_epoch: -1,
                metadata: Box::from(""),
                commit_timestamp: Timestamp(self.wall),
                expire_timestamp: None,
                topic_id: crate::ids::KafkaUuid::ZERO,
            };
            let partition = partition.parse().unwrap();
            let key = records::OffsetKey {
                group: Arc::from(arguments.group()),
                topic: Arc::from(topic),
                partition,
            };
            self.append(
                Record::Offset {
                    key,
                    value: Some(value),
                },
                producer_id,
            );
        }
    }

    /// A record of a group of another protocol: `type` is its number, `id` what follows the group id in its key.
    fn other(&mut self, arguments: &Arguments<'_>) {
        let mut key = i16::try_from(arguments.number("type", 3))
            .unwrap()
            .to_be_bytes()
            .to_vec();
        for text in std::iter::once(arguments.group()).chain(arguments.get("id")) {
            key.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
            key.extend(text.as_bytes());
        }
        let value = arguments
            .get("tombstone")
            .is_none()
            .then_some(Bytes::from_static(b"value"));
        let record = Machine::decode(key.into(), value).unwrap().unwrap();
        self.append(record, ProducerId::NONE);
    }

    fn end(&mut self, arguments: &Arguments<'_>) {
        let producer_id = ProducerId(arguments.number("producer", 1));
        let committed = arguments.get("commit").is_some();
        self.markers.push((self.log.len(), producer_id, committed));
        Machine::end_transaction(&mut self.state, producer_id, committed);
    }

    fn replayed(&self) -> State {
        let mut state = State::default();
        let mut markers = self.markers.iter().peekable();
        for index in 0..=self.log.len() {
            while let Some((_, producer_id, committed)) = markers.next_if(|(at, ..)| *at == index) {
                Machine::end_transaction(&mut state, *producer_id, *committed);
            }
            if let Some((at, key, value)) = self.log.get(index) {
                let record = Machine::decode(key.clone(), value.clone())
                    .unwrap()
                    .unwrap();
                Machine::apply(&mut state, record, *at);
            }
        }
        state
    }

    fn check_replay(&self) {
        assert_eq!(self.replayed(), self.state);
    }

    /// Loses all soft state, as a new leader of the partition would.
    fn restart(&mut self) {
        self.state = self.replayed();
        self.scratch = Scratch::default();
        let machine = Machine::new(self.config.clone());
        let now = self.times();
        let outcome = machine.loaded(&self.state, &mut self.scratch, now);
        self.take(outcome);
    }

    fn print(&mut self, line: &str) {
        let mut parts = line.split(UUID_PREFIX);
        let mut line = parts.next().unwrap().to_owned();
        for part in parts {
            let _ = write!(line, "-{}", part.trim_start_matches('0'));
        }
        let _ = writeln!(self.printed, "{} {line}", self.now);
    }

    fn print_reply(&mut self, ticket: Ticket, response: &Response) {
        let line = print::response(response);
        self.print(&format!("#{} {line}", ticket.0));
    }

    fn request(&self, name: &str, arguments: &Arguments<'_>) -> Request {
        let group = arguments.group();
        match name {
            "join" => self.join(arguments),
            "sync" => Request::Sync(sync(arguments)),
            "heartbeat" => Request::Heartbeat(
                HeartbeatRequest::default()
                    .with_group_id(GroupId(text(group)))
                    .with_member_id(arguments.member())
                    .with_group_instance_id(arguments.instance())
                    .with_generation_id(arguments.int("generation", 1)),
            ),
            "leave" => Request::Leave(leave(arguments)),
            "commit" => Request::CommitOffsets {
                version: arguments.version(9),
                request: commit(arguments),
            },
            "txn-commit" => Request::CommitTransactionalOffsets {
                request: txn_commit(arguments),
                verified: None,
            },
            "fetch" => Request::FetchOffsets {
                group: fetch(arguments),
                require_stable: arguments.get("stable").is_some(),
            },
            "delete-offsets" => Request::DeleteOffsets(delete_offsets(arguments)),
            "list" => Request::List(
                ListGroupsRequest::default()
                    .with_states_filter(
                        arguments
                            .pairs("states")
                            .iter()
                            .map(|(state, _)| text(state))
                            .collect(),
                    )
                    .with_types_filter(
                        arguments
                            .pairs("types")
                            .iter()
                            .map(|(kind, _)| text(kind))
                            .collect(),
                    ),
            ),
            "describe" => Request::Describe {
                version: arguments.version(6),
                group: Arc::from(group),
            },
            "delete" => Request::Delete {
                group: Arc::from(group),
            },
            "topics-deleted" => Request::TopicsDeleted(
                arguments
                    .pairs("topics")
                    .iter()
                    .map(|(topic, _)| Arc::from(*topic))
                    .collect(),
            ),
            _ => panic!("no command {name}"),
        }
    }

    fn join(&self, arguments: &Arguments<'_>) -> Request {
        let protocol = |(name, topics): &(&str, &str)| {
            JoinGroupRequestProtocol::default()
                .with_name(text(name))
                .with_metadata(subscription(topics))
        };
        let protocols = match arguments.get("protocols") {
            Some(_) => arguments.pairs("protocols"),
            None => vec![("range", "t")],
        };
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(text(arguments.group())))
            .with_member_id(arguments.member())
            .with_group_instance_id(arguments.instance())
            .with_session_timeout_ms(arguments.int("session", 10_000))
            .with_rebalance_timeout_ms(arguments.int("rebalance", 60_000))
            .with_protocol_type(text(arguments.get("type").unwrap_or("consumer")))
            .with_protocols(protocols.iter().map(protocol).collect());
        let client = Client {
            id: text(arguments.get("client").unwrap_or("a")),
            host: Arc::from("/127.0.0.1"),
            version: arguments.version(9),
            // Its digits, read as decimal ones, are the number.
            uuid: Uuid::parse_str(&format!("00000000-0000-0000-0000-{:012}", self.requests))
                .unwrap(),
        };
        Request::Join { client, request }
    }
}

fn sync(arguments: &Arguments<'_>) -> SyncGroupRequest {
    let assignment = |(member, assignment): &(&str, &str)| {
        SyncGroupRequestAssignment::default()
            .with_member_id(text(member_id(member)))
            .with_assignment(Bytes::copy_from_slice(assignment.as_bytes()))
    };
    SyncGroupRequest::default()
        .with_group_id(GroupId(text(arguments.group())))
        .with_member_id(arguments.member())
        .with_group_instance_id(arguments.instance())
        .with_generation_id(arguments.int("generation", 1))
        .with_protocol_type(arguments.get("type").map(text))
        .with_protocol_name(arguments.get("protocol").map(text))
        .with_assignments(
            arguments
                .pairs("assignments")
                .iter()
                .map(assignment)
                .collect(),
        )
}

/// `members=a-1,:i` are a member and a group instance id.
fn leave(arguments: &Arguments<'_>) -> LeaveGroupRequest {
    let member = |(member, instance): &(&str, &str)| {
        MemberIdentity::default()
            .with_member_id(text(member_id(member)))
            .with_group_instance_id((!instance.is_empty()).then(|| text(instance)))
    };
    LeaveGroupRequest::default()
        .with_group_id(GroupId(text(arguments.group())))
        .with_members(arguments.pairs("members").iter().map(member).collect())
}

/// `offsets=t/0:5,t/1:6`
fn commit(arguments: &Arguments<'_>) -> OffsetCommitRequest {
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for (partition, offset) in arguments.pairs("offsets") {
        let (topic, partition) = partition.rsplit_once('/').unwrap();
        topics
            .entry(topic)
            .or_default()
            .push(OffsetCommitRequestPartition {
                partition_index: partition.parse().unwrap(),
                committed_offset: offset.parse().unwrap(),
                committed_leader_epoch: -1,
                committed_metadata: arguments.get("metadata").map(text),
                ..OffsetCommitRequestPartition::default()
            });
    }
    let topic_id = Uuid::from_u128(u128::try_from(arguments.number("topic-id", 0)).unwrap());
    let topic = |(name, partitions)| OffsetCommitRequestTopic {
        name: text(name),
        topic_id,
        partitions,
        ..OffsetCommitRequestTopic::default()
    };
    OffsetCommitRequest {
        group_id: text(arguments.group()),
        generation_id_or_member_epoch: arguments.int("generation", -1),
        member_id: arguments.member(),
        group_instance_id: arguments.instance(),
        retention_time_ms: arguments.number("retention", -1),
        topics: topics.into_iter().map(topic).collect(),
        ..OffsetCommitRequest::default()
    }
}

/// `partitions=t/0,t/1`; all without.
fn fetch(arguments: &Arguments<'_>) -> OffsetFetchRequestGroup {
    let topic_id = Uuid::from_u128(u128::try_from(arguments.number("topic-id", 0)).unwrap());
    let topic = |(partition, _): &(&str, &str)| {
        let (topic, partition) = partition.rsplit_once('/').unwrap();
        OffsetFetchRequestTopics {
            name: text(topic),
            topic_id,
            partition_indexes: vec![partition.parse().unwrap()],
            ..OffsetFetchRequestTopics::default()
        }
    };
    let topics = arguments
        .get("partitions")
        .map(|_| arguments.pairs("partitions").iter().map(topic).collect());
    OffsetFetchRequestGroup {
        group_id: arguments.text("group"),
        topics,
        ..OffsetFetchRequestGroup::default()
    }
}

fn delete_offsets(arguments: &Arguments<'_>) -> OffsetDeleteRequest {
    let topic = |(partition, _): &(&str, &str)| {
        let (topic, partition) = partition.rsplit_once('/').unwrap();
        let partition = OffsetDeleteRequestPartition::default()
            .with_partition_index(partition.parse().unwrap());
        OffsetDeleteRequestTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(vec![partition])
    };
    OffsetDeleteRequest::default()
        .with_group_id(GroupId(text(arguments.group())))
        .with_topics(arguments.pairs("partitions").iter().map(topic).collect())
}
