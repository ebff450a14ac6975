//! The requests of a script's commands.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{member_id, *};
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

pub(super) fn request(world: &World<Machine>, name: &str, arguments: &Arguments<'_>) -> Request {
    let group = arguments.group();
    match name {
        "join" => join(world.requests, arguments),
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

fn join(requests: u64, arguments: &Arguments<'_>) -> Request {
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
        uuid: Uuid::parse_str(&format!("00000000-0000-0000-0000-{:012}", requests)).unwrap(),
    };
    Request::Join { client, request }
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
