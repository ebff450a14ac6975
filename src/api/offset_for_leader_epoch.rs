//! OffsetForLeaderEpoch (23), versions 2–4: where a leader epoch ended, by which a consumer finds out that records it
//! has read are gone from the log (KIP-320), and a follower where to cut its own (KIP-101).
//!
//! | version | adds                                                                            |
//! |---------|---------------------------------------------------------------------------------|
//! | 2       | the leader epoch that the asker knows, checked first                            |
//! | 3       | the replica id                                                                  |
//! | 4       | flexible                                                                        |
//!
//! (KafkaApis.handleOffsetForLeaderEpochRequest, ReplicaManager.lastOffsetForLeaderEpoch)

use std::ops::RangeInclusive;

use super::leaders::{Leaders, resolve_by_name};
use super::{Api, Context, Reply, errors};
use crate::error_code::ErrorCode;
use crate::ids::{LeaderEpoch, Offset, PartitionIndex};
use crate::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use crate::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use crate::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

/// No leader epoch and no offset, on the wire.
const UNDEFINED: (LeaderEpoch, Offset) = (LeaderEpoch::UNKNOWN, Offset(-1));

pub(super) struct OffsetForLeaderEpoch;

impl Api for OffsetForLeaderEpoch {
    type Request = OffsetForLeaderEpochRequest;
    const VERSIONS: RangeInclusive<i16> = 2..=4;

    fn handle(
        ctx: &mut Context<'_>,
        request: OffsetForLeaderEpochRequest,
    ) -> Reply<OffsetForLeaderEpochResponse> {
        let leaders = Leaders::new(ctx);
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let end = epoch_end(&leaders, &topic.topic, asked);
                let (epoch, offset) = end.unwrap_or(UNDEFINED);
                EpochEndOffset::default()
                    .with_error_code(end.err().unwrap_or(ErrorCode::None).code())
                    .with_partition(asked.partition)
                    .with_leader_epoch(epoch.0)
                    .with_end_offset(offset.0)
            });
            let partitions = partitions.collect();
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic)
                .with_partitions(partitions)
        });
        Reply::Now(OffsetForLeaderEpochResponse::default().with_topics(topics.collect()))
    }
}

fn epoch_end(
    leaders: &Leaders,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<(LeaderEpoch, Offset), ErrorCode> {
    let index = PartitionIndex(asked.partition);
    let topic = resolve_by_name(leaders.image(), topic)?;
    if topic.partition(index).is_none() {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    let known = LeaderEpoch(asked.current_leader_epoch);
    let end = leaders.partition(topic, index).and_then(|partition| {
        partition.epoch_end(
            LeaderEpoch(asked.leader_epoch),
            (known != LeaderEpoch::UNKNOWN).then_some(known),
        )
    });
    let end = end.map_err(|error| errors::of_replica(&error))?;
    Ok(end.unwrap_or(UNDEFINED))
}
