//! ListOffsets (2), versions 1–11: the ends of a partition's log, and offsets by time.
//!
//! | timestamp | is                                                           | since version |
//! |-----------|--------------------------------------------------------------|---------------|
//! | -1        | the end, as far as the isolation level sees                  | 1             |
//! | -2        | the log start offset                                         | 1             |
//! | -3        | the record with the greatest timestamp (KIP-734)             | 7             |
//! | -4        | the start of what lies on this broker (KIP-405)              | 8             |
//! | -5        | the end of what lies in remote storage: none (KIP-1005)      | 9             |
//! | -6        | the first that is to be uploaded there: none (KIP-1023)      | 11            |
//! | 0 and up  | the first record at or after that time                       | 1             |
//!
//! | version | adds                                                                            |
//! |---------|---------------------------------------------------------------------------------|
//! | 2       | isolation level (KIP-98)                                                        |
//! | 4       | leader epochs (KIP-320)                                                         |
//! | 6       | flexible                                                                        |
//! | 10      | a timeout for remote storage (KIP-1075)                                         |
//!
//! (KafkaApis.handleListOffsetRequest, ReplicaManager.fetchOffset)

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::leaders::{Leaders, resolve_by_name};
use super::{Api, Context, Reply, errors};
use crate::error_code::ErrorCode;
use crate::ids::{LeaderEpoch, Offset, PartitionIndex, Timestamp};
use crate::messages::list_offsets_request::ListOffsetsPartition;
use crate::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use crate::messages::{ListOffsetsRequest, ListOffsetsResponse};
use crate::replica::{FoundOffset, Isolation, OffsetQuery, Partition};

/// From this version on a response tells leader epochs.
const LEADER_EPOCHS: i16 = 4;
/// A consumer, in `replica_id`.
const CONSUMER: i32 = -1;

pub(super) struct ListOffsets;

impl Api for ListOffsets {
    type Request = ListOffsetsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=11;

    fn handle(ctx: &mut Context<'_>, request: ListOffsetsRequest) -> Reply<ListOffsetsResponse> {
        let look_ups = look_ups(ctx, request);
        let at_the_ends =
            |(_, look_ups): &(_, Vec<LookUp>)| look_ups.iter().all(LookUp::is_in_memory);
        if look_ups.iter().all(at_the_ends) {
            return Reply::Now(answer(look_ups));
        }
        // Times are looked up in files.
        Reply::later(async move {
            tokio::task::spawn_blocking(|| answer(look_ups))
                .await
                .expect("a look-up does not panic")
        })
    }
}

/// One partition that is asked about.
struct LookUp {
    index: i32,
    version: i16,
    partition: Result<Arc<Partition>, ErrorCode>,
    query: Query,
    isolation: Isolation,
    current_leader_epoch: Option<LeaderEpoch>,
}

#[derive(Clone, Copy)]
enum Query {
    Log(OffsetQuery),
    /// There is no remote storage.
    Remote,
}

type Topic = (ListOffsetsTopicResponse, Vec<LookUp>);

fn look_ups(ctx: &Context<'_>, request: ListOffsetsRequest) -> Vec<Topic> {
    let version = ctx.version();
    let leaders = Leaders::new(ctx);
    let isolation = isolation(request.replica_id, request.isolation_level);
    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            if !seen.insert((topic.name.clone(), partition.partition_index)) {
                twice.insert((topic.name.clone(), partition.partition_index));
            }
        }
    }
    let one = |name: &str, asked: ListOffsetsPartition| {
        let index = PartitionIndex(asked.partition_index);
        let query = query(asked.timestamp, version);
        let partition = isolation.and(query).and_then(|_| {
            let topic = resolve_by_name(leaders.image(), name)?;
            if topic.partition(index).is_none() {
                return Err(ErrorCode::UnknownTopicOrPartition);
            }
            leaders
                .partition(topic, index)
                .map_err(|error| errors::of_replica(&error))
        });
        LookUp {
            index: index.0,
            version,
            partition,
            query: query.unwrap_or(Query::Remote),
            isolation: isolation.unwrap_or(Isolation::ReadUncommitted),
            current_leader_epoch: (asked.current_leader_epoch >= 0)
                .then_some(LeaderEpoch(asked.current_leader_epoch)),
        }
    };
    let topics = request.topics.into_iter().map(|topic| {
        let look_ups = topic.partitions.into_iter().map(|asked| {
            let is_twice = twice.contains(&(topic.name.clone(), asked.partition_index));
            let mut look_up = one(&topic.name, asked);
            if is_twice {
                look_up.partition = Err(ErrorCode::InvalidRequest);
            }
            look_up
        });
        let look_ups = look_ups.collect();
        (
            ListOffsetsTopicResponse {
                name: topic.name,
                ..Default::default()
            },
            look_ups,
        )
    });
    topics.collect()
}

/// Brokers see all of the log, consumers what their level says.
fn isolation(replica_id: i32, level: i8) -> Result<Isolation, ErrorCode> {
    match (replica_id, level) {
        (CONSUMER, 0) => Ok(Isolation::ReadUncommitted),
        (CONSUMER, 1) => Ok(Isolation::ReadCommitted),
        (_, 0 | 1) => Ok(Isolation::LogEnd),
        _ => Err(ErrorCode::UnknownServerError),
    }
}

/// ReplicaManager.isListOffsetsTimestampUnsupported
fn query(timestamp: i64, version: i16) -> Result<Query, ErrorCode> {
    match (timestamp, version) {
        (-1, _) => Ok(Query::Log(OffsetQuery::Latest)),
        (-2, _) | (-4, 8..) => Ok(Query::Log(OffsetQuery::Earliest)),
        (-3, 7..) => Ok(Query::Log(OffsetQuery::MaxTimestamp)),
        (-5, 9..) | (-6, 11..) => Ok(Query::Remote),
        (0.., _) => Ok(Query::Log(OffsetQuery::At(Timestamp(timestamp)))),
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

impl LookUp {
    fn is_in_memory(&self) -> bool {
        self.partition.is_err()
            || matches!(
                self.query,
                Query::Remote | Query::Log(OffsetQuery::Latest | OffsetQuery::Earliest)
            )
    }

    fn answer(self) -> ListOffsetsPartitionResponse {
        let found = self.partition.and_then(|partition| {
            let query = match self.query {
                Query::Log(query) => query,
                Query::Remote => return Ok(None),
            };
            let found = partition.find_offset(query, self.isolation, self.current_leader_epoch);
            found.map_err(|error| errors::of_replica(&error))
        });
        let none = FoundOffset {
            offset: Offset(-1),
            timestamp: Timestamp::NONE,
            leader_epoch: None,
        };
        let (code, found) = match found {
            Ok(found) => (ErrorCode::None, found.unwrap_or(none)),
            Err(code) => (code, none),
        };
        let leader_epoch = found.leader_epoch.filter(|_| self.version >= LEADER_EPOCHS);
        ListOffsetsPartitionResponse {
            partition_index: self.index,
            error_code: code.code(),
            timestamp: found.timestamp.0,
            offset: found.offset.0,
            leader_epoch: leader_epoch.unwrap_or(LeaderEpoch::UNKNOWN).0,
            ..Default::default()
        }
    }
}

fn answer(topics: Vec<Topic>) -> ListOffsetsResponse {
    let topics = topics
        .into_iter()
        .map(|(response, look_ups)| ListOffsetsTopicResponse {
            partitions: look_ups.into_iter().map(LookUp::answer).collect(),
            ..response
        });
    ListOffsetsResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}
