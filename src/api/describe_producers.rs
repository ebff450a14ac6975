//! DescribeProducers (61), version 0: the producers that a partition's log knows, with their open transactions (KIP-664).
//! Any replica answers, from its own log. (KafkaApis.handleDescribeProducersRequest, Partition.activeProducerState)

use std::ops::RangeInclusive;

use super::leaders::Leaders;
use super::{Api, Context, Reply, errors};
use crate::error_code::ErrorCode;
use crate::ids::PartitionIndex;
use crate::log;
use crate::messages::describe_producers_request::TopicRequest;
use crate::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use crate::messages::{self, DescribeProducersRequest, DescribeProducersResponse, text};
use crate::metadata::{Topic, validate_name};

/// The text of UNKNOWN_TOPIC_OR_PARTITION.
const NOT_HOSTED: &str = "This server does not host this topic-partition.";

pub(super) struct DescribeProducers;

impl Api for DescribeProducers {
    type Request = DescribeProducersRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        ctx: &mut Context<'_>,
        request: DescribeProducersRequest,
    ) -> Reply<DescribeProducersResponse> {
        let leaders = Leaders::new(ctx);
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = partitions(&leaders, &topic);
            TopicResponse::default()
                .with_name(topic.name)
                .with_partitions(partitions)
        });
        Reply::Now(DescribeProducersResponse::default().with_topics(topics.collect()))
    }
}

fn partitions(leaders: &Leaders, asked: &TopicRequest) -> Vec<PartitionResponse> {
    let topic = leaders.image().topics().by_name(&asked.name);
    let refused = match (validate_name(&asked.name), topic) {
        (Err(reason), _) => Err((ErrorCode::InvalidTopicException, reason)),
        (Ok(()), None) => Err((ErrorCode::UnknownTopicOrPartition, NOT_HOSTED.to_owned())),
        (Ok(()), Some(topic)) => Ok(topic),
    };
    let one = |index: &i32| {
        let response = PartitionResponse::default().with_partition_index(*index);
        match &refused {
            Err((code, reason)) => response
                .with_error_code(code.code())
                .with_error_message(Some(text(reason))),
            Ok(topic) => match producers(leaders, topic, PartitionIndex(*index)) {
                Ok(producers) => response.with_active_producers(producers),
                Err(code) => response.with_error_code(code.code()),
            },
        }
    };
    asked.partition_indexes.iter().map(one).collect()
}

fn producers(
    leaders: &Leaders,
    topic: &Topic,
    index: PartitionIndex,
) -> Result<Vec<ProducerState>, ErrorCode> {
    if topic.partition(index).is_none() {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    let partition = leaders
        .partition(topic, index)
        .map_err(|error| errors::of_replica(&error))?;
    let mut known = partition.log().producers();
    known.sort_unstable_by_key(|state| state.producer_id);
    Ok(known.iter().map(state).collect())
}

fn state(of: &log::ProducerState) -> ProducerState {
    ProducerState::default()
        .with_producer_id(messages::ProducerId(of.producer_id.0))
        .with_producer_epoch(of.epoch.0.into())
        .with_last_sequence(of.last_sequence())
        .with_last_timestamp(of.last_timestamp.0)
        .with_coordinator_epoch(of.coordinator_epoch)
        .with_current_txn_start_offset(of.current_txn_first_offset.map_or(-1, |first| first.0))
}
