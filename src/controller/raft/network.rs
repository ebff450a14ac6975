//! How controllers reach each other. Votes, fetches and snapshots travel by Kafka's own RPCs on the controller
//! listener; until those are there no peer can be reached, so a quorum of more than one voter elects nobody. A single
//! voter never asks.

use openraft::anyerror::AnyError;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};

use super::TypeConfig;
use super::state_machine::SnapshotFile;
use crate::ids::NodeId;
use crate::metadata::control::Voter;

/// Makes a [`Peer`] for each other voter.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Network;

/// One other controller.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    id: NodeId,
    voter: Voter,
}

impl Peer {
    fn unreachable(&self) -> Unreachable<TypeConfig> {
        let endpoint = self.voter.endpoints.first();
        let address = endpoint.map_or_else(
            || "no endpoint".to_owned(),
            |at| format!("{}:{}", at.host, at.port),
        );
        Unreachable::new(&AnyError::error(format!(
            "controller {} ({address}) cannot be reached",
            self.id
        )))
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, id: NodeId, voter: &Voter) -> Peer {
        Peer {
            id,
            voter: voter.clone(),
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn pre_vote(
        &mut self,
        _request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn full_snapshot(
        &mut self,
        _vote: super::Vote,
        _snapshot: openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotFile>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(StreamingError::Unreachable(self.unreachable()))
    }
}
