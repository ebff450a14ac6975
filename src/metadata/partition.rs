//! One partition as the metadata log describes it, and what a change record makes of it.

use crate::ids::{DirectoryId, KafkaUuid, LeaderEpoch, NodeId, PartitionEpoch};
use crate::messages::records::metadata::{PartitionChangeRecord, PartitionRecord};

use super::Error;

/// A partition's replicas, leader and epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The preferred leader first.
    pub replicas: Vec<NodeId>,
    /// The log directory of each replica, in the order of `replicas`.
    pub directories: Vec<DirectoryId>,
    pub isr: Vec<NodeId>,
    /// Replicas that a reassignment takes away.
    pub removing: Vec<NodeId>,
    /// Replicas that a reassignment brings.
    pub adding: Vec<NodeId>,
    /// Eligible leader replicas (KIP-966): they hold all up to the high watermark although they left the ISR.
    pub elr: Vec<NodeId>,
    pub last_known_elr: Vec<NodeId>,
    pub leader: Option<NodeId>,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    pub leader_recovery_state: LeaderRecoveryState,
}

/// Whether the leader was elected from outside the ISR and has not yet made good for it (KIP-704).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaderRecoveryState {
    #[default]
    Recovered,
    Recovering,
}

impl LeaderRecoveryState {
    pub fn code(self) -> i8 {
        match self {
            LeaderRecoveryState::Recovered => 0,
            LeaderRecoveryState::Recovering => 1,
        }
    }

    fn of(code: i8) -> Result<LeaderRecoveryState, Error> {
        match code {
            0 => Ok(LeaderRecoveryState::Recovered),
            1 => Ok(LeaderRecoveryState::Recovering),
            _ => Err(Error::LeaderRecoveryState(code)),
        }
    }
}

/// `leader` of a partition without one.
pub(crate) const NO_LEADER: i32 = -1;
/// `leader` of a change that leaves the leader as it is.
pub(crate) const NO_LEADER_CHANGE: i32 = -2;
/// `leader_recovery_state` of a change that leaves it as it is.
pub(crate) const NO_RECOVERY_CHANGE: i8 = -1;

impl Partition {
    pub fn is_replica(&self, node: NodeId) -> bool {
        self.replicas.contains(&node)
    }

    /// The leader as the wire has it, -1 for none.
    pub fn leader_or_none(&self) -> NodeId {
        self.leader.unwrap_or(NodeId(NO_LEADER))
    }

    /// Where this replica lies; `None` when the node holds none.
    pub fn directory(&self, node: NodeId) -> Option<DirectoryId> {
        let at = self.replicas.iter().position(|&replica| replica == node)?;
        self.directories.get(at).copied()
    }

    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    pub(super) fn of(record: &PartitionRecord) -> Result<Partition, Error> {
        let directories = match record.directories.is_empty() {
            true => vec![DirectoryId::ZERO; record.replicas.len()],
            false => record.directories.iter().copied().map(KafkaUuid).collect(),
        };
        Ok(Partition {
            replicas: nodes(&record.replicas),
            directories,
            isr: nodes(&record.isr),
            removing: nodes(&record.removing_replicas),
            adding: nodes(&record.adding_replicas),
            elr: nodes(
                record
                    .eligible_leader_replicas
                    .as_deref()
                    .unwrap_or_default(),
            ),
            last_known_elr: nodes(record.last_known_elr.as_deref().unwrap_or_default()),
            leader: some_node(record.leader),
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: PartitionEpoch(record.partition_epoch),
            leader_recovery_state: LeaderRecoveryState::of(record.leader_recovery_state)?,
        })
    }

    /// The partition after a change: what the record leaves out stays, the partition epoch rises, the leader epoch
    /// rises when the record names a leader, be it the same. (PartitionRegistration.merge)
    pub(super) fn changed(&self, record: &PartitionChangeRecord) -> Result<Partition, Error> {
        let mut next = self.clone();
        if let Some(replicas) = &record.replicas {
            next.replicas = nodes(replicas);
            next.directories = next
                .replicas
                .iter()
                .map(|&node| self.directory(node).unwrap_or(DirectoryId::ONE))
                .collect();
        }
        if let Some(directories) = &record.directories {
            next.directories = directories.iter().copied().map(KafkaUuid).collect();
        }
        let lists = [
            (&mut next.isr, &record.isr),
            (&mut next.removing, &record.removing_replicas),
            (&mut next.adding, &record.adding_replicas),
            (&mut next.elr, &record.eligible_leader_replicas),
            (&mut next.last_known_elr, &record.last_known_elr),
        ];
        for (list, changed) in lists {
            if let Some(changed) = changed {
                *list = nodes(changed);
            }
        }
        if record.leader != NO_LEADER_CHANGE {
            next.leader = some_node(record.leader);
            next.leader_epoch = LeaderEpoch(self.leader_epoch.0 + 1);
        }
        if record.leader_recovery_state != NO_RECOVERY_CHANGE {
            next.leader_recovery_state = LeaderRecoveryState::of(record.leader_recovery_state)?;
        }
        next.partition_epoch = PartitionEpoch(self.partition_epoch.0 + 1);
        Ok(next)
    }

    /// The record that describes the partition as it stands. The lists that most partitions have empty are left out.
    /// (PartitionRegistration.toRecord)
    pub(crate) fn to_record(&self, topic_id: crate::ids::TopicId, index: i32) -> PartitionRecord {
        PartitionRecord {
            partition_id: index,
            topic_id: topic_id.0,
            replicas: numbers(&self.replicas),
            isr: numbers(&self.isr),
            removing_replicas: numbers(&self.removing),
            adding_replicas: numbers(&self.adding),
            leader: self.leader_or_none().0,
            leader_recovery_state: self.leader_recovery_state.code(),
            leader_epoch: self.leader_epoch.0,
            partition_epoch: self.partition_epoch.0,
            directories: self
                .directories
                .iter()
                .map(|directory| directory.0)
                .collect(),
            eligible_leader_replicas: (!self.elr.is_empty()).then(|| numbers(&self.elr)),
            last_known_elr: (!self.last_known_elr.is_empty())
                .then(|| numbers(&self.last_known_elr)),
            ..Default::default()
        }
    }
}

fn some_node(id: i32) -> Option<NodeId> {
    (id >= 0).then_some(NodeId(id))
}

pub(crate) fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

pub(crate) fn numbers(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}
