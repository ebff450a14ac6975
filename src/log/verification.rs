//! Producers whose partition the coordinator is being asked about: a record of a transaction is appended only when the
//! coordinator has just said that the transaction holds the partition, and no end marker came in between, or when the
//! transaction has records here already. Else it would hang (KIP-890).
//! (org.apache.kafka.storage.internals.log.{VerificationStateEntry, VerificationGuard},
//! UnifiedLog.maybeStartTransactionVerification)

use std::collections::HashMap;

use super::error::AppendError;
use super::log::Log;
use super::segment::lock;
use crate::ids::{ProducerEpoch, ProducerId, Timestamp};

/// Stands for one verification. An append that shows it was verified after all end markers that are in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationGuard(u64);

impl VerificationGuard {
    /// Of an append to a transaction that has records in the log.
    pub const ONGOING: VerificationGuard = VerificationGuard(0);
}

/// A verification that is under way, or that has not been followed by an append.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verification {
    guard: VerificationGuard,
    since: Timestamp,
    epoch: ProducerEpoch,
    /// Of the batches that are being verified: the first has to be appended first.
    pub(super) lowest_sequence: i32,
    /// The transaction begins with a new epoch, and so with sequence 0.
    pub(super) has_epoch_per_transaction: bool,
}

/// All of a log.
#[derive(Debug, Default)]
pub(super) struct Verifications {
    by_producer: HashMap<ProducerId, Verification>,
    given: u64,
}

/// A batch that is to be verified.
#[derive(Clone, Copy, Debug)]
pub struct Unverified {
    pub producer_id: ProducerId,
    pub epoch: ProducerEpoch,
    pub base_sequence: i32,
    /// From the version of the request.
    pub has_epoch_per_transaction: bool,
}

impl Verifications {
    pub(super) fn start(&mut self, batch: &Unverified, now: Timestamp) -> VerificationGuard {
        self.given += 1;
        let verification = self
            .by_producer
            .entry(batch.producer_id)
            .or_insert(Verification {
                guard: VerificationGuard(self.given),
                since: now,
                epoch: batch.epoch,
                lowest_sequence: batch.base_sequence,
                has_epoch_per_transaction: batch.has_epoch_per_transaction,
            });
        if batch.epoch > verification.epoch {
            verification.epoch = batch.epoch;
            verification.lowest_sequence = batch.base_sequence;
        } else if batch.epoch == verification.epoch {
            verification.lowest_sequence = verification.lowest_sequence.min(batch.base_sequence);
        }
        verification.guard
    }

    pub(super) fn get(&self, producer_id: ProducerId) -> Option<&Verification> {
        self.by_producer.get(&producer_id)
    }

    pub(super) fn is_held(&self, producer_id: ProducerId, guard: VerificationGuard) -> bool {
        self.get(producer_id)
            .is_some_and(|verification| verification.guard == guard)
    }

    /// A batch of a transaction, or its end marker, is in the log. A marker does not end the verification for the
    /// transaction after it, whose epoch it has (`transaction.version` 2).
    pub(super) fn end(&mut self, producer_id: ProducerId, epoch: ProducerEpoch, is_marker: bool) {
        let is_of_next = |verification: &Verification| {
            is_marker && verification.has_epoch_per_transaction && verification.epoch == epoch
        };
        if !self.get(producer_id).is_some_and(is_of_next) {
            self.by_producer.remove(&producer_id);
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp, expiration_ms: i64) {
        self.by_producer
            .retain(|_, verification| now.0.saturating_sub(verification.since.0) < expiration_ms);
    }
}

impl Log {
    /// Begins to verify a batch of a transaction; `None` when the transaction has records here, and needs none.
    pub fn start_verification(
        &self,
        batch: &Unverified,
        now: Timestamp,
    ) -> Result<Option<VerificationGuard>, AppendError> {
        lock(&self.producers).start_verification(batch, now)
    }
}
