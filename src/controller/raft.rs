//! Consensus among the controllers: openraft over Kafka's metadata log. The only module that names openraft, and
//! the only one that speaks of terms and indexes; outside it they are leader epochs and offsets.
//!
//! One raft entry is one record batch of `__cluster_metadata-0`:
//!
//! | openraft | the log |
//! |---|---|
//! | term | leader epoch |
//! | blank entry of a new leader | control batch LeaderChange (before the first Voters record of the log: with KRaftVersion and Voters behind it, as Kafka's leader does when the voters are known from the 0-0 checkpoint only) |
//! | membership entry | control batch with a Voters record |
//! | normal entry | any other batch |
//! | vote | `quorum-state` |
//! | commit index | high watermark: one past the last offset of the entry |
//!
//! Indexes are this process's own numbers. openraft wants them without gaps, offsets count records: so the n-th batch
//! behind the first one that is still in the log has the index `base + n`, where `base` is the offset at which the log
//! (or what a snapshot leaves of it) began when it was opened. The table [`entries::Entries`] maps between the two and
//! is made anew from the batch headers when the log is opened; nothing on disk or on the wire holds an index. Since
//! every batch has a record, an index is never above its offset, so the base of a later start lies above every
//! index that a snapshot covers, and two controllers need not agree on indexes: the RPCs between them carry epochs and
//! offsets, as Kafka's do.

use std::collections::BTreeSet;
use std::fmt;

use openraft::entry::RaftPayload;
use openraft::impls::leader_id_std;
use openraft::raft::responder::Responder;
use openraft::vote::RaftTerm;

use crate::ids::{LeaderEpoch, NodeId};
use crate::metadata::control::{self, ControlBatch, Voter, Voters};
use crate::record::Batch;

pub(crate) mod consensus;
pub(crate) mod entries;
pub(crate) mod journal;
pub(crate) mod network;
pub(crate) mod quorum_state;
pub(crate) mod state_machine;
pub(crate) mod storage;

/// The types of our consensus: openraft's log holds [`Batch`]es.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeConfig;

impl openraft::RaftTypeConfig for TypeConfig {
    type D = Proposal;
    type R = ();
    type NodeId = NodeId;
    type Node = Voter;
    type Term = LeaderEpoch;
    type LeaderId = leader_id_std::LeaderId<LeaderEpoch, NodeId>;
    type Vote = openraft::Vote<Self::LeaderId>;
    type Payload = Payload;
    type Entry =
        openraft::Entry<openraft::type_config::alias::CommittedLeaderIdOf<TypeConfig>, Payload>;
    type AsyncRuntime = openraft::impls::TokioRuntime;
    type Responder<T>
        = Callback<T>
    where
        T: Send + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<NodeId, Voter>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;

pub(crate) fn log_id(epoch: LeaderEpoch, index: u64) -> LogId {
    LogId::new_term_index(epoch, index)
}

pub(crate) fn epoch_of(id: &LogId) -> LeaderEpoch {
    **id.committed_leader_id()
}

impl RaftTerm for LeaderEpoch {
    fn next(&self) -> LeaderEpoch {
        LeaderEpoch(self.0 + 1)
    }

    fn as_u64(&self) -> Option<u64> {
        u64::try_from(self.0).ok()
    }
}

/// The voters as openraft has them: one configuration, never a joint one, since voters change one at a time.
pub(crate) fn membership(voters: &Voters) -> Membership {
    let ids: BTreeSet<NodeId> = voters.keys().copied().collect();
    Membership::new(vec![ids], voters.clone()).expect("every voter has its node")
}

/// The opposite of [`membership`].
pub(crate) fn voters(membership: &Membership) -> Voters {
    let ids: BTreeSet<NodeId> = membership.voter_ids().collect();
    let nodes = membership.nodes().filter(|(id, _)| ids.contains(id));
    nodes.map(|(&id, voter)| (id, voter.clone())).collect()
}

/// Records that the leader wants in the log, as the batch that is appended.
#[derive(Clone, Debug)]
pub(crate) struct Proposal(pub(crate) Batch);

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} records at {}",
            self.0.header.record_count, self.0.header.base_offset
        )
    }
}

/// What an entry holds. An entry that was read from the log, or that another controller wrote, has its batch; one that
/// openraft made (blank, membership) gets it when it is appended.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    pub(crate) kind: Kind,
    pub(crate) batch: Option<Batch>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    LeaderChange,
    Voters(Membership),
    Records,
}

/// What openraft is to see in a batch of the log.
pub(crate) fn payload(batch: Batch) -> Result<(Payload, Option<ControlBatch>), control::Error> {
    if !batch.header.is_control() {
        return Ok((
            Payload {
                kind: Kind::Records,
                batch: Some(batch),
            },
            None,
        ));
    }
    let control = control::parse(&batch)?;
    let kind = match (&control.voters, control.leader_id) {
        (Some(voters), _) => Kind::Voters(membership(voters)),
        (None, Some(_)) => Kind::LeaderChange,
        (None, None) => Kind::Records,
    };
    Ok((
        Payload {
            kind,
            batch: Some(batch),
        },
        Some(control),
    ))
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::LeaderChange => f.write_str("leader change"),
            Kind::Voters(membership) => write!(f, "voters {membership}"),
            Kind::Records => f.write_str("records"),
        }
    }
}

impl RaftPayload for Payload {
    type D = Proposal;
    type NodeId = NodeId;
    type Node = Voter;

    fn blank() -> Payload {
        Payload {
            kind: Kind::LeaderChange,
            batch: None,
        }
    }

    fn with_normal(self, proposal: Proposal) -> Payload {
        Payload {
            kind: Kind::Records,
            batch: Some(proposal.0),
        }
    }

    fn with_membership(self, membership: Membership) -> Payload {
        Payload {
            kind: Kind::Voters(membership),
            batch: None,
        }
    }

    fn get_membership(&self) -> Option<Membership> {
        match &self.kind {
            Kind::Voters(membership) => Some(membership.clone()),
            Kind::LeaderChange | Kind::Records => None,
        }
    }
}

/// Called once with the outcome of a write, in the order of the log.
pub(crate) struct Callback<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Callback<T> {
    pub(crate) fn new(callback: impl FnOnce(T) + Send + 'static) -> Callback<T> {
        Callback(Box::new(callback))
    }
}

impl<T: Send + 'static> Responder<TypeConfig, T> for Callback<T> {
    fn on_complete(self, outcome: T) {
        (self.0)(outcome);
    }
}
