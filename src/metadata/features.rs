//! Finalized feature levels, and what each level of `metadata.version` lets the controller write
//! (reference: features.tsv; MetadataVersion).

use std::collections::BTreeMap;
use std::sync::Arc;

pub use crate::config::features::{KRAFT_VERSION, METADATA_VERSION};

pub const ELIGIBLE_LEADER_REPLICAS_VERSION: &str = "eligible.leader.replicas.version";

/// The finalized features. A feature at level 0 is not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    levels: Arc<BTreeMap<Arc<str>, i16>>,
}

impl Features {
    /// Names and levels, `metadata.version` among them, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i16)> {
        self.levels.iter().map(|(name, &level)| (name, level))
    }

    /// 0 for a feature that is off or unknown.
    pub fn level(&self, name: &str) -> i16 {
        self.levels.get(name).copied().unwrap_or(0)
    }

    /// A log that does not say is read as the oldest that KRaft has. (MetadataVersion.MINIMUM_VERSION)
    pub fn metadata_version(&self) -> MetadataVersion {
        let level = self.levels.get(METADATA_VERSION).copied();
        level.map_or(MetadataVersion::OLDEST, MetadataVersion)
    }

    /// Whether anything was finalized: false in a log that has not been bootstrapped.
    pub fn is_bootstrapped(&self) -> bool {
        self.levels.contains_key(METADATA_VERSION)
    }

    /// KIP-966; asks the feature and not only the metadata version. (FeatureControlManager.isElrFeatureEnabled)
    pub fn eligible_leader_replicas(&self) -> bool {
        self.level(ELIGIBLE_LEADER_REPLICAS_VERSION) >= 1
    }

    pub(super) fn set(&mut self, name: &str, level: i16) {
        let levels = Arc::make_mut(&mut self.levels);
        match level == 0 && name != METADATA_VERSION {
            true => levels.remove(name),
            false => levels.insert(name.into(), level),
        };
    }
}

/// A level of the feature `metadata.version`: which records, in which versions, the log may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetadataVersion(pub i16);

impl MetadataVersion {
    /// 3.3-IV3, the first that Kafka 4 can read.
    pub const OLDEST: MetadataVersion = MetadataVersion(7);
    /// 4.3-IV0.
    pub const LATEST: MetadataVersion = MetadataVersion(30);

    /// From 3.4-IV0 on registrations say whether a broker migrates from ZooKeeper; from 3.7-IV2 on they name
    /// directories; from 4.3-IV0 on cordoned ones.
    pub fn register_broker_record(self) -> i16 {
        match self.0 {
            30.. => 4,
            17.. => 3,
            8.. => 2,
            _ => 1,
        }
    }

    /// From 3.7-IV2 on with directories, from 4.0-IV1 on with eligible leader replicas.
    pub fn partition_record(self) -> i16 {
        match self.0 {
            23.. => 2,
            17.. => 1,
            _ => 0,
        }
    }

    /// See [`MetadataVersion::partition_record`].
    pub fn partition_change_record(self) -> i16 {
        self.partition_record()
    }

    /// 3.5-IV2
    pub fn scram(self) -> bool {
        self.0 >= 11
    }

    /// Below 3.6-IV0 a follower needs a new leader epoch when the ISR shrinks (KAFKA-15021).
    pub fn leader_epoch_bump_on_isr_shrink(self) -> bool {
        self.0 < 12
    }

    /// 3.6-IV1
    pub fn metadata_transactions(self) -> bool {
        self.0 >= 13
    }

    /// 3.6-IV2
    pub fn delegation_tokens(self) -> bool {
        self.0 >= 14
    }

    /// 3.7-IV0
    pub fn controller_registrations(self) -> bool {
        self.0 >= 15
    }

    /// 3.7-IV2
    pub fn directory_assignment(self) -> bool {
        self.0 >= 17
    }

    /// 4.0-IV1
    pub fn eligible_leader_replicas(self) -> bool {
        self.0 >= 23
    }

    /// 4.3-IV0
    pub fn cordoned_log_dirs(self) -> bool {
        self.0 >= 30
    }
}
