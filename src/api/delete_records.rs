//! DeleteRecords (21), versions 0–2: a partition begins at a later offset (KIP-107).
//!
//! The leader's log start offset has moved when the answer comes, and those of all replicas that are alive, or the time
//! is up. A topic that is only compacted refuses (POLICY_VIOLATION), and so do the brokers' own topics. An offset of -1
//! means the high watermark. Of a partition that is named twice the last counts. Version 2 is flexible.
//! (KafkaApis.handleDeleteRecordsRequest, ReplicaManager.deleteRecords, DelayedDeleteRecords)

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::leaders::{Leaders, resolve_by_name};
use super::{Api, Context, Reply, errors};
use crate::error_code::ErrorCode;
use crate::ids::{Offset, PartitionIndex};
use crate::messages::delete_records_request::DeleteRecordsTopic;
use crate::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use crate::messages::{DeleteRecordsRequest, DeleteRecordsResponse, TopicName};
use crate::replica::{Deletion, Partition};

/// In a request: all up to the high watermark. In an answer: unknown.
const HIGH_WATERMARK: i64 = -1;
const UNKNOWN: i64 = -1;

pub(super) struct DeleteRecords;

impl Api for DeleteRecords {
    type Request = DeleteRecordsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(
        ctx: &mut Context<'_>,
        request: DeleteRecordsRequest,
    ) -> Reply<DeleteRecordsResponse> {
        let leaders = Leaders::new(ctx);
        let timeout_ms = u64::try_from(request.timeout_ms).unwrap_or(0);
        let mut topics: Vec<Topic> = asked(request.topics)
            .into_iter()
            .map(|(name, partitions)| {
                let one = |(index, offset)| (index, Begun::begin(&leaders, &name, index, offset));
                let partitions = partitions.into_iter().map(one).collect();
                (name, partitions)
            })
            .collect();
        let mut begun = topics.iter().flat_map(|(_, partitions)| partitions);
        if !begun.any(|(_, begun)| matches!(begun, Begun::Waiting(..))) {
            return Reply::Now(answer(topics));
        }
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        Reply::later(async move {
            for (_, begun) in topics.iter_mut().flat_map(|(_, partitions)| partitions) {
                begun.finish(deadline).await;
            }
            answer(topics)
        })
    }
}

type Topic = (TopicName, Vec<(i32, Begun)>);

/// What is asked of each topic, each partition once, in the order of their first mention.
fn asked(topics: Vec<DeleteRecordsTopic>) -> Vec<(TopicName, Vec<(i32, i64)>)> {
    let mut asked: Vec<(TopicName, Vec<(i32, i64)>)> = Vec::new();
    let mut topic_places = HashMap::new();
    let mut places = HashMap::new();
    for topic in topics {
        for partition in topic.partitions {
            let at = *topic_places.entry(topic.name.clone()).or_insert_with(|| {
                asked.push((topic.name.clone(), Vec::new()));
                asked.len() - 1
            });
            let partitions = &mut asked[at].1;
            let index = partition.partition_index;
            let place = *places.entry((at, index)).or_insert_with(|| {
                partitions.push((index, partition.offset));
                partitions.len() - 1
            });
            partitions[place].1 = partition.offset;
        }
    }
    asked
}

/// One partition's deletion.
enum Begun {
    Done {
        code: ErrorCode,
        low_watermark: i64,
    },
    /// The leader's log begins where it shall, not yet that of each replica.
    Waiting(Arc<Partition>, Deletion),
}

impl Begun {
    fn begin(leaders: &Leaders, topic: &str, index: i32, offset: i64) -> Begun {
        match delete(leaders, topic, PartitionIndex(index), offset) {
            Ok((partition, deletion)) if deletion.low_watermark < deletion.before => {
                Begun::Waiting(partition, deletion)
            }
            Ok((_, deletion)) => Begun::Done {
                code: ErrorCode::None,
                low_watermark: deletion.low_watermark.0,
            },
            Err(code) => Begun::Done {
                code,
                low_watermark: UNKNOWN,
            },
        }
    }

    async fn finish(&mut self, deadline: Instant) {
        let Begun::Waiting(partition, deletion) = self else {
            return;
        };
        let reached = partition.wait_for_low_watermark(deletion.before, deletion.leader_epoch);
        let (code, low_watermark) = match timeout_at(deadline, reached).await {
            Ok(Ok(low_watermark)) => (ErrorCode::None, low_watermark.0),
            Ok(Err(error)) => (errors::of_replica(&error), UNKNOWN),
            Err(_) => (ErrorCode::RequestTimedOut, deletion.low_watermark.0),
        };
        *self = Begun::Done {
            code,
            low_watermark,
        };
    }
}

fn delete(
    leaders: &Leaders,
    topic: &str,
    index: PartitionIndex,
    offset: i64,
) -> Result<(Arc<Partition>, Deletion), ErrorCode> {
    let topic = resolve_by_name(leaders.image(), topic)?;
    if topic.partition(index).is_none() {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    if topic.is_internal() {
        return Err(ErrorCode::InvalidTopicException);
    }
    let before = (offset != HIGH_WATERMARK).then_some(Offset(offset));
    let deleted = leaders.partition(topic, index).and_then(|partition| {
        let deletion = partition.delete_records(before)?;
        Ok((partition, deletion))
    });
    deleted.map_err(|error| errors::of_replica(&error))
}

fn answer(topics: Vec<Topic>) -> DeleteRecordsResponse {
    let partition = |(index, begun)| {
        let (code, low_watermark) = match begun {
            Begun::Done {
                code,
                low_watermark,
            } => (code, low_watermark),
            Begun::Waiting(_, deletion) => (ErrorCode::RequestTimedOut, deletion.low_watermark.0),
        };
        DeleteRecordsPartitionResult::default()
            .with_partition_index(index)
            .with_error_code(code.code())
            .with_low_watermark(low_watermark)
    };
    let topics = topics.into_iter().map(|(name, partitions)| {
        DeleteRecordsTopicResult::default()
            .with_name(name)
            .with_partitions(partitions.into_iter().map(partition).collect())
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}
