//! OffsetDelete (key 47, version 0): committed offsets of topics that nobody in the group reads are removed (KIP-496).

use std::ops::RangeInclusive;

use super::coordinated::{Spoken, reply};
use super::{Api, Context, Reply};
use crate::coordinator::group::{Request, Response};
use crate::error_code::ErrorCode;
use crate::ids::PartitionIndex;
use crate::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use crate::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use crate::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use crate::metadata::Image;

pub(super) struct OffsetDelete;

impl Api for OffsetDelete {
    type Request = OffsetDeleteRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        ctx: &mut Context<'_>,
        mut request: OffsetDeleteRequest,
    ) -> Reply<OffsetDeleteResponse> {
        if request.group_id.is_empty() {
            return Reply::Now(error(ErrorCode::InvalidGroupId));
        }
        let refused = take_unknown(&ctx.broker.image(), &mut request);
        let group = request.group_id.clone();
        let said = ctx
            .broker
            .groups()
            .ask(&group, Request::DeleteOffsets(request));
        reply(said, move |spoken| merge(refused, respond(spoken)))
    }
}

/// Takes out the partitions that are not there, with their answers.
fn take_unknown(
    image: &Image,
    request: &mut OffsetDeleteRequest,
) -> Vec<OffsetDeleteResponseTopic> {
    let mut refused = Vec::new();
    request
        .topics
        .retain_mut(|asked: &mut OffsetDeleteRequestTopic| {
            let topic = image.topics().by_name(&asked.name);
            let there = |partition: &OffsetDeleteRequestPartition| {
                topic.is_some_and(|topic| {
                    topic
                        .partition(PartitionIndex(partition.partition_index))
                        .is_some()
                })
            };
            let (there, absent): (Vec<_>, Vec<_>) = std::mem::take(&mut asked.partitions)
                .into_iter()
                .partition(there);
            asked.partitions = there;
            if !absent.is_empty() {
                let refuse = |partition: OffsetDeleteRequestPartition| {
                    OffsetDeleteResponsePartition::default()
                        .with_partition_index(partition.partition_index)
                        .with_error_code(ErrorCode::UnknownTopicOrPartition.code())
                };
                let partitions = absent.into_iter().map(refuse).collect();
                let topic = OffsetDeleteResponseTopic::default().with_name(asked.name.clone());
                refused.push(topic.with_partitions(partitions));
            }
            !asked.partitions.is_empty()
        });
    refused
}

fn respond(spoken: Spoken) -> OffsetDeleteResponse {
    match spoken {
        Ok(Response::DeleteOffsets(response)) => response,
        Ok(_) => error(ErrorCode::UnknownServerError),
        Err(code) => error(code),
    }
}

/// What was refused comes first; a topic stands once. An error of the group stands alone.
/// (OffsetDeleteResponse.Builder.merge)
fn merge(
    mut refused: Vec<OffsetDeleteResponseTopic>,
    response: OffsetDeleteResponse,
) -> OffsetDeleteResponse {
    if response.error_code != 0 {
        return response;
    }
    for topic in response.topics {
        match refused.iter_mut().find(|other| other.name == topic.name) {
            Some(other) => other.partitions.extend(topic.partitions),
            None => refused.push(topic),
        }
    }
    OffsetDeleteResponse::default().with_topics(refused)
}

fn error(code: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse::default().with_error_code(code.code())
}
