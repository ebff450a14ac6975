//! From the topics that a request names to the partitions on this broker, and to the leader that a client should ask
//! instead (KIP-951).

use std::sync::Arc;

use uuid::Uuid;

use super::Context;
use crate::broker::Broker;
use crate::error_code::ErrorCode;
use crate::ids::{KafkaUuid, LeaderEpoch, NodeId, PartitionIndex};
use crate::metadata::{Image, Topic};
use crate::replica::{self, Partition};

/// Finds a topic that a request names by its id.
pub(super) fn resolve_by_id(image: &Image, id: Uuid) -> Result<&Arc<Topic>, ErrorCode> {
    image
        .topics()
        .by_id(KafkaUuid(id))
        .ok_or(ErrorCode::UnknownTopicId)
}

/// Finds a topic that a request names.
pub(super) fn resolve_by_name<'a>(
    image: &'a Image,
    name: &str,
) -> Result<&'a Arc<Topic>, ErrorCode> {
    image
        .topics()
        .by_name(name)
        .ok_or(ErrorCode::UnknownTopicOrPartition)
}

/// The image of one request, and the leaders that its answer names.
pub(super) struct Leaders {
    broker: Arc<Broker>,
    image: Arc<Image>,
    listener: Arc<str>,
    told: Vec<NodeId>,
}

impl Leaders {
    pub(super) fn new(ctx: &Context<'_>) -> Leaders {
        Leaders {
            broker: ctx.broker.clone(),
            image: ctx.broker.metadata().image(),
            listener: ctx.session.listener.clone(),
            told: Vec::new(),
        }
    }

    pub(super) fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    pub(super) fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// Goes on with the newest image.
    pub(super) fn renew(&mut self) {
        self.image = self.broker.metadata().image();
    }

    /// The partition, when this broker has a usable replica of it.
    pub(super) fn partition(
        &self,
        topic: &Topic,
        index: PartitionIndex,
    ) -> Result<Arc<Partition>, replica::Error> {
        self.broker.replicas().get(topic.id, index)
    }

    /// The partition's leader by the newest image, -1 for none; the answer then says how to reach it.
    /// (KafkaApis.getCurrentLeader)
    pub(super) fn hint(&mut self, topic: &Topic, index: PartitionIndex) -> (NodeId, LeaderEpoch) {
        let Some(partition) = topic.partition(index) else {
            return (NodeId(-1), LeaderEpoch::UNKNOWN);
        };
        let leader = partition.leader_or_none();
        if leader.0 >= 0 && !self.told.contains(&leader) {
            self.told.push(leader);
        }
        (leader, partition.leader_epoch)
    }

    /// The addresses of the leaders that were told, on the listener that the client came by.
    pub(super) fn into_endpoints<T>(
        self,
        make: impl Fn(i32, &str, i32, Option<&str>) -> T,
    ) -> Vec<T> {
        let address = |id: &NodeId| {
            let broker = self.image.brokers().get(*id)?;
            let endpoint = broker.endpoint(&self.listener)?;
            Some(make(
                id.0,
                &endpoint.host,
                endpoint.port.into(),
                broker.rack.as_deref(),
            ))
        };
        self.told.iter().filter_map(address).collect()
    }
}
