//! The features of a cluster that this build knows: the levels that it supports, and the level a new cluster gets.
//! (org.apache.kafka.server.common.Feature and MetadataVersion of 4.3.0)

/// A feature with its range of levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    pub name: &'static str,
    pub min: i16,
    pub max: i16,
    /// The level that a newly formatted cluster has. That of `kraft.version` follows from how it is formatted.
    pub default: i16,
}

pub const METADATA_VERSION: &str = "metadata.version";
pub const KRAFT_VERSION: &str = "kraft.version";
pub const TRANSACTION_VERSION: &str = "transaction.version";

/// By name.
pub const FEATURES: [Feature; 7] = [
    Feature {
        name: "eligible.leader.replicas.version",
        min: 0,
        max: 1,
        default: 1,
    },
    Feature {
        name: "group.version",
        min: 0,
        max: 1,
        default: 1,
    },
    Feature {
        name: KRAFT_VERSION,
        min: 0,
        max: 1,
        default: 0,
    },
    Feature {
        name: METADATA_VERSION,
        min: 7,
        max: 30,
        default: 30,
    },
    Feature {
        name: "share.version",
        min: 0,
        max: 1,
        default: 1,
    },
    Feature {
        name: "streams.version",
        min: 0,
        max: 1,
        default: 1,
    },
    Feature {
        name: TRANSACTION_VERSION,
        min: 0,
        max: 2,
        default: 2,
    },
];
