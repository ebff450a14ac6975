//! What the APIs of transactions share: asking the coordinator, which may want a producer id to go on, and the codes
//! that old versions are told.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{Context, Reply};
use crate::broker::Broker;
use crate::coordinator::ProducerIdAndEpoch;
use crate::coordinator::runtime::Said;
use crate::coordinator::transaction::{EPOCH_PER_TRANSACTION, Request, Response};
use crate::error_code::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerId, SteadyTime, TopicPartition};
use crate::metadata::TRANSACTION_STATE;

/// What a coordinator said, or why it could not.
pub(super) type Spoken = Result<Response, ErrorCode>;

/// Asks the coordinator of a transactional id. `make` gives the request, with a fresh producer id when it was asked
/// before and wants one.
pub(super) fn ask<R: Send + 'static>(
    ctx: &Context<'_>,
    transactional_id: &str,
    make: impl Fn(Option<ProducerId>) -> Request + Send + 'static,
    then: impl FnOnce(Spoken) -> R + Send + 'static,
) -> Reply<R> {
    let said = ctx.broker.transactions().ask(transactional_id, make(None));
    if let Said::Now(spoken) = &said
        && !matches!(spoken, Ok(Response::ProducerIdWanted))
    {
        return match said {
            Said::Now(spoken) => Reply::Now(then(spoken)),
            Said::Later(_) => unreachable!("it was said now"),
        };
    }
    let (broker, id) = (ctx.broker.clone(), transactional_id.to_owned());
    Reply::later(async move {
        let first = hear(said).await;
        if !matches!(first, Ok(Response::ProducerIdWanted)) {
            return then(first);
        }
        match broker.producer_ids().next().await {
            Ok(fresh) => then(hear(broker.transactions().ask(&id, make(Some(fresh)))).await),
            Err(code) => then(Err(code)),
        }
    })
}

/// The question whether a transaction holds partitions; or, of a producer whose transactions have an epoch each, that
/// it shall (KIP-890).
#[derive(Clone, Debug)]
pub(super) struct Verification {
    pub(super) id: Arc<str>,
    pub(super) producer: ProducerIdAndEpoch,
    pub(super) partitions: Arc<[TopicPartition]>,
    /// Whether they are added.
    pub(super) adds: bool,
    /// Whether the client knows TRANSACTION_ABORTABLE.
    pub(super) knows_abortable: bool,
    /// Until when the transaction before may take to end.
    pub(super) wait_until: SteadyTime,
}

/// One code for each partition, now or later. What they come from does not hang on the future being polled.
pub(super) enum Verified {
    Now(Vec<ErrorCode>),
    Later(Pin<Box<dyn Future<Output = Vec<ErrorCode>> + Send>>),
}

/// How long a write waits for the transaction before to end. (add.partitions.to.txn.retry.backoff.max.ms)
pub(super) const WAIT_FOR_END_MS: i64 = 100;

impl Verification {
    pub(super) fn ask(self, broker: &Arc<Broker>) -> Verified {
        let partition = broker.transactions().partition_for(&self.id);
        let image = broker.image();
        let topic = image.topics().by_name(TRANSACTION_STATE);
        let leader = topic.and_then(|topic| topic.partition(partition)?.leader);
        if leader.is_none() {
            return Verified::Now(self.codes(Err(ErrorCode::CoordinatorNotAvailable)));
        }
        match broker.transactions().ask(&self.id, self.request()) {
            Said::Now(spoken) if !is_concurrent(&spoken) => Verified::Now(self.codes(spoken)),
            said => {
                let broker = broker.clone();
                Verified::Later(Box::pin(async move {
                    let mut spoken = hear(said).await;
                    while is_concurrent(&spoken) && broker.clock().steady() < self.wait_until {
                        spoken = hear(broker.transactions().ask(&self.id, self.request())).await;
                    }
                    self.codes(spoken)
                }))
            }
        }
    }

    fn request(&self) -> Request {
        let (id, partitions) = (self.id.clone(), self.partitions.clone());
        match self.adds {
            true => Request::AddPartitions {
                id,
                producer: self.producer,
                partitions,
                client_version: EPOCH_PER_TRANSACTION,
                wait_until: Some(self.wait_until),
            },
            false => Request::Verify {
                id,
                producer: self.producer,
                partitions,
            },
        }
    }

    /// (AddPartitionsToTxnManager.AddPartitionsToTxnHandler)
    fn codes(&self, spoken: Spoken) -> Vec<ErrorCode> {
        let all = |code| vec![code; self.partitions.len()];
        let codes = match spoken {
            Ok(Response::Verify(Ok(codes))) => codes,
            Ok(Response::AddPartitions(code) | Response::Verify(Err(code))) | Err(code) => {
                all(code)
            }
            Ok(_) => all(ErrorCode::UnknownServerError),
        };
        let told = |code| match code {
            ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
            ErrorCode::TransactionAbortable if !self.knows_abortable => ErrorCode::InvalidTxnState,
            code => code,
        };
        codes.into_iter().map(told).collect()
    }
}

/// Whether records of producers that add their partitions themselves are verified; may be changed while the node runs.
pub(super) fn verifies(broker: &Broker) -> bool {
    let settings = broker.current_settings().now();
    settings.boolean("transaction.partition.verification.enable")
}

fn is_concurrent(spoken: &Spoken) -> bool {
    matches!(
        spoken,
        Ok(Response::AddPartitions(ErrorCode::ConcurrentTransactions))
    )
}

async fn hear(said: Said<Response>) -> Spoken {
    match said {
        Said::Now(spoken) => spoken,
        Said::Later(spoken) => spoken.await,
    }
}

pub(super) fn producer(id: i64, epoch: i16) -> ProducerIdAndEpoch {
    ProducerIdAndEpoch {
        id: ProducerId(id),
        epoch: ProducerEpoch(epoch),
    }
}

/// Versions without PRODUCER_FENCED are told INVALID_PRODUCER_EPOCH. (KIP-588)
pub(super) fn fenced(code: ErrorCode, knows_producer_fenced: bool) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced if !knows_producer_fenced => ErrorCode::InvalidProducerEpoch,
        other => other,
    }
}

#[cfg(test)]
mod tests;
