//! Control batches: markers that a leader writes between records and consumers skip. The key of a control record
//! is an int16 version (0) and an int16 type; what the value is, its type says.
//! (org.apache.kafka.common.record.ControlRecordType, EndTransactionMarker)

use bytes::Buf;

use super::batch::{BatchHeader, NO_SEQUENCE};
use super::builder::{BatchBuilder, Producer};
use super::records::{RecordReader, RecordView};
use super::validate::ValidBatch;
use crate::ids::{ProducerEpoch, ProducerId, Timestamp};

const KEY_VERSION: i16 = 0;
const MARKER_VERSION: i16 = 0;

/// What a control record says. The last five occur in `__cluster_metadata` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    Abort = 0,
    Commit = 1,
    LeaderChange = 2,
    SnapshotHeader = 3,
    SnapshotFooter = 4,
    KRaftVersion = 5,
    KRaftVoters = 6,
}

impl ControlType {
    /// The type of a control record by its key; `None` when the key is cut or the type is not known.
    pub fn of_key(mut key: &[u8]) -> Option<ControlType> {
        if key.len() < 4 {
            return None;
        }
        let version = key.get_i16();
        if version < 0 {
            return None;
        }
        Some(match key.get_i16() {
            0 => ControlType::Abort,
            1 => ControlType::Commit,
            2 => ControlType::LeaderChange,
            3 => ControlType::SnapshotHeader,
            4 => ControlType::SnapshotFooter,
            5 => ControlType::KRaftVersion,
            6 => ControlType::KRaftVoters,
            _ => return None,
        })
    }

    /// The key of a control record of this type.
    pub fn key(self) -> [u8; 4] {
        let mut key = [0; 4];
        key[..2].copy_from_slice(&KEY_VERSION.to_be_bytes());
        key[2..].copy_from_slice(&(self as i16).to_be_bytes());
        key
    }
}

/// The end of a transaction in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndMarker {
    pub commit: bool,
    pub coordinator_epoch: i32,
}

impl EndMarker {
    /// Reads the marker of a control record; `None` when it is of another type or cut.
    pub fn parse(record: &RecordView<'_>) -> Option<EndMarker> {
        let commit = match ControlType::of_key(record.key?)? {
            ControlType::Abort => false,
            ControlType::Commit => true,
            _ => return None,
        };
        let mut value = record.value?;
        if value.len() < 6 || value.get_i16() < MARKER_VERSION {
            return None;
        }
        Some(EndMarker {
            commit,
            coordinator_epoch: value.get_i32(),
        })
    }

    /// Reads the marker of a control batch; `None` when the batch is no such.
    pub(super) fn of(header: &BatchHeader, payload: &[u8]) -> Option<EndMarker> {
        if !header.is_control() {
            return None;
        }
        let mut records = RecordReader::open(header, payload).ok()?;
        EndMarker::parse(&records.next().ok()??)
    }

    /// The batch of 78 bytes that ends the producer's transaction.
    pub fn batch(
        self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        now: Timestamp,
    ) -> ValidBatch {
        let control_type = if self.commit {
            ControlType::Commit
        } else {
            ControlType::Abort
        };
        let mut value = [0; 6];
        value[..2].copy_from_slice(&MARKER_VERSION.to_be_bytes());
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        let producer = Producer {
            id: producer_id,
            epoch: producer_epoch,
            base_sequence: NO_SEQUENCE,
        };
        let mut builder = BatchBuilder::new()
            .producer(producer)
            .transactional(true)
            .control(true);
        builder.append(now, Some(&control_type.key()), Some(&value));
        builder.build_valid()
    }
}

/// A control batch of one record with the value that `__cluster_metadata` gives it.
pub fn control_batch(control_type: ControlType, value: &[u8], now: Timestamp) -> BatchBuilder {
    let mut builder = BatchBuilder::new().control(true);
    builder.append(now, Some(&control_type.key()), Some(value));
    builder
}
