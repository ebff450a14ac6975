//! The records of `__consumer_offsets` as the group coordinator thinks of them, and their form on disk: Kafka's keys
//! and values, in the versions that 4.3 writes. (GroupCoordinatorRecordHelpers)
//!
//! Whatever is read is copied out of the batch that it came in, so that no batch outlives its loading.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::ids::{KafkaUuid, Timestamp, TopicId};
use crate::messages::records::group::GroupRecord;
use crate::messages::records::group::classic::{
    GroupMetadataKey, GroupMetadataValue, MemberMetadata, OffsetCommitKey, OffsetCommitValue,
};
use crate::messages::{DecodeError, EncodeError, text};

/// Version of OffsetCommitValue, and the one that can say when an offset expires.
const OFFSET_VALUE_VERSION: i16 = 4;
const EXPIRING_OFFSET_VALUE_VERSION: i16 = 1;
const GROUP_METADATA_VALUE_VERSION: i16 = 3;

/// One record; without a value it deletes.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    Offset {
        key: OffsetKey,
        value: Option<OffsetValue>,
    },
    GroupMetadata {
        group: Arc<str>,
        metadata: Option<Box<GroupMetadata>>,
    },
    Other(OtherRecord),
}

#[derive(Clone, Debug, PartialEq)]
pub struct OffsetKey {
    pub group: Arc<str>,
    pub topic: Arc<str>,
    pub partition: i32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OffsetValue {
    pub offset: i64,
    /// -1 when the client did not say.
    pub leader_epoch: i32,
    pub metadata: Box<str>,
    pub commit_timestamp: Timestamp,
    /// Of commits with a retention time of their own (OffsetCommit 2 to 4).
    pub expire_timestamp: Option<Timestamp>,
    /// Zero when the commit came without.
    pub topic_id: TopicId,
}

/// A classic group at its last stable, or empty, generation.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupMetadata {
    /// `None` of a group that never had members.
    pub protocol_type: Option<Arc<str>>,
    pub generation: i32,
    pub protocol: Option<Arc<str>>,
    pub leader: Option<Arc<str>>,
    /// When the phase began in which this was written; none in old records.
    pub since: Timestamp,
    pub members: Vec<StoredMember>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StoredMember {
    pub id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

/// A record of a group of another protocol, as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct OtherRecord {
    pub group: Arc<str>,
    pub kind: GroupKind,
    /// There is one such record for each member.
    pub member: bool,
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// The protocols of groups other than the classic one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    Consumer,
    Share,
    Streams,
}

impl GroupKind {
    /// The kind that writes a record type, and whether the type is that of a member.
    fn of_record(number: i16) -> Option<(GroupKind, bool)> {
        match number {
            3..=8 | 16 => Some((GroupKind::Consumer, number == 5)),
            10..=15 => Some((GroupKind::Share, number == 10)),
            17 | 19..=23 => Some((GroupKind::Streams, number == 19)),
            _ => None,
        }
    }

    /// What ListGroups calls the protocol type.
    pub fn protocol_type(self) -> &'static str {
        self.name()
    }

    pub fn name(self) -> &'static str {
        match self {
            GroupKind::Consumer => "consumer",
            GroupKind::Share => "share",
            GroupKind::Streams => "streams",
        }
    }
}

impl Record {
    pub(super) fn offset_tombstone(group: &Arc<str>, topic: &Arc<str>, partition: i32) -> Record {
        Record::Offset {
            key: OffsetKey {
                group: group.clone(),
                topic: topic.clone(),
                partition,
            },
            value: None,
        }
    }

    /// The record that a group begins with, before anybody has joined it.
    pub(super) fn empty_group(group: &Arc<str>, since: Timestamp) -> Record {
        let metadata = GroupMetadata {
            protocol_type: None,
            generation: 0,
            protocol: None,
            leader: None,
            since,
            members: Vec::new(),
        };
        Record::GroupMetadata {
            group: group.clone(),
            metadata: Some(Box::new(metadata)),
        }
    }

    pub(super) fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        match self {
            Record::Offset { key, value } => encode_offset(key, value.as_ref()),
            Record::GroupMetadata { group, metadata } => {
                let key = GroupMetadataKey {
                    group: text(group),
                    ..GroupMetadataKey::default()
                };
                GroupRecord::GroupMetadata(key, metadata.as_deref().map(metadata_value))
                    .encode(GROUP_METADATA_VALUE_VERSION)
            }
            Record::Other(other) => Ok((other.key.clone(), other.value.clone())),
        }
    }

    pub(super) fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Record>, DecodeError> {
        if let Some(other) = other_record(&key, value.as_ref()) {
            return Ok(Some(Record::Other(other)));
        }
        Ok(match GroupRecord::decode(key, value)? {
            GroupRecord::LegacyOffsetCommit(key, value) => Some(Record::Offset {
                key: offset_key(&key.group, &key.topic, key.partition),
                value: value.map(|value| OffsetValue {
                    offset: value.offset,
                    leader_epoch: -1,
                    metadata: Box::from(&*value.metadata),
                    commit_timestamp: Timestamp(value.commit_timestamp),
                    expire_timestamp: None,
                    topic_id: KafkaUuid::ZERO,
                }),
            }),
            GroupRecord::OffsetCommit(key, value) => Some(Record::Offset {
                key: offset_key(&key.group, &key.topic, key.partition),
                value: value.map(|value| OffsetValue {
                    offset: value.offset,
                    leader_epoch: value.leader_epoch,
                    metadata: Box::from(&*value.metadata),
                    commit_timestamp: Timestamp(value.commit_timestamp),
                    expire_timestamp: (value.expire_timestamp >= 0)
                        .then_some(Timestamp(value.expire_timestamp)),
                    topic_id: KafkaUuid(value.topic_id),
                }),
            }),
            GroupRecord::GroupMetadata(key, value) => Some(Record::GroupMetadata {
                group: Arc::from(&*key.group),
                metadata: value.map(|value| Box::new(read_metadata(&value))),
            }),
            _ => None,
        })
    }
}

fn offset_key(group: &str, topic: &str, partition: i32) -> OffsetKey {
    OffsetKey {
        group: Arc::from(group),
        topic: Arc::from(topic),
        partition,
    }
}

fn encode_offset(
    key: &OffsetKey,
    value: Option<&OffsetValue>,
) -> Result<(Bytes, Option<Bytes>), EncodeError> {
    let version = match value {
        Some(OffsetValue {
            expire_timestamp: Some(_),
            ..
        }) => EXPIRING_OFFSET_VALUE_VERSION,
        _ => OFFSET_VALUE_VERSION,
    };
    let value = value.map(|value| OffsetCommitValue {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: text(&value.metadata),
        commit_timestamp: value.commit_timestamp.0,
        expire_timestamp: value.expire_timestamp.unwrap_or(Timestamp::NONE).0,
        topic_id: value.topic_id.0,
        ..OffsetCommitValue::default()
    });
    let key = OffsetCommitKey {
        group: text(&key.group),
        topic: text(&key.topic),
        partition: key.partition,
        ..OffsetCommitKey::default()
    };
    GroupRecord::OffsetCommit(key, value).encode(version)
}

fn metadata_value(metadata: &GroupMetadata) -> GroupMetadataValue {
    let member = |member: &StoredMember| MemberMetadata {
        member_id: text(&member.id),
        group_instance_id: member.instance_id.as_deref().map(text),
        client_id: text(&member.client_id),
        client_host: text(&member.client_host),
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: member.subscription.clone(),
        assignment: member.assignment.clone(),
        ..MemberMetadata::default()
    };
    GroupMetadataValue {
        protocol_type: text(metadata.protocol_type.as_deref().unwrap_or_default()),
        generation: metadata.generation,
        protocol: metadata.protocol.as_deref().map(text),
        leader: metadata.leader.as_deref().map(text),
        current_state_timestamp: metadata.since.0,
        members: metadata.members.iter().map(member).collect(),
        ..GroupMetadataValue::default()
    }
}

fn read_metadata(value: &GroupMetadataValue) -> GroupMetadata {
    let owned = |text: &str| Arc::<str>::from(text);
    let member = |member: &MemberMetadata| StoredMember {
        id: owned(&member.member_id),
        instance_id: member.group_instance_id.as_deref().map(owned),
        client_id: owned(&member.client_id),
        client_host: owned(&member.client_host),
        // Version 0 has none.
        rebalance_timeout_ms: match member.rebalance_timeout {
            -1 => member.session_timeout,
            timeout => timeout,
        },
        session_timeout_ms: member.session_timeout,
        subscription: Bytes::copy_from_slice(&member.subscription),
        assignment: Bytes::copy_from_slice(&member.assignment),
    };
    GroupMetadata {
        protocol_type: (!value.protocol_type.is_empty()).then(|| owned(&value.protocol_type)),
        generation: value.generation,
        protocol: value.protocol.as_deref().map(owned),
        leader: value.leader.as_deref().map(owned),
        since: Timestamp(value.current_state_timestamp),
        members: value.members.iter().map(member).collect(),
    }
}

/// A record of a group of another protocol; the keys of all of them begin with the group id.
fn other_record(key: &Bytes, value: Option<&Bytes>) -> Option<OtherRecord> {
    let mut rest = key.clone();
    let (kind, member) = GroupKind::of_record(rest.try_get_i16().ok()?)?;
    let length = usize::try_from(rest.try_get_i16().ok()?).ok()?;
    let group = std::str::from_utf8(rest.get(..length)?).ok()?;
    Some(OtherRecord {
        group: Arc::from(group),
        kind,
        member,
        key: Bytes::copy_from_slice(key),
        value: value.map(|value| Bytes::copy_from_slice(value)),
    })
}
