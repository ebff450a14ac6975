//! What the records of one partition of `__transaction_state` add up to. [`State::apply`] alone changes it.
//! (org.apache.kafka.coordinator.transaction.{TransactionMetadata, TransactionState})

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::records::Record;
use crate::ids::{ProducerEpoch, ProducerId, Timestamp, TopicPartition};

/// From this epoch on a producer id is used up: there is always one more to fence its last holder with.
const EXHAUSTED_FROM: ProducerEpoch = ProducerEpoch(i16::MAX - 1);

/// The level of `transaction.version` from which every transaction has an epoch of its own (KIP-890).
pub const EPOCH_PER_TRANSACTION: i16 = 2;

/// Where a transaction stands. Dead and PrepareEpochFence are never written; only logs of others could have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionState {
    Empty = 0,
    Ongoing = 1,
    PrepareCommit = 2,
    PrepareAbort = 3,
    CompleteCommit = 4,
    CompleteAbort = 5,
    Dead = 6,
    PrepareEpochFence = 7,
}

impl TransactionState {
    pub const ALL: [TransactionState; 8] = [
        TransactionState::Empty,
        TransactionState::Ongoing,
        TransactionState::PrepareCommit,
        TransactionState::PrepareAbort,
        TransactionState::CompleteCommit,
        TransactionState::CompleteAbort,
        TransactionState::Dead,
        TransactionState::PrepareEpochFence,
    ];

    pub(super) fn of(number: i8) -> Option<TransactionState> {
        let index = usize::try_from(number).ok()?;
        TransactionState::ALL.get(index).copied()
    }

    pub(super) fn number(self) -> i8 {
        self as i8
    }

    /// As DescribeTransactions and ListTransactions call it.
    pub fn name(self) -> &'static str {
        match self {
            TransactionState::Empty => "Empty",
            TransactionState::Ongoing => "Ongoing",
            TransactionState::PrepareCommit => "PrepareCommit",
            TransactionState::PrepareAbort => "PrepareAbort",
            TransactionState::CompleteCommit => "CompleteCommit",
            TransactionState::CompleteAbort => "CompleteAbort",
            TransactionState::Dead => "Dead",
            TransactionState::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    pub fn by_name(name: &str) -> Option<TransactionState> {
        TransactionState::ALL
            .into_iter()
            .find(|state| state.name() == name)
    }

    /// Whether the outcome is decided and markers are on their way.
    pub(super) fn is_prepared(self) -> bool {
        matches!(
            self,
            TransactionState::PrepareCommit | TransactionState::PrepareAbort
        )
    }

    /// Whether no coordinator writes it, so that nothing leads on from it.
    pub(super) fn is_unused(self) -> bool {
        matches!(
            self,
            TransactionState::Dead | TransactionState::PrepareEpochFence
        )
    }

    /// Whether an id may be forgotten in this state.
    pub(super) fn may_expire(self) -> bool {
        matches!(
            self,
            TransactionState::Empty
                | TransactionState::CompleteCommit
                | TransactionState::CompleteAbort
        )
    }
}

/// The partitions of a transaction, by topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partitions(BTreeMap<Arc<str>, BTreeSet<i32>>);

impl Partitions {
    pub fn insert(&mut self, partition: &TopicPartition) {
        self.add(&partition.topic, partition.partition.0);
    }

    pub(super) fn add(&mut self, topic: &Arc<str>, partition: i32) {
        match self.0.get_mut(topic) {
            Some(partitions) => partitions.insert(partition),
            None => self.0.entry(topic.clone()).or_default().insert(partition),
        };
    }

    pub fn contains(&self, partition: &TopicPartition) -> bool {
        self.0
            .get(&partition.topic)
            .is_some_and(|partitions| partitions.contains(&partition.partition.0))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn topics(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &BTreeSet<i32>)> {
        self.0.iter()
    }

    pub fn iter(&self) -> impl Iterator<Item = TopicPartition> {
        self.0.iter().flat_map(|(topic, partitions)| {
            partitions
                .iter()
                .map(|partition| TopicPartition::new(topic.clone(), *partition))
        })
    }
}

/// What is known of a transactional id.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    pub producer_id: ProducerId,
    /// The producer id before the last change.
    pub previous_producer_id: ProducerId,
    /// What takes the place of an id whose epochs are used up, once the markers are written.
    pub next_producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub timeout_ms: i32,
    pub state: TransactionState,
    pub partitions: Arc<Partitions>,
    pub last_update: Timestamp,
    /// None when nothing was begun under this producer epoch.
    pub start: Timestamp,
    /// The `transaction.version` of the client at the last change.
    pub client_version: i16,
}

impl Transaction {
    /// An id that is asked for the first time. The first epoch will be 0.
    pub(super) fn unknown(producer_id: ProducerId, now: Timestamp) -> Transaction {
        Transaction {
            producer_id,
            previous_producer_id: ProducerId::NONE,
            next_producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            timeout_ms: 0,
            state: TransactionState::Empty,
            partitions: Arc::default(),
            last_update: now,
            start: Timestamp::NONE,
            client_version: 0,
        }
    }

    /// What it becomes by default; the caller changes the rest.
    pub(super) fn to(&self, state: TransactionState, now: Timestamp) -> Transaction {
        Transaction {
            previous_producer_id: self.producer_id,
            state,
            last_update: now,
            ..self.clone()
        }
    }

    /// The same with all markers written. (TransactionMetadata.prepareComplete)
    pub(super) fn completed(&self, now: Timestamp) -> Transaction {
        let state = match self.state {
            TransactionState::PrepareCommit => TransactionState::CompleteCommit,
            _ => TransactionState::CompleteAbort,
        };
        let mut completed = self.to(state, now);
        if self.has_epoch_per_transaction() && self.next_producer_id != ProducerId::NONE {
            completed.producer_id = self.next_producer_id;
            completed.producer_epoch = ProducerEpoch(0);
        }
        completed.next_producer_id = ProducerId::NONE;
        completed.partitions = Arc::default();
        completed
    }

    pub(super) fn has_epoch_per_transaction(&self) -> bool {
        self.client_version >= EPOCH_PER_TRANSACTION
    }

    pub(super) fn is_exhausted(&self) -> bool {
        is_exhausted(self.producer_epoch)
    }

    /// Whether a coordinator of another system ends it, which may take any time (KIP-939).
    pub(super) fn is_two_phase(&self) -> bool {
        self.timeout_ms == i32::MAX
    }

    /// When it will have been open for too long; `None` when it is not open, or may be for ever.
    pub(super) fn times_out(&self) -> Option<Timestamp> {
        let open = self.state == TransactionState::Ongoing && !self.is_two_phase();
        open.then(|| self.start.plus_ms(i64::from(self.timeout_ms) + 1))
    }
}

pub(super) fn is_exhausted(epoch: ProducerEpoch) -> bool {
    epoch >= EXHAUSTED_FROM
}

/// The transactional ids of one partition.
#[derive(Debug, Default, PartialEq)]
pub struct State {
    transactions: HashMap<Arc<str>, Transaction>,
}

impl State {
    pub(super) fn get(&self, id: &str) -> Option<(&Arc<str>, &Transaction)> {
        self.transactions.get_key_value(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Transaction)> {
        self.transactions.iter()
    }

    pub(super) fn apply(&mut self, record: Record) {
        match record.transaction {
            Some(transaction) => drop(self.transactions.insert(record.id, *transaction)),
            None => drop(self.transactions.remove(&record.id)),
        }
    }
}
