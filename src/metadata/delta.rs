//! What changed from one image to the next: enough for replicas, coordinators and listeners to act without comparing
//! the images.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ids::{NodeId, PartitionIndex, TopicId};

use super::{Resource, Topic};

/// The changes of one or more batches of records, taken together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Topics that were created or changed, and are there still.
    pub topics: BTreeMap<TopicId, TopicDelta>,
    /// Topics that were there before and are gone, as they last were.
    pub deleted: BTreeMap<TopicId, Arc<Topic>>,
    /// Resources whose settings changed. Those of a deleted topic are among them.
    pub configs: BTreeSet<Resource>,
    /// Brokers whose registration came, went or changed.
    pub brokers: BTreeSet<NodeId>,
    /// Controllers whose registration came or changed.
    pub controllers: BTreeSet<NodeId>,
    /// Features whose level changed.
    pub features: BTreeSet<Arc<str>>,
    pub producer_ids: bool,
    pub acls: bool,
    pub scram: bool,
    pub client_quotas: bool,
    pub delegation_tokens: bool,
}

/// What changed in one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDelta {
    pub name: Arc<str>,
    /// Whether the topic is new.
    pub created: bool,
    /// The partitions that are new or changed.
    pub partitions: BTreeSet<PartitionIndex>,
}

impl Delta {
    pub fn is_empty(&self) -> bool {
        *self == Delta::default()
    }

    /// Adds what came later.
    pub fn merge(&mut self, later: Delta) {
        for (id, topic) in later.topics {
            match self.topics.get_mut(&id) {
                Some(earlier) => earlier.partitions.extend(topic.partitions),
                None => {
                    self.topics.insert(id, topic);
                }
            }
        }
        for (id, topic) in later.deleted {
            // What came and went within the delta was never seen by anybody.
            if !self
                .topics
                .remove(&id)
                .is_some_and(|earlier| earlier.created)
            {
                self.deleted.insert(id, topic);
            }
        }
        self.configs.extend(later.configs);
        self.brokers.extend(later.brokers);
        self.controllers.extend(later.controllers);
        self.features.extend(later.features);
        self.producer_ids |= later.producer_ids;
        self.acls |= later.acls;
        self.scram |= later.scram;
        self.client_quotas |= later.client_quotas;
        self.delegation_tokens |= later.delegation_tokens;
    }
}
