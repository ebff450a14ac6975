//! What Metadata, DescribeCluster and DescribeTopicPartitions say alike: one image as a client of one listener sees it.
//! (KRaftMetadataCache)

use crate::config::Settings;
use crate::error_code::ErrorCode;
use crate::ids::{DirectoryId, NodeId};
use crate::messages::BrokerId;
use crate::metadata::{Broker, Image, Partition};

/// The operations on a topic that a client may do when nothing is forbidden, a bit each by the operation's number:
/// read, write, create, delete, alter, describe, describe and alter its settings. (AclEntry.supportedOperations)
pub(super) const ALL_TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// The same for the cluster.
pub(super) const ALL_CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// An image, and who looks at it from where.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) image: &'a Image,
    pub(super) settings: &'a Settings,
    pub(super) cluster_id: &'a str,
    /// The client's: it is told of this listener's endpoints.
    pub(super) listener: &'a str,
}

/// A partition's leader as a client is told.
pub(super) struct Leader {
    pub(super) error: ErrorCode,
    /// -1 when there is none that the client can reach.
    pub(super) id: BrokerId,
}

impl View<'_> {
    /// Whether clients of this listener can reach a broker.
    pub(super) fn is_reachable(&self, node: NodeId) -> bool {
        self.image
            .brokers()
            .get(node)
            .is_some_and(|broker| self.can_reach(broker))
    }

    fn can_reach(&self, broker: &Broker) -> bool {
        !broker.fenced && broker.endpoint(self.listener).is_some()
    }

    /// Any broker that is alive: where a client sends what is for the controller. -1 when there is none. `chance` spreads
    /// the clients.
    pub(super) fn controller_id(&self, chance: usize) -> BrokerId {
        let count = self
            .image
            .brokers()
            .iter()
            .filter(|broker| !broker.fenced)
            .count();
        let mut alive = self.image.brokers().iter().filter(|broker| !broker.fenced);
        let chosen = alive.nth(chance.checked_rem(count).unwrap_or(0));
        BrokerId(chosen.map_or(-1, |broker| broker.id.0))
    }

    /// The leader, or why there is none. `tell_listener`: whether the client's version knows LISTENER_NOT_FOUND.
    pub(super) fn leader(&self, partition: &Partition, tell_listener: bool) -> Leader {
        let leader = partition.leader_or_none();
        if self.is_reachable(leader) {
            return Leader {
                error: ErrorCode::None,
                id: BrokerId(leader.0),
            };
        }
        let is_known = self.image.brokers().is_registered(leader);
        let error = match is_known && tell_listener {
            true => ErrorCode::ListenerNotFound,
            false => ErrorCode::LeaderNotAvailable,
        };
        Leader {
            error,
            id: BrokerId(-1),
        }
    }

    /// The replicas that cannot be reached, or whose directory is offline.
    pub(super) fn offline_replicas(&self, partition: &Partition) -> Vec<BrokerId> {
        let is_online = |node: NodeId| {
            let Some(broker) = self
                .image
                .brokers()
                .get(node)
                .filter(|broker| self.can_reach(broker))
            else {
                return false;
            };
            match partition.directory(node) {
                None | Some(DirectoryId::ZERO | DirectoryId::ONE) => true,
                Some(DirectoryId::TWO) => false,
                Some(directory) => {
                    broker.log_dirs.is_empty() || broker.log_dirs.contains(&directory)
                }
            }
        };
        let offline = partition.replicas.iter().filter(|&&node| !is_online(node));
        offline.map(|node| BrokerId(node.0)).collect()
    }
}

pub(super) fn broker_ids(nodes: &[NodeId]) -> Vec<BrokerId> {
    nodes.iter().map(|node| BrokerId(node.0)).collect()
}

#[cfg(test)]
mod tests;
