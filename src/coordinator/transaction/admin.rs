//! ListTransactions, DescribeTransactions, and ids that have been idle for so long that they are forgotten.
//! (TransactionStateManager.listTransactionStates, removeExpiredTransactionalIds; KIP-664)

use std::sync::Arc;

use regex::Regex;

use super::Step;
use super::records::Record;
use super::state::{Transaction, TransactionState};
use crate::error_code::ErrorCode;
use crate::messages::{
    TopicName, TransactionalId, describe_transactions_response, list_transactions_response, text,
};

/// Which transactions are listed.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// `None`: in any state.
    pub states: Option<Vec<TransactionState>>,
    /// Empty: of any producer id.
    pub producer_ids: Vec<i64>,
    /// Open for longer than this; negative: all.
    pub duration_ms: i64,
    /// What the whole id matches.
    pub pattern: Option<Regex>,
}

impl Step<'_> {
    pub(super) fn list(
        &self,
        filter: &Filter,
    ) -> Vec<list_transactions_response::TransactionState> {
        let listed = |(id, transaction): (&Arc<str>, &Transaction)| {
            list_transactions_response::TransactionState::default()
                .with_transactional_id(TransactionalId(text(id)))
                .with_producer_id(transaction.producer_id.0.into())
                .with_transaction_state(text(transaction.state.name()))
        };
        let wanted = self
            .state
            .iter()
            .filter(|(id, transaction)| self.is_wanted(filter, id, transaction));
        wanted.map(listed).collect()
    }

    fn is_wanted(&self, filter: &Filter, id: &str, transaction: &Transaction) -> bool {
        let producer_ids = &filter.producer_ids;
        transaction.state != TransactionState::Dead
            && (producer_ids.is_empty() || producer_ids.contains(&transaction.producer_id.0))
            && filter
                .states
                .as_ref()
                .is_none_or(|states| states.contains(&transaction.state))
            && (filter.duration_ms < 0
                || self.now.wall.0.saturating_sub(transaction.start.0) > filter.duration_ms)
            && filter
                .pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(id))
    }

    pub(super) fn describe(&self, id: &str) -> describe_transactions_response::TransactionState {
        let response = describe_transactions_response::TransactionState::default()
            .with_transactional_id(TransactionalId(text(id)));
        if id.is_empty() {
            return response.with_error_code(ErrorCode::InvalidRequest.code());
        }
        let Some((_, transaction)) = self
            .state
            .get(id)
            .filter(|(_, transaction)| transaction.state != TransactionState::Dead)
        else {
            return response.with_error_code(ErrorCode::TransactionalIdNotFound.code());
        };
        let topics = transaction.partitions.topics().map(|(topic, partitions)| {
            describe_transactions_response::TopicData::default()
                .with_topic(TopicName(text(topic)))
                .with_partitions(partitions.iter().copied().collect())
        });
        response
            .with_producer_id(transaction.producer_id.0.into())
            .with_producer_epoch(transaction.producer_epoch.0)
            .with_transaction_state(text(transaction.state.name()))
            .with_transaction_timeout_ms(transaction.timeout_ms)
            .with_transaction_start_time_ms(transaction.start.0)
            .with_topics(topics.collect())
    }

    /// Forgets an id that nothing has happened to for `transactional.id.expiration.ms`.
    pub(super) fn expire(&mut self, id: &Arc<str>) {
        let state = self.state;
        let Some((id, transaction)) = state.get(id) else {
            return;
        };
        if !transaction.state.may_expire() {
            return;
        }
        let at = transaction.last_update.plus_ms(self.config.expiration_ms);
        if at > self.now.wall {
            self.look_for_expiry(id, transaction);
            return;
        }
        self.scratch.last_epochs.remove(id);
        self.out
            .records
            .push(Record::new(id.clone(), None, self.level));
    }
}
