//! The group coordinator: one [`Machine`] for every partition of `__consumer_offsets`.
//!
//! [`state`] is what the records say, [`classic`] the live groups of the JoinGroup protocol, [`offsets`] what groups
//! commit, [`admin`] lists, describes and deletes. Groups of other protocols (KIP-848, KIP-932, KIP-1071) found in
//! the log are kept as they are, and refuse the classic protocol.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::deadlines::Deadlines;
use super::{Event, Position, StateMachine, Ticket, VerificationGuard, client_error};
use crate::error_code::ErrorCode;
use crate::ids::{Now, ProducerId, SteadyTime, Timestamp};
use crate::messages::describe_groups_response::DescribedGroup;
use crate::messages::list_groups_response::ListedGroup;
use crate::messages::offset_fetch_request::OffsetFetchRequestGroup;
use crate::messages::offset_fetch_response::OffsetFetchResponseGroup;
use crate::messages::{
    DecodeError, EncodeError, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest,
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, StrBytes,
    SyncGroupRequest, SyncGroupResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};

mod admin;
mod classic;
mod offsets;
mod records;
mod state;
#[cfg(test)]
mod tests;
mod transactional;

use classic::join::{Join, join_error};
use classic::leave::leave_unknown;
use classic::sync::{heartbeat_response, sync_error};
use classic::{ClassicGroup, Turn};
pub use offsets::commit_error;
use records::GroupKind;
pub use records::Record;
use state::OtherGroup;
pub use state::State;
pub use transactional::error as transactional_commit_error;

pub(super) type Outcome = super::Outcome<Record, Response>;

/// Between two looks at what of a group has expired.
const EXPIRY_LOOK_MAX_MS: i64 = 60 * 60 * 1000;

/// The settings of the group coordinator.
#[derive(Clone, Debug)]
pub struct Config {
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i64,
    /// `group.min.session.timeout.ms`, `group.max.session.timeout.ms`
    pub min_session_timeout_ms: i32,
    pub max_session_timeout_ms: i32,
    /// `group.max.size`
    pub max_size: usize,
    /// `offset.metadata.max.bytes`; counted, as Kafka does, in UTF-16 units
    pub offset_metadata_max_units: usize,
    /// `offsets.retention.minutes`
    pub retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub retention_check_interval_ms: i64,
}

/// Who sent a request, and what the machine may not make up itself.
#[derive(Clone, Debug)]
pub struct Client {
    /// From the request header.
    pub id: StrBytes,
    /// As Java prints an address: `/127.0.0.1`.
    pub host: Arc<str>,
    /// Of the request.
    pub version: i16,
    /// Becomes part of a new member id.
    pub uuid: Uuid,
}

/// What is asked of the coordinator of a group.
#[derive(Clone, Debug)]
pub enum Request {
    Join {
        client: Client,
        request: JoinGroupRequest,
    },
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveGroupRequest),
    CommitOffsets {
        version: i16,
        request: OffsetCommitRequest,
    },
    /// Within a transaction: pending until that ends.
    CommitTransactionalOffsets {
        request: TxnOffsetCommitRequest,
        verified: Option<VerificationGuard>,
    },
    FetchOffsets {
        group: OffsetFetchRequestGroup,
        require_stable: bool,
    },
    DeleteOffsets(OffsetDeleteRequest),
    /// The groups of this partition.
    List(ListGroupsRequest),
    Describe {
        version: i16,
        group: Arc<str>,
    },
    Delete {
        group: Arc<str>,
    },
    /// Topics are gone; so are the offsets committed for them.
    TopicsDeleted(Arc<[Arc<str>]>),
}

/// What it answers; each to the request of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    Leave(LeaveGroupResponse),
    CommitOffsets(OffsetCommitResponse),
    CommitTransactionalOffsets(TxnOffsetCommitResponse),
    FetchOffsets(OffsetFetchResponseGroup),
    DeleteOffsets(OffsetDeleteResponse),
    List(Vec<ListedGroup>),
    Describe(DescribedGroup),
    Delete(ErrorCode),
    TopicsDeleted,
}

/// What happens at a time, if nothing prevents it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Deadline {
    /// The session of a member, or of a member id given out, ends.
    Session { group: Arc<str>, member: Arc<str> },
    /// The join phase ends.
    Join { group: Arc<str> },
    /// Members that have not sent SyncGroup are removed.
    Sync { group: Arc<str> },
    /// Offsets, or the whole group, may have expired.
    Expiry { group: Arc<str> },
}

/// The live groups. A group that is not here is as its records say: empty.
#[derive(Debug, Default)]
pub struct Scratch {
    classic: HashMap<Arc<str>, ClassicGroup>,
    deadlines: Deadlines<Deadline>,
}

impl Scratch {
    /// Drops the live group; returns it so that who waits can be answered.
    fn forget(&mut self, id: &str) -> Option<ClassicGroup> {
        let group = self.classic.remove(id)?;
        for member in group.members.keys().chain(&group.pending_join) {
            self.deadlines.cancel(&Deadline::Session {
                group: group.id.clone(),
                member: member.clone(),
            });
        }
        self.deadlines.cancel(&Deadline::Join {
            group: group.id.clone(),
        });
        self.deadlines.cancel(&Deadline::Sync {
            group: group.id.clone(),
        });
        Some(group)
    }
}

/// The group coordinator's decisions.
#[derive(Clone, Debug)]
pub struct Machine {
    config: Config,
}

impl Machine {
    pub fn new(config: Config) -> Machine {
        Machine { config }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    fn step<'a>(
        &'a self,
        state: &'a State,
        scratch: &'a mut Scratch,
        out: &'a mut Outcome,
        now: Now,
    ) -> Step<'a> {
        Step {
            config: &self.config,
            state,
            scratch,
            out,
            now,
        }
    }
}

impl StateMachine for Machine {
    type State = State;
    type Scratch = Scratch;
    type Request = Request;
    type Response = Response;
    type Record = Record;

    fn handle(
        &self,
        state: &State,
        scratch: &mut Scratch,
        event: Event<Request>,
        now: Now,
    ) -> Outcome {
        let mut out = Outcome::default();
        let mut step = self.step(state, scratch, &mut out, now);
        match event {
            Event::Request { ticket, request } => step.request(ticket, request),
            // One at a time, so that what becomes of one group does not hang on the records of others.
            Event::Deadline => {
                if let Some(deadline) = step.scratch.deadlines.pop(now.steady) {
                    step.deadline(deadline);
                }
            }
        }
        out
    }

    fn loaded(&self, state: &State, scratch: &mut Scratch, now: Now) -> Outcome {
        let mut out = Outcome::default();
        let mut step = self.step(state, scratch, &mut out, now);
        for (id, _) in state.groups() {
            step.wake(id);
        }
        out
    }

    fn append_failed(
        &self,
        state: &State,
        scratch: &mut Scratch,
        outcome: Outcome,
        error: ErrorCode,
        now: Now,
    ) -> Vec<(Ticket, Response)> {
        let error = client_error(error);
        let mut replies: Vec<_> = outcome
            .replies
            .into_iter()
            .map(|(ticket, response)| (ticket, response.failed(error)))
            .collect();
        for record in outcome.records {
            let Record::GroupMetadata { group: id, .. } = record else {
                continue;
            };
            if let Some(group) = scratch.forget(&id) {
                replies.extend(group.abandon(error));
            }
            let mut out = Outcome::default();
            self.step(state, scratch, &mut out, now).wake(&id);
        }
        replies
    }

    fn next_deadline(&self, scratch: &Scratch) -> Option<SteadyTime> {
        scratch.deadlines.earliest()
    }

    fn apply(state: &mut State, record: Record, at: Position) {
        state.apply(record, at);
    }

    fn end_transaction(state: &mut State, producer_id: ProducerId, committed: bool) {
        state.end_transaction(producer_id, committed);
    }

    fn encode(record: &Record) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        record.encode()
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Record>, DecodeError> {
        Record::decode(key, value)
    }
}

/// One event being decided.
struct Step<'a> {
    config: &'a Config,
    state: &'a State,
    scratch: &'a mut Scratch,
    out: &'a mut Outcome,
    now: Now,
}

impl Step<'_> {
    fn request(&mut self, ticket: Ticket, request: Request) {
        let response = match request {
            Request::Join { client, request } => {
                return self.join(&Join {
                    ticket,
                    client: &client,
                    request: &request,
                });
            }
            Request::Sync(request) => match self.turn(&request.group_id) {
                Some(mut turn) => return turn.sync(ticket, &request),
                None => sync_error(ErrorCode::UnknownMemberId),
            },
            Request::Heartbeat(request) => match self.turn(&request.group_id) {
                Some(mut turn) => return turn.heartbeat(ticket, &request),
                None => heartbeat_response(ErrorCode::UnknownMemberId),
            },
            Request::Leave(request) => match self.turn(&request.group_id) {
                Some(mut turn) => {
                    turn.leave(ticket, &request);
                    return self.settle(&request.group_id);
                }
                None => leave_unknown(&request),
            },
            Request::CommitOffsets { version, request } => {
                Response::CommitOffsets(self.commit_offsets(version, &request))
            }
            Request::CommitTransactionalOffsets { request, verified } => {
                let response = self.commit_transactional_offsets(&request, verified);
                Response::CommitTransactionalOffsets(response)
            }
            Request::FetchOffsets {
                group,
                require_stable,
            } => Response::FetchOffsets(offsets::fetch(self.state, group, require_stable)),
            Request::DeleteOffsets(request) => {
                Response::DeleteOffsets(self.delete_offsets(&request))
            }
            Request::List(request) => Response::List(self.list(&request)),
            Request::Describe { version, group } => {
                Response::Describe(self.describe(version, &group))
            }
            Request::Delete { group } => {
                Response::Delete(self.delete(&group).err().unwrap_or(ErrorCode::None))
            }
            Request::TopicsDeleted(topics) => {
                self.out.atomic = false;
                self.topics_deleted(&topics);
                Response::TopicsDeleted
            }
        };
        self.out.replies.push((ticket, response));
    }

    fn join(&mut self, join: &Join<'_>) {
        let id: &str = &join.request.group_id;
        let stored = self.state.group(id);
        let other = stored.and_then(|stored| stored.other.as_ref());
        if other.is_some_and(|other| other.members > 0 || other.kind == GroupKind::Share) {
            self.out.replies.push((
                join.ticket,
                join_error("", ErrorCode::InconsistentGroupProtocol),
            ));
            return;
        }
        let is_known =
            other.is_none() && (stored.is_some() || self.scratch.classic.contains_key(id));
        if !is_known && !join.request.member_id.is_empty() {
            let response = join_error(&join.request.member_id, ErrorCode::UnknownMemberId);
            self.out.replies.push((join.ticket, response));
            return;
        }
        // An empty group of another protocol becomes a classic one.
        self.out
            .records
            .extend(other.into_iter().flat_map(OtherGroup::tombstones));
        let records_before = self.out.records.len();
        let id: Arc<str> = Arc::from(id);
        let metadata = stored.and_then(|stored| stored.metadata.as_ref());
        let load = || ClassicGroup::load(id.clone(), metadata, self.now.wall);
        self.scratch.classic.entry(id.clone()).or_insert_with(load);
        if let Some(mut turn) = self.turn(&id) {
            turn.join(join);
        }
        if !is_known && self.out.records.len() == records_before {
            self.out
                .records
                .push(Record::empty_group(&id, self.now.wall));
            self.schedule_expiry(&id, self.now.wall);
        }
        self.settle(&id);
    }

    fn deadline(&mut self, deadline: Deadline) {
        let group = match deadline {
            Deadline::Expiry { group } => {
                self.out.atomic = false;
                return self.expire(&group);
            }
            Deadline::Session { group, member } => {
                if let Some(mut turn) = self.turn(&group) {
                    turn.session_deadline(&member);
                }
                group
            }
            Deadline::Join { group } => {
                if let Some(mut turn) = self.turn(&group) {
                    turn.join_deadline();
                }
                group
            }
            Deadline::Sync { group } => {
                if let Some(mut turn) = self.turn(&group) {
                    turn.sync_deadline();
                }
                group
            }
        };
        self.settle(&group);
    }

    /// The live group and what an event may change.
    fn turn(&mut self, id: &str) -> Option<Turn<'_>> {
        let group = self.scratch.classic.get_mut(id)?;
        let deadlines = &mut self.scratch.deadlines;
        Some(Turn {
            config: self.config,
            group,
            deadlines,
            out: self.out,
            now: self.now,
        })
    }

    /// An empty group needs nothing beside its records.
    fn settle(&mut self, id: &str) {
        if self
            .scratch
            .classic
            .get(id)
            .is_some_and(ClassicGroup::is_idle)
        {
            self.scratch.forget(id);
        }
    }

    /// Begins the sessions of a group that has just been read from the log.
    fn wake(&mut self, id: &Arc<str>) {
        self.schedule_expiry(id, self.now.wall);
        let metadata = self
            .state
            .group(id)
            .and_then(|stored| stored.metadata.as_ref());
        let Some(metadata) = metadata.filter(|metadata| !metadata.members.is_empty()) else {
            return;
        };
        let group = ClassicGroup::load(id.clone(), Some(metadata), self.now.wall);
        self.scratch.classic.insert(id.clone(), group);
        let config = self.config;
        let Some(mut turn) = self.turn(id) else {
            return;
        };
        for member in &metadata.members {
            turn.renew_session(&member.id);
        }
        // The limit may have been lowered: all have to join again, and the last find no room.
        if metadata.members.len() > config.max_size {
            turn.prepare_rebalance("the group is over its size");
        }
    }

    /// Looks for what has expired at `at`, though not before the next check is due. The wall clock may be set
    /// meanwhile, so it looks at least every hour.
    fn schedule_expiry(&mut self, id: &Arc<str>, at: Timestamp) {
        let check = self.config.retention_check_interval_ms;
        let until = at.0.saturating_sub(self.now.wall.0);
        let wait = until.min(EXPIRY_LOOK_MAX_MS).max(check);
        let deadline = Deadline::Expiry { group: id.clone() };
        self.scratch
            .deadlines
            .schedule_by(deadline, self.now.steady.plus_ms(wait));
    }
}

impl Response {
    /// The same answer as an error.
    fn failed(self, error: ErrorCode) -> Response {
        match self {
            Response::Join(_) => join_error("", error),
            Response::Sync(_) => sync_error(error),
            Response::Heartbeat(_) => heartbeat_response(error),
            Response::Leave(_) => {
                Response::Leave(LeaveGroupResponse::default().with_error_code(error.code()))
            }
            Response::CommitOffsets(response) => {
                Response::CommitOffsets(offsets::commit_failed(response, error))
            }
            Response::CommitTransactionalOffsets(response) => {
                Response::CommitTransactionalOffsets(transactional::failed(response, error))
            }
            Response::FetchOffsets(group) => {
                Response::FetchOffsets(offsets::fetch_error(group.group_id, error))
            }
            Response::DeleteOffsets(_) => Response::DeleteOffsets(
                OffsetDeleteResponse::default().with_error_code(error.code()),
            ),
            Response::Delete(_) => Response::Delete(error),
            unchanged @ (Response::List(_) | Response::Describe(_) | Response::TopicsDeleted) => {
                unchanged
            }
        }
    }
}
