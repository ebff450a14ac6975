//! From what was read to the response, by what the session has told before.

use std::sync::Arc;

use uuid::Uuid;

use super::request::BY_ID;
use super::{Fetching, Pass, index_of};
use crate::api::leaders::Leaders;
use crate::error_code::ErrorCode;
use crate::ids::{Offset, PartitionIndex};
use crate::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
    PartitionData,
};
use crate::messages::{FetchRequest, FetchResponse, Records, StrBytes};
use crate::metadata::Topic;
use crate::replica::ReadInfo;
use crate::replica::session::{self, Told, TopicKey};

/// From this version on the leader is told beside an error that another leader explains.
const LEADER_HINTS: i16 = 16;

/// The answer to a request as a whole that cannot be served. Up to version 12 it names the partitions too.
/// (FetchRequest.getErrorResponse)
pub(super) fn refused(version: i16, code: ErrorCode, request: FetchRequest) -> FetchResponse {
    let mut response = FetchResponse {
        error_code: code.code(),
        ..Default::default()
    };
    if version < BY_ID {
        response.responses = request
            .topics
            .into_iter()
            .map(|topic| FetchableTopicResponse {
                topic: topic.topic,
                partitions: topic
                    .partitions
                    .iter()
                    .map(|partition| failed(partition.partition, code))
                    .collect(),
                ..Default::default()
            })
            .collect();
    }
    response
}

pub(super) fn session_error(error: session::Error) -> FetchResponse {
    let code = match error {
        session::Error::NotFound => ErrorCode::FetchSessionIdNotFound,
        session::Error::Epoch => ErrorCode::InvalidFetchSessionEpoch,
        session::Error::TopicId => ErrorCode::FetchSessionTopicIdError,
    };
    FetchResponse {
        error_code: code.code(),
        ..Default::default()
    }
}

/// The answer when the session has gone on without the request.
pub(super) fn superseded(session_id: i32, error: session::Error) -> FetchResponse {
    FetchResponse {
        session_id,
        ..session_error(error)
    }
}

fn failed(index: i32, code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index: index,
        error_code: code.code(),
        high_watermark: -1,
        aborted_transactions: Some(Vec::new()),
        records: Some(Records::default()),
        ..Default::default()
    }
}

impl Fetching {
    /// Settles the session and puts the response together.
    pub(super) fn answer(self, pass: Pass) -> FetchResponse {
        let Fetching {
            broker,
            version,
            mut leaders,
            session,
            targets,
            ..
        } = self;
        let told: Vec<Told> = pass.reads.iter().map(told).collect();
        let keys: Vec<_> = session
            .wanted()
            .iter()
            .map(|wanted| (wanted.key.topic.clone(), index_of(wanted)))
            .collect();
        let session_id = session.session_id();
        let finished = match session.finish(broker.fetch_sessions(), &told, broker.clock().steady())
        {
            Ok(finished) => finished,
            Err(error) => {
                return superseded(session_id, error);
            }
        };
        let mut responses: Vec<FetchableTopicResponse> = Vec::new();
        let mut last: Option<TopicKey> = None;
        for (at, (read, (topic, index))) in pass.reads.into_iter().zip(keys).enumerate() {
            if finished.named.as_ref().is_some_and(|named| !named[at]) {
                continue;
            }
            let data = data_of(version, &mut leaders, targets[at].topic(), index, read);
            match (&last, responses.last_mut()) {
                (Some(same), Some(response)) if *same == topic => response.partitions.push(data),
                _ => responses.push(FetchableTopicResponse {
                    partitions: vec![data],
                    ..named(&topic)
                }),
            }
            last = Some(topic);
        }
        FetchResponse {
            session_id: finished.session_id,
            responses,
            node_endpoints: leaders.into_endpoints(endpoint),
            ..Default::default()
        }
    }
}

/// What is answered of one partition; `topic` is `None` when the cluster does not have it.
fn data_of(
    version: i16,
    leaders: &mut Leaders,
    topic: Option<&Arc<Topic>>,
    index: PartitionIndex,
    read: Result<ReadInfo, ErrorCode>,
) -> PartitionData {
    let code = match read {
        Ok(info) => return found(index.0, info),
        Err(code) => code,
    };
    let mut data = failed(index.0, code);
    let Some(topic) = topic else { return data };
    // Of what the cluster does not know Kafka answers an empty list, of other errors none.
    data.aborted_transactions = None;
    let moved = matches!(
        code,
        ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch
    );
    if moved && version >= LEADER_HINTS {
        let (id, epoch) = leaders.hint(topic, index);
        data.current_leader = LeaderIdAndEpoch {
            leader_id: id.0,
            leader_epoch: epoch.0,
            ..Default::default()
        };
    }
    data
}

fn named(topic: &TopicKey) -> FetchableTopicResponse {
    let (name, id) = match topic {
        TopicKey::Id(id) => (StrBytes::default(), id.0),
        TopicKey::Name(name) => (name.to_string().into(), Uuid::nil()),
    };
    FetchableTopicResponse {
        topic: name,
        topic_id: id,
        ..Default::default()
    }
}

fn told(read: &Result<ReadInfo, ErrorCode>) -> Told {
    let unknown = Offset(-1);
    Told {
        high_watermark: read.as_ref().map_or(unknown, |info| info.high_watermark),
        log_start_offset: read.as_ref().map_or(unknown, |info| info.log_start_offset),
        has_records: read.as_ref().is_ok_and(|info| !info.records.is_empty()),
        has_error: read.is_err(),
        has_hint: read.as_ref().is_ok_and(|info| info.diverging.is_some()),
        is_at_end: read.as_ref().is_ok_and(|info| info.is_at_end),
    }
}

fn found(index: i32, info: ReadInfo) -> PartitionData {
    let aborted = |list: Vec<crate::log::AbortedTransaction>| {
        let entries = list.into_iter().map(|aborted| AbortedTransaction {
            producer_id: aborted.producer_id.0,
            first_offset: aborted.first_offset.0,
            ..Default::default()
        });
        entries.collect()
    };
    let mut data = PartitionData {
        partition_index: index,
        high_watermark: info.high_watermark.0,
        last_stable_offset: info.last_stable_offset.0,
        log_start_offset: info.log_start_offset.0,
        aborted_transactions: info.aborted.map(aborted),
        records: Some(info.records),
        ..Default::default()
    };
    if let Some((epoch, end_offset)) = info.diverging {
        data.diverging_epoch = EpochEndOffset {
            epoch: epoch.0,
            end_offset: end_offset.0,
            ..Default::default()
        };
    }
    data
}

fn endpoint(id: i32, host: &str, port: i32, rack: Option<&str>) -> NodeEndpoint {
    NodeEndpoint {
        node_id: id,
        host: host.to_owned().into(),
        port,
        rack: rack.map(|rack| rack.to_owned().into()),
        ..Default::default()
    }
}
