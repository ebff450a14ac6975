//! DescribeTopicPartitions (75), version 0: topics with their partitions, a bounded number of them at a time, in the
//! order of names; with eligible leader replicas (KIP-966). The cursor says where to go on.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::cluster::{ALL_TOPIC_OPERATIONS, View, broker_ids};
use super::{Api, Context, Reply};
use crate::error_code::ErrorCode;
use crate::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use crate::messages::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName, text,
};
use crate::metadata::{Partition, Topic, is_internal, validate_name};

pub(super) struct DescribeTopicPartitions;

impl Api for DescribeTopicPartitions {
    type Request = DescribeTopicPartitionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        ctx: &mut Context<'_>,
        request: DescribeTopicPartitionsRequest,
    ) -> Reply<DescribeTopicPartitionsResponse> {
        let image = ctx.broker.metadata().image();
        let view = View {
            image: &image,
            settings: ctx.broker.settings(),
            cluster_id: ctx.broker.cluster_id(),
            listener: &ctx.session.listener,
        };
        Reply::Now(answer(view, &request))
    }
}

pub(super) fn answer(
    view: View<'_>,
    request: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let names: BTreeSet<&str> = request
        .topics
        .iter()
        .map(|topic| topic.name.as_str())
        .collect();
    let (from, first) = match &request.cursor {
        None => ("", 0),
        Some(cursor) => {
            let name = cursor.topic_name.as_str();
            let is_listed = names.is_empty() || names.contains(name);
            match usize::try_from(cursor.partition_index) {
                Ok(first) if is_listed => (name, first),
                _ => return error(request, ErrorCode::InvalidRequest),
            }
        }
    };
    let most = view
        .settings
        .int("max.request.partition.size.limit")
        .min(request.response_partition_limit);
    let mut page = Page {
        view,
        left: usize::try_from(most).unwrap_or(0).max(1),
        topics: Vec::new(),
        next: None,
    };
    let first_of = |name: &str| {
        if request.cursor.is_some() && name == from {
            first
        } else {
            0
        }
    };
    if names.is_empty() {
        for topic in view.image.topics().from_name(from) {
            if !page.add(&topic.name, Some(topic), first_of(&topic.name)) {
                break;
            }
        }
    } else {
        for name in names.range(from..) {
            if !page.add(
                name,
                view.image.topics().by_name(name).map(|topic| &**topic),
                first_of(name),
            ) {
                break;
            }
        }
    }
    DescribeTopicPartitionsResponse::default()
        .with_topics(page.topics)
        .with_next_cursor(page.next)
}

/// An answer that is being filled.
struct Page<'a> {
    view: View<'a>,
    /// Partitions that it still has place for.
    left: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<Cursor>,
}

impl Page<'_> {
    /// Adds a topic from a partition on; false when the page is full.
    fn add(&mut self, name: &str, topic: Option<&Topic>, first: usize) -> bool {
        let cursor = |at: usize| {
            let index = i32::try_from(at).unwrap_or(i32::MAX);
            Some(
                Cursor::default()
                    .with_topic_name(TopicName(text(name)))
                    .with_partition_index(index),
            )
        };
        if self.left == 0 {
            self.next = cursor(0);
            return false;
        }
        let answer = DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(TopicName(text(name))))
            .with_is_internal(is_internal(name))
            .with_topic_authorized_operations(ALL_TOPIC_OPERATIONS);
        let Some(topic) = topic else {
            let error = match validate_name(name) {
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
                Err(_) => ErrorCode::InvalidTopicException,
            };
            self.topics.push(answer.with_error_code(error as i16));
            return true;
        };
        let partitions = topic.indexed().skip(first).take(self.left);
        let partitions: Vec<_> = partitions
            .map(|(index, one)| partition(self.view, index.0, one))
            .collect();
        self.left -= partitions.len();
        let end = first.saturating_add(partitions.len());
        self.topics
            .push(answer.with_topic_id(topic.id.0).with_partitions(partitions));
        if end < topic.partitions.len() {
            self.next = cursor(end);
            return false;
        }
        true
    }
}

fn partition(
    view: View<'_>,
    index: i32,
    partition: &Partition,
) -> DescribeTopicPartitionsResponsePartition {
    let leader = view.leader(partition, true);
    DescribeTopicPartitionsResponsePartition::default()
        .with_error_code(leader.error as i16)
        .with_partition_index(index)
        .with_leader_id(leader.id)
        .with_leader_epoch(partition.leader_epoch.0)
        .with_replica_nodes(broker_ids(&partition.replicas))
        .with_isr_nodes(broker_ids(&partition.isr))
        .with_eligible_leader_replicas(Some(broker_ids(&partition.elr)))
        .with_last_known_elr(Some(broker_ids(&partition.last_known_elr)))
        .with_offline_replicas(view.offline_replicas(partition))
}

/// A response that says of every topic that the request failed.
fn error(
    request: &DescribeTopicPartitionsRequest,
    code: ErrorCode,
) -> DescribeTopicPartitionsResponse {
    let topics = request.topics.iter().map(|topic| {
        DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(code as i16)
            .with_name(Some(topic.name.clone()))
    });
    DescribeTopicPartitionsResponse::default().with_topics(topics.collect())
}
