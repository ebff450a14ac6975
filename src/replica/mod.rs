//! Replicas: the local copies of partitions and what makes one answer for its log.
//!
//! [`Partition`] is one of them; [`Replicas`] holds all of this broker, follows the metadata and keeps the log
//! directories; [`session`] remembers what clients fetch. Above `log`, which knows nothing of topics; below the APIs and the
//! coordinators, which reach a log only through here.

mod assignment;
mod cleaning;
mod config;
mod description;
mod directories;
mod disk_reads;
mod failure;
mod flusher;
mod moves;
mod partition;
mod replicas;
pub mod session;
mod shared_configs;
mod stale;
mod upkeep;
mod waiting;
mod watching;

pub use assignment::Assignment;
pub use cleaning::{CleaningStatus, RunStatus};
pub use config::{FlushBefore, PartitionConfig};
pub use description::{DirectoryDescription, ReplicaDescription};
pub use directories::LogDir;
pub use disk_reads::DiskReads;
pub use failure::DirectoryState;
pub use moves::Unmovable;
pub use partition::{
    ACKS_ALL, Appended, Deletion, Error, FoundOffset, Isolation, Leadership, OffsetQuery,
    Partition, Read, ReadInfo, Role, Subscription,
};
pub use replicas::Replicas;
pub use waiting::Waiter;
