//! The records of `__transaction_state`: Kafka's keys and values. Version 1 of the value, from `transaction.version` 1
//! on, has the producer ids before and after, and the client's transaction version.
//! (org.apache.kafka.coordinator.transaction.TransactionLog)
//!
//! Whatever is read is copied out of the batch that it came in.

use std::sync::Arc;

use bytes::Bytes;

use super::state::{Partitions, Transaction, TransactionState};
use crate::ids::{ProducerEpoch, ProducerId, Timestamp};
use crate::messages::records::transaction::{
    PartitionsSchema, TransactionLogKey, TransactionLogValue, TransactionRecord,
};
use crate::messages::{DecodeError, EncodeError, text};

/// What became of a transactional id; `None` when it is forgotten.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub id: Arc<str>,
    pub transaction: Option<Box<Transaction>>,
    /// In which the value is written.
    pub(super) value_version: i16,
}

impl Record {
    /// A record of a cluster at this level of `transaction.version`. What a client of a higher level does is written so
    /// that it can be told: its producer id may change.
    pub(super) fn new(id: Arc<str>, transaction: Option<Transaction>, level: i16) -> Record {
        let needs_versions = transaction
            .as_ref()
            .is_some_and(Transaction::has_epoch_per_transaction);
        let value_version = i16::from(level >= 1 || needs_versions);
        let writable = |transaction| match value_version {
            0 => without_versions(transaction),
            _ => transaction,
        };
        Record {
            id,
            transaction: transaction.map(writable).map(Box::new),
            value_version,
        }
    }

    pub(super) fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        let key = TransactionLogKey {
            transactional_id: text(&self.id),
            ..TransactionLogKey::default()
        };
        let value = self.transaction.as_deref();
        let value = value.map(|transaction| value_of(transaction, self.value_version));
        TransactionRecord::TransactionLog(key, value).encode(self.value_version)
    }

    pub(super) fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Record>, DecodeError> {
        let record = TransactionRecord::decode(key, value)?;
        let TransactionRecord::TransactionLog(key, value) = record else {
            return Ok(None);
        };
        let transaction = match &value {
            Some(value) => match read(value) {
                Some(transaction) => Some(Box::new(transaction)),
                // A state that nobody knows.
                None => return Ok(None),
            },
            None => None,
        };
        Ok(Some(Record {
            id: Arc::from(&*key.transactional_id),
            transaction,
            value_version: 1,
        }))
    }
}

/// What version 0 has fields for.
fn without_versions(transaction: Transaction) -> Transaction {
    Transaction {
        previous_producer_id: ProducerId::NONE,
        next_producer_id: ProducerId::NONE,
        client_version: 0,
        ..transaction
    }
}

fn value_of(transaction: &Transaction, version: i16) -> TransactionLogValue {
    let topic =
        |(topic, partitions): (&Arc<str>, &std::collections::BTreeSet<i32>)| PartitionsSchema {
            topic: text(topic),
            partition_ids: partitions.iter().copied().collect(),
            ..PartitionsSchema::default()
        };
    let partitions = &transaction.partitions;
    let value = TransactionLogValue {
        producer_id: transaction.producer_id.0,
        producer_epoch: transaction.producer_epoch.0,
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_status: transaction.state.number(),
        transaction_partitions: (transaction.state != TransactionState::Empty)
            .then(|| partitions.topics().map(topic).collect()),
        transaction_last_update_timestamp_ms: transaction.last_update.0,
        transaction_start_timestamp_ms: transaction.start.0,
        ..TransactionLogValue::default()
    };
    if version == 0 {
        return value;
    }
    TransactionLogValue {
        previous_producer_id: transaction.previous_producer_id.0,
        next_producer_id: transaction.next_producer_id.0,
        client_transaction_version: transaction.client_version,
        ..value
    }
}

fn read(value: &TransactionLogValue) -> Option<Transaction> {
    let mut partitions = Partitions::default();
    for topic in value.transaction_partitions.iter().flatten() {
        let name: Arc<str> = Arc::from(&*topic.topic);
        for partition in &topic.partition_ids {
            partitions.add(&name, *partition);
        }
    }
    Some(Transaction {
        producer_id: ProducerId(value.producer_id),
        previous_producer_id: ProducerId(value.previous_producer_id),
        next_producer_id: ProducerId(value.next_producer_id),
        producer_epoch: ProducerEpoch(value.producer_epoch),
        timeout_ms: value.transaction_timeout_ms,
        state: TransactionState::of(value.transaction_status)?,
        partitions: Arc::new(partitions),
        last_update: Timestamp(value.transaction_last_update_timestamp_ms),
        start: Timestamp(value.transaction_start_timestamp_ms),
        client_version: value.client_transaction_version,
    })
}
