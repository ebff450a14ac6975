//! What the cluster looks like: the fold of the records of `__cluster_metadata` into an [`Image`], a value that is
//! replaced whole. An image shares with the one before it all that did not change, so that a change costs what it
//! names and not the size of the cluster.
//!
//! A request takes one image from [`Published`] at its start and keeps it. The controller decides over images and
//! applies its own records to them; [`Loader`] does the same for records that were committed. The image knows neither
//! files nor who is asking; `storage` and `checkpoint` read and write what a node keeps of it.

mod apply;
mod brokers;
pub mod checkpoint;
mod configs;
pub mod control;
mod delta;
mod features;
mod image;
mod kept;
mod listener;
mod partition;
mod published;
pub mod records;
mod settings;
mod snapshot;
pub mod storage;
#[cfg(test)]
mod tests;
mod topics;

pub use apply::Error;
pub use brokers::{Broker, Brokers, Controller, Endpoint, FeatureRange};
pub use configs::{Configs, Resource, ResourceKind, Values};
pub use delta::{Delta, TopicDelta};
pub use features::{
    ELIGIBLE_LEADER_REPLICAS_VERSION, Features, KRAFT_VERSION, METADATA_VERSION, MetadataVersion,
};
pub use image::{Image, Provenance};
pub use kept::{Kept, QuotaKey};
pub use listener::MetadataListener;
pub use partition::{LeaderRecoveryState, Partition};
pub use published::{Loader, Published};
pub use settings::{
    BrokerValues, Effective, Source, Synonym, TopicSettings, canonical, effective_topic_value,
};
pub use topics::{
    CLUSTER_METADATA, CONSUMER_OFFSETS, SHARE_GROUP_STATE, TRANSACTION_STATE, Topic, Topics,
    is_internal, validate_name,
};

/// Records made from what an image holds, and what their fields mean; for the controller, which writes them.
pub(crate) mod record {
    pub(crate) use super::partition::{NO_LEADER, NO_LEADER_CHANGE, NO_RECOVERY_CHANGE, numbers};
    pub(crate) use super::snapshot::{
        broker_record, config_record, controller_record, feature_record, text,
    };
}
