//! A classic group: members that meet in JoinGroup, get their assignment from a leader among them in SyncGroup, and
//! stay by Heartbeat. This is the live group, soft state; what outlasts it is the [`GroupMetadata`] record that
//! SyncGroup, an emptied group and a replaced static member write. (ClassicGroup, GroupMetadataManager)
//!
//! [`join`], [`sync`] and [`leave`] hold what the requests and deadlines do to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::records::{GroupMetadata, StoredMember};
use super::{Config, Deadline, Outcome, Response};
use crate::coordinator::Ticket;
use crate::coordinator::deadlines::Deadlines;
use crate::error_code::ErrorCode;
use crate::ids::{Now, Timestamp};

pub(super) mod join;
pub(super) mod leave;
pub(super) mod sync;

/// The protocol type of consumers, whose subscriptions can be read.
pub(super) const CONSUMER: &str = "consumer";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl Phase {
    pub(super) fn name(self) -> &'static str {
        match self {
            Phase::Empty => "Empty",
            Phase::PreparingRebalance => "PreparingRebalance",
            Phase::CompletingRebalance => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Protocol {
    pub(super) name: Arc<str>,
    pub(super) metadata: Bytes,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// In the order of the member's preference.
    protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    awaiting_join: Option<Ticket>,
    awaiting_sync: Option<Ticket>,
    /// It waits for its first JoinGroup response and cannot send heartbeats.
    is_new: bool,
}

impl Member {
    /// What the member said for a protocol; nothing when it does not know it.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|known| &*known.name == protocol)
            .map(|known| known.metadata.clone())
            .unwrap_or_default()
    }

    /// Members that await a rebalance need no heartbeat, unless they are new.
    fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}

/// The delay of an initial rebalance: extended, while members keep coming, as long as something remains.
#[derive(Clone, Copy, Debug)]
struct InitialDelay {
    delay_ms: i64,
    remaining_ms: i64,
}

#[derive(Debug)]
pub(super) struct ClassicGroup {
    pub(super) id: Arc<str>,
    pub(super) phase: Phase,
    /// The rebalance that is being prepared began with an empty group.
    from_empty: bool,
    initial_delay: Option<InitialDelay>,
    new_member_added: bool,
    /// When the phase was entered.
    pub(super) since: Timestamp,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    leader: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// Member ids by group instance id.
    static_members: HashMap<Arc<str>, Arc<str>>,
    /// Member ids given out and not yet used.
    pub(super) pending_join: BTreeSet<Arc<str>>,
    pending_sync: BTreeSet<Arc<str>>,
    /// How many members wait for the join phase to end.
    awaiting_join: usize,
    /// How many members know a protocol.
    supported: HashMap<Arc<str>, usize>,
    /// The topics that members subscribe to; `None` when that cannot be known.
    pub(super) subscribed_topics: Option<BTreeSet<String>>,
}

impl ClassicGroup {
    /// The group as its record tells; one without a record is empty.
    pub(super) fn load(
        id: Arc<str>,
        stored: Option<&GroupMetadata>,
        now: Timestamp,
    ) -> ClassicGroup {
        let mut group = ClassicGroup {
            id,
            phase: Phase::Empty,
            from_empty: false,
            initial_delay: None,
            new_member_added: false,
            since: stored.map_or(now, |stored| stored.since),
            generation: stored.map_or(0, |stored| stored.generation),
            protocol_type: stored.and_then(|stored| stored.protocol_type.clone()),
            protocol: stored.and_then(|stored| stored.protocol.clone()),
            leader: stored.and_then(|stored| stored.leader.clone()),
            members: BTreeMap::new(),
            static_members: HashMap::new(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            awaiting_join: 0,
            supported: HashMap::new(),
            subscribed_topics: None,
        };
        for member in stored.iter().flat_map(|stored| &stored.members) {
            group.phase = Phase::Stable;
            group.insert(Member::load(member, group.protocol.clone()));
        }
        group.subscribed_topics = group.read_subscribed_topics();
        group
    }

    /// The record of the group as it stands.
    fn metadata(&self) -> GroupMetadata {
        let stored = |member: &Member| StoredMember {
            id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: self
                .protocol
                .as_ref()
                .map(|protocol| member.metadata(protocol))
                .unwrap_or_default(),
            assignment: member.assignment.clone(),
        };
        GroupMetadata {
            protocol_type: self.protocol_type.clone(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            since: self.since,
            members: self.members.values().map(stored).collect(),
        }
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Nothing of it is worth keeping: the record says all.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Empty && self.pending_join.is_empty()
    }

    pub(super) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Checks who speaks: the member id and, of a static member, that nobody has taken its place.
    pub(super) fn validate_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if &**current != member_id => {
                    return Err(ErrorCode::FencedInstanceId);
                }
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    fn insert(&mut self, member: Member) {
        if let Some(instance_id) = &member.instance_id {
            self.static_members
                .insert(instance_id.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.pending_join.remove(&member.id);
        self.count_protocols(&member.protocols, true);
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.members.insert(member.id.clone(), member);
    }

    fn remove(&mut self, member_id: &str) -> Option<Member> {
        let removed = self.members.remove(member_id);
        if let Some(member) = &removed {
            self.count_protocols(&member.protocols, false);
            self.awaiting_join -= usize::from(member.awaiting_join.is_some());
            if let Some(instance_id) = &member.instance_id {
                self.static_members.remove(instance_id);
            }
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_join.remove(member_id);
        self.pending_sync.remove(member_id);
        removed
    }

    fn count_protocols(&mut self, protocols: &[Protocol], added: bool) {
        for protocol in protocols {
            let count = self.supported.entry(protocol.name.clone()).or_default();
            *count = if added { *count + 1 } else { *count - 1 };
            if *count == 0 {
                self.supported.remove(&protocol.name);
            }
        }
    }

    /// Whether a member that speaks these can be of the group: a protocol all members know is among them.
    fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.phase == Phase::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols
                .iter()
                .any(|known| self.knowing(&known.name) == self.members.len())
    }

    fn knowing(&self, protocol: &str) -> usize {
        self.supported.get(protocol).copied().unwrap_or(0)
    }

    /// The protocol that most members prefer among those that all of them know.
    fn select_protocol(&self) -> Option<Arc<str>> {
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let candidate = |known: &&Protocol| self.knowing(&known.name) >= self.members.len();
            if let Some(vote) = member.protocols.iter().find(candidate) {
                *votes.entry(&vote.name).or_default() += 1;
            }
        }
        let most = votes.values().max().copied()?;
        votes
            .into_iter()
            .find(|(_, count)| *count == most)
            .map(|(name, _)| name.clone())
    }

    /// The answers of all who wait, when the group is given up.
    pub(super) fn abandon(self, error: ErrorCode) -> Vec<(Ticket, Response)> {
        let mut replies = Vec::new();
        for member in self.members.into_values() {
            replies.extend(
                member
                    .awaiting_join
                    .map(|ticket| (ticket, join::join_error("", error))),
            );
            replies.extend(
                member
                    .awaiting_sync
                    .map(|ticket| (ticket, sync::sync_error(error))),
            );
        }
        replies
    }

    fn has_all_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending_join.is_empty()
    }

    /// The longest that any member asks for. At least a millisecond, so that time passes between two tries.
    fn rebalance_timeout_ms(&self) -> i64 {
        self.members
            .values()
            .map(|member| i64::from(member.rebalance_timeout_ms))
            .max()
            .unwrap_or(0)
            .max(1)
    }

    fn take_awaiting_join(&mut self, member_id: &str) -> Option<Ticket> {
        let ticket = self.members.get_mut(member_id)?.awaiting_join.take();
        self.awaiting_join -= usize::from(ticket.is_some());
        ticket
    }

    fn read_subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_ref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            read_topics(member.metadata(protocol), &mut topics)?;
        }
        Some(topics)
    }

    /// Whether committed offsets of the topic are in use. Of a consumer group that hides what it reads, all are.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed_topics
            .as_ref()
            .map_or(self.uses_consumer_protocol(), |topics| {
                topics.contains(topic)
            })
    }
}

impl Member {
    fn load(stored: &StoredMember, protocol: Option<Arc<str>>) -> Member {
        let protocol = protocol.unwrap_or_default();
        Member {
            id: stored.id.clone(),
            instance_id: stored.instance_id.clone(),
            client_id: stored.client_id.clone(),
            client_host: stored.client_host.clone(),
            rebalance_timeout_ms: stored.rebalance_timeout_ms,
            session_timeout_ms: stored.session_timeout_ms,
            protocols: vec![Protocol {
                name: protocol,
                metadata: stored.subscription.clone(),
            }],
            assignment: stored.assignment.clone(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
        }
    }
}

/// Adds the topics of a ConsumerProtocolSubscription: version, an array of topic names, and user data, as all versions
/// begin.
fn read_topics(mut subscription: Bytes, topics: &mut BTreeSet<String>) -> Option<()> {
    let version = subscription.try_get_i16().ok()?;
    if version < 0 {
        return None;
    }
    for _ in 0..subscription.try_get_i32().ok()? {
        let length = usize::try_from(subscription.try_get_i16().ok()?).ok()?;
        if length > subscription.len() {
            return None;
        }
        topics.insert(String::from_utf8(subscription.split_to(length).to_vec()).ok()?);
    }
    match subscription.try_get_i32().ok()? {
        -1 => Some(()),
        length => (usize::try_from(length).ok()? <= subscription.len()).then_some(()),
    }
}

/// One event for one group: the group, and what the event may move besides.
pub(super) struct Turn<'a> {
    pub(super) config: &'a Config,
    pub(super) group: &'a mut ClassicGroup,
    pub(super) deadlines: &'a mut Deadlines<Deadline>,
    pub(super) out: &'a mut Outcome,
    pub(super) now: Now,
}

impl Turn<'_> {
    fn session_of(&self, member_id: &Arc<str>) -> Deadline {
        Deadline::Session {
            group: self.group.id.clone(),
            member: member_id.clone(),
        }
    }

    /// The member was heard of: its session begins anew.
    pub(super) fn renew_session(&mut self, member_id: &str) {
        if let Some(member) = self.group.members.get(member_id) {
            let (id, timeout) = (member.id.clone(), i64::from(member.session_timeout_ms));
            self.deadlines
                .schedule(self.session_of(&id), self.now.steady.plus_ms(timeout));
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.group.phase = phase;
        self.group.since = self.now.wall;
        if matches!(phase, Phase::Stable | Phase::Empty) {
            let expiry = Deadline::Expiry {
                group: self.group.id.clone(),
            };
            self.deadlines.schedule_by(
                expiry,
                self.now
                    .steady
                    .plus_ms(self.config.retention_check_interval_ms),
            );
        }
    }
}
