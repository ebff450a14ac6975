//! The internal topic of a coordinator: which of its partitions keeps a key, and which are led here. It follows the
//! metadata: partitions come and go, and each is taken up or laid down by the runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use tokio::task::JoinHandle;

use super::runtime::Runtime;
use super::{StateMachine, partition_for};
use crate::ids::{LeaderEpoch, NodeId, PartitionIndex, TopicId};
use crate::metadata::{Delta, Image};
use crate::replica::Partition;

/// Finds a replica on this broker.
pub type LookUp = Box<dyn Fn(TopicId, PartitionIndex) -> Option<Arc<Partition>> + Send + Sync>;

/// See the module.
pub(super) struct CoordinatorTopic {
    name: &'static str,
    node: NodeId,
    /// How many partitions there are; the setting as long as the topic is not there.
    partitions: AtomicI32,
    /// Whether an image has been seen.
    started: AtomicBool,
    replicas: LookUp,
}

/// A partition that is led here, as of now or as before, in this epoch.
pub(super) struct Led {
    pub(super) partition: PartitionIndex,
    pub(super) epoch: LeaderEpoch,
    /// It is being read.
    pub(super) loading: Option<JoinHandle<()>>,
}

impl CoordinatorTopic {
    pub(super) fn new(
        name: &'static str,
        node: NodeId,
        partitions: i32,
        replicas: LookUp,
    ) -> CoordinatorTopic {
        CoordinatorTopic {
            name,
            node,
            partitions: AtomicI32::new(partitions),
            started: AtomicBool::new(false),
            replicas,
        }
    }

    /// The partition that keeps the key.
    pub(super) fn partition_for(&self, key: &str) -> PartitionIndex {
        let partitions = self.partitions.load(Ordering::Acquire);
        PartitionIndex(partition_for(key, partitions))
    }

    /// Takes up and lays down partitions until they are those that the image gives to this broker. Returns those
    /// that it has, or `None` when nothing changed. Comes after the replicas have taken their roles.
    pub(super) fn follow<M: StateMachine>(
        &self,
        runtime: &Arc<Runtime<M, Partition>>,
        image: &Image,
        delta: &Delta,
    ) -> Option<Vec<Led>> {
        let is_first = !self.started.swap(true, Ordering::AcqRel);
        let topic = image.topics().by_name(self.name);
        let changed = delta
            .topics
            .values()
            .find(|changed| &*changed.name == self.name);
        if let Some(topic) = topic
            && (is_first || changed.is_some_and(|changed| changed.created))
        {
            // Where a key is kept may not change while the broker runs; more partitions count after a restart.
            let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            self.partitions.store(count, Ordering::Release);
        }
        let is_deleted = delta
            .deleted
            .values()
            .any(|topic| &*topic.name == self.name);
        if is_deleted || (is_first && topic.is_none()) {
            // Also when it was created anew at once: its partitions begin at the same epochs with other logs.
            let all = runtime.partitions();
            all.into_iter().for_each(|index| runtime.resign(index));
        }
        if !is_first && !is_deleted && changed.is_none() {
            return None;
        }
        let mut led = Vec::new();
        for (index, partition) in topic.into_iter().flat_map(|topic| topic.indexed()) {
            let replica = (partition.leader == Some(self.node))
                .then(|| topic.and_then(|topic| (self.replicas)(topic.id, index)))
                .flatten();
            match replica {
                Some(replica) => led.push(Led {
                    partition: index,
                    epoch: partition.leader_epoch,
                    loading: runtime.lead(index, partition.leader_epoch, replica),
                }),
                None => runtime.resign(index),
            }
        }
        Some(led)
    }
}
