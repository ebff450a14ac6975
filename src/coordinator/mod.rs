//! Coordinators: pure state machines over the partitions of an internal topic, and the runtime that runs them.
//!
//! A machine decides: it gets the state, an event and the time, and says which records to write and what to answer.
//! It touches no socket, file, task or clock, and it changes the state only through [`StateMachine::apply`], live and
//! when a partition is loaded. [`runtime`] appends, applies, and lets the answers out once the records are committed.
//!
//! Called by `api`; the machines know nothing of the runtime.

use bytes::Bytes;

use crate::error_code::ErrorCode;
use crate::ids::{Now, Offset, ProducerEpoch, ProducerId, SteadyTime};
use crate::messages::{DecodeError, EncodeError};

pub mod deadlines;
pub mod group;
pub mod groups;
pub mod markers;
pub mod runtime;
mod topic;
pub mod transaction;
pub mod transactions;

pub use crate::log::VerificationGuard;
pub use topic::LookUp;

/// Stands for one request that waits for its answer. The runtime gives them out, never twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What a machine is told.
#[derive(Clone, Debug)]
pub enum Event<Q> {
    /// A request; it is answered now or at a later event, under its ticket.
    Request { ticket: Ticket, request: Q },
    /// The time of [`StateMachine::next_deadline`] has come. Told until that lies ahead.
    Deadline,
}

/// What a machine decided.
#[derive(Debug)]
pub struct Outcome<R, A> {
    /// Written, then applied in order.
    pub records: Vec<R>,
    /// Whether the records count all together or not at all, and so have to fit in one batch.
    pub atomic: bool,
    /// The records are those of a producer's transaction, and count when that is committed.
    pub transactional: Option<Transactional>,
    /// Let out when all that was written before them, these records included, is committed.
    pub replies: Vec<(Ticket, A)>,
}

impl<R, A> Default for Outcome<R, A> {
    fn default() -> Self {
        Outcome {
            records: Vec::new(),
            atomic: true,
            transactional: None,
            replies: Vec::new(),
        }
    }
}

/// The transaction that records are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transactional {
    pub producer: ProducerIdAndEpoch,
    /// That the transaction's coordinator knows of the partition; `None` where that is not asked.
    pub verified: Option<VerificationGuard>,
}

/// A producer as a request names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdAndEpoch {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
}

impl ProducerIdAndEpoch {
    pub const NONE: ProducerIdAndEpoch = ProducerIdAndEpoch {
        id: ProducerId::NONE,
        epoch: ProducerEpoch::NONE,
    };
}

/// Where a record stands in its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub offset: Offset,
    /// The producer of a transactional batch, whose records count once the transaction is committed; else none.
    pub producer_id: ProducerId,
}

/// A coordinator. One value serves all shards of its kind, it holds only settings.
pub trait StateMachine: Send + Sync + 'static {
    /// The fold of the records of one partition.
    type State: Default + Send;
    /// What is known besides: sessions, waiting requests. Losing it, as at a change of leader, does no harm.
    type Scratch: Default + Send;
    type Request: Send + Sync;
    type Response: Send + 'static;
    type Record: Send;

    /// Decides about one event. The scratch may be changed at once; the state is not.
    fn handle(
        &self,
        state: &Self::State,
        scratch: &mut Self::Scratch,
        event: Event<Self::Request>,
        now: Now,
    ) -> Outcome<Self::Record, Self::Response>;

    /// Starts sessions after the partition has been read.
    fn loaded(
        &self,
        state: &Self::State,
        scratch: &mut Self::Scratch,
        now: Now,
    ) -> Outcome<Self::Record, Self::Response>;

    /// The records of `outcome` could not be appended: forgets what the scratch had put on them, and turns the
    /// answers into errors.
    fn append_failed(
        &self,
        state: &Self::State,
        scratch: &mut Self::Scratch,
        outcome: Outcome<Self::Record, Self::Response>,
        error: ErrorCode,
        now: Now,
    ) -> Vec<(Ticket, Self::Response)>;

    /// When [`Event::Deadline`] is due, if ever; it may be early, never late.
    fn next_deadline(&self, scratch: &Self::Scratch) -> Option<SteadyTime>;

    /// The only writer of the state.
    fn apply(state: &mut Self::State, record: Self::Record, at: Position);

    /// The marker that ends the transaction of a producer.
    fn end_transaction(state: &mut Self::State, producer_id: ProducerId, committed: bool);

    /// Key and value as they are written; no value is a tombstone.
    fn encode(record: &Self::Record) -> Result<(Bytes, Option<Bytes>), EncodeError>;

    /// Reads what [`StateMachine::encode`] or Apache Kafka wrote; `None` for a kind that is not known.
    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self::Record>, DecodeError>;
}

/// What a failed append looks like to a client. (CoordinatorOperationExceptionHelper.handleOperationException)
pub fn client_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidFetchSize => ErrorCode::UnknownServerError,
        other => other,
    }
}

/// The partition of an internal topic that keeps `key`: Java's `Math.abs(key.hashCode()) % partitions`, where the
/// absolute value of the smallest integer counts as 0. (Utils.abs)
pub fn partition_for(key: &str, partitions: i32) -> i32 {
    let hash = key.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    hash.checked_abs().unwrap_or(0) % partitions.max(1)
}

#[cfg(test)]
mod script_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_is_that_of_kafka() {
        assert_eq!(partition_for("gclassic", 4), 1);
        assert_eq!(partition_for("", 50), 0);
        // "polygenelubricants".hashCode() is Integer.MIN_VALUE.
        assert_eq!(partition_for("polygenelubricants", 50), 0);
    }
}
