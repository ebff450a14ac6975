//! Kafka's log on disk: one [`Log`] for each partition, a list of segments with their indexes, checkpoints and
//! producer snapshots, byte for byte as Kafka 4.3 writes and reads them.
//!
//! An append is [`Log::append_as_leader`] > `Segment::append`; a read is [`Log::read`], which reads no record but
//! answers with a range of a file. Nothing in here knows of topics' settings in metadata, of replicas, requests or
//! the system clock; `replica/` calls it, and gives the time as an argument. Calls that may wait for the device
//! (open, flush, close, delete, truncate) belong on a blocking thread.

mod aborted;
mod append;
pub mod check;
pub mod checkpoints;
pub mod cleaner;
mod config;
mod deleted;
pub mod directory;
mod epochs;
mod error;
mod flush;
pub mod fs;
mod future;
mod health;
pub(crate) mod index;
mod listing;
#[expect(
    clippy::module_inception,
    reason = "the file is named after its type, Log"
)]
mod log;
mod lookup;
mod open_segments;
pub mod page_cache;
mod producers;
mod progress;
mod read;
mod recovery;
mod retention;
mod scan;
mod segment;
mod segment_blocks;
mod segment_indexes;
mod segment_trust;
pub(crate) mod snapshots;
mod space;
pub(crate) mod transactions;
mod truncation;
mod verification;
mod verified_reads;

pub use config::LogConfig;
pub use deleted::DeletedFiles;
pub use epochs::EpochEntry;
pub use error::{AppendError, Error, ReadError};
pub use future::is_replacing;
pub use health::Health;
pub use log::{AppendInfo, Log, LogOptions, ReadOutcome, Storage};
pub use lookup::TimestampedOffset;
pub use open_segments::OpenSegments;
pub use page_cache::Source;
pub use producers::{Origin, ProducerState};
pub use progress::{Done, Progress};
pub use retention::Dropped;
pub use space::RESERVE_DEFAULT;
pub use transactions::AbortedTransaction;
pub use verification::{Unverified, VerificationGuard};

#[cfg(test)]
mod bad_days;
#[cfg(test)]
mod every_fault;
#[cfg(test)]
mod model;
#[cfg(test)]
pub(crate) mod random;
#[cfg(test)]
mod tests;
