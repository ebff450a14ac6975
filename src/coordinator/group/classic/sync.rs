//! SyncGroup and Heartbeat: the leader hands out the assignment, members fetch it and show that they live.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tracing::debug;

use super::{Phase, Turn};
use crate::coordinator::Ticket;
use crate::coordinator::group::{Deadline, Response};
use crate::error_code::ErrorCode;
use crate::messages::{
    HeartbeatRequest, HeartbeatResponse, SyncGroupRequest, SyncGroupResponse, text,
};

/// The answer to a SyncGroup that failed.
pub(in crate::coordinator::group) fn sync_error(error: ErrorCode) -> Response {
    Response::Sync(SyncGroupResponse::default().with_error_code(error.code()))
}

/// The answer to a Heartbeat.
pub(in crate::coordinator::group) fn heartbeat_response(error: ErrorCode) -> Response {
    Response::Heartbeat(HeartbeatResponse::default().with_error_code(error.code()))
}

impl Turn<'_> {
    pub(in crate::coordinator::group) fn sync(
        &mut self,
        ticket: Ticket,
        request: &SyncGroupRequest,
    ) {
        if let Err(error) = self.validate_sync(request) {
            self.reply(ticket, sync_error(error));
            return;
        }
        let member_id: &str = &request.member_id;
        match self.group.phase {
            Phase::Empty => self.reply(ticket, sync_error(ErrorCode::UnknownMemberId)),
            Phase::PreparingRebalance => {
                self.reply(ticket, sync_error(ErrorCode::RebalanceInProgress))
            }
            Phase::CompletingRebalance => {
                self.await_sync(member_id, ticket);
                self.received_sync(member_id);
                if self.group.is_leader(member_id) {
                    self.assign(request);
                }
            }
            Phase::Stable => {
                self.received_sync(member_id);
                self.await_sync(member_id, ticket);
                self.answer_sync(member_id, ErrorCode::None);
            }
        }
    }

    fn validate_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        self.group
            .validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        // Sent from version 5 on. (KIP-559)
        let differs = |said: Option<&str>, is: Option<&str>| {
            said.zip(is).is_some_and(|(said, is)| said != is)
        };
        if differs(
            request.protocol_type.as_deref(),
            self.group.protocol_type.as_deref(),
        ) || differs(
            request.protocol_name.as_deref(),
            self.group.protocol.as_deref(),
        ) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn await_sync(&mut self, member_id: &str, ticket: Ticket) {
        let Some(member) = self.group.members.get_mut(member_id) else {
            return;
        };
        if let Some(replaced) = member.awaiting_sync.replace(ticket) {
            // As with JoinGroup: no request is left without an answer.
            self.reply(replaced, sync_error(ErrorCode::RebalanceInProgress));
        }
    }

    fn received_sync(&mut self, member_id: &str) {
        self.group.pending_sync.remove(member_id);
        if self.group.pending_sync.is_empty() {
            self.deadlines.cancel(&Deadline::Sync {
                group: self.group.id.clone(),
            });
        }
    }

    /// Takes the leader's assignment: members that it left out get an empty one.
    fn assign(&mut self, request: &SyncGroupRequest) {
        let assigned: HashMap<&str, &Bytes> = request
            .assignments
            .iter()
            .map(|assignment| (&*assignment.member_id, &assignment.assignment))
            .collect();
        for (id, member) in &mut self.group.members {
            member.assignment = assigned
                .get(&**id)
                .map(|bytes| Bytes::copy_from_slice(bytes))
                .unwrap_or_default();
        }
        // Written with the time of the phase that ends, as Kafka does.
        self.write_metadata();
        self.answer_all_syncs(ErrorCode::None);
        self.enter(Phase::Stable);
        debug!(group = %self.group.id, generation = self.group.generation, "the group is stable");
    }

    /// Takes the assignments back, and sends those who wait for them to join again.
    pub(super) fn reset_assignments(&mut self, error: ErrorCode) {
        for member in self.group.members.values_mut() {
            member.assignment = Bytes::new();
        }
        self.answer_all_syncs(error);
    }

    fn answer_all_syncs(&mut self, error: ErrorCode) {
        let waiting = self
            .group
            .members
            .values()
            .filter(|member| member.awaiting_sync.is_some());
        let waiting: Vec<Arc<str>> = waiting.map(|member| member.id.clone()).collect();
        for member_id in &waiting {
            self.answer_sync(member_id, error);
            self.renew_session(member_id);
        }
    }

    pub(super) fn answer_sync(&mut self, member_id: &str, error: ErrorCode) {
        let Some(member) = self.group.members.get_mut(member_id) else {
            return;
        };
        let Some(ticket) = member.awaiting_sync.take() else {
            return;
        };
        if error != ErrorCode::None {
            self.reply(ticket, sync_error(error));
            return;
        }
        let response = SyncGroupResponse::default()
            .with_assignment(member.assignment.clone())
            .with_protocol_type(self.group.protocol_type.as_deref().map(text))
            .with_protocol_name(self.group.protocol.as_deref().map(text));
        self.reply(ticket, Response::Sync(response));
    }

    /// Members that have not sent SyncGroup within the rebalance timeout are out.
    pub(in crate::coordinator::group) fn sync_deadline(&mut self) {
        if !matches!(self.group.phase, Phase::CompletingRebalance | Phase::Stable)
            || self.group.pending_sync.is_empty()
        {
            return;
        }
        for member_id in std::mem::take(&mut self.group.pending_sync) {
            self.group.remove(&member_id);
            self.deadlines.cancel(&self.session_of(&member_id));
        }
        self.prepare_rebalance("members sent no SyncGroup in time");
    }

    pub(in crate::coordinator::group) fn heartbeat(
        &mut self,
        ticket: Ticket,
        request: &HeartbeatRequest,
    ) {
        let error = match self
            .group
            .validate_member(&request.member_id, request.group_instance_id.as_deref())
        {
            Err(error) => error,
            Ok(()) if request.generation_id != self.group.generation => {
                ErrorCode::IllegalGeneration
            }
            Ok(()) => {
                self.renew_session(&request.member_id);
                match self.group.phase {
                    Phase::PreparingRebalance => ErrorCode::RebalanceInProgress,
                    Phase::Empty | Phase::CompletingRebalance | Phase::Stable => ErrorCode::None,
                }
            }
        };
        self.reply(ticket, heartbeat_response(error));
    }
}
