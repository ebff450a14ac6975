//! Replicas: the local copies of partitions and what makes one answer for its log.
//!
//! [`session`] remembers what clients fetch. Above `log`, which knows nothing of topics; below the APIs and the
//! coordinators, which reach a log only through here.

mod config;
mod partition;
pub mod session;
mod waiting;

pub use config::PartitionConfig;
pub use partition::{
    ACKS_ALL, Appended, Error, FoundOffset, Isolation, Leadership, OffsetQuery, Partition, Read,
    ReadInfo, Role, Subscription,
};
pub use waiting::Waiter;
