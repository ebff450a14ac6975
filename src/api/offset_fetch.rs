//! OffsetFetch (key 9, versions 1 to 10): what groups have committed, for the partitions named or for all.
//!
//! | version | adds |
//! |---|---|
//! | 2 | all partitions, by null topics; an error of the whole response (KIP-88) |
//! | 5 | the leader epoch of the offset (KIP-320) |
//! | 7 | only stable offsets: none of an open transaction (KIP-447) |
//! | 8 | several groups (KIP-709) |
//! | 9 | the member and its epoch (KIP-848) |
//! | 10 | topic ids in place of names |

use std::ops::RangeInclusive;

use super::coordinated::{Spoken, reply_all};
use super::{Api, Context, Reply};
use crate::coordinator::group::{Request, Response};
use crate::error_code::ErrorCode;
use crate::ids::KafkaUuid;
use crate::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use crate::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use crate::messages::{OffsetFetchRequest, OffsetFetchResponse, text};
use crate::metadata::Image;

/// From this version on a response, or each group of it, has an error of its own.
const GROUP_ERROR_FROM: i16 = 2;
/// From this version on a request names several groups.
const GROUPS_FROM: i16 = 8;
/// From this version on topics are named by id.
const TOPIC_ID_FROM: i16 = 10;

pub(super) struct OffsetFetch;

impl Api for OffsetFetch {
    type Request = OffsetFetchRequest;

    const VERSIONS: RangeInclusive<i16> = 1..=10;

    fn handle(ctx: &mut Context<'_>, request: OffsetFetchRequest) -> Reply<OffsetFetchResponse> {
        let version = ctx.version();
        let image = ctx.broker.image();
        let require_stable = request.require_stable;
        let mut asked = Vec::new();
        let mut said = Vec::new();
        for mut group in groups(request, version) {
            let refused = if version >= TOPIC_ID_FROM {
                take_unknown(&image, &mut group)
            } else {
                Vec::new()
            };
            let id = group.group_id.clone();
            asked.push((group.clone(), refused));
            said.push(ctx.broker.groups().ask(
                &id,
                Request::FetchOffsets {
                    group,
                    require_stable,
                },
            ));
        }
        reply_all(said, move |spoken| {
            let told = spoken
                .into_iter()
                .zip(asked)
                .map(|(spoken, (group, refused))| {
                    let mut told = respond(spoken, &group, version);
                    if told.error_code == 0 {
                        if version >= TOPIC_ID_FROM {
                            name_by_id(&image, &mut told);
                        }
                        told.topics.extend(refused);
                    }
                    told
                });
            express(told.collect(), version)
        })
    }
}

/// The groups asked for; old versions ask for one, in fields of their own.
fn groups(request: OffsetFetchRequest, version: i16) -> Vec<OffsetFetchRequestGroup> {
    if version >= GROUPS_FROM {
        return request.groups;
    }
    let topics = request.topics.map(|topics| {
        let named = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..OffsetFetchRequestTopics::default()
        });
        named.collect()
    });
    vec![OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics,
        ..OffsetFetchRequestGroup::default()
    }]
}

/// Names the topics by their ids; takes out those that are not there, with their answers.
fn take_unknown(
    image: &Image,
    group: &mut OffsetFetchRequestGroup,
) -> Vec<OffsetFetchResponseTopics> {
    let mut refused = Vec::new();
    let Some(topics) = &mut group.topics else {
        return refused;
    };
    topics.retain_mut(
        |asked| match image.topics().by_id(KafkaUuid(asked.topic_id)) {
            Some(topic) => {
                asked.name = text(&topic.name);
                true
            }
            None => {
                refused.push(topic_error(asked, ErrorCode::UnknownTopicId));
                false
            }
        },
    );
    refused
}

/// Gives topics that are told by name their ids; those that are gone are not told.
fn name_by_id(image: &Image, group: &mut OffsetFetchResponseGroup) {
    group.topics.retain_mut(|topic| {
        if topic.topic_id.is_nil()
            && let Some(found) = image.topics().by_name(&topic.name)
        {
            topic.topic_id = found.id.0;
        }
        !topic.topic_id.is_nil()
    });
}

fn respond(
    spoken: Spoken,
    asked: &OffsetFetchRequestGroup,
    version: i16,
) -> OffsetFetchResponseGroup {
    match spoken {
        Ok(Response::FetchOffsets(group)) => group,
        Ok(_) => error(asked, ErrorCode::UnknownServerError, version),
        Err(code) => error(asked, code, version),
    }
}

/// The answer of a group that failed as a whole; the oldest version can say so of each partition only.
fn error(
    asked: &OffsetFetchRequestGroup,
    code: ErrorCode,
    version: i16,
) -> OffsetFetchResponseGroup {
    let group = OffsetFetchResponseGroup {
        group_id: asked.group_id.clone(),
        ..OffsetFetchResponseGroup::default()
    };
    if version >= GROUP_ERROR_FROM {
        return OffsetFetchResponseGroup {
            error_code: code.code(),
            ..group
        };
    }
    let topics = asked
        .topics
        .iter()
        .flatten()
        .map(|topic| topic_error(topic, code))
        .collect();
    OffsetFetchResponseGroup { topics, ..group }
}

fn topic_error(asked: &OffsetFetchRequestTopics, code: ErrorCode) -> OffsetFetchResponseTopics {
    let partition = |index: &i32| OffsetFetchResponsePartitions {
        partition_index: *index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(text("")),
        error_code: code.code(),
        ..OffsetFetchResponsePartitions::default()
    };
    OffsetFetchResponseTopics {
        name: asked.name.clone(),
        topic_id: asked.topic_id,
        partitions: asked.partition_indexes.iter().map(partition).collect(),
        ..OffsetFetchResponseTopics::default()
    }
}

fn express(mut groups: Vec<OffsetFetchResponseGroup>, version: i16) -> OffsetFetchResponse {
    let mut response = OffsetFetchResponse::default();
    if version >= GROUPS_FROM {
        response.groups = groups;
    } else if let Some(group) = groups.pop() {
        response.error_code = group.error_code;
        response.topics = group.topics.into_iter().map(old_topic).collect();
    }
    response
}

fn old_topic(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partition = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
        ..OffsetFetchResponsePartition::default()
    };
    OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        ..OffsetFetchResponseTopic::default()
    }
}
