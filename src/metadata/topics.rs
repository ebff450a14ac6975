//! The topics of an image, by id and by name.

use std::ops::Bound;
use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use crate::ids::{PartitionIndex, TopicId};

use super::Partition;

/// A topic; shared between the images in which it is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: Arc<str>,
    pub id: TopicId,
    /// By index, without gaps.
    pub partitions: Vec<Arc<Partition>>,
}

impl Topic {
    pub fn partition(&self, index: PartitionIndex) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }

    /// Whether the topic is one that the brokers keep their own state in. (Topic.isInternal)
    pub fn is_internal(&self) -> bool {
        is_internal(&self.name)
    }

    /// Every partition with its index.
    pub fn indexed(&self) -> impl ExactSizeIterator<Item = (PartitionIndex, &Arc<Partition>)> {
        self.partitions
            .iter()
            .enumerate()
            .map(|(index, partition)| (index_of(index), partition))
    }
}

pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
pub const TRANSACTION_STATE: &str = "__transaction_state";
pub const SHARE_GROUP_STATE: &str = "__share_group_state";
/// The log that all this comes from; a topic of its own that no image holds.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Whether this is the name of a topic that the brokers keep their own state in. (Topic.isInternal)
pub fn is_internal(name: &str) -> bool {
    [CONSUMER_OFFSETS, TRANSACTION_STATE, SHARE_GROUP_STATE].contains(&name)
}

/// All topics.
#[derive(Clone, Debug, Default)]
pub struct Topics {
    by_id: HashTrieMapSync<TopicId, Arc<Topic>>,
    by_name: RedBlackTreeMapSync<Arc<str>, Arc<Topic>>,
    /// Names that hold a `.` or `_`, by what they become when both are written `_`.
    colliding: HashTrieMapSync<Arc<str>, Arc<[Arc<str>]>>,
}

impl Topics {
    pub fn by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub fn by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    pub fn len(&self) -> usize {
        self.by_id.size()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// Those from this name on, in the order of their names.
    pub fn from_name(&self, name: &str) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name
            .range::<str, _>((Bound::Included(name), Bound::Unbounded))
            .map(|(_, topic)| topic)
    }

    /// A topic whose metric names could not be told from this one's: the names are equal once `.` is written `_`.
    /// (Topic.unifyCollisionChars)
    pub fn colliding(&self, name: &str) -> Option<&Arc<str>> {
        self.colliding.get(unified(name)?.as_str())?.first()
    }

    pub(super) fn insert(&mut self, topic: Topic) {
        let topic = Arc::new(topic);
        if let Some(key) = unified(&topic.name)
            && !self.by_name.contains_key(&topic.name)
        {
            let mut names = self
                .colliding
                .get(key.as_str())
                .map(|names| names.to_vec())
                .unwrap_or_default();
            names.push(topic.name.clone());
            self.colliding.insert_mut(key.into(), names.into());
        }
        self.by_id.insert_mut(topic.id, topic.clone());
        self.by_name.insert_mut(topic.name.clone(), topic);
    }

    pub(super) fn remove(&mut self, id: TopicId) -> Option<Arc<Topic>> {
        let topic = self.by_id.get(&id)?.clone();
        self.by_id.remove_mut(&id);
        self.by_name.remove_mut(&topic.name);
        if let Some(key) = unified(&topic.name) {
            let names = self
                .colliding
                .get(key.as_str())
                .map(|names| names.to_vec())
                .unwrap_or_default();
            let left: Vec<_> = names
                .into_iter()
                .filter(|name| *name != topic.name)
                .collect();
            match left.is_empty() {
                true => self.colliding.remove_mut(key.as_str()),
                false => {
                    self.colliding.insert_mut(key.into(), left.into());
                    true
                }
            };
        }
        Some(topic)
    }
}

impl PartialEq for Topics {
    fn eq(&self, other: &Topics) -> bool {
        self.by_id == other.by_id
    }
}

/// The name with `.` written `_`; `None` when it holds neither, so that nothing can collide.
fn unified(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

pub(crate) fn index_of(index: usize) -> PartitionIndex {
    PartitionIndex(i32::try_from(index).expect("a topic has less than 2^31 partitions"))
}

/// Characters of a topic's name at most. (Topic.MAX_NAME_LENGTH)
const NAME_LEN_MAX: usize = 249;

/// Whether a topic may have this name; else why not, in Kafka's words. (Topic.validate)
pub fn validate_name(name: &str) -> Result<(), String> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' is not allowed"),
        // As Java counts, in UTF-16 units.
        _ if name.encode_utf16().count() > NAME_LEN_MAX => {
            format!("the length of '{name}' is longer than the max allowed length {NAME_LEN_MAX}")
        }
        _ if !name.chars().all(is_legal) => {
            format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            )
        }
        _ => return Ok(()),
    };
    Err(format!("Topic name is invalid: {reason}"))
}
