//! Records that nothing in the image is computed from: what they say is looked up by others (authorizer, SCRAM, quotas,
//! delegation tokens), and all of them are written back into snapshots as they came.

use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync, VectorSync};

use crate::ids::KafkaUuid;
use crate::messages::records::frame::MetadataRecord;
use crate::messages::records::metadata::{
    AccessControlEntryRecord, ClientQuotaRecord, DelegationTokenRecord, UserScramCredentialRecord,
};

/// Identifies a quota: its entity (type and name, `None` for the default; in the order of the types) and its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaKey {
    pub entity: Vec<(Arc<str>, Option<Arc<str>>)>,
    pub key: Arc<str>,
}

impl QuotaKey {
    pub(super) fn of(record: &ClientQuotaRecord) -> QuotaKey {
        let part = |name: Option<&str>| name.map(Arc::from);
        let entity = record.entity.iter();
        let entity = entity.map(|entity| {
            (
                Arc::from(&*entity.entity_type),
                part(entity.entity_name.as_deref()),
            )
        });
        let mut entity: Vec<_> = entity.collect();
        entity.sort();
        QuotaKey {
            entity,
            key: Arc::from(&*record.key),
        }
    }
}

/// ACLs, SCRAM credentials, quotas, delegation tokens, and what this version has no use for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    pub acls: HashTrieMapSync<KafkaUuid, Arc<AccessControlEntryRecord>>,
    /// By mechanism (1 SHA-256, 2 SHA-512) and user.
    pub scram: RedBlackTreeMapSync<(i8, Arc<str>), Arc<UserScramCredentialRecord>>,
    pub client_quotas: RedBlackTreeMapSync<QuotaKey, Arc<ClientQuotaRecord>>,
    /// By token id.
    pub delegation_tokens: RedBlackTreeMapSync<Arc<str>, Arc<DelegationTokenRecord>>,
    /// Where a cluster stood on its way from ZooKeeper; Kafka 4 reads it and does nothing with it.
    pub zk_migration_state: Option<i8>,
    /// Records of kinds that this version does not know, in the order in which they came.
    pub unknown: VectorSync<MetadataRecord>,
}
