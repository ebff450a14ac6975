//! From the request to what the session takes.

use std::sync::Arc;

use uuid::Uuid;

use crate::api::leaders::Leaders;
use crate::ids::{KafkaUuid, LeaderEpoch, Offset, PartitionIndex};
use crate::messages::FetchRequest;
use crate::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use crate::replica::Isolation;
use crate::replica::session::{Asked, PartitionKey, TopicKey, Wanted};

/// From this version on topics have ids.
pub(super) const BY_ID: i16 = 13;
/// From this version on the replica stands in the replica state.
const REPLICA_STATE: i16 = 15;
/// A consumer.
const CONSUMER: i32 = -1;

/// The broker that fetches; -1 for a consumer, -2 for one that debugs.
pub(super) fn replica_id(version: i16, request: &FetchRequest) -> i32 {
    match version {
        REPLICA_STATE.. => request.replica_state.replica_id,
        _ => request.replica_id,
    }
}

/// How far the reader sees; `None` for an isolation level that there is not. (FetchIsolation.of)
pub(super) fn isolation(version: i16, request: &FetchRequest) -> Option<Isolation> {
    match (replica_id(version, request), request.isolation_level) {
        (CONSUMER, 0) => Some(Isolation::ReadUncommitted),
        (CONSUMER, 1) => Some(Isolation::ReadCommitted),
        (CONSUMER, _) => None,
        _ => Some(Isolation::LogEnd),
    }
}

/// The session's part of the request.
///
/// `isolation` is `None` when the limits let no read succeed.
pub(super) fn asked(
    version: i16,
    leaders: &Leaders,
    isolation: Option<Isolation>,
    request: FetchRequest,
) -> Asked {
    let by_id = version >= BY_ID;
    let from_follower = replica_id(version, &request) >= 0;
    let key = |name: &str, id: Uuid| match by_id {
        true => TopicKey::Id(KafkaUuid(id)),
        // The image has the name already; one that it has not is the client's own.
        false => TopicKey::Name(match leaders.image().topics().by_name(name) {
            Some(topic) => topic.name.clone(),
            None => Arc::from(name),
        }),
    };
    let count = request
        .topics
        .iter()
        .map(|topic| topic.partitions.len())
        .sum();
    let mut partitions = Vec::with_capacity(count);
    for FetchTopic {
        topic,
        topic_id,
        partitions: of_topic,
        ..
    } in request.topics
    {
        let topic = key(&topic, topic_id);
        partitions.extend(of_topic.iter().map(|partition| wanted(&topic, partition)));
    }
    let mut forgotten = Vec::new();
    for ForgottenTopic {
        topic,
        topic_id,
        partitions,
        ..
    } in request.forgotten_topics_data
    {
        let topic = key(&topic, topic_id);
        let keys = partitions.into_iter().map(|index| PartitionKey {
            topic: topic.clone(),
            partition: PartitionIndex(index),
        });
        forgotten.extend(keys);
    }
    Asked {
        session_id: request.session_id,
        session_epoch: request.session_epoch,
        by_id,
        from_follower,
        isolation,
        partitions,
        forgotten,
    }
}

fn wanted(topic: &TopicKey, partition: &FetchPartition) -> Wanted {
    let epoch = |epoch: i32| (epoch >= 0).then_some(LeaderEpoch(epoch));
    Wanted {
        key: PartitionKey {
            topic: topic.clone(),
            partition: PartitionIndex(partition.partition),
        },
        fetch_offset: Offset(partition.fetch_offset),
        max_bytes: partition.partition_max_bytes,
        current_leader_epoch: epoch(partition.current_leader_epoch),
        last_fetched_epoch: epoch(partition.last_fetched_epoch),
        log_start_offset: Offset(partition.log_start_offset),
    }
}
