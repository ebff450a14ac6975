//! EndTxn, and the transactions that are aborted for their producer: fenced by another one, or open for too long.
//!
//! With `transaction.version` 2 each transaction ends with a higher epoch, so that no late request of the one before
//! gets into the next; a repeated request is known by the epoch before. (TransactionCoordinator.endTransaction,
//! endTransactionWithTV1, TransactionMetadata.prepareAbortOrCommit; KIP-890)

use std::sync::Arc;

use super::state::{EPOCH_PER_TRANSACTION, Transaction, TransactionState};
use super::{Deadline, Response, Step, on_grid};
use crate::coordinator::ProducerIdAndEpoch;
use crate::error_code::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerId};

/// The last epoch with which a producer can begin a transaction.
const LAST_EPOCH: ProducerEpoch = ProducerEpoch(i16::MAX - 1);

pub(super) struct End {
    pub(super) id: Arc<str>,
    pub(super) producer: ProducerIdAndEpoch,
    pub(super) commit: bool,
    pub(super) client_version: i16,
    pub(super) fresh: Option<ProducerId>,
}

/// What a request to end a transaction comes to.
enum Verdict {
    Prepare,
    /// It has been done before.
    Done,
    Refuse(ErrorCode),
}

impl Step<'_> {
    pub(super) fn end(&mut self, end: &End) -> Response {
        let state = self.state;
        if end.id.is_empty() {
            return Response::End(Err(ErrorCode::InvalidRequest));
        }
        let Some((id, transaction)) = state.get(&end.id) else {
            return Response::End(Err(ErrorCode::InvalidProducerIdMapping));
        };
        let has_epoch_per_transaction = end.client_version >= EPOCH_PER_TRANSACTION;
        let verdict = match has_epoch_per_transaction {
            true => judge(transaction, end),
            false => judge_by_state(transaction, end),
        };
        match verdict {
            Verdict::Refuse(code) => Response::End(Err(code)),
            Verdict::Done if has_epoch_per_transaction => Response::End(Ok(ProducerIdAndEpoch {
                id: transaction.producer_id,
                epoch: transaction.producer_epoch,
            })),
            Verdict::Done => Response::End(Ok(ProducerIdAndEpoch::NONE)),
            Verdict::Prepare if has_epoch_per_transaction => {
                match self.prepare(id, transaction, end.commit, end.client_version, end.fresh) {
                    Ok(producer) => Response::End(Ok(producer)),
                    Err(wanted) => wanted,
                }
            }
            Verdict::Prepare => {
                let prepared = Transaction {
                    client_version: 0,
                    next_producer_id: ProducerId::NONE,
                    ..transaction.to(prepared_state(end.commit), self.now.wall)
                };
                self.put(id, prepared);
                Response::End(Ok(ProducerIdAndEpoch::NONE))
            }
        }
    }

    /// Decides the outcome and raises the epoch; returns with what the producer goes on.
    fn prepare(
        &mut self,
        id: &Arc<str>,
        transaction: &Transaction,
        commit: bool,
        client_version: i16,
        fresh: Option<ProducerId>,
    ) -> Result<ProducerIdAndEpoch, Response> {
        let next_producer_id = match (transaction.is_exhausted(), fresh) {
            (true, None) => return Err(Response::ProducerIdWanted),
            (true, Some(fresh)) => fresh,
            (false, _) => ProducerId::NONE,
        };
        let epoch = transaction.producer_epoch;
        let mut prepared = Transaction {
            next_producer_id,
            producer_epoch: ProducerEpoch(epoch.0.saturating_add(1)),
            client_version,
            ..transaction.to(prepared_state(commit), self.now.wall)
        };
        if transaction.state != TransactionState::Ongoing {
            prepared.start = self.now.wall;
        }
        self.note_last_epoch(id, epoch);
        let completed = prepared.completed(self.now.wall);
        self.put(id, prepared);
        Ok(ProducerIdAndEpoch {
            id: completed.producer_id,
            epoch: completed.producer_epoch,
        })
    }

    /// Aborts an open transaction under a higher epoch, in the way of the cluster's `transaction.version`. The error
    /// is an answer: [`Response::ProducerIdWanted`].
    pub(super) fn abort(
        &mut self,
        id: &Arc<str>,
        transaction: &Transaction,
        fresh: Option<ProducerId>,
    ) -> Result<(), Response> {
        if self.level >= EPOCH_PER_TRANSACTION {
            return self
                .prepare(id, transaction, false, self.level, fresh)
                .map(|_| ());
        }
        let prepared = Transaction {
            producer_epoch: ProducerEpoch(transaction.producer_epoch.0.saturating_add(1)),
            next_producer_id: ProducerId::NONE,
            client_version: 0,
            ..transaction.to(TransactionState::PrepareAbort, self.now.wall)
        };
        self.note_last_epoch(id, ProducerEpoch::NONE);
        self.put(id, prepared);
        Ok(())
    }

    /// Aborts a transaction that has been open for too long. (TransactionCoordinator.abortTimedOutTransactions)
    pub(super) fn time_out(&mut self, id: &Arc<str>) {
        let state = self.state;
        let Some((id, transaction)) = state.get(id) else {
            return;
        };
        if transaction.times_out().is_none() {
            return;
        }
        let spare = match transaction.is_exhausted() {
            true => self.scratch.spare_producer_id.take(),
            false => None,
        };
        if self.abort(id, transaction, spare).is_ok() {
            return;
        }
        self.scratch.work.want_producer_id();
        let next = self.now.steady.plus_ms(1);
        let at = on_grid(next, self.config.abort_interval_ms);
        let deadline = Deadline::Timeout { id: id.clone() };
        self.scratch.deadlines.schedule(deadline, at);
    }
}

fn prepared_state(commit: bool) -> TransactionState {
    match commit {
        true => TransactionState::PrepareCommit,
        false => TransactionState::PrepareAbort,
    }
}

/// Of a client whose transactions have an epoch each.
fn judge(transaction: &Transaction, end: &End) -> Verdict {
    let (current, got) = (transaction.producer_epoch, end.producer.epoch);
    let repeated_over_ids = transaction.previous_producer_id == end.producer.id
        && got == LAST_EPOCH
        && current == ProducerEpoch(0);
    let is_repeated = repeated_over_ids || i32::from(current.0) == i32::from(got.0) + 1;
    if transaction.state.is_prepared() {
        return Verdict::Refuse(ErrorCode::ConcurrentTransactions);
    }
    if transaction.producer_id != end.producer.id && !repeated_over_ids {
        return Verdict::Refuse(ErrorCode::InvalidProducerIdMapping);
    }
    let is_complete = matches!(
        transaction.state,
        TransactionState::CompleteCommit | TransactionState::CompleteAbort
    );
    if got != current && !(is_complete && is_repeated) {
        return Verdict::Refuse(ErrorCode::ProducerFenced);
    }
    match (transaction.state, end.commit) {
        (TransactionState::Ongoing, _) | (TransactionState::Empty, false) => Verdict::Prepare,
        (TransactionState::CompleteCommit, true) | (TransactionState::CompleteAbort, false)
            if is_repeated =>
        {
            Verdict::Done
        }
        // Nothing was begun; the producer cannot know, when the answer to its first write was lost.
        (TransactionState::CompleteCommit | TransactionState::CompleteAbort, false)
            if !is_repeated =>
        {
            Verdict::Prepare
        }
        (state, _) if state.is_unused() => Verdict::Refuse(ErrorCode::UnknownServerError),
        _ => Verdict::Refuse(ErrorCode::InvalidTxnState),
    }
}

/// Of a client that keeps its epoch.
fn judge_by_state(transaction: &Transaction, end: &End) -> Verdict {
    if transaction.producer_id != end.producer.id {
        return Verdict::Refuse(ErrorCode::InvalidProducerIdMapping);
    }
    if transaction.producer_epoch != end.producer.epoch {
        return Verdict::Refuse(ErrorCode::ProducerFenced);
    }
    if transaction.state.is_prepared() {
        return Verdict::Refuse(ErrorCode::ConcurrentTransactions);
    }
    match (transaction.state, end.commit) {
        (TransactionState::Ongoing, _) => Verdict::Prepare,
        (TransactionState::CompleteCommit, true) | (TransactionState::CompleteAbort, false) => {
            Verdict::Done
        }
        (state, _) if state.is_unused() => Verdict::Refuse(ErrorCode::UnknownServerError),
        _ => Verdict::Refuse(ErrorCode::InvalidTxnState),
    }
}
