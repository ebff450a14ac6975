//! The transactions that a walk over a log meets: which batches were aborted, and which markers have nothing left that
//! they end. (org.apache.kafka.storage.internals.log.CleanedTransactionMetadata)

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::ids::{Offset, ProducerId};
use crate::log::AbortedTransaction;
use crate::record::control::EndMarker;
use crate::record::{BatchHeader, RecordReader};

/// A transaction that was aborted, from its first offset to its marker.
#[derive(Debug)]
struct Aborted {
    transaction: AbortedTransaction,
    /// Whether a batch of it has been met.
    has_batches: bool,
}

/// What a control batch means to the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// Batches of its transaction are still in the log, or it ends none.
    Needed,
    /// The same, and the transaction was aborted: the new segment's index has to name it.
    NeededAborted(AbortedTransaction),
    /// Nothing of its transaction is left.
    Ended,
}

/// See the module. Batches are shown to it in the order of their offsets.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    committed: HashSet<ProducerId>,
    aborted: HashMap<ProducerId, Aborted>,
    /// Aborted transactions further on, by their first offset. One that spans segments may be announced for each.
    ahead: BTreeMap<(Offset, ProducerId), AbortedTransaction>,
}

impl Transactions {
    /// Announces aborted transactions before their batches come.
    pub(super) fn announce(&mut self, aborted: Vec<AbortedTransaction>) {
        for transaction in aborted {
            let key = (transaction.first_offset, transaction.producer_id);
            self.ahead.insert(key, transaction);
        }
    }

    /// Whether a batch of records belongs to an aborted transaction.
    pub(super) fn on_batch(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some(aborted) => {
                aborted.has_batches = true;
                true
            }
            None => {
                self.committed.insert(header.producer_id);
                false
            }
        }
    }

    /// Takes in a control batch with these records.
    pub(super) fn on_control(&mut self, header: &BatchHeader, payload: &[u8]) -> Marker {
        self.begin_up_to(header.last_offset());
        if header.record_count == 0 {
            // Emptied by an earlier run.
            return Marker::Ended;
        }
        let records = RecordReader::open(header, payload);
        let marker =
            records.and_then(|mut records| Ok(records.next()?.and_then(|r| EndMarker::parse(&r))));
        match marker {
            Ok(Some(EndMarker { commit: true, .. })) => {
                if self.committed.remove(&header.producer_id) {
                    Marker::Needed
                } else {
                    Marker::Ended
                }
            }
            Ok(Some(EndMarker { commit: false, .. })) => {
                match self.aborted.remove(&header.producer_id) {
                    Some(aborted) if aborted.has_batches => {
                        Marker::NeededAborted(aborted.transaction)
                    }
                    _ => Marker::Ended,
                }
            }
            Ok(None) | Err(_) => Marker::Needed,
        }
    }

    fn begin_up_to(&mut self, offset: Offset) {
        while let Some(first) = self.ahead.first_entry() {
            if first.key().0 > offset {
                break;
            }
            let transaction = first.remove();
            self.aborted
                .entry(transaction.producer_id)
                .or_insert(Aborted {
                    transaction,
                    has_batches: false,
                });
        }
    }
}
