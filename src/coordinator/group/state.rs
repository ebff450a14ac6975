//! What the records of one partition of `__consumer_offsets` add up to. [`State::apply`] alone changes it.

use std::collections::btree_map::Entry as TopicEntry;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::records::{GroupKind, GroupMetadata, OffsetKey, OffsetValue, Record};
use crate::coordinator::Position;
use crate::ids::{Offset, ProducerId};

/// The groups of one partition.
#[derive(Debug, Default, PartialEq)]
pub struct State {
    groups: HashMap<Arc<str>, Group>,
    /// The groups in which a producer's transaction has put offsets.
    open_transactions: HashMap<ProducerId, BTreeSet<Arc<str>>>,
}

/// What is written of one group. One without metadata is a simple group: somebody stores offsets under its name.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Group {
    pub(super) metadata: Option<GroupMetadata>,
    pub(super) offsets: Offsets,
    /// Offsets of open transactions.
    pub(super) pending: BTreeMap<ProducerId, Offsets>,
    /// The records of a group of another protocol, as they are.
    pub(super) other: Option<OtherGroup>,
}

/// Committed offsets by topic and partition.
pub(super) type Offsets = BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>>;

/// The offset that a group has stored for a partition.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CommittedOffset {
    pub(super) value: OffsetValue,
    /// Where the record stands: of a transactional and a plain commit the later record counts.
    pub(super) record_offset: Offset,
}

/// A group whose protocol is not handled here; kept for the one that will.
#[derive(Debug, PartialEq)]
pub(super) struct OtherGroup {
    pub(super) kind: GroupKind,
    pub(super) records: BTreeMap<Bytes, Bytes>,
    pub(super) members: usize,
}

impl State {
    pub(super) fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = (&Arc<str>, &Group)> {
        self.groups.iter()
    }

    pub(super) fn apply(&mut self, record: Record, at: Position) {
        match record {
            Record::Offset {
                key,
                value: Some(value),
            } => self.put_offset(key, value, at),
            Record::Offset { key, value: None } => self.remove_offset(&key),
            Record::GroupMetadata { group, metadata } => {
                let removed = metadata.is_none();
                self.groups.entry(group.clone()).or_default().metadata =
                    metadata.map(|metadata| *metadata);
                if removed {
                    self.drop_if_empty(&group);
                }
            }
            Record::Other(record) => {
                let group = self.groups.entry(record.group.clone()).or_default();
                group.put_other(record.kind, record.member, record.key, record.value);
                self.drop_if_empty(&record.group);
            }
        }
    }

    fn put_offset(&mut self, key: OffsetKey, value: OffsetValue, at: Position) {
        let committed = CommittedOffset {
            value,
            record_offset: at.offset,
        };
        let group = self.groups.entry(key.group.clone()).or_default();
        let offsets = if at.producer_id == ProducerId::NONE {
            &mut group.offsets
        } else {
            self.open_transactions
                .entry(at.producer_id)
                .or_default()
                .insert(key.group);
            group.pending.entry(at.producer_id).or_default()
        };
        offsets
            .entry(key.topic)
            .or_default()
            .insert(key.partition, committed);
    }

    fn remove_offset(&mut self, key: &OffsetKey) {
        let Some(group) = self.groups.get_mut(&key.group) else {
            return;
        };
        remove(&mut group.offsets, key);
        let open_transactions = &mut self.open_transactions;
        group.pending.retain(|producer_id, offsets| {
            remove(offsets, key);
            if offsets.is_empty() {
                close(open_transactions, *producer_id, &key.group);
            }
            !offsets.is_empty()
        });
        self.drop_if_empty(&key.group);
    }

    /// Moves the offsets of a transaction to the others, or drops them.
    pub(super) fn end_transaction(&mut self, producer_id: ProducerId, committed: bool) {
        for id in self
            .open_transactions
            .remove(&producer_id)
            .unwrap_or_default()
        {
            let Some(group) = self.groups.get_mut(&id) else {
                continue;
            };
            let pending = group.pending.remove(&producer_id).unwrap_or_default();
            if committed {
                group.take_over(pending);
            }
            self.drop_if_empty(&id);
        }
    }

    fn drop_if_empty(&mut self, id: &Arc<str>) {
        if let Entry::Occupied(group) = self.groups.entry(id.clone())
            && group.get().is_empty()
        {
            group.remove();
        }
    }
}

impl Group {
    pub(super) fn offset(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.offsets.get(topic)?.get(&partition)
    }

    /// Whether an open transaction holds an offset for the partition.
    pub(super) fn is_pending(&self, topic: &str, partition: i32) -> bool {
        self.pending.values().any(|offsets| {
            offsets
                .get(topic)
                .is_some_and(|topic| topic.contains_key(&partition))
        })
    }

    fn is_empty(&self) -> bool {
        self.metadata.is_none()
            && self.offsets.is_empty()
            && self.pending.is_empty()
            && self.other.is_none()
    }

    fn take_over(&mut self, pending: Offsets) {
        for (topic, partitions) in pending {
            let committed = self.offsets.entry(topic).or_default();
            for (partition, offset) in partitions {
                match committed.entry(partition) {
                    TopicEntry::Vacant(entry) => {
                        entry.insert(offset);
                    }
                    TopicEntry::Occupied(mut entry) => {
                        if entry.get().record_offset < offset.record_offset {
                            entry.insert(offset);
                        }
                    }
                }
            }
        }
    }

    fn put_other(&mut self, kind: GroupKind, member: bool, key: Bytes, value: Option<Bytes>) {
        let other = self.other.get_or_insert_with(|| OtherGroup {
            kind,
            records: BTreeMap::new(),
            members: 0,
        });
        other.kind = kind;
        let (added, removed) = match value {
            Some(value) => (true, other.records.insert(key, value).is_some()),
            None => (false, other.records.remove(&key).is_some()),
        };
        if member {
            other.members = other.members + usize::from(added) - usize::from(removed);
        }
        if other.records.is_empty() {
            self.other = None;
        }
    }
}

impl OtherGroup {
    /// The records that delete the group.
    pub(super) fn tombstones(&self) -> impl Iterator<Item = Record> {
        self.records
            .keys()
            .filter_map(|key| Record::decode(key.clone(), None).ok().flatten())
    }
}

fn remove(offsets: &mut Offsets, key: &OffsetKey) {
    if let Some(partitions) = offsets.get_mut(&key.topic) {
        partitions.remove(&key.partition);
        if partitions.is_empty() {
            offsets.remove(&key.topic);
        }
    }
}

fn close(
    open: &mut HashMap<ProducerId, BTreeSet<Arc<str>>>,
    producer_id: ProducerId,
    group: &Arc<str>,
) {
    if let Some(groups) = open.get_mut(&producer_id) {
        groups.remove(group);
        if groups.is_empty() {
            open.remove(&producer_id);
        }
    }
}
