//! Metadata (3), versions 0–13: the brokers, and the topics asked for with their partitions' leaders and replicas.
//!
//! A topic that is not there is created when client and settings allow it, and answered with
//! UNKNOWN_TOPIC_OR_PARTITION all the same: the client asks again. The controller is any broker that is alive, since all
//! of them pass on what is for it.
//!
//! | version | adds                                                                                 |
//! |---------|--------------------------------------------------------------------------------------|
//! | 0       | no topics named means all                                                            |
//! | 1       | null means all, none means none; controller, rack, internal topics                   |
//! | 2       | cluster id                                                                           |
//! | 4       | whether topics may be created                                                        |
//! | 5       | offline replicas                                                                     |
//! | 6       | LISTENER_NOT_FOUND for a leader without the client's listener                        |
//! | 7       | leader epochs                                                                        |
//! | 8       | authorized operations (KIP-430); those of the cluster to 10 only                     |
//! | 10      | topic ids in the answer (KIP-516)                                                    |
//! | 12      | topics by id                                                                         |
//! | 13      | an error code for the whole answer (KIP-1102)                                        |

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::auto_topics;
use super::cluster::{ALL_CLUSTER_OPERATIONS, ALL_TOPIC_OPERATIONS, View, broker_ids};
use super::{Api, Context, Reply};
use crate::error_code::ErrorCode;
use crate::ids::KafkaUuid;
use crate::messages::metadata_request::MetadataRequestTopic;
use crate::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName, text};
use crate::metadata::{Partition, Topic, is_internal, validate_name};

pub(super) struct Metadata;

impl Api for Metadata {
    type Request = MetadataRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=13;

    fn handle(ctx: &mut Context<'_>, request: MetadataRequest) -> Reply<MetadataResponse> {
        let (broker, image) = (ctx.broker, ctx.broker.metadata().image());
        let view = View {
            image: &image,
            settings: broker.settings(),
            cluster_id: broker.cluster_id(),
            listener: &ctx.session.listener,
        };
        let chance = usize::try_from(ctx.header.correlation_id.unsigned_abs()).unwrap_or(0);
        let (response, missing) = answer(view, ctx.version(), &request, chance);
        auto_topics::create(broker, &missing);
        Reply::Now(response)
    }
}

/// The answer, and the topics that are to be created.
pub(super) fn answer(
    view: View<'_>,
    version: i16,
    request: &MetadataRequest,
    chance: usize,
) -> (MetadataResponse, Vec<TopicName>) {
    let asked = match &request.topics {
        Some(topics) if version > 0 || !topics.is_empty() => Some(topics.as_slice()),
        _ => None,
    };
    if let Some(error) = asked.and_then(|asked| malformed(version, asked)) {
        return (refused(asked.unwrap_or_default(), error), Vec::new());
    }
    let mut missing = Vec::new();
    let mut topics = match asked {
        None => view
            .image
            .topics()
            .iter()
            .map(|topic| found(view, version, topic))
            .collect(),
        Some(asked) if asked.iter().any(|topic| !topic.topic_id.is_nil()) => {
            by_id(view, version, asked)
        }
        Some(asked) => {
            let may_create = view.settings.boolean("auto.create.topics.enable")
                && (version < 4 || request.allow_auto_topic_creation);
            let topics = by_name(view, version, asked);
            let unknown = topics
                .iter()
                .filter(|topic| topic.error_code == ErrorCode::UnknownTopicOrPartition as i16);
            missing.extend(
                unknown
                    .filter(|_| may_create)
                    .filter_map(|topic| topic.name.clone()),
            );
            topics
        }
    };
    if version >= 8 && request.include_topic_authorized_operations {
        topics
            .iter_mut()
            .for_each(|topic| topic.topic_authorized_operations = ALL_TOPIC_OPERATIONS);
    }
    let mut response = MetadataResponse::default()
        .with_brokers(brokers(view))
        .with_cluster_id(Some(text(view.cluster_id)))
        .with_controller_id(view.controller_id(chance))
        .with_topics(topics);
    if (8..=10).contains(&version) && request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = ALL_CLUSTER_OPERATIONS;
    }
    (response, missing)
}

/// What Kafka cannot make sense of. (MetadataRequest, KafkaApis.handleTopicMetadataRequest)
fn malformed(version: i16, asked: &[MetadataRequestTopic]) -> Option<ErrorCode> {
    let has_id = |topic: &MetadataRequestTopic| !topic.topic_id.is_nil();
    if version < 12
        && asked
            .iter()
            .any(|topic| has_id(topic) || topic.name.is_none())
    {
        return Some(ErrorCode::InvalidRequest);
    }
    let is_nameless = asked.iter().any(|topic| topic.name.is_none()) && !asked.iter().any(has_id);
    is_nameless.then_some(ErrorCode::UnknownServerError)
}

/// The answer to a request as a whole that cannot be granted.
fn refused(asked: &[MetadataRequestTopic], error: ErrorCode) -> MetadataResponse {
    let topic = |topic: &MetadataRequestTopic| {
        MetadataResponseTopic::default()
            .with_error_code(error as i16)
            .with_name(Some(topic.name.clone().unwrap_or_default()))
            .with_topic_id(topic.topic_id)
    };
    MetadataResponse::default()
        .with_cluster_id(None)
        .with_controller_id(BrokerId(-1))
        .with_topics(asked.iter().map(topic).collect())
}

fn brokers(view: View<'_>) -> Vec<MetadataResponseBroker> {
    let alive = view.image.brokers().alive(view.listener);
    let alive = alive.map(|(broker, endpoint)| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(broker.id.0))
            .with_host(text(&endpoint.host))
            .with_port(endpoint.port.into())
            .with_rack(broker.rack.as_deref().map(text))
    });
    alive.collect()
}

/// Topics by their ids; those that are named beside them are left out, as Kafka does.
fn by_id(
    view: View<'_>,
    version: i16,
    asked: &[MetadataRequestTopic],
) -> Vec<MetadataResponseTopic> {
    let ids: BTreeSet<KafkaUuid> = asked
        .iter()
        .map(|topic| KafkaUuid(topic.topic_id))
        .collect();
    let ids = ids.into_iter().filter(|id| *id != KafkaUuid::ZERO);
    let topics = ids.map(|id| match view.image.topics().by_id(id) {
        Some(topic) => found(view, version, topic),
        None => MetadataResponseTopic::default()
            .with_error_code(ErrorCode::UnknownTopicId as i16)
            .with_name(None)
            .with_topic_id(id.0),
    });
    topics.collect()
}

/// Topics by their names, each once; those that are not there come last.
fn by_name(
    view: View<'_>,
    version: i16,
    asked: &[MetadataRequestTopic],
) -> Vec<MetadataResponseTopic> {
    let mut seen = BTreeSet::new();
    let names = asked
        .iter()
        .filter_map(|topic| topic.name.as_ref())
        .filter(|name| seen.insert(*name));
    let (known, unknown): (Vec<_>, Vec<_>) = names
        .map(|name| (name, view.image.topics().by_name(name)))
        .partition(|(_, topic)| topic.is_some());
    let known = known.into_iter().filter_map(|(_, topic)| topic);
    let known = known.map(|topic| found(view, version, topic));
    let unknown = unknown.into_iter().map(|(name, _)| {
        let error = match validate_name(name) {
            Ok(()) => ErrorCode::UnknownTopicOrPartition,
            Err(_) => ErrorCode::InvalidTopicException,
        };
        MetadataResponseTopic::default()
            .with_error_code(error as i16)
            .with_name(Some(name.clone()))
            .with_is_internal(is_internal(name))
    });
    known.chain(unknown).collect()
}

fn found(view: View<'_>, version: i16, topic: &std::sync::Arc<Topic>) -> MetadataResponseTopic {
    let partitions = topic
        .indexed()
        .map(|(index, one)| partition(view, version, index.0, one));
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(&topic.name))))
        .with_topic_id(topic.id.0)
        .with_is_internal(topic.is_internal())
        .with_partitions(partitions.collect())
}

fn partition(
    view: View<'_>,
    version: i16,
    index: i32,
    partition: &Partition,
) -> MetadataResponsePartition {
    let leader = view.leader(partition, version >= 6);
    let (mut replicas, mut isr) = (broker_ids(&partition.replicas), broker_ids(&partition.isr));
    let mut error = leader.error;
    // The first clients had no use for a replica that they could not reach.
    if version == 0 {
        replicas.retain(|id| view.is_reachable(crate::ids::NodeId(id.0)));
        isr.retain(|id| view.is_reachable(crate::ids::NodeId(id.0)));
        let is_short = replicas.len() < partition.replicas.len() || isr.len() < partition.isr.len();
        if error == ErrorCode::None && is_short {
            error = ErrorCode::ReplicaNotAvailable;
        }
    }
    MetadataResponsePartition::default()
        .with_error_code(error as i16)
        .with_partition_index(index)
        .with_leader_id(leader.id)
        .with_leader_epoch(partition.leader_epoch.0)
        .with_replica_nodes(replicas)
        .with_isr_nodes(isr)
        .with_offline_replicas(view.offline_replicas(partition))
}
