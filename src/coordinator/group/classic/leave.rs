//! LeaveGroup, and members that leave without a word.

use std::sync::Arc;

use tracing::debug;

use super::join::join_error;
use super::sync::sync_error;
use super::{Phase, Turn};
use crate::coordinator::Ticket;
use crate::coordinator::group::Response;
use crate::error_code::ErrorCode;
use crate::messages::leave_group_request::MemberIdentity;
use crate::messages::leave_group_response::MemberResponse;
use crate::messages::{LeaveGroupRequest, LeaveGroupResponse};

/// The answer of one member of a LeaveGroup.
fn left(member: &MemberIdentity, error: ErrorCode) -> MemberResponse {
    MemberResponse::default()
        .with_member_id(member.member_id.clone())
        .with_group_instance_id(member.group_instance_id.clone())
        .with_error_code(error.code())
}

/// The answer to a LeaveGroup of a group that is not there: each of its members is unknown.
pub(in crate::coordinator::group) fn leave_unknown(request: &LeaveGroupRequest) -> Response {
    let members = request
        .members
        .iter()
        .map(|member| left(member, ErrorCode::UnknownMemberId))
        .collect();
    Response::Leave(LeaveGroupResponse::default().with_members(members))
}

impl Turn<'_> {
    pub(in crate::coordinator::group) fn leave(
        &mut self,
        ticket: Ticket,
        request: &LeaveGroupRequest,
    ) {
        let mut members = Vec::with_capacity(request.members.len());
        let mut any_left = false;
        for member in &request.members {
            let result = self.leave_member(member);
            any_left |= result.is_ok();
            members.push(left(member, result.err().unwrap_or(ErrorCode::None)));
        }
        self.reply(
            ticket,
            Response::Leave(LeaveGroupResponse::default().with_members(members)),
        );
        if any_left {
            match self.group.phase {
                Phase::Stable | Phase::CompletingRebalance => {
                    self.prepare_rebalance("members left")
                }
                Phase::PreparingRebalance => self.maybe_complete_join(),
                Phase::Empty => {}
            }
        }
    }

    fn leave_member(&mut self, member: &MemberIdentity) -> Result<(), ErrorCode> {
        let instance_id = member.group_instance_id.as_deref();
        let member_id: Arc<str> = if member.member_id.is_empty() {
            // An administrator removes a static member by its instance id. (KIP-345)
            let current =
                instance_id.and_then(|instance_id| self.group.static_members.get(instance_id));
            current.cloned().ok_or(ErrorCode::UnknownMemberId)?
        } else {
            if !self.group.pending_join.contains(&*member.member_id) {
                self.group.validate_member(&member.member_id, instance_id)?;
            }
            Arc::from(&*member.member_id)
        };
        debug!(group = %self.group.id, member = %member_id, reason = member.reason.as_deref(), "a member leaves");
        self.deadlines.cancel(&self.session_of(&member_id));
        self.drop_member(&member_id);
        Ok(())
    }

    /// Removes a member, if it is one, and answers what it waits for.
    pub(super) fn drop_member(&mut self, member_id: &str) {
        let Some(member) = self.group.remove(member_id) else {
            return;
        };
        if let Some(ticket) = member.awaiting_join {
            self.reply(ticket, join_error("", ErrorCode::UnknownMemberId));
        }
        if let Some(ticket) = member.awaiting_sync {
            self.reply(ticket, sync_error(ErrorCode::UnknownMemberId));
        }
    }

    /// The session of a member, or of a member id that was given out, has ended.
    pub(in crate::coordinator::group) fn session_deadline(&mut self, member_id: &str) {
        if self.group.pending_join.remove(member_id) {
            self.complete_join_of_rest();
            return;
        }
        let Some(member) = self.group.members.get(member_id) else {
            return;
        };
        if member.has_satisfied_heartbeat() {
            return;
        }
        debug!(group = %self.group.id, member = member_id, "the session of a member ended");
        self.drop_member(member_id);
        match self.group.phase {
            Phase::Stable | Phase::CompletingRebalance => {
                self.prepare_rebalance("the session of a member ended")
            }
            Phase::PreparingRebalance | Phase::Empty => self.complete_join_of_rest(),
        }
    }

    /// With one less to wait for the join phase may be over, even that of an initial rebalance.
    fn complete_join_of_rest(&mut self) {
        if self.group.phase == Phase::PreparingRebalance && self.group.has_all_joined() {
            self.complete_join();
        }
    }
}
