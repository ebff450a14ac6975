//! From the errors of replicas and record batches to the codes of the protocol. Whoever adds a variant decides here
//! what clients are told.

use crate::error_code::ErrorCode;
use crate::ids::TopicPartition;
use crate::log::AppendError;
use crate::record::Corrupt;
use crate::record::validate::{Invalid, RecordError, RecordFault};
use crate::replica;

pub(super) fn of_replica(error: &replica::Error) -> ErrorCode {
    match error {
        replica::Error::NotLeader => ErrorCode::NotLeaderOrFollower,
        replica::Error::Gone => ErrorCode::UnknownTopicOrPartition,
        replica::Error::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        replica::Error::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
        replica::Error::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
        replica::Error::OffsetOutOfRange { .. } | replica::Error::NoSuchEpoch(_) => {
            ErrorCode::OffsetOutOfRange
        }
        replica::Error::CompactOnly => ErrorCode::PolicyViolation,
        replica::Error::Append(error) => of_append(error),
        replica::Error::Offline | replica::Error::Storage(_) => ErrorCode::KafkaStorageError,
    }
}

fn of_append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Storage(_) => ErrorCode::KafkaStorageError,
        AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        AppendError::InvalidTransactionState { .. } => ErrorCode::InvalidTxnState,
        AppendError::TransactionCoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
        AppendError::UnexpectedOffset { .. } => ErrorCode::UnknownServerError,
        AppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
        AppendError::Malformed => ErrorCode::CorruptMessage,
    }
}

pub(super) fn of_invalid(invalid: &Invalid) -> ErrorCode {
    match invalid {
        // Kafka fails on these outside its own checks, and its clients do not try again.
        Invalid::Corrupt(Corrupt::Compression(_) | Corrupt::Decompression(_)) => {
            ErrorCode::UnknownServerError
        }
        Invalid::Corrupt(
            Corrupt::TooShort { .. }
            | Corrupt::Length(_)
            | Corrupt::Magic(_)
            | Corrupt::Crc { .. }
            | Corrupt::Record { .. }
            | Corrupt::Count { .. }
            | Corrupt::RecordTooLarge { .. },
        ) => ErrorCode::CorruptMessage,
        Invalid::TooLarge { .. } => ErrorCode::MessageTooLarge,
        Invalid::Zstd { .. } => ErrorCode::UnsupportedCompressionType,
        Invalid::Batch(_) => ErrorCode::InvalidRecord,
        Invalid::Records(errors) if errors.iter().any(|error| error.fault.is_timestamp()) => {
            ErrorCode::InvalidTimestamp
        }
        Invalid::Records(_) => ErrorCode::InvalidRecord,
    }
}

/// The text beside the code, where Kafka sends one. (LogValidator.processRecordErrors, ByteBufferLogInputStream)
pub(super) fn message_of_invalid(invalid: &Invalid, partition: &TopicPartition) -> Option<String> {
    match invalid {
        Invalid::Corrupt(Corrupt::Magic(magic)) => {
            Some(format!("Invalid magic found in record: {magic}"))
        }
        Invalid::Corrupt(Corrupt::Length(length)) if *length < 14 => Some(format!(
            "Record size {length} is less than the minimum record overhead (14)"
        )),
        Invalid::Records(errors) if errors.iter().any(|error| error.fault.is_timestamp()) => {
            Some("One or more records have been rejected due to invalid timestamp".to_owned())
        }
        Invalid::Records(errors) => {
            let first = errors.iter().take(3).map(|error| {
                let message = message_of_record(error, partition);
                format!(
                    "RecordError(batchIndex={}, message='{message}')",
                    error.batch_index
                )
            });
            Some(format!(
                "One or more records have been rejected due to {} record errors in total, and only showing the first \
                 three errors at most: [{}]",
                errors.len(),
                first.collect::<Vec<_>>().join(", ")
            ))
        }
        Invalid::Corrupt(_)
        | Invalid::TooLarge { .. }
        | Invalid::Zstd { .. }
        | Invalid::Batch(_) => None,
    }
}

pub(super) fn message_of_record(error: &RecordError, partition: &TopicPartition) -> String {
    match error.fault {
        RecordFault::NoKey => format!("{} in topic partition {partition}", error.fault),
        RecordFault::Timestamp { .. } | RecordFault::LogAppendTime { .. } => {
            error.fault.to_string()
        }
    }
}
