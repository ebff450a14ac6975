//! Committed offsets: commit, fetch, delete, expire. (OffsetMetadataManager)

use std::sync::Arc;

use super::Step;
use super::classic::{ClassicGroup, Phase};
use super::records::{OffsetKey, OffsetValue, Record};
use super::state::{CommittedOffset, Group, Offsets, State};
use crate::error_code::ErrorCode;
use crate::ids::{KafkaUuid, Timestamp, TopicId};
use crate::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use crate::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use crate::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use crate::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, StrBytes,
    text,
};

/// From this version on a commit to a group that is not there says so. (KIP-848)
const GROUP_ID_NOT_FOUND_FROM: i16 = 9;
/// The retention time that means the broker's setting.
const DEFAULT_RETENTION_TIME: i64 = -1;

/// Who commits, by the fields of the request.
pub(super) struct Committer<'a> {
    pub(super) member_id: &'a str,
    pub(super) instance_id: Option<&'a str>,
    pub(super) generation: i32,
}

impl Step<'_> {
    pub(super) fn commit_offsets(
        &mut self,
        version: i16,
        request: &OffsetCommitRequest,
    ) -> OffsetCommitResponse {
        if let Err(error) = self.validate_commit(version, request) {
            return commit_error(request, error);
        }
        let group: Arc<str> = Arc::from(&*request.group_id);
        let expire_timestamp = match request.retention_time_ms {
            DEFAULT_RETENTION_TIME => None,
            retention_ms => Some(self.now.wall.plus_ms(retention_ms)),
        };
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let name: Arc<str> = Arc::from(&*topic.name);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let metadata = partition.committed_metadata.as_deref();
                let error = if self.is_metadata_too_large(metadata) {
                    ErrorCode::OffsetMetadataTooLarge
                } else {
                    let key = OffsetKey {
                        group: group.clone(),
                        topic: name.clone(),
                        partition: partition.partition_index,
                    };
                    let value =
                        self.offset_value(partition, KafkaUuid(topic.topic_id), expire_timestamp);
                    self.out.records.push(Record::Offset {
                        key,
                        value: Some(value),
                    });
                    ErrorCode::None
                };
                partitions.push(committed(partition.partition_index, error));
            }
            topics.push(topic_response(topic, partitions));
        }
        if !self.out.records.is_empty() {
            self.schedule_expiry(
                &group,
                expire_timestamp.unwrap_or(self.now.wall.plus_ms(self.config.retention_ms)),
            );
        }
        OffsetCommitResponse {
            topics,
            ..OffsetCommitResponse::default()
        }
    }

    pub(super) fn is_metadata_too_large(&self, metadata: Option<&str>) -> bool {
        let limit = self.config.offset_metadata_max_units;
        let metadata = metadata.unwrap_or_default();
        metadata.len() > limit && metadata.encode_utf16().count() > limit
    }

    fn offset_value(
        &self,
        partition: &OffsetCommitRequestPartition,
        topic_id: TopicId,
        expire_timestamp: Option<Timestamp>,
    ) -> OffsetValue {
        OffsetValue {
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch.max(-1),
            metadata: Box::from(partition.committed_metadata.as_deref().unwrap_or_default()),
            commit_timestamp: self.now.wall,
            expire_timestamp,
            topic_id,
        }
    }

    /// Whether this member may commit; its session goes on when it may.
    fn validate_commit(
        &mut self,
        version: i16,
        request: &OffsetCommitRequest,
    ) -> Result<(), ErrorCode> {
        let id: &str = &request.group_id;
        let committer = Committer {
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            generation: request.generation_id_or_member_epoch,
        };
        match (self.scratch.classic.get(id), self.state.group(id)) {
            (Some(group), _) => committer.may_commit_to(group)?,
            (None, Some(stored)) => committer.may_commit_to_stored(stored)?,
            // Somebody stores offsets without being a member of anything.
            (None, None) if committer.generation < 0 => {}
            (None, None) if version >= GROUP_ID_NOT_FOUND_FROM => {
                return Err(ErrorCode::GroupIdNotFound);
            }
            (None, None) => return Err(ErrorCode::IllegalGeneration),
        }
        if let Some(mut turn) = self.turn(id)
            && matches!(turn.group.phase, Phase::Stable | Phase::PreparingRebalance)
        {
            turn.renew_session(committer.member_id);
        }
        Ok(())
    }

    pub(super) fn delete_offsets(&mut self, request: &OffsetDeleteRequest) -> OffsetDeleteResponse {
        let error =
            |error: ErrorCode| OffsetDeleteResponse::default().with_error_code(error.code());
        let id: &str = &request.group_id;
        let live = self.scratch.classic.get(id);
        let stored = self.state.group(id);
        if live.is_none() && stored.is_none() {
            return error(ErrorCode::GroupIdNotFound);
        }
        if live.is_some_and(|group| group.phase != Phase::Empty && !group.uses_consumer_protocol())
        {
            return error(ErrorCode::NonEmptyGroup);
        }
        let group: Arc<str> = Arc::from(id);
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let name: Arc<str> = Arc::from(&**topic.name);
            let subscribed = is_subscribed(live, &name);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let has = |stored: &Group| {
                    stored.offset(&name, index).is_some() || stored.is_pending(&name, index)
                };
                if !subscribed && stored.is_some_and(has) {
                    self.out
                        .records
                        .push(Record::offset_tombstone(&group, &name, index));
                }
                let error = if subscribed {
                    ErrorCode::GroupSubscribedToTopic
                } else {
                    ErrorCode::None
                };
                let response = OffsetDeleteResponsePartition::default().with_partition_index(index);
                partitions.push(response.with_error_code(error.code()));
            }
            let response = OffsetDeleteResponseTopic::default().with_name(topic.name.clone());
            topics.push(response.with_partitions(partitions));
        }
        OffsetDeleteResponse::default().with_topics(topics)
    }

    /// Tombstones for all offsets of a group, those of open transactions included.
    pub(super) fn delete_all_offsets(&mut self, id: &Arc<str>, stored: &Group) {
        self.remove_offsets(id, &stored.offsets, |_, _| true);
        for pending in stored.pending.values() {
            self.remove_offsets(id, pending, |topic, partition| {
                stored.offset(topic, partition).is_none()
            });
        }
    }

    fn remove_offsets(
        &mut self,
        id: &Arc<str>,
        offsets: &Offsets,
        which: impl Fn(&str, i32) -> bool,
    ) {
        for (topic, partitions) in offsets {
            for partition in partitions
                .keys()
                .filter(|partition| which(topic, **partition))
            {
                self.out
                    .records
                    .push(Record::offset_tombstone(id, topic, *partition));
            }
        }
    }

    pub(super) fn topics_deleted(&mut self, topics: &[Arc<str>]) {
        for (id, stored) in self.state.groups() {
            for topic in topics {
                let mut partitions: Vec<i32> = stored
                    .offsets
                    .get(topic)
                    .into_iter()
                    .flat_map(|partitions| partitions.keys().copied())
                    .collect();
                for pending in stored.pending.values() {
                    partitions.extend(
                        pending
                            .get(topic)
                            .into_iter()
                            .flat_map(|partitions| partitions.keys()),
                    );
                }
                partitions.sort_unstable();
                partitions.dedup();
                let tombstone = |partition| Record::offset_tombstone(id, topic, partition);
                self.out
                    .records
                    .extend(partitions.into_iter().map(tombstone));
            }
        }
    }

    /// Removes what has expired of a group, and the group itself when it is empty and nothing is left.
    /// (GroupCoordinatorShard.cleanupGroupMetadata)
    pub(super) fn expire(&mut self, id: &Arc<str>) {
        let Some(stored) = self.state.group(id) else {
            return;
        };
        // Members of share groups commit nothing here; whoever handles the other protocols expires their groups.
        if stored.other.is_some() {
            return;
        }
        let Some(base) = self.expiry_base(id, stored) else {
            return;
        };
        let live = self.scratch.classic.get(id.as_ref());
        let mut next: Option<Timestamp> = None;
        let mut kept = false;
        for (topic, partitions) in &stored.offsets {
            if is_subscribed(live, topic) {
                kept = true;
                continue;
            }
            for (partition, committed) in partitions {
                let at = self.expires(committed, base);
                if at <= self.now.wall && !stored.is_pending(topic, *partition) {
                    self.out
                        .records
                        .push(Record::offset_tombstone(id, topic, *partition));
                } else {
                    kept = true;
                    next = Some(next.map_or(at, |next| next.min(at)));
                }
            }
        }
        let empty = live.is_none_or(|group| group.phase == Phase::Empty);
        if !kept && stored.pending.is_empty() && empty {
            self.out.records.push(Record::GroupMetadata {
                group: id.clone(),
                metadata: None,
            });
            self.scratch.forget(id);
        } else if let Some(at) = next {
            self.schedule_expiry(id, at);
        } else if !stored.pending.is_empty() {
            self.schedule_expiry(id, self.now.wall);
        }
    }

    fn expires(&self, committed: &CommittedOffset, base: ExpiryBase) -> Timestamp {
        committed.value.expire_timestamp.unwrap_or_else(|| {
            let since = match base {
                ExpiryBase::Commit => committed.value.commit_timestamp,
                ExpiryBase::At(since) => since,
            };
            since.plus_ms(self.config.retention_ms)
        })
    }

    /// From when on the retention of a group's offsets counts; `None` while they do not expire.
    /// (ClassicGroup.offsetExpirationCondition)
    fn expiry_base(&self, id: &str, stored: &Group) -> Option<ExpiryBase> {
        match self.scratch.classic.get(id) {
            Some(group) if group.phase == Phase::Stable => {
                let known = group.uses_consumer_protocol() && group.subscribed_topics.is_some();
                known.then_some(ExpiryBase::Commit)
            }
            Some(group) if group.phase != Phase::Empty => None,
            _ => Some(match &stored.metadata {
                Some(metadata)
                    if metadata.protocol_type.is_some() && metadata.since != Timestamp::NONE =>
                {
                    ExpiryBase::At(metadata.since)
                }
                _ => ExpiryBase::Commit,
            }),
        }
    }
}

#[derive(Clone, Copy)]
enum ExpiryBase {
    /// The commit of each offset.
    Commit,
    /// The moment at which the group became empty.
    At(Timestamp),
}

impl Committer<'_> {
    /// (ClassicGroup.validateOffsetCommit)
    fn may_commit_to(&self, group: &ClassicGroup) -> Result<(), ErrorCode> {
        if self.generation < 0 && group.phase == Phase::Empty {
            return Ok(());
        }
        if self.is_anonymous() {
            return if group.phase == Phase::Empty {
                Ok(())
            } else {
                Err(ErrorCode::UnknownMemberId)
            };
        }
        group.validate_member(self.member_id, self.instance_id)?;
        if self.generation != group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        // It has its generation but not its assignment: it shall finish joining and try again.
        if group.phase == Phase::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// As to an empty group; one of another protocol may still have members, whom only their protocol can check.
    pub(super) fn may_commit_to_stored(&self, stored: &Group) -> Result<(), ErrorCode> {
        let empty = stored.other.as_ref().is_none_or(|other| other.members == 0);
        if self.generation < 0 && empty {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    pub(super) fn is_anonymous(&self) -> bool {
        self.generation < 0 && self.member_id.is_empty() && self.instance_id.is_none()
    }
}

/// The offsets of a group: those asked for, or all.
pub(super) fn fetch(
    state: &State,
    group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let stored = state.group(&group.group_id);
    let topics = match group.topics {
        Some(topics) => topics
            .into_iter()
            .map(|topic| fetch_topic(stored, topic, require_stable))
            .collect(),
        None => stored
            .map(|stored| fetch_all(stored, require_stable))
            .unwrap_or_default(),
    };
    OffsetFetchResponseGroup {
        group_id: group.group_id,
        topics,
        ..OffsetFetchResponseGroup::default()
    }
}

fn fetch_topic(
    stored: Option<&Group>,
    topic: OffsetFetchRequestTopics,
    require_stable: bool,
) -> OffsetFetchResponseTopics {
    let topic_id = KafkaUuid(topic.topic_id);
    let name: &str = &topic.name;
    let fetched = |index: &i32| {
        let unstable =
            require_stable && stored.is_some_and(|stored| stored.is_pending(name, *index));
        let committed = stored.and_then(|stored| stored.offset(name, *index));
        // Of a topic that was created anew nothing has been committed.
        let current = |committed: &&CommittedOffset| {
            let known = topic_id != KafkaUuid::ZERO && committed.value.topic_id != KafkaUuid::ZERO;
            !known || committed.value.topic_id == topic_id
        };
        fetch_partition(*index, committed.filter(current), unstable)
    };
    let partitions = topic.partition_indexes.iter().map(fetched).collect();
    OffsetFetchResponseTopics {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions,
        ..OffsetFetchResponseTopics::default()
    }
}

fn fetch_all(stored: &Group, require_stable: bool) -> Vec<OffsetFetchResponseTopics> {
    let mut topics = Vec::with_capacity(stored.offsets.len());
    for (topic, committed) in &stored.offsets {
        let fetched = |(index, committed): (&i32, &CommittedOffset)| {
            let unstable = require_stable && stored.is_pending(topic, *index);
            fetch_partition(*index, Some(committed), unstable)
        };
        let partitions = committed.iter().map(fetched).collect();
        topics.push(OffsetFetchResponseTopics {
            name: text(topic),
            partitions,
            ..OffsetFetchResponseTopics::default()
        });
    }
    topics
}

fn fetch_partition(
    index: i32,
    committed: Option<&CommittedOffset>,
    unstable: bool,
) -> OffsetFetchResponsePartitions {
    let mut response = OffsetFetchResponsePartitions {
        partition_index: index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(text("")),
        ..OffsetFetchResponsePartitions::default()
    };
    match committed {
        _ if unstable => response.error_code = ErrorCode::UnstableOffsetCommit.code(),
        Some(CommittedOffset { value, .. }) => {
            response.committed_offset = value.offset;
            response.committed_leader_epoch = value.leader_epoch;
            response.metadata = Some(text(&value.metadata));
        }
        None => {}
    }
    response
}

/// The answer of one group that failed as a whole.
pub(super) fn fetch_error(group_id: StrBytes, error: ErrorCode) -> OffsetFetchResponseGroup {
    OffsetFetchResponseGroup {
        group_id,
        error_code: error.code(),
        ..OffsetFetchResponseGroup::default()
    }
}

/// The answer to a commit that failed as a whole.
pub fn commit_error(request: &OffsetCommitRequest, error: ErrorCode) -> OffsetCommitResponse {
    let topic = |topic: &OffsetCommitRequestTopic| {
        let failed =
            |partition: &OffsetCommitRequestPartition| committed(partition.partition_index, error);
        topic_response(topic, topic.partitions.iter().map(failed).collect())
    };
    let topics = request.topics.iter().map(topic).collect();
    OffsetCommitResponse {
        topics,
        ..OffsetCommitResponse::default()
    }
}

/// The same answer with nothing committed.
pub(super) fn commit_failed(
    mut response: OffsetCommitResponse,
    error: ErrorCode,
) -> OffsetCommitResponse {
    for partition in response
        .topics
        .iter_mut()
        .flat_map(|topic| &mut topic.partitions)
    {
        partition.error_code = error.code();
    }
    response
}

fn topic_response(
    topic: &OffsetCommitRequestTopic,
    partitions: Vec<OffsetCommitResponsePartition>,
) -> OffsetCommitResponseTopic {
    OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions,
        ..OffsetCommitResponseTopic::default()
    }
}

fn committed(partition_index: i32, error: ErrorCode) -> OffsetCommitResponsePartition {
    OffsetCommitResponsePartition {
        partition_index,
        error_code: error.code(),
        ..OffsetCommitResponsePartition::default()
    }
}

/// Whether members of the group read the topic; an empty group reads nothing.
fn is_subscribed(live: Option<&ClassicGroup>, topic: &str) -> bool {
    live.is_some_and(|group| group.is_subscribed_to(topic))
}
