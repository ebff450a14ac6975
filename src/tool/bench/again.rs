//! Batches of a transaction that were refused for the moment, to be sent again with the sequences that they have, in their
//! order and after a while, as Kafka's producer does (Sender.canRetry, TransactionManager.canRetry): a broker answers
//! CONCURRENT_TRANSACTIONS while the end of the last transaction is still being written.

use super::batches::Entry;
use super::meter::Sent;
use crate::error_code::ErrorCode;

/// ProducerConfig.RETRY_BACKOFF_MS_CONFIG and RETRY_BACKOFF_MAX_MS_CONFIG, in nanoseconds.
const PAUSE: u64 = 100_000_000;
const PAUSE_MAX: u64 = 1_000_000_000;
/// ProducerConfig.DELIVERY_TIMEOUT_MS_CONFIG.
const DELIVERY_TIMEOUT: u64 = 120_000_000_000;

/// A batch that was sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Flown {
    /// Place in the lane's partitions.
    pub partition: usize,
    pub base_sequence: i32,
    pub sent: Sent,
    /// Of its records, where they are written into the batch.
    pub entries: Vec<Entry>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Again {
    /// In the order of their sequences.
    waiting: Vec<Flown>,
    due: u64,
    pause: u64,
}

impl Again {
    pub(super) fn new() -> Again {
        Again {
            waiting: Vec::new(),
            due: 0,
            pause: PAUSE,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When what waits is to be sent.
    pub(super) fn due(&self) -> u64 {
        self.due
    }

    /// Whether a batch that was refused with this code is to be sent again: when it is for the moment, or for want of an
    /// earlier one that waits here.
    pub(super) fn takes(&self, code: ErrorCode, batch: &Flown, now: u64) -> bool {
        let in_time = now.saturating_sub(batch.sent.at) < DELIVERY_TIMEOUT;
        in_time
            && match code {
                ErrorCode::ConcurrentTransactions => true,
                ErrorCode::OutOfOrderSequenceNumber => {
                    let is_before = |earlier: &Flown| {
                        earlier.partition == batch.partition
                            && earlier.base_sequence < batch.base_sequence
                    };
                    self.waiting.iter().any(is_before)
                }
                _ => false,
            }
    }

    /// Takes a batch up. Sequences begin anew with each transaction and do not come round within one.
    pub(super) fn add(&mut self, batch: Flown, now: u64) {
        self.waiting.push(batch);
        self.waiting.sort_by_key(|batch| batch.base_sequence);
        self.due = now.saturating_add(self.pause);
    }

    /// The batches of the next request: the first of so many partitions. Who sends them again pauses longer the next time.
    pub(super) fn next_request(&mut self, partitions: usize) -> Vec<Flown> {
        let mut request: Vec<Flown> = Vec::new();
        let mut rest = Vec::new();
        for batch in self.waiting.drain(..) {
            let is_there = request
                .iter()
                .any(|other| other.partition == batch.partition);
            match is_there || request.len() == partitions {
                true => rest.push(batch),
                false => request.push(batch),
            }
        }
        self.waiting = rest;
        request
    }

    pub(super) fn sent(&mut self) {
        self.pause = (2 * self.pause).min(PAUSE_MAX);
    }

    /// All went well.
    pub(super) fn settled(&mut self) {
        self.pause = PAUSE;
    }

    /// Gives up what waits.
    pub(super) fn give_up(&mut self) -> Vec<Flown> {
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(partition: usize, base_sequence: i32) -> Flown {
        Flown {
            partition,
            base_sequence,
            ..Flown::default()
        }
    }

    #[test]
    fn what_is_refused_for_the_moment_is_taken() {
        let mut again = Again::new();
        let passing = ErrorCode::ConcurrentTransactions;
        let gap = ErrorCode::OutOfOrderSequenceNumber;
        assert!(again.takes(passing, &batch(0, 0), 5));
        assert!(!again.takes(passing, &batch(0, 0), DELIVERY_TIMEOUT));
        assert!(!again.takes(ErrorCode::InvalidTxnState, &batch(0, 0), 5));
        assert!(!again.takes(gap, &batch(0, 10), 5), "no batch is missing");
        again.add(batch(0, 0), 5);
        assert!(again.takes(gap, &batch(0, 10), 5));
        assert!(!again.takes(gap, &batch(1, 10), 5), "of another partition");
        assert_eq!(again.due(), 5 + PAUSE);
    }

    #[test]
    fn batches_of_a_partition_stay_in_order() {
        let mut again = Again::new();
        for (partition, base_sequence) in [(0, 10), (1, 0), (2, 0), (0, 0)] {
            again.add(batch(partition, base_sequence), 0);
        }
        assert_eq!(again.next_request(2), [batch(1, 0), batch(2, 0)]);
        assert_eq!(again.next_request(2), [batch(0, 0)]);
        assert_eq!(again.next_request(2), [batch(0, 10)]);
        assert!(again.is_empty());
    }

    #[test]
    fn pauses_grow_until_all_went_well() {
        let mut again = Again::new();
        let mut pause = || {
            again.add(batch(0, 0), 0);
            again.next_request(1);
            again.sent();
            again.due()
        };
        let pauses: Vec<u64> = (0..6).map(|_| pause() / 1_000_000).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        again.settled();
        again.add(batch(0, 0), 0);
        assert_eq!(again.due(), PAUSE);
    }
}
