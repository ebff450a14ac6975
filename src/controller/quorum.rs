//! What the controller tells of its quorum: DescribeQuorum and the metrics ask.

use super::Controller;
use super::raft::consensus::Role;
use crate::ids::{LeaderEpoch, NodeId, Offset, Timestamp};
use crate::metadata::control::{Quorum, Voter};

/// How far a replica of the metadata log has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    pub id: NodeId,
    pub voter: Voter,
    pub log_end_offset: Offset,
    pub last_fetch: Timestamp,
    pub last_caught_up: Timestamp,
}

/// The quorum as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub leader_id: NodeId,
    pub epoch: LeaderEpoch,
    pub high_watermark: Offset,
    /// 0: the voters come from the settings and their directories are not known.
    pub kraft_version: i16,
    pub voters: Vec<Replica>,
    /// Brokers and controllers that fetch the log without a vote. A broker in the leader's own process is none.
    pub observers: Vec<Replica>,
}

impl Controller {
    /// The quorum; `None` on a node that does not lead it.
    pub fn quorum_status(&self) -> Option<Status> {
        let Role::Leader(epoch) = self.consensus.roles().current() else {
            return None;
        };
        let Quorum {
            kraft_version,
            voters,
            ..
        } = self.consensus.quorum();
        let log_end_offset = self.consensus.log_end_offset();
        let now = self.clock.now();
        let leader = voters.get(&self.node_id).cloned().unwrap_or_default();
        let leader = Replica {
            id: self.node_id,
            voter: leader,
            log_end_offset,
            last_fetch: now,
            last_caught_up: now,
        };
        let others = voters
            .into_iter()
            .filter(|(id, _)| *id != self.node_id)
            .map(|(id, voter)| Replica {
                id,
                voter,
                // Nothing was fetched yet.
                log_end_offset: Offset(-1),
                last_fetch: Timestamp::NONE,
                last_caught_up: Timestamp::NONE,
            });
        Some(Status {
            leader_id: self.node_id,
            epoch,
            high_watermark: self.consensus.high_watermark(),
            kraft_version,
            voters: std::iter::once(leader).chain(others).collect(),
            observers: Vec::new(),
        })
    }
}
