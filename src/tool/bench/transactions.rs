//! What a producer writes as, and the transactions of one. Its partitions come into a transaction with the first batch for each
//! (`transaction.version` 2, KIP-890), and each end brings an epoch of its own. The records are the producer's business.

use crate::error_code::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerId};
use crate::messages::{
    self, EndTxnRequest, InitProducerIdRequest, StrBytes, TransactionalId, text,
};
use crate::tool::client::{self, Backoff, Client, Connection};

/// Kafka's default. (ProducerConfig.TRANSACTION_TIMEOUT_CONFIG)
const TIMEOUT_MS: i32 = 60_000;
/// From this version on the end of a transaction brings a new epoch.
const END_TXN_VERSION: i16 = 5;

/// What a producer writes as.
pub(super) type Identity = (ProducerId, ProducerEpoch);

/// See the module.
pub(super) struct Transactions {
    id: StrBytes,
    coordinator: Connection,
    records_max: u32,
    /// Records in the open one.
    records: u32,
    /// A batch of the open one was refused.
    broken: bool,
}

/// How a transaction is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Commit,
    Abort,
}

impl Transactions {
    /// Takes the transactional id over, from its coordinator on.
    pub(super) async fn open(
        client: &mut Client,
        id: &str,
        records_max: u32,
    ) -> Result<(Transactions, Identity), client::Error> {
        let leader = client.transaction_coordinator(id).await?;
        let mut coordinator = client.connect(leader).await?;
        if coordinator.version::<EndTxnRequest>()? < END_TXN_VERSION {
            return Err(client::Error::Unsupported {
                address: client.broker_address(leader).unwrap_or("?").to_owned(),
                api: "EndTxnRequest of transaction.version 2",
            });
        }
        let id = text(id);
        let identity = initialize(&mut coordinator, &id).await?;
        let transactions = Transactions {
            id,
            coordinator,
            records_max,
            records: 0,
            broken: false,
        };
        Ok((transactions, identity))
    }

    /// Records that the open transaction still has room for.
    pub(super) fn room(&self) -> u32 {
        match self.broken {
            true => 0,
            false => self.records_max - self.records,
        }
    }

    pub(super) fn add(&mut self, records: u32) {
        self.records += records;
    }

    /// Whether the open transaction is to be aborted.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Has the open transaction aborted.
    pub(super) fn break_off(&mut self) {
        self.broken = true;
    }

    /// How the open transaction is to be ended, if there is one that is full, or in any state when `at_once`.
    pub(super) fn end_due(&self, at_once: bool) -> Option<End> {
        let due = self.records > 0 && (at_once || self.room() == 0);
        due.then_some(if self.broken { End::Abort } else { End::Commit })
    }

    /// Ends the open transaction; what the producer writes as from then on, with sequences from 0.
    pub(super) async fn end(
        &mut self,
        end: End,
        (producer_id, epoch): Identity,
    ) -> Result<Identity, client::Error> {
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(self.id.clone()))
            .with_producer_id(messages::ProducerId(producer_id.0))
            .with_producer_epoch(epoch.0)
            .with_committed(end == End::Commit);
        (self.records, self.broken) = (0, false);
        let mut backoff = Backoff::default();
        loop {
            let response = self.coordinator.call(&request).await?;
            if !is_passing(response.error_code) || !backoff.wait().await {
                client::check(response.error_code, || {
                    "the end of a transaction".to_owned()
                })?;
                let id = ProducerId(response.producer_id.0);
                return Ok((id, ProducerEpoch(response.producer_epoch)));
            }
        }
    }
}

/// What an idempotent producer without transactions writes as.
pub(super) async fn producer_id(client: &mut Client) -> Result<Identity, client::Error> {
    let request = InitProducerIdRequest {
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    };
    let mut backoff = Backoff::default();
    loop {
        let response = client.call(&request).await?;
        if !is_passing(response.error_code) || !backoff.wait().await {
            client::check(response.error_code, || "a producer id".to_owned())?;
            let id = ProducerId(response.producer_id);
            return Ok((id, ProducerEpoch(response.producer_epoch)));
        }
    }
}

async fn initialize(
    coordinator: &mut Connection,
    id: &StrBytes,
) -> Result<Identity, client::Error> {
    let request = InitProducerIdRequest {
        transactional_id: Some(id.clone()),
        transaction_timeout_ms: TIMEOUT_MS,
        ..InitProducerIdRequest::default()
    };
    let mut backoff = Backoff::default();
    loop {
        let response = coordinator.call(&request).await?;
        if !is_passing(response.error_code) || !backoff.wait().await {
            client::check(response.error_code, || "a transactional id".to_owned())?;
            let id = ProducerId(response.producer_id);
            return Ok((id, ProducerEpoch(response.producer_epoch)));
        }
    }
}

/// Whether an error of the coordinator goes away by itself.
fn is_passing(code: i16) -> bool {
    matches!(
        ErrorCode::from_code(code),
        ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::ConcurrentTransactions
    )
}
