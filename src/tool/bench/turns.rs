//! Where a producer's next records go: to the next partition, or to that of a key.

use super::batches::random;
use super::workload::{KEY_LEN, KeyDistributor};
use crate::ids::PartitionIndex;
use crate::tool::client::partition_of;

/// Different keys. (io.openmessaging.benchmark.utils.distributor.KeyDistributor.UNIQUE_COUNT)
const KEYS: u64 = 10_000;

/// The partitions to which batches without keys go, in turn: within a transaction a part of them.
#[derive(Debug)]
pub(super) struct Turns {
    all: usize,
    span: usize,
    first: usize,
    taken: usize,
}

impl Turns {
    /// Producers begin at different ones.
    pub(super) fn new(number: usize, span: usize, all: usize) -> Turns {
        Turns {
            all,
            span,
            first: if span < all { number * span } else { number } % all,
            taken: 0,
        }
    }

    pub(super) fn take(&mut self) -> usize {
        let partition = (self.first + self.taken) % self.all;
        self.taken = (self.taken + 1) % self.span;
        partition
    }

    /// The next transaction goes on with others, where this one had a part of them.
    pub(super) fn begin_next(&mut self) {
        if self.span < self.all {
            self.first = (self.first + self.span) % self.all;
            self.taken = 0;
        }
    }
}

/// The keys whose partitions are a lane's, in the order in which they are used.
pub(super) struct Keys {
    keys: Vec<(usize, [u8; KEY_LEN])>,
    at: usize,
    /// The state of the random numbers, when keys are drawn at random.
    random: Option<u64>,
}

impl Keys {
    pub(super) fn new(
        distributor: KeyDistributor,
        partitions: &[PartitionIndex],
        all: usize,
    ) -> Keys {
        let mut keys = Vec::new();
        let mut state = 0x0123_4567_89ab_cdef;
        if distributor != KeyDistributor::NoKey {
            for _ in 0..KEYS {
                let key = random(&mut state).to_be_bytes();
                let of_key = partition_of(&key, all);
                let is_it = |index: &PartitionIndex| usize::try_from(index.0) == Ok(of_key);
                if let Some(place) = partitions.iter().position(is_it) {
                    keys.push((place, key));
                }
            }
        }
        Keys {
            keys,
            at: 0,
            random: (distributor == KeyDistributor::Random).then_some(state),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn peek(&self) -> (usize, [u8; KEY_LEN]) {
        self.keys[self.at]
    }

    pub(super) fn advance(&mut self) {
        self.at = match &mut self.random {
            Some(state) => random(state) as usize % self.keys.len(),
            None => (self.at + 1) % self.keys.len(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_lane_belong_to_its_partitions() {
        let partitions = [PartitionIndex(1), PartitionIndex(4)];
        for distributor in [KeyDistributor::RoundRobin, KeyDistributor::Random] {
            let mut keys = Keys::new(distributor, &partitions, 5);
            for _ in 0..1000 {
                let (place, key) = keys.peek();
                assert_eq!(partition_of(&key, 5), [1, 4][place]);
                keys.advance();
            }
        }
        assert!(Keys::new(KeyDistributor::NoKey, &partitions, 5).is_empty());
    }

    #[test]
    fn transactions_go_round_the_partitions() {
        let mut turns = Turns::new(1, 2, 5);
        let transaction = |turns: &mut Turns| {
            let taken = [turns.take(), turns.take(), turns.take()];
            turns.begin_next();
            taken
        };
        assert_eq!(transaction(&mut turns), [2, 3, 2]);
        assert_eq!(transaction(&mut turns), [4, 0, 4]);
        let mut whole = Turns::new(7, 5, 5);
        let taken: Vec<usize> = (0..3).flat_map(|_| transaction(&mut whole)).collect();
        assert_eq!(taken, [2, 3, 4, 0, 1, 2, 3, 4, 0]);
    }
}
