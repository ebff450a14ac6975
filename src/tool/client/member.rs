//! Membership in a classic consumer group: join, take a share of the topics (range assignor), heartbeat, commit,
//! leave. (org.apache.kafka.clients.consumer.internals.ConsumerCoordinator)

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tokio::time::{Duration, Instant};

use super::{Backoff, Client, Connection, EARLIEST, Error, LATEST, check};
use crate::error_code::ErrorCode;
use crate::ids::TopicPartition;
use crate::messages::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use crate::messages::join_group_request::JoinGroupRequestProtocol;
use crate::messages::join_group_response::JoinGroupResponseMember;
use crate::messages::leave_group_request::MemberIdentity;
use crate::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use crate::messages::sync_group_request::SyncGroupRequestAssignment;
use crate::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, Message, OffsetCommitRequest, OffsetFetchRequest,
    StrBytes, SyncGroupRequest, text,
};

const SESSION_TIMEOUT_MS: i32 = 45_000;
const REBALANCE_TIMEOUT_MS: i32 = 300_000;
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
const PROTOCOL_TYPE: &str = "consumer";
const ASSIGNOR: &str = "range";
/// The version of the subscriptions and assignments that are written.
const PROTOCOL_VERSION: i16 = 1;
/// The last versions of OffsetCommit and OffsetFetch that name topics.
pub(super) const OFFSETS_BY_NAME: i16 = 9;

/// A member of a group, whose coordinator it keeps a connection to.
pub struct Member {
    group: String,
    topics: Vec<String>,
    /// Where to start without a committed offset.
    from_beginning: bool,
    coordinator: Connection,
    member_id: StrBytes,
    generation: i32,
    heartbeat_at: Instant,
}

impl Member {
    /// Joins; the partitions that fall to it, with the offsets to start from (a place to look up when negative).
    pub async fn join(
        client: &mut Client,
        group: &str,
        topics: Vec<String>,
        from_beginning: bool,
    ) -> Result<(Member, BTreeMap<TopicPartition, i64>), Error> {
        let coordinator = client.coordinator(group).await?;
        let mut member = Member {
            group: group.to_owned(),
            topics,
            from_beginning,
            coordinator: client.connect(coordinator).await?,
            member_id: StrBytes::default(),
            generation: -1,
            heartbeat_at: Instant::now(),
        };
        let offsets = member.rejoin(client).await?;
        Ok((member, offsets))
    }

    /// Joins again, as after a rebalance began.
    pub async fn rejoin(
        &mut self,
        client: &mut Client,
    ) -> Result<BTreeMap<TopicPartition, i64>, Error> {
        let mut backoff = Backoff::default();
        loop {
            match self.join_once(client).await {
                Ok(assigned) => {
                    self.heartbeat_at = Instant::now() + HEARTBEAT_INTERVAL;
                    return self.committed(assigned).await;
                }
                Err(Error::Refused { code, .. }) if is_passing(code) && backoff.wait().await => {
                    if code == ErrorCode::UnknownMemberId {
                        self.member_id = StrBytes::default();
                    }
                    if code == ErrorCode::NotCoordinator
                        || code == ErrorCode::CoordinatorNotAvailable
                    {
                        let coordinator = client.coordinator(&self.group).await?;
                        self.coordinator = client.connect(coordinator).await?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn join_once(&mut self, client: &mut Client) -> Result<BTreeSet<TopicPartition>, Error> {
        let joined = self.join_group().await?;
        self.generation = joined.generation_id;
        let assignments = match joined.leader == joined.member_id && !joined.skip_assignment {
            true => self.assign(client, &joined.members).await?,
            false => Vec::new(),
        };
        let request = SyncGroupRequest::default()
            .with_group_id(text(&self.group).into())
            .with_generation_id(self.generation)
            .with_member_id(self.member_id.clone())
            .with_protocol_type(Some(text(PROTOCOL_TYPE)))
            .with_protocol_name(Some(text(ASSIGNOR)))
            .with_assignments(assignments);
        let synced = self.coordinator.call(&request).await?;
        check(synced.error_code, || self.name())?;
        read_assignment(&synced.assignment).ok_or_else(|| self.malformed())
    }

    /// Joins, with the member id that the coordinator first asks to come back with.
    async fn join_group(&mut self) -> Result<JoinGroupResponse, Error> {
        let topics = self.topics.iter().map(text).collect();
        let subscription = ConsumerProtocolSubscription::default().with_topics(topics);
        let metadata = versioned(&subscription)?;
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text(ASSIGNOR))
            .with_metadata(metadata);
        loop {
            let request = JoinGroupRequest::default()
                .with_group_id(text(&self.group).into())
                .with_session_timeout_ms(SESSION_TIMEOUT_MS)
                .with_rebalance_timeout_ms(REBALANCE_TIMEOUT_MS)
                .with_member_id(self.member_id.clone())
                .with_protocol_type(text(PROTOCOL_TYPE))
                .with_protocols(vec![protocol.clone()]);
            let joined = self.coordinator.call(&request).await?;
            let again = joined.error_code == ErrorCode::MemberIdRequired.code()
                && self.member_id.is_empty();
            self.member_id = joined.member_id.clone();
            if !again {
                check(joined.error_code, || self.name())?;
                return Ok(joined);
            }
        }
    }

    /// The leader's work: gives every member its partitions.
    async fn assign(
        &self,
        client: &mut Client,
        members: &[JoinGroupResponseMember],
    ) -> Result<Vec<SyncGroupRequestAssignment>, Error> {
        let mut subscribers: BTreeMap<String, Vec<StrBytes>> = BTreeMap::new();
        for member in members {
            let mut metadata = member.metadata.clone();
            let subscription = read_versioned::<ConsumerProtocolSubscription>(&mut metadata);
            for topic in subscription.map_err(|_| self.malformed())?.topics {
                subscribers
                    .entry(topic.to_string())
                    .or_default()
                    .push(member.member_id.clone());
            }
        }
        let topics: Vec<&str> = subscribers.keys().map(String::as_str).collect();
        let metadata = client.metadata(Some(&topics), false).await?;
        let mut shares: BTreeMap<StrBytes, Vec<AssignedTopic>> = BTreeMap::new();
        for topic in metadata.topics {
            let Some(name) = topic.name else { continue };
            let members = subscribers.remove(name.as_str()).unwrap_or_default();
            for (member, partitions) in range(members, topic.partitions.len()) {
                let assigned = AssignedTopic::default()
                    .with_topic(name.clone())
                    .with_partitions(partitions);
                shares.entry(member).or_default().push(assigned);
            }
        }
        let share = |member: &JoinGroupResponseMember| {
            let partitions = shares.remove(&member.member_id).unwrap_or_default();
            let assignment =
                ConsumerProtocolAssignment::default().with_assigned_partitions(partitions);
            Ok(SyncGroupRequestAssignment::default()
                .with_member_id(member.member_id.clone())
                .with_assignment(versioned(&assignment)?))
        };
        members.iter().map(share).collect()
    }

    /// The committed offset of each partition, or where to start without one.
    async fn committed(
        &mut self,
        assigned: BTreeSet<TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, i64>, Error> {
        let start = if self.from_beginning {
            EARLIEST
        } else {
            LATEST
        };
        let mut offsets: BTreeMap<TopicPartition, i64> = assigned
            .into_iter()
            .map(|partition| (partition, start))
            .collect();
        let topics = offsets.keys().map(|partition| OffsetFetchRequestTopics {
            name: text(&*partition.topic),
            partition_indexes: vec![partition.partition.0],
            ..OffsetFetchRequestTopics::default()
        });
        let group = OffsetFetchRequestGroup {
            group_id: text(&self.group),
            topics: Some(topics.collect()),
            ..OffsetFetchRequestGroup::default()
        };
        let request = OffsetFetchRequest {
            groups: vec![group],
            require_stable: true,
            ..OffsetFetchRequest::default()
        };
        let response = self
            .coordinator
            .call_up_to(&request, OFFSETS_BY_NAME)
            .await?;
        for group in response.groups {
            check(group.error_code, || self.name())?;
            for topic in group.topics {
                for partition in topic
                    .partitions
                    .iter()
                    .filter(|partition| partition.committed_offset >= 0)
                {
                    let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                    offsets.insert(at, partition.committed_offset);
                }
            }
        }
        Ok(offsets)
    }

    /// Heartbeats when it is time to; `false` when the group rebalances and the member has to join again.
    pub async fn heartbeat(&mut self) -> Result<bool, Error> {
        if Instant::now() < self.heartbeat_at {
            return Ok(true);
        }
        self.heartbeat_at = Instant::now() + HEARTBEAT_INTERVAL;
        let request = HeartbeatRequest::default()
            .with_group_id(text(&self.group).into())
            .with_generation_id(self.generation)
            .with_member_id(self.member_id.clone());
        let code = self.coordinator.call(&request).await?.error_code;
        match ErrorCode::from_code(code) {
            code if is_passing(code) => Ok(false),
            _ => check(code, || self.name()).map(|()| true),
        }
    }

    /// Commits the offsets of the next records to read. That the group rebalances is no error: what is not committed
    /// is read again.
    pub async fn commit(&mut self, offsets: &BTreeMap<TopicPartition, i64>) -> Result<(), Error> {
        let topics = offsets
            .iter()
            .map(|(partition, offset)| OffsetCommitRequestTopic {
                name: text(&*partition.topic),
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: partition.partition.0,
                    committed_offset: *offset,
                    committed_metadata: Some(StrBytes::default()),
                    ..OffsetCommitRequestPartition::default()
                }],
                ..OffsetCommitRequestTopic::default()
            });
        let request = OffsetCommitRequest {
            group_id: text(&self.group),
            generation_id_or_member_epoch: self.generation,
            member_id: self.member_id.clone(),
            topics: topics.collect(),
            ..OffsetCommitRequest::default()
        };
        let response = self
            .coordinator
            .call_up_to(&request, OFFSETS_BY_NAME)
            .await?;
        for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
            if !is_passing(ErrorCode::from_code(partition.error_code)) {
                check(partition.error_code, || self.name())?;
            }
        }
        Ok(())
    }

    /// Leaves, so that the others get its partitions at once.
    pub async fn leave(mut self) -> Result<(), Error> {
        let identity = MemberIdentity::default().with_member_id(self.member_id.clone());
        let group = text(&self.group).into();
        let request = LeaveGroupRequest::default()
            .with_group_id(group)
            .with_members(vec![identity]);
        check(self.coordinator.call(&request).await?.error_code, || {
            self.name()
        })
    }

    fn name(&self) -> String {
        format!("group {}", self.group)
    }

    fn malformed(&self) -> Error {
        Error::Refused {
            what: self.name(),
            code: ErrorCode::InconsistentGroupProtocol,
        }
    }
}

/// What joining again may mend.
fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::RebalanceInProgress
            | ErrorCode::IllegalGeneration
            | ErrorCode::UnknownMemberId
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress
    )
}

/// Contiguous ranges of a topic's partitions, the larger ones first, to its subscribers by member id.
/// (RangeAssignor)
fn range(mut members: Vec<StrBytes>, partitions: usize) -> Vec<(StrBytes, Vec<i32>)> {
    members.sort();
    let count = members.len().max(1);
    let (each, larger) = (partitions / count, partitions % count);
    let mut next = 0;
    let take = |(at, member): (usize, StrBytes)| {
        let from = next;
        next += each + usize::from(at < larger);
        (
            member,
            (from..next)
                .map(|partition| i32::try_from(partition).unwrap_or(i32::MAX))
                .collect(),
        )
    };
    members.into_iter().enumerate().map(take).collect()
}

/// The partitions in a member's assignment; `None` when it is no assignment of the consumer protocol.
pub fn read_assignment(assignment: &Bytes) -> Option<BTreeSet<TopicPartition>> {
    if assignment.is_empty() {
        return Some(BTreeSet::new());
    }
    let topics = read_versioned::<ConsumerProtocolAssignment>(&mut assignment.clone())
        .ok()?
        .assigned_partitions;
    let partitions = topics.iter().flat_map(|topic| {
        topic
            .partitions
            .iter()
            .map(|partition| TopicPartition::new(topic.topic.as_str(), *partition))
    });
    Some(partitions.collect())
}

/// A message of the consumer protocol: its version, then its body.
fn versioned<M: Message>(message: &M) -> Result<Bytes, Error> {
    let mut bytes = PROTOCOL_VERSION.to_be_bytes().to_vec();
    bytes.extend_from_slice(&message.to_bytes(PROTOCOL_VERSION)?);
    Ok(bytes.into())
}

fn read_versioned<M: Message>(bytes: &mut Bytes) -> Result<M, crate::messages::DecodeError> {
    let version = if bytes.len() < 2 {
        0
    } else {
        bytes::Buf::get_i16(bytes)
    };
    M::read(bytes, version.min(*M::VERSIONS.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_contiguous_and_the_first_are_larger() {
        let shares = range(vec![text("b"), text("a"), text("c")], 7);
        let expected = [("a", vec![0, 1, 2]), ("b", vec![3, 4]), ("c", vec![5, 6])];
        assert_eq!(
            shares,
            expected.map(|(member, partitions)| (text(member), partitions))
        );
    }
}
