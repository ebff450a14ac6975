//! What the runtime needs of a partition that it leads.

use std::future::Future;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;

use crate::error_code::ErrorCode;
use crate::ids::{LeaderEpoch, Offset, Timestamp};
use crate::log::{AppendError, Origin, Source};
use crate::messages::Records;
use crate::record::ValidBatch;
use crate::replica::{self, ACKS_ALL, Isolation, Partition, Read};

/// A partition of an internal topic, as its leader sees it. Errors are what a producer would be answered.
pub trait Journal: Send + Sync + 'static {
    fn log_start_offset(&self) -> Offset;

    fn log_end_offset(&self) -> Offset;

    fn high_watermark(&self) -> Offset;

    /// The largest batch that the topic takes.
    fn max_batch_bytes(&self) -> usize;

    /// Appends to the page cache, as the leader of `epoch`; returns the base offset.
    fn append(
        &self,
        batch: &ValidBatch,
        origin: Origin,
        epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<Offset, ErrorCode>;

    /// Resolves once the high watermark is at `offset` or above.
    fn wait_for_high_watermark(
        &self,
        offset: Offset,
        epoch: LeaderEpoch,
    ) -> impl Future<Output = Result<(), ErrorCode>> + Send;

    /// Whole batches from the one that holds `from` on, so many bytes or one that is larger; may wait for the disk.
    fn read(&self, from: Offset, max_bytes: usize) -> std::io::Result<Bytes>;
}

impl Journal for Partition {
    fn log_start_offset(&self) -> Offset {
        Partition::log_start_offset(self)
    }

    fn log_end_offset(&self) -> Offset {
        Partition::log_end_offset(self)
    }

    fn high_watermark(&self) -> Offset {
        Partition::high_watermark(self)
    }

    fn max_batch_bytes(&self) -> usize {
        self.config().rules.max_message_bytes
    }

    fn append(
        &self,
        batch: &ValidBatch,
        origin: Origin,
        epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<Offset, ErrorCode> {
        self.append_as_leader(batch, origin, ACKS_ALL, Some(epoch), now)
            .map(|appended| appended.info.base_offset)
            .map_err(|error| journal_error(&error))
    }

    async fn wait_for_high_watermark(
        &self,
        offset: Offset,
        epoch: LeaderEpoch,
    ) -> Result<(), ErrorCode> {
        Partition::wait_for_high_watermark(self, offset, epoch)
            .await
            .map_err(|error| journal_error(&error))
    }

    fn read(&self, from: Offset, max_bytes: usize) -> std::io::Result<Bytes> {
        let read = Read {
            from,
            max_bytes,
            min_one_batch: true,
            isolation: Isolation::LogEnd,
            current_leader_epoch: None,
            last_fetched_epoch: None,
            source: Source::Disk,
        };
        match Partition::read(self, &read)
            .map_err(std::io::Error::other)?
            .records
        {
            Records::Bytes(bytes) => Ok(bytes),
            Records::File(range) => {
                let mut bytes = vec![0; range.len];
                range.file.read_exact_at(&mut bytes, range.position)?;
                Ok(bytes.into())
            }
        }
    }
}

/// What a producer would be answered.
pub(in crate::coordinator) fn journal_error(error: &replica::Error) -> ErrorCode {
    use replica::Error;
    match error {
        Error::NotLeader | Error::Gone => ErrorCode::NotLeaderOrFollower,
        Error::Offline | Error::Storage(_) => ErrorCode::KafkaStorageError,
        Error::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        Error::UnknownLeaderEpoch { .. } | Error::NoSuchEpoch(_) => ErrorCode::UnknownLeaderEpoch,
        Error::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
        Error::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        Error::CompactOnly => ErrorCode::PolicyViolation,
        Error::Append(error) => match error {
            AppendError::Storage(_) => ErrorCode::KafkaStorageError,
            AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            AppendError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            AppendError::InvalidTransactionState { .. } => ErrorCode::InvalidTxnState,
            AppendError::TransactionCoordinatorFenced { .. } => {
                ErrorCode::TransactionCoordinatorFenced
            }
            AppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            AppendError::UnexpectedOffset { .. } | AppendError::Malformed => {
                ErrorCode::UnknownServerError
            }
        },
    }
}
