//! OffsetCommit (key 8, versions 2 to 10): a group stores how far it has read.
//!
//! | version | adds |
//! |---|---|
//! | 2 to 4 | a retention time of the commit's own |
//! | 6 | the leader epoch of the offset (KIP-320) |
//! | 7 | static members: the group instance id (KIP-345) |
//! | 9 | GROUP_ID_NOT_FOUND, STALE_MEMBER_EPOCH (KIP-848) |
//! | 10 | topic ids in place of names |

use std::ops::RangeInclusive;

use uuid::Uuid;

use super::coordinated::{Spoken, reply};
use super::{Api, Context, Reply};
use crate::coordinator::group::{Request, Response, commit_error};
use crate::error_code::ErrorCode;
use crate::ids::{KafkaUuid, PartitionIndex};
use crate::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::messages::offset_commit_response::OffsetCommitResponseTopic;
use crate::messages::{OffsetCommitRequest, OffsetCommitResponse, text};
use crate::metadata::{Image, Topic};

/// From this version on topics are named by id.
const TOPIC_ID_FROM: i16 = 10;

pub(super) struct OffsetCommit;

impl Api for OffsetCommit {
    type Request = OffsetCommitRequest;

    const VERSIONS: RangeInclusive<i16> = 2..=10;

    fn handle(
        ctx: &mut Context<'_>,
        mut request: OffsetCommitRequest,
    ) -> Reply<OffsetCommitResponse> {
        let version = ctx.version();
        let mut refused = Vec::new();
        let known = take_known(&ctx.broker.image(), version, &mut request, &mut refused);
        if known.is_empty() {
            return Reply::Now(answer(refused));
        }
        let request = OffsetCommitRequest {
            topics: known,
            ..request
        };
        let asked = request.clone();
        let group = request.group_id.clone();
        let said = ctx
            .broker
            .groups()
            .ask(&group, Request::CommitOffsets { version, request });
        reply(said, move |spoken| merge(refused, respond(spoken, &asked)))
    }
}

/// The topics and partitions that there are, by name and id; the others are put into `refused`.
fn take_known(
    image: &Image,
    version: i16,
    request: &mut OffsetCommitRequest,
    refused: &mut Vec<OffsetCommitResponseTopic>,
) -> Vec<OffsetCommitRequestTopic> {
    let mut known = Vec::with_capacity(request.topics.len());
    for mut asked in std::mem::take(&mut request.topics) {
        let (found, code) = if version >= TOPIC_ID_FROM {
            (
                image.topics().by_id(KafkaUuid(asked.topic_id)),
                ErrorCode::UnknownTopicId,
            )
        } else {
            (
                image.topics().by_name(&asked.name),
                ErrorCode::UnknownTopicOrPartition,
            )
        };
        let Some(topic) = found else {
            if version < TOPIC_ID_FROM {
                asked.topic_id = Uuid::nil();
            }
            refuse(refused, asked, code);
            continue;
        };
        asked.name = text(&topic.name);
        asked.topic_id = topic.id.0;
        let (there, absent) = split(topic, std::mem::take(&mut asked.partitions));
        if !absent.is_empty() {
            let absent = OffsetCommitRequestTopic {
                partitions: absent,
                ..asked.clone()
            };
            refuse(refused, absent, ErrorCode::UnknownTopicOrPartition);
        }
        if !there.is_empty() {
            known.push(OffsetCommitRequestTopic {
                partitions: there,
                ..asked
            });
        }
    }
    known
}

type Partitions = Vec<OffsetCommitRequestPartition>;

fn split(topic: &Topic, partitions: Partitions) -> (Partitions, Partitions) {
    partitions.into_iter().partition(|partition| {
        topic
            .partition(PartitionIndex(partition.partition_index))
            .is_some()
    })
}

fn refuse(
    refused: &mut Vec<OffsetCommitResponseTopic>,
    topic: OffsetCommitRequestTopic,
    code: ErrorCode,
) {
    let request = OffsetCommitRequest {
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    };
    refused.extend(commit_error(&request, code).topics);
}

fn respond(spoken: Spoken, asked: &OffsetCommitRequest) -> OffsetCommitResponse {
    match spoken {
        Ok(Response::CommitOffsets(response)) => response,
        Ok(_) => commit_error(asked, ErrorCode::UnknownServerError),
        Err(code) => commit_error(asked, code),
    }
}

/// What was refused comes first; a topic stands once. (OffsetCommitResponse.Builder.merge)
fn merge(
    mut refused: Vec<OffsetCommitResponseTopic>,
    response: OffsetCommitResponse,
) -> OffsetCommitResponse {
    for topic in response.topics {
        let same = |other: &&mut OffsetCommitResponseTopic| {
            other.topic_id == topic.topic_id && other.name == topic.name
        };
        match refused.iter_mut().find(same) {
            Some(other) => other.partitions.extend(topic.partitions),
            None => refused.push(topic),
        }
    }
    answer(refused)
}

fn answer(topics: Vec<OffsetCommitResponseTopic>) -> OffsetCommitResponse {
    OffsetCommitResponse {
        topics,
        ..OffsetCommitResponse::default()
    }
}
