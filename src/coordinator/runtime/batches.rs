//! The batches that coordinators write: producer id and epoch -1, but within a transaction; the base sequence is 0 or -1, as Kafka's coordinators
//! have it. (CoordinatorRuntime.maybeAllocateNewBatch, TransactionStateManager.appendTransactionToLog)

use super::Config;
use crate::coordinator::{ProducerIdAndEpoch, StateMachine, Transactional};
use crate::error_code::ErrorCode;
use crate::ids::Timestamp;
use crate::record::{BatchBuilder, Producer, ValidBatch};

/// What a record needs beside its key and value, at most.
const RECORD_OVERHEAD: usize = 32;

/// As many of the records as fit, at least one; and how many they are.
pub(super) fn build<M: StateMachine>(
    records: &[M::Record],
    transactional: Option<Transactional>,
    config: &Config,
    limit: usize,
    now: Timestamp,
) -> Result<(ValidBatch, usize), ErrorCode> {
    let ProducerIdAndEpoch { id, epoch } =
        transactional.map_or(ProducerIdAndEpoch::NONE, |it| it.producer);
    let producer = Producer {
        id,
        epoch,
        base_sequence: config.base_sequence,
    };
    let mut builder = BatchBuilder::new()
        .producer(producer)
        .transactional(transactional.is_some())
        .codec(config.codec);
    let mut count = 0;
    for record in records {
        let (key, value) = M::encode(record).map_err(|error| {
            tracing::debug!(%error, "a coordinator's record cannot be written");
            ErrorCode::UnknownServerError
        })?;
        let size = key.len() + value.as_ref().map_or(0, |value| value.len()) + RECORD_OVERHEAD;
        if builder.size() + size > limit {
            if count == 0 {
                return Err(ErrorCode::MessageTooLarge);
            }
            break;
        }
        builder.append(now, Some(&key), value.as_deref());
        count += 1;
    }
    Ok((builder.build_valid(), count))
}
