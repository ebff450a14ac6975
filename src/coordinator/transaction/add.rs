//! AddPartitionsToTxn and AddOffsetsToTxn: partitions come into a transaction, before or as records are written to
//! them; and the question of a partition's leader whether they did.
//! (TransactionCoordinator.handleAddPartitionsToTransaction, handleVerifyPartitionsInTransaction; KIP-890)

use std::sync::Arc;

use super::state::{Transaction, TransactionState};
use super::{Deadline, Response, Step};
use crate::coordinator::{ProducerIdAndEpoch, Ticket};
use crate::error_code::ErrorCode;
use crate::ids::{SteadyTime, TopicPartition};

impl Step<'_> {
    pub(super) fn add_partitions(
        &mut self,
        id: &str,
        producer: ProducerIdAndEpoch,
        partitions: &[TopicPartition],
        client_version: i16,
    ) -> ErrorCode {
        let state = self.state;
        if id.is_empty() {
            return ErrorCode::InvalidRequest;
        }
        let Some((id, transaction)) = state.get(id) else {
            return ErrorCode::InvalidProducerIdMapping;
        };
        // Before the id is compared: it may be just about to change. (KAFKA-18575)
        if transaction.state.is_prepared() {
            return ErrorCode::ConcurrentTransactions;
        }
        if let Err(code) = check(transaction, producer) {
            return code;
        }
        if transaction.state.is_unused() {
            return ErrorCode::UnknownServerError;
        }
        let is_open = transaction.state == TransactionState::Ongoing;
        if is_open
            && partitions
                .iter()
                .all(|it| transaction.partitions.contains(it))
        {
            return ErrorCode::None;
        }
        let mut added = transaction.to(TransactionState::Ongoing, self.now.wall);
        let all = Arc::make_mut(&mut added.partitions);
        partitions
            .iter()
            .for_each(|partition| all.insert(partition));
        added.client_version = client_version;
        if !is_open {
            added.start = self.now.wall;
            self.schedule_timeout(id, &added);
        }
        self.put(id, added);
        ErrorCode::None
    }

    pub(super) fn verify(
        &self,
        id: &str,
        producer: ProducerIdAndEpoch,
        partitions: &[TopicPartition],
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let (_, transaction) = self
            .state
            .get(id)
            .ok_or(ErrorCode::InvalidProducerIdMapping)?;
        check(transaction, producer)?;
        if transaction.state.is_prepared() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        let code = |partition| match transaction.partitions.contains(partition) {
            true => ErrorCode::None,
            false => ErrorCode::TransactionAbortable,
        };
        Ok(partitions.iter().map(code).collect())
    }

    /// Whether an answer is put off until the transaction before has ended.
    pub(super) fn may_wait(&self, id: &str, code: ErrorCode, until: SteadyTime) -> bool {
        code == ErrorCode::ConcurrentTransactions
            && until > self.now.steady
            && self.state.get(id).is_some()
    }

    pub(super) fn wait(&mut self, ticket: Ticket, id: &Arc<str>, until: SteadyTime) {
        let waiting = self.scratch.waiting.entry(id.clone()).or_default();
        waiting.insert(ticket);
        let id = id.clone();
        let deadline = Deadline::Waiting { id, ticket };
        self.scratch.deadlines.schedule(deadline, until);
    }

    /// The time of a waiting request is up.
    pub(super) fn stop_waiting(&mut self, id: &Arc<str>, ticket: Ticket) {
        let Some(waiting) = self.scratch.waiting.get_mut(id) else {
            return;
        };
        if waiting.remove(&ticket) {
            let response = Response::AddPartitions(ErrorCode::ConcurrentTransactions);
            self.out.replies.push((ticket, response));
        }
        if waiting.is_empty() {
            self.scratch.waiting.remove(id);
        }
    }

    /// The transaction has ended: who waited for it asks again.
    pub(super) fn release(&mut self, id: &Arc<str>) {
        for ticket in self.scratch.waiting.remove(id).unwrap_or_default() {
            let deadline = Deadline::Waiting {
                id: id.clone(),
                ticket,
            };
            self.scratch.deadlines.cancel(&deadline);
            let response = Response::AddPartitions(ErrorCode::ConcurrentTransactions);
            self.out.replies.push((ticket, response));
        }
    }
}

fn check(transaction: &Transaction, producer: ProducerIdAndEpoch) -> Result<(), ErrorCode> {
    if transaction.producer_id != producer.id {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    if transaction.producer_epoch != producer.epoch {
        return Err(ErrorCode::ProducerFenced);
    }
    Ok(())
}
