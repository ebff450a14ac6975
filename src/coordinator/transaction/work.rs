//! What is to be done outside of the machine: end markers to write, a producer id to get. Whoever does it asks with
//! TakeWork and waits; the answer goes out when the decisions that it rests on are committed.
//! (TransactionMarkerChannelManager.addTxnMarkersToSend, TransactionMetadata.prepareComplete)

use std::collections::BTreeMap;
use std::sync::Arc;

use super::state::{Partitions, Transaction, TransactionState};
use super::{Response, Step};
use crate::coordinator::{ProducerIdAndEpoch, Ticket};
use crate::error_code::ErrorCode;

/// Something to do; may be nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    pub prepared: Vec<Prepared>,
    pub producer_id_wanted: bool,
}

/// A transaction whose outcome is decided, and that is complete once all its partitions have the marker.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    pub id: Arc<str>,
    pub producer: ProducerIdAndEpoch,
    pub commit: bool,
    pub transaction_version: i16,
    pub partitions: Arc<Partitions>,
}

/// Work that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    prepared: BTreeMap<Arc<str>, Prepared>,
    producer_id_wanted: bool,
    worker: Option<Ticket>,
}

impl Pending {
    pub(super) fn add(&mut self, id: &Arc<str>, transaction: &Transaction) {
        let prepared = Prepared {
            id: id.clone(),
            producer: ProducerIdAndEpoch {
                id: transaction.producer_id,
                epoch: transaction.producer_epoch,
            },
            commit: transaction.state == TransactionState::PrepareCommit,
            transaction_version: transaction.client_version,
            partitions: transaction.partitions.clone(),
        };
        self.prepared.insert(id.clone(), prepared);
    }

    pub(super) fn forget(&mut self, id: &str) {
        self.prepared.remove(id);
    }

    pub(super) fn want_producer_id(&mut self) {
        self.producer_id_wanted = true;
    }
}

impl Step<'_> {
    pub(super) fn take_work(&mut self, ticket: Ticket, again: bool) {
        if again {
            self.scratch.work.prepared.clear();
            let prepared = self.state.iter();
            for (id, transaction) in prepared.filter(|(_, it)| it.state.is_prepared()) {
                self.scratch.work.add(id, transaction);
            }
        }
        if let Some(before) = self.scratch.work.worker.replace(ticket) {
            self.out
                .replies
                .push((before, Response::Work(Ok(Work::default()))));
        }
        self.tell_work();
    }

    /// Gives what there is to do to the one who waits for it.
    pub(super) fn tell_work(&mut self) {
        let pending = &mut self.scratch.work;
        if pending.prepared.is_empty() && !pending.producer_id_wanted {
            return;
        }
        let Some(ticket) = pending.worker.take() else {
            return;
        };
        let work = Work {
            prepared: std::mem::take(&mut pending.prepared)
                .into_values()
                .collect(),
            producer_id_wanted: std::mem::take(&mut pending.producer_id_wanted),
        };
        self.out.replies.push((ticket, Response::Work(Ok(work))));
    }

    /// All partitions have their marker.
    pub(super) fn complete(&mut self, id: &str, producer: ProducerIdAndEpoch) -> ErrorCode {
        let state = self.state;
        let Some((id, transaction)) = state.get(id) else {
            return ErrorCode::InvalidProducerIdMapping;
        };
        let is_same =
            transaction.producer_id == producer.id && transaction.producer_epoch == producer.epoch;
        if !is_same || !transaction.state.is_prepared() {
            return ErrorCode::InvalidTxnState;
        }
        let completed = transaction.completed(self.now.wall);
        self.put(id, completed);
        self.release(id);
        ErrorCode::None
    }
}
