//! Records of the metadata log as batches, and batches as records. Which version a record is written in follows from
//! the finalized `metadata.version`.

use bytes::Bytes;

use super::MetadataVersion;
use crate::ids::{LeaderEpoch, Offset, Timestamp};
use crate::messages::records::frame::MetadataRecord;
use crate::messages::records::metadata::BrokerRegistrationChangeRecord;
use crate::messages::{DecodeError, EncodeError};
use crate::record::{Batch, BatchBuilder, Corrupt};

/// Why a batch of the metadata log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("metadata batch at offset {offset}: {source}")]
    Corrupt { offset: Offset, source: Corrupt },
    #[error("metadata record at offset {offset}: {source}")]
    Record { offset: Offset, source: DecodeError },
    #[error("metadata record at offset {offset} has no value")]
    NoValue { offset: Offset },
}

/// The version in which this record is written. (ApiMessageAndVersion as the control managers make them)
pub fn version(record: &MetadataRecord, metadata_version: MetadataVersion) -> i16 {
    match record {
        MetadataRecord::RegisterBroker(_) => metadata_version.register_broker_record(),
        MetadataRecord::Partition(_) => metadata_version.partition_record(),
        MetadataRecord::PartitionChange(_) => metadata_version.partition_change_record(),
        MetadataRecord::BrokerRegistrationChange(change) => registration_change(change),
        other => other.latest_version(),
    }
}

/// The lowest version that holds what changes. (BrokerRegistrationChangeRecord.lowestSupportedVersion)
fn registration_change(change: &BrokerRegistrationChangeRecord) -> i16 {
    if change.cordoned_log_dirs.is_some() {
        3
    } else if !change.log_dirs.is_empty() {
        2
    } else if change.in_controlled_shutdown != 0 {
        1
    } else {
        0
    }
}

/// Appends records to a batch.
pub fn append(
    to: &mut BatchBuilder,
    records: impl IntoIterator<Item = MetadataRecord>,
    metadata_version: MetadataVersion,
    now: Timestamp,
) -> Result<(), EncodeError> {
    for record in records {
        let value = record.encode(version(&record, metadata_version))?;
        to.append(now, None, Some(&value));
    }
    Ok(())
}

/// One batch with these records, as the leader of `epoch` appends it.
pub fn batch(
    records: impl IntoIterator<Item = MetadataRecord>,
    metadata_version: MetadataVersion,
    base_offset: Offset,
    epoch: LeaderEpoch,
    now: Timestamp,
) -> Result<Batch, EncodeError> {
    let mut builder = BatchBuilder::new()
        .base_offset(base_offset)
        .leader_epoch(epoch);
    append(&mut builder, records, metadata_version, now)?;
    Ok(builder.build())
}

/// The records of a batch that is no control batch.
pub fn decode(batch: &Batch) -> Result<Vec<MetadataRecord>, Unreadable> {
    let base = batch.header.base_offset;
    let mut records =
        Vec::with_capacity(usize::try_from(batch.header.record_count.clamp(0, 4096)).unwrap_or(0));
    let mut reader = batch.reader().map_err(|source| Unreadable::Corrupt {
        offset: base,
        source,
    })?;
    while let Some(record) = reader.next().map_err(|source| Unreadable::Corrupt {
        offset: base,
        source,
    })? {
        let offset = record.offset;
        let value = record.value.ok_or(Unreadable::NoValue { offset })?;
        let (record, _) = MetadataRecord::decode(Bytes::copy_from_slice(value))
            .map_err(|source| Unreadable::Record { offset, source })?;
        records.push(record);
    }
    Ok(records)
}
