//! JoinGroup, and the rebalance that it drives: prepare, wait for the members, begin the next generation.

use std::sync::Arc;

use bytes::Bytes;
use tracing::debug;

use super::{InitialDelay, Member, Phase, Protocol, Turn};
use crate::coordinator::Ticket;
use crate::coordinator::group::records::Record;
use crate::coordinator::group::{Client, Deadline, Response};
use crate::error_code::ErrorCode;
use crate::messages::join_group_response::JoinGroupResponseMember;
use crate::messages::{JoinGroupRequest, JoinGroupResponse, StrBytes, text};

/// From this version on a new dynamic member first gets its member id. (KIP-394)
const MEMBER_ID_REQUIRED_FROM: i16 = 4;
/// From this version on a returning static leader is told to keep the assignment. (KIP-814)
const SKIP_ASSIGNMENT_FROM: i16 = 9;

/// How long a new member, which has no session yet, may wait for its first JoinGroup response.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1000;

/// One JoinGroup request.
pub(in crate::coordinator::group) struct Join<'a> {
    pub(in crate::coordinator::group) ticket: Ticket,
    pub(in crate::coordinator::group) client: &'a Client,
    pub(in crate::coordinator::group) request: &'a JoinGroupRequest,
}

impl Join<'_> {
    fn protocols(&self) -> Vec<Protocol> {
        let owned = |name: &StrBytes, metadata: &Bytes| Protocol {
            name: Arc::from(&**name),
            metadata: Bytes::copy_from_slice(metadata),
        };
        self.request
            .protocols
            .iter()
            .map(|protocol| owned(&protocol.name, &protocol.metadata))
            .collect()
    }

    fn instance_id(&self) -> Option<&str> {
        self.request.group_instance_id.as_deref()
    }
}

/// The answer to a JoinGroup that failed.
pub(in crate::coordinator::group) fn join_error(member_id: &str, error: ErrorCode) -> Response {
    Response::Join(
        JoinGroupResponse::default()
            .with_member_id(text(member_id))
            .with_protocol_name(None)
            .with_error_code(error.code()),
    )
}

impl Turn<'_> {
    pub(in crate::coordinator::group) fn join(&mut self, join: &Join<'_>) {
        let member_id: &str = &join.request.member_id;
        if !self.accepts(member_id) {
            self.drop_member(member_id);
            self.reply(join.ticket, join_error("", ErrorCode::GroupMaxSizeReached));
            return;
        }
        let protocols = join.protocols();
        if !self.group.supports(&join.request.protocol_type, &protocols) {
            self.reply(
                join.ticket,
                join_error(member_id, ErrorCode::InconsistentGroupProtocol),
            );
        } else if member_id.is_empty() {
            self.join_new(join, protocols);
        } else {
            self.join_existing(join, protocols);
        }
    }

    /// Whether the group has room. While it prepares a rebalance those who wait count, so that the last to rejoin
    /// is the one who is refused. (GroupMetadataManager.acceptJoiningMember)
    fn accepts(&self, member_id: &str) -> bool {
        let member = self.group.members.get(member_id);
        match self.group.phase {
            Phase::Empty => true,
            Phase::PreparingRebalance => {
                member.is_some_and(|member| member.awaiting_join.is_some())
                    || self.group.awaiting_join < self.config.max_size
            }
            Phase::CompletingRebalance | Phase::Stable => {
                member.is_some() || self.group.members.len() < self.config.max_size
            }
        }
    }

    fn join_new(&mut self, join: &Join<'_>, protocols: Vec<Protocol>) {
        let prefix = join.instance_id().unwrap_or(&join.client.id);
        let member_id: Arc<str> = format!("{prefix}-{}", join.client.uuid).into();
        let Some(instance_id) = join.instance_id() else {
            if join.client.version < MEMBER_ID_REQUIRED_FROM {
                self.add_member(join, member_id, protocols);
            } else {
                debug!(group = %self.group.id, member = %member_id, "a new member gets its id");
                let timeout = i64::from(join.request.session_timeout_ms);
                self.deadlines.schedule(
                    self.session_of(&member_id),
                    self.now.steady.plus_ms(timeout),
                );
                self.reply(
                    join.ticket,
                    join_error(&member_id, ErrorCode::MemberIdRequired),
                );
                self.group.pending_join.insert(member_id);
            }
            return;
        };
        match self.group.static_members.get(instance_id).cloned() {
            Some(current) => self.replace_static_member(join, &current, member_id, protocols),
            None => self.add_member(join, member_id, protocols),
        }
    }

    fn join_existing(&mut self, join: &Join<'_>, protocols: Vec<Protocol>) {
        let member_id: &str = &join.request.member_id;
        if join.instance_id().is_none() && self.group.pending_join.contains(member_id) {
            self.add_member(join, Arc::from(member_id), protocols);
            return;
        }
        if let Err(error) = self.group.validate_member(member_id, join.instance_id()) {
            self.reply(join.ticket, join_error(member_id, error));
            return;
        }
        let unchanged = self
            .group
            .members
            .get(member_id)
            .is_some_and(|member| member.protocols == protocols);
        let leader = self.group.is_leader(member_id);
        match self.group.phase {
            // The response of this generation may have been lost: say it again.
            Phase::CompletingRebalance if unchanged => {
                let response = self.join_response(member_id, leader);
                self.reply(join.ticket, Response::Join(response));
            }
            // A leader that joins asks for a new assignment, say because topics have more partitions.
            Phase::Stable if unchanged && !leader => {
                let response = self.join_response(member_id, false);
                self.reply(join.ticket, Response::Join(response));
            }
            Phase::PreparingRebalance | Phase::CompletingRebalance | Phase::Stable => {
                self.update_member(join, member_id, protocols);
                self.prepare_rebalance_or_complete_join("a member rejoined");
            }
            Phase::Empty => self.reply(
                join.ticket,
                join_error(member_id, ErrorCode::UnknownMemberId),
            ),
        }
    }

    fn add_member(&mut self, join: &Join<'_>, member_id: Arc<str>, protocols: Vec<Protocol>) {
        if self.group.phase == Phase::PreparingRebalance && self.group.from_empty {
            self.group.new_member_added = true;
        }
        if self.group.members.is_empty() {
            self.group.protocol_type = Some(Arc::from(&*join.request.protocol_type));
        }
        self.group.insert(Member {
            id: member_id.clone(),
            instance_id: join.instance_id().map(Arc::from),
            client_id: Arc::from(&*join.client.id),
            client_host: Arc::from(&*join.client.host),
            rebalance_timeout_ms: join.request.rebalance_timeout_ms,
            session_timeout_ms: join.request.session_timeout_ms,
            protocols,
            assignment: Bytes::new(),
            awaiting_join: Some(join.ticket),
            awaiting_sync: None,
            is_new: true,
        });
        self.deadlines.schedule(
            self.session_of(&member_id),
            self.now.steady.plus_ms(NEW_MEMBER_JOIN_TIMEOUT_MS),
        );
        self.prepare_rebalance_or_complete_join("a new member came");
    }

    /// Takes what a member says of itself now, and keeps its request waiting.
    fn update_member(&mut self, join: &Join<'_>, member_id: &str, protocols: Vec<Protocol>) {
        let Some(member) = self.group.members.get_mut(member_id) else {
            return;
        };
        let former = std::mem::replace(&mut member.protocols, protocols.clone());
        member.rebalance_timeout_ms = join.request.rebalance_timeout_ms;
        member.session_timeout_ms = join.request.session_timeout_ms;
        let replaced = member.awaiting_join.replace(join.ticket);
        self.group.count_protocols(&former, false);
        self.group.count_protocols(&protocols, true);
        match replaced {
            // Kafka never answers a request whose place another one took; here later answers would wait behind it.
            Some(ticket) => self.reply(
                ticket,
                join_error(member_id, ErrorCode::RebalanceInProgress),
            ),
            None => self.group.awaiting_join += 1,
        }
    }

    /// A static member came back without its member id: it gets a new one, and whoever uses the old one is fenced.
    fn replace_static_member(
        &mut self,
        join: &Join<'_>,
        former_id: &Arc<str>,
        member_id: Arc<str>,
        protocols: Vec<Protocol>,
    ) {
        let leader_before = self.group.leader.clone();
        self.fence(former_id);
        let Some(mut member) = self.group.members.remove(former_id) else {
            return;
        };
        member.id = member_id.clone();
        member.is_new = false;
        if self.group.is_leader(former_id) {
            self.group.leader = Some(member_id.clone());
        }
        if let Some(instance_id) = &member.instance_id {
            self.group
                .static_members
                .insert(instance_id.clone(), member_id.clone());
        }
        if self.group.pending_sync.remove(former_id) {
            self.group.pending_sync.insert(member_id.clone());
        }
        self.group.members.insert(member_id.clone(), member);
        self.deadlines.cancel(&self.session_of(former_id));
        self.renew_session(&member_id);
        self.update_member(join, &member_id, protocols);
        match self.group.phase {
            Phase::Stable
                if self.group.protocol.is_some()
                    && self.group.select_protocol() == self.group.protocol =>
            {
                self.keep_assignment(join, &member_id, leader_before);
            }
            Phase::Stable => {
                self.prepare_rebalance_or_complete_join("a static member changed the protocol")
            }
            // The leader may assign to the old member id, which is no more.
            Phase::CompletingRebalance => self.prepare_rebalance("a static member was replaced"),
            Phase::PreparingRebalance | Phase::Empty => self.maybe_complete_join(),
        }
    }

    fn fence(&mut self, member_id: &Arc<str>) {
        if let Some(ticket) = self.group.take_awaiting_join(member_id) {
            self.reply(ticket, join_error(member_id, ErrorCode::FencedInstanceId));
        }
        self.answer_sync(member_id, ErrorCode::FencedInstanceId);
    }

    /// The group goes on as it was, under the new member id; only the record changes.
    fn keep_assignment(
        &mut self,
        join: &Join<'_>,
        member_id: &str,
        leader_before: Option<Arc<str>>,
    ) {
        self.write_metadata();
        let Some(ticket) = self.group.take_awaiting_join(member_id) else {
            return;
        };
        let response = if join.client.version >= SKIP_ASSIGNMENT_FROM {
            let leader = self.group.is_leader(member_id);
            self.join_response(member_id, leader)
                .with_skip_assignment(leader)
        } else {
            // The old leader's id makes the member a follower, so that it takes the assignment as it is.
            self.join_response(member_id, false)
                .with_leader(text(leader_before.as_deref().unwrap_or_default()))
        };
        self.reply(ticket, Response::Join(response));
    }

    pub(super) fn prepare_rebalance_or_complete_join(&mut self, reason: &str) {
        match self.group.phase {
            Phase::PreparingRebalance => self.maybe_complete_join(),
            Phase::Empty | Phase::CompletingRebalance | Phase::Stable => {
                self.prepare_rebalance(reason)
            }
        }
    }

    pub(in crate::coordinator::group) fn prepare_rebalance(&mut self, reason: &str) {
        if self.group.phase == Phase::CompletingRebalance {
            self.reset_assignments(ErrorCode::RebalanceInProgress);
        }
        self.group.pending_sync.clear();
        self.deadlines.cancel(&Deadline::Sync {
            group: self.group.id.clone(),
        });
        debug!(group = %self.group.id, generation = self.group.generation, reason, "preparing a rebalance");
        self.group.from_empty = self.group.phase == Phase::Empty;
        self.enter(Phase::PreparingRebalance);
        if self.group.from_empty {
            let delay_ms = self.config.initial_rebalance_delay_ms;
            let remaining_ms = (self.group.rebalance_timeout_ms() - delay_ms).max(0);
            self.group.new_member_added = false;
            self.group.initial_delay = Some(InitialDelay {
                delay_ms,
                remaining_ms,
            });
            self.schedule_join(delay_ms);
        } else if self.group.has_all_joined() {
            self.complete_join();
        } else {
            self.schedule_join(self.group.rebalance_timeout_ms());
        }
    }

    /// Ends the join phase when nobody is waited for; an initial rebalance waits for its delay in any case.
    pub(super) fn maybe_complete_join(&mut self) {
        if self.group.phase == Phase::PreparingRebalance
            && !self.group.from_empty
            && self.group.has_all_joined()
        {
            self.complete_join();
        }
    }

    fn schedule_join(&mut self, after_ms: i64) {
        let deadline = Deadline::Join {
            group: self.group.id.clone(),
        };
        self.deadlines
            .schedule(deadline, self.now.steady.plus_ms(after_ms));
    }

    /// The time to join is over, or an initial rebalance may be put off once more.
    pub(in crate::coordinator::group) fn join_deadline(&mut self) {
        if self.group.phase != Phase::PreparingRebalance {
            return;
        }
        match self.group.initial_delay {
            Some(InitialDelay {
                delay_ms,
                remaining_ms,
            }) if self.group.new_member_added && remaining_ms > 0 => {
                self.group.new_member_added = false;
                let next = self.config.initial_rebalance_delay_ms.min(remaining_ms);
                self.group.initial_delay = Some(InitialDelay {
                    delay_ms: next,
                    remaining_ms: (remaining_ms - delay_ms).max(0),
                });
                self.schedule_join(next);
            }
            _ => self.complete_join(),
        }
    }

    /// Begins the next generation with the members that have joined; static members may be late.
    /// (GroupMetadataManager.completeClassicGroupJoin)
    pub(super) fn complete_join(&mut self) {
        self.deadlines.cancel(&Deadline::Join {
            group: self.group.id.clone(),
        });
        self.group.initial_delay = None;
        let absent =
            |member: &&Member| member.awaiting_join.is_none() && member.instance_id.is_none();
        let gone: Vec<Arc<str>> = self
            .group
            .members
            .values()
            .filter(absent)
            .map(|member| member.id.clone())
            .collect();
        for member_id in &gone {
            self.group.remove(member_id);
            self.deadlines.cancel(&self.session_of(member_id));
        }
        if !self.elect_joined_leader() && !self.group.members.is_empty() {
            // Only absent static members are left: wait until they come or their sessions end.
            self.schedule_join(self.group.rebalance_timeout_ms());
            return;
        }
        self.group.generation = self.group.generation.wrapping_add(1);
        self.group.pending_sync.clear();
        self.group.protocol = self.group.select_protocol();
        self.group.subscribed_topics = self.group.read_subscribed_topics();
        if self.group.members.is_empty() {
            self.enter(Phase::Empty);
            debug!(group = %self.group.id, generation = self.group.generation, "the group is empty");
            self.write_metadata();
        } else {
            self.enter(Phase::CompletingRebalance);
            debug!(group = %self.group.id, generation = self.group.generation, members = self.group.members.len(),
                "all have joined");
            self.answer_joined();
        }
    }

    /// Sees to it that the leader is one that has joined; false when none has.
    fn elect_joined_leader(&mut self) -> bool {
        let Some(leader) = &self.group.leader else {
            return false;
        };
        if self
            .group
            .members
            .get(leader)
            .is_some_and(|member| member.awaiting_join.is_some())
        {
            return true;
        }
        let joined = self
            .group
            .members
            .values()
            .find(|member| member.awaiting_join.is_some());
        let Some(joined) = joined.map(|member| member.id.clone()) else {
            return false;
        };
        self.group.leader = Some(joined);
        true
    }

    fn answer_joined(&mut self) {
        let ids: Vec<Arc<str>> = self.group.members.keys().cloned().collect();
        for member_id in &ids {
            if let Some(ticket) = self.group.take_awaiting_join(member_id) {
                let response = self.join_response(member_id, self.group.is_leader(member_id));
                self.reply(ticket, Response::Join(response));
            }
            self.renew_session(member_id);
            if let Some(member) = self.group.members.get_mut(member_id) {
                member.is_new = false;
            }
        }
        self.group.pending_sync.extend(ids);
        let deadline = Deadline::Sync {
            group: self.group.id.clone(),
        };
        self.deadlines.schedule(
            deadline,
            self.now.steady.plus_ms(self.group.rebalance_timeout_ms()),
        );
    }

    /// The response of this generation; the leader's names the members.
    fn join_response(&self, member_id: &str, with_members: bool) -> JoinGroupResponse {
        let group = &*self.group;
        let protocol = group.protocol.as_deref();
        let described = |member: &Member| {
            JoinGroupResponseMember::default()
                .with_member_id(text(&member.id))
                .with_group_instance_id(member.instance_id.as_deref().map(text))
                .with_metadata(member.metadata(protocol.unwrap_or_default()))
        };
        let members = if with_members {
            group.members.values().map(described).collect()
        } else {
            Vec::new()
        };
        JoinGroupResponse::default()
            .with_member_id(text(member_id))
            .with_generation_id(group.generation)
            .with_protocol_type(group.protocol_type.as_deref().map(text))
            .with_protocol_name(protocol.map(text))
            .with_leader(text(group.leader.as_deref().unwrap_or_default()))
            .with_members(members)
    }

    pub(super) fn reply(&mut self, ticket: Ticket, response: Response) {
        self.out.replies.push((ticket, response));
    }

    pub(super) fn write_metadata(&mut self) {
        let metadata = self.group.metadata();
        self.out.records.push(Record::GroupMetadata {
            group: self.group.id.clone(),
            metadata: Some(Box::new(metadata)),
        });
    }
}
