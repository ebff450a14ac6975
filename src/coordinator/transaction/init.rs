//! InitProducerId: a transactional id gets a producer id and an epoch of its own, which fences whoever had it before.
//! (TransactionCoordinator.handleInitProducerId, TransactionMetadata.prepareIncrementProducerEpoch; KIP-360, KIP-939)

use std::sync::Arc;

use super::state::{Transaction, TransactionState, is_exhausted};
use super::{Response, Step};
use crate::coordinator::ProducerIdAndEpoch;
use crate::error_code::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerId, Timestamp};

pub(super) struct Init {
    pub(super) id: Arc<str>,
    pub(super) timeout_ms: i32,
    pub(super) expected: Option<ProducerIdAndEpoch>,
    pub(super) two_phase: bool,
    pub(super) keep_prepared: bool,
    pub(super) fresh: Option<ProducerId>,
}

impl Step<'_> {
    pub(super) fn init_producer_id(&mut self, init: &Init) -> Response {
        let state = self.state;
        if init.id.is_empty() {
            return Response::InitProducerId(Err(ErrorCode::InvalidRequest));
        }
        if init.two_phase && !self.config.two_phase_commit {
            return Response::InitProducerId(Err(ErrorCode::TransactionalIdAuthorizationFailed));
        }
        // Kafka 4.3 knows the request, and does not do it yet.
        if init.keep_prepared {
            return Response::InitProducerId(Err(ErrorCode::UnsupportedVersion));
        }
        if !init.two_phase && !(1..=self.config.max_timeout_ms).contains(&init.timeout_ms) {
            return Response::InitProducerId(Err(ErrorCode::InvalidTransactionTimeout));
        }
        let Some((id, transaction)) = state.get(&init.id) else {
            let Some(fresh) = init.fresh else {
                return Response::ProducerIdWanted;
            };
            let unknown = Transaction::unknown(fresh, self.now.wall);
            return Response::InitProducerId(self.next_epoch(&init.id, &unknown, init));
        };
        // Markers are on their way: the client comes again.
        if transaction.state.is_prepared() {
            return Response::InitProducerId(Err(ErrorCode::ConcurrentTransactions));
        }
        if init
            .expected
            .is_some_and(|expected| !may_continue(transaction, expected))
        {
            return Response::InitProducerId(Err(ErrorCode::ProducerFenced));
        }
        match transaction.state {
            TransactionState::Ongoing => self.fence(id, transaction, init.fresh),
            state if state.is_unused() => {
                Response::InitProducerId(Err(ErrorCode::UnknownServerError))
            }
            _ => {
                let is_current =
                    |expected: ProducerIdAndEpoch| expected.epoch == transaction.producer_epoch;
                if transaction.is_exhausted() && init.expected.is_none_or(is_current) {
                    let Some(fresh) = init.fresh else {
                        return Response::ProducerIdWanted;
                    };
                    return Response::InitProducerId(Ok(self.rotate(id, transaction, init, fresh)));
                }
                Response::InitProducerId(self.next_epoch(id, transaction, init))
            }
        }
    }

    /// The open transaction is aborted under a higher epoch, which nobody is told; the client comes again and gets
    /// the one after.
    fn fence(
        &mut self,
        id: &Arc<str>,
        transaction: &Transaction,
        fresh: Option<ProducerId>,
    ) -> Response {
        match self.abort(id, transaction, fresh) {
            Ok(()) => Response::InitProducerId(Err(ErrorCode::ConcurrentTransactions)),
            Err(wanted) => wanted,
        }
    }

    fn next_epoch(
        &mut self,
        id: &Arc<str>,
        transaction: &Transaction,
        init: &Init,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        let current = transaction.producer_epoch;
        let last = self
            .scratch
            .last_epochs
            .get(id)
            .copied()
            .unwrap_or(ProducerEpoch::NONE);
        let (epoch, last) = match init.expected {
            None => (next(current), ProducerEpoch::NONE),
            Some(expected) if current == ProducerEpoch::NONE || expected.epoch == current => {
                (next(current), current)
            }
            // The answer to the same request was lost.
            Some(expected) if expected.epoch == last => (current, last),
            Some(_) => return Err(ErrorCode::ProducerFenced),
        };
        let producer = ProducerIdAndEpoch {
            id: transaction.producer_id,
            epoch,
        };
        Ok(self.begin(id, transaction, init, producer, last))
    }

    /// A new producer id in place of one whose epochs are used up.
    fn rotate(
        &mut self,
        id: &Arc<str>,
        transaction: &Transaction,
        init: &Init,
        fresh: ProducerId,
    ) -> ProducerIdAndEpoch {
        let last = match init.expected {
            Some(_) => transaction.producer_epoch,
            None => ProducerEpoch::NONE,
        };
        let producer = ProducerIdAndEpoch {
            id: fresh,
            epoch: ProducerEpoch(0),
        };
        self.begin(id, transaction, init, producer, last)
    }

    fn begin(
        &mut self,
        id: &Arc<str>,
        transaction: &Transaction,
        init: &Init,
        producer: ProducerIdAndEpoch,
        last: ProducerEpoch,
    ) -> ProducerIdAndEpoch {
        let empty = Transaction {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            timeout_ms: if init.two_phase {
                i32::MAX
            } else {
                init.timeout_ms
            },
            partitions: Arc::default(),
            start: Timestamp::NONE,
            ..transaction.to(TransactionState::Empty, self.now.wall)
        };
        self.note_last_epoch(id, last);
        self.put(id, empty);
        producer
    }

    pub(super) fn note_last_epoch(&mut self, id: &Arc<str>, last: ProducerEpoch) {
        if last == ProducerEpoch::NONE {
            self.scratch.last_epochs.remove(id);
        } else {
            self.scratch.last_epochs.insert(id.clone(), last);
        }
    }
}

/// Whether a producer that names itself is the one that the id has, or had until its epochs were used up.
fn may_continue(transaction: &Transaction, expected: ProducerIdAndEpoch) -> bool {
    transaction.producer_epoch == ProducerEpoch::NONE
        || expected.id == transaction.producer_id
        || (expected.id == transaction.previous_producer_id && is_exhausted(expected.epoch))
}

/// Whoever has the last epoch gets another producer id instead.
fn next(epoch: ProducerEpoch) -> ProducerEpoch {
    ProducerEpoch(epoch.0.saturating_add(1))
}
