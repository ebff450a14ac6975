//! What a log knows of the producers that write to it: the last five batches of each producer id and epoch, by which
//! a repeated batch is answered from memory and a gap is refused (KIP-98), and the transactions that are open.
//!
//! An append first asks [`Producers::prepare`], which changes nothing, writes, and then calls [`Producers::commit`].
//! (org.apache.kafka.storage.internals.log.{ProducerStateManager, ProducerAppendInfo, ProducerStateEntry})

use std::collections::{BTreeMap, HashMap};

use super::error::AppendError;
use super::transactions::AbortedTransaction;
use super::verification::{Unverified, VerificationGuard, Verifications};
use crate::ids::{Offset, ProducerEpoch, ProducerId, Timestamp};
use crate::record::BatchHeader;
use crate::record::batch::{NO_SEQUENCE, decrement_sequence};
use crate::record::control::EndMarker;

/// Batches kept of a producer: as many as a client may have in flight.
const BATCHES_KEPT: usize = 5;

/// Where batches come from, which says how much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A producer: epochs and sequences.
    Client,
    /// A producer, of whose transaction the coordinator was asked: also that.
    VerifiedClient(VerificationGuard),
    /// A coordinator (offset commits, transaction markers): epochs.
    Coordinator,
    /// The same as for producers, of offsets committed within a transaction.
    VerifiedCoordinator(VerificationGuard),
    /// The end marker of a transaction of this `transaction.version`: epochs, which rise with each from version 2 on.
    Marker(i16),
    /// A leader's log, or this log itself when it is opened: nothing, it was checked before.
    Replication,
}

impl Origin {
    fn is_client(self) -> bool {
        matches!(self, Origin::Client | Origin::VerifiedClient(_))
    }

    fn guard(self) -> Option<VerificationGuard> {
        match self {
            Origin::VerifiedClient(guard) | Origin::VerifiedCoordinator(guard) => Some(guard),
            Origin::Client | Origin::Coordinator | Origin::Marker(_) | Origin::Replication => None,
        }
    }
}

/// A batch that a producer wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchMetadata {
    pub(crate) last_sequence: i32,
    pub(crate) last_offset: Offset,
    pub(crate) offset_delta: i32,
    pub(crate) timestamp: Timestamp,
}

impl BatchMetadata {
    pub(crate) fn base_offset(&self) -> Offset {
        self.last_offset + -i64::from(self.offset_delta)
    }

    pub(crate) fn base_sequence(&self) -> i32 {
        decrement_sequence(self.last_sequence, self.offset_delta)
    }
}

/// One producer id's state.
#[derive(Clone, Debug, PartialEq)]
pub struct ProducerState {
    pub producer_id: ProducerId,
    pub epoch: ProducerEpoch,
    /// Oldest first; the first `kept` are set.
    batches: [Option<BatchMetadata>; BATCHES_KEPT],
    pub coordinator_epoch: i32,
    /// Timestamp of its last batch or marker.
    pub last_timestamp: Timestamp,
    /// First offset of its open transaction.
    pub current_txn_first_offset: Option<Offset>,
}

impl ProducerState {
    pub(crate) fn unknown(producer_id: ProducerId) -> ProducerState {
        ProducerState {
            producer_id,
            epoch: ProducerEpoch::NONE,
            batches: [None; BATCHES_KEPT],
            coordinator_epoch: -1,
            last_timestamp: Timestamp::NONE,
            current_txn_first_offset: None,
        }
    }

    pub(crate) fn last_batch(&self) -> Option<BatchMetadata> {
        self.batches.iter().rev().find_map(|batch| *batch)
    }

    /// Sequence of its last record; -1 when no batch is known.
    pub fn last_sequence(&self) -> i32 {
        self.last_batch()
            .map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    /// Offset of its last record.
    pub fn last_offset(&self) -> Option<Offset> {
        self.last_batch().map(|batch| batch.last_offset)
    }

    fn set_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches = [None; BATCHES_KEPT];
        }
    }

    pub(crate) fn add(&mut self, batch: BatchMetadata) {
        match self.batches.iter().position(Option::is_none) {
            Some(free) => self.batches[free] = Some(batch),
            None => {
                self.batches.rotate_left(1);
                self.batches[BATCHES_KEPT - 1] = Some(batch);
            }
        }
    }

    fn duplicate_of(&self, header: &BatchHeader) -> Option<BatchMetadata> {
        if header.producer_epoch != self.epoch {
            return None;
        }
        let last = header.last_sequence();
        let same = |batch: &BatchMetadata| {
            batch.last_sequence == last && batch.base_sequence() == header.base_sequence
        };
        self.batches
            .iter()
            .flatten()
            .find(|batch| same(batch))
            .copied()
    }

    fn check_epoch(&self, epoch: ProducerEpoch) -> Result<(), AppendError> {
        if epoch >= self.epoch {
            return Ok(());
        }
        Err(self.invalid_epoch(epoch))
    }

    /// A marker of `transaction.version` 2 has a higher epoch than all before it, but for one that is written again
    /// since its answer was lost. (ProducerAppendInfo.checkProducerEpoch; KAFKA-19446)
    fn check_marker_epoch(&self, epoch: ProducerEpoch, origin: Origin) -> Result<(), AppendError> {
        let rises = matches!(origin, Origin::Marker(version) if version >= 2);
        let is_repeated =
            self.current_txn_first_offset.is_none() || epoch == ProducerEpoch(i16::MAX);
        if rises && epoch == self.epoch && !is_repeated {
            return Err(self.invalid_epoch(epoch));
        }
        self.check_epoch(epoch)
    }

    fn invalid_epoch(&self, got: ProducerEpoch) -> AppendError {
        AppendError::InvalidProducerEpoch {
            producer_id: self.producer_id,
            current: self.epoch,
            got,
        }
    }

    fn is_ongoing(&self, epoch: ProducerEpoch) -> bool {
        self.current_txn_first_offset.is_some() && self.epoch == epoch
    }

    fn check_sequence(&self, header: &BatchHeader) -> Result<(), AppendError> {
        // Nothing is known of the producer, perhaps since its records were deleted: any sequence will do.
        if self.epoch == ProducerEpoch::NONE {
            return Ok(());
        }
        let expected = if header.producer_epoch == self.epoch {
            next_sequence(self.last_sequence())
        } else {
            0
        };
        if header.base_sequence == expected {
            return Ok(());
        }
        Err(AppendError::OutOfOrderSequence {
            producer_id: self.producer_id,
            expected,
            got: header.base_sequence,
        })
    }
}

fn next_sequence(last: i32) -> i32 {
    last.checked_add(1).unwrap_or(0)
}

/// A transaction that a marker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompletedTransaction {
    pub(crate) producer_id: ProducerId,
    pub(crate) first_offset: Offset,
    /// The marker's.
    pub(crate) last_offset: Offset,
    pub(crate) aborted: bool,
}

/// What one batch changes, to be committed once it is written.
#[derive(Debug)]
pub(crate) struct Prepared {
    state: ProducerState,
    completed: Option<CompletedTransaction>,
    transactional: bool,
    control: bool,
}

/// What [`Producers::prepare`] found.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack of one append"
)]
pub(crate) enum Verdict {
    /// The batch is to be appended.
    New(Option<Prepared>),
    /// The batch is in the log already.
    Duplicate(BatchMetadata),
}

/// All producers of a log.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    states: HashMap<ProducerId, ProducerState>,
    /// By first offset.
    open: BTreeMap<Offset, ProducerId>,
    /// Completed, but with a marker that may lie above the high watermark; first offset to the marker's offset.
    unreplicated: BTreeMap<Offset, Offset>,
    verifications: Verifications,
}

impl Producers {
    /// Checks a batch that is about to be written at `base_offset`. `marker` is that of a control batch.
    pub(crate) fn prepare(
        &self,
        header: &BatchHeader,
        base_offset: Offset,
        marker: Option<EndMarker>,
        origin: Origin,
    ) -> Result<Verdict, AppendError> {
        if !header.has_producer_id() {
            return Ok(Verdict::New(None));
        }
        let known = self.states.get(&header.producer_id);
        if origin.is_client()
            && let Some(duplicate) = known.and_then(|state| state.duplicate_of(header))
        {
            return Ok(Verdict::Duplicate(duplicate));
        }
        let mut state = known
            .cloned()
            .unwrap_or_else(|| ProducerState::unknown(header.producer_id));
        let completed = if header.is_control() {
            match marker {
                Some(marker) => end_transaction(&mut state, header, base_offset, marker, origin)?,
                // Compaction leaves a control batch without records when its whole transaction is gone.
                None => return Ok(Verdict::New(None)),
            }
        } else {
            if header.is_transactional() {
                self.check_verified(&state, header, origin)?;
            }
            write_data(&mut state, header, base_offset, origin)?;
            None
        };
        Ok(Verdict::New(Some(Prepared {
            state,
            completed,
            transactional: header.is_transactional(),
            control: header.is_control(),
        })))
    }

    /// Whether the coordinator knows that the transaction holds the partition. (UnifiedLog.batchMissingRequiredVerification,
    /// ProducerAppendInfo.checkSequence)
    fn check_verified(
        &self,
        state: &ProducerState,
        header: &BatchHeader,
        origin: Origin,
    ) -> Result<(), AppendError> {
        let Some(guard) = origin.guard() else {
            return Ok(());
        };
        let producer_id = state.producer_id;
        if !state.is_ongoing(header.producer_epoch) {
            state.check_epoch(header.producer_epoch)?;
            if !self.verifications.is_held(producer_id, guard) {
                return Err(AppendError::InvalidTransactionState { producer_id });
            }
        }
        let Some(verification) = self
            .verifications
            .get(producer_id)
            .filter(|_| origin.is_client())
        else {
            return Ok(());
        };
        let begins_at_zero = verification.has_epoch_per_transaction && state.last_batch().is_none();
        let expected = if begins_at_zero {
            0
        } else {
            verification.lowest_sequence
        };
        match header.base_sequence > expected {
            true => Err(AppendError::OutOfOrderSequence {
                producer_id,
                expected,
                got: header.base_sequence,
            }),
            false => Ok(()),
        }
    }

    /// See [`Log::start_verification`](super::Log::start_verification).
    pub(super) fn start_verification(
        &mut self,
        batch: &Unverified,
        now: Timestamp,
    ) -> Result<Option<VerificationGuard>, AppendError> {
        if let Some(state) = self.states.get(&batch.producer_id) {
            state.check_epoch(batch.epoch)?;
            if state.is_ongoing(batch.epoch) {
                return Ok(None);
            }
        }
        Ok(Some(self.verifications.start(batch, now)))
    }

    /// Takes over what a batch changes; returns the transaction that it aborts.
    pub(crate) fn commit(&mut self, prepared: Prepared) -> Option<AbortedTransaction> {
        let Prepared {
            state,
            completed,
            transactional,
            control,
        } = prepared;
        let producer_id = state.producer_id;
        if transactional {
            self.verifications.end(producer_id, state.epoch, control);
        }
        if let Some(first_offset) = state.current_txn_first_offset {
            self.open.insert(first_offset, producer_id);
        }
        self.states.insert(producer_id, state);
        let completed = completed?;
        self.open.remove(&completed.first_offset);
        self.unreplicated
            .insert(completed.first_offset, completed.last_offset);
        completed.aborted.then(|| AbortedTransaction {
            producer_id,
            first_offset: completed.first_offset,
            last_offset: completed.last_offset,
            last_stable_offset: self.first_open().unwrap_or(completed.last_offset + 1),
        })
    }

    /// First offset of the oldest transaction without a marker.
    pub(crate) fn first_open(&self) -> Option<Offset> {
        self.open.first_key_value().map(|(first, _)| *first)
    }

    /// First offset that is not stable when all below `high_watermark` is replicated.
    pub(crate) fn first_unstable(&mut self, high_watermark: Offset) -> Option<Offset> {
        while let Some(oldest) = self.unreplicated.first_entry() {
            if *oldest.get() >= high_watermark {
                break;
            }
            oldest.remove();
        }
        let unreplicated = self.unreplicated.first_key_value().map(|(first, _)| *first);
        unreplicated.into_iter().chain(self.first_open()).min()
    }

    /// Whether any transaction is open or not known to be replicated.
    pub(crate) fn has_transactions(&self) -> bool {
        !self.open.is_empty() || !self.unreplicated.is_empty()
    }

    /// Adds a state as a snapshot has it.
    pub(crate) fn load(&mut self, state: ProducerState) {
        if let Some(first_offset) = state.current_txn_first_offset {
            self.open.insert(first_offset, state.producer_id);
        }
        self.states.insert(state.producer_id, state);
    }

    pub(crate) fn states(&self) -> impl ExactSizeIterator<Item = &ProducerState> {
        self.states.values()
    }

    /// Drops producers without an open transaction that have written nothing for so long.
    pub(crate) fn expire(&mut self, now: Timestamp, expiration_ms: i64) {
        self.states
            .retain(|_, state| !is_expired(state, now, expiration_ms));
        self.verifications.expire(now, expiration_ms);
    }
}

/// Whether a producer is to be forgotten. (producer.id.expiration.ms)
pub(crate) fn is_expired(state: &ProducerState, now: Timestamp, expiration_ms: i64) -> bool {
    state.current_txn_first_offset.is_none()
        && now.0.saturating_sub(state.last_timestamp.0) >= expiration_ms
}

fn write_data(
    state: &mut ProducerState,
    header: &BatchHeader,
    base_offset: Offset,
    origin: Origin,
) -> Result<(), AppendError> {
    if origin != Origin::Replication {
        state.check_epoch(header.producer_epoch)?;
    }
    if origin.is_client() {
        state.check_sequence(header)?;
    }
    if origin != Origin::Replication
        && state.current_txn_first_offset.is_some()
        && !header.is_transactional()
    {
        return Err(AppendError::InvalidTransactionState {
            producer_id: state.producer_id,
        });
    }
    state.set_epoch(header.producer_epoch);
    state.add(BatchMetadata {
        last_sequence: header.last_sequence(),
        last_offset: base_offset + i64::from(header.last_offset_delta),
        offset_delta: header.last_offset_delta,
        timestamp: header.max_timestamp,
    });
    state.last_timestamp = header.max_timestamp;
    if header.is_transactional() && state.current_txn_first_offset.is_none() {
        state.current_txn_first_offset = Some(base_offset);
    }
    Ok(())
}

fn end_transaction(
    state: &mut ProducerState,
    header: &BatchHeader,
    base_offset: Offset,
    marker: EndMarker,
    origin: Origin,
) -> Result<Option<CompletedTransaction>, AppendError> {
    if origin != Origin::Replication {
        state.check_marker_epoch(header.producer_epoch, origin)?;
        if state.coordinator_epoch > marker.coordinator_epoch {
            return Err(AppendError::TransactionCoordinatorFenced {
                producer_id: state.producer_id,
                current: state.coordinator_epoch,
                got: marker.coordinator_epoch,
            });
        }
    }
    state.set_epoch(header.producer_epoch);
    state.coordinator_epoch = marker.coordinator_epoch;
    state.last_timestamp = header.max_timestamp;
    let first_offset = state.current_txn_first_offset.take();
    Ok(first_offset.map(|first_offset| CompletedTransaction {
        producer_id: state.producer_id,
        first_offset,
        last_offset: base_offset,
        aborted: !marker.commit,
    }))
}

#[cfg(test)]
mod tests;
