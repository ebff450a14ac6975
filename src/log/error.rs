//! What can go wrong with a log. Every variant names the file, so that the line an operator reads says where to look.

use std::io;
use std::path::{Path, PathBuf};

use crate::ids::{Offset, ProducerEpoch, ProducerId};

/// The world's errors: they take the partition or its log directory offline.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// Bytes of a segment that has to be whole are not.
    #[error("{}: {reason} at byte {position}", path.display())]
    Corrupt {
        path: PathBuf,
        position: u64,
        reason: &'static str,
    },
    /// Records that cannot be read although they are what was written: whoever wrote them compressed something else.
    #[error("{}: records that were written unreadable at byte {position}", path.display())]
    Unreadable { path: PathBuf, position: u64 },
    /// A text or snapshot file that does not parse.
    #[error("{}: {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
    /// Records are refused until there is space again.
    #[error("{}: too little space left for records", path.display())]
    NoSpace { path: PathBuf },
    /// An earlier write to the device failed, or the log was deleted; nothing more is written.
    #[error("{}: offline, takes no more records", path.display())]
    Offline { path: PathBuf },
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
        move |source| Error::Io {
            path: path.to_owned(),
            source,
        }
    }

    /// Whether a read would have had to wait for the device; see [`Source::PageCache`](super::Source).
    pub fn would_wait(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether a segment that is dropped or cut at the same time may be all that is behind it.
    pub(super) fn may_be_of_a_change(&self) -> bool {
        match self {
            Error::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Error::Corrupt { .. } => true,
            Error::Unreadable { .. }
            | Error::Malformed { .. }
            | Error::NoSpace { .. }
            | Error::Offline { .. } => false,
        }
    }

    pub(crate) fn corrupt(path: &Path, position: u64, reason: &'static str) -> Error {
        Error::Corrupt {
            path: path.to_owned(),
            position,
            reason,
        }
    }
}

/// An error of a look-up.
pub(crate) trait LookUpError {
    /// Of the storage, where it is one.
    fn storage(&self) -> Option<&Error>;
}

impl LookUpError for Error {
    fn storage(&self) -> Option<&Error> {
        Some(self)
    }
}

impl LookUpError for ReadError {
    fn storage(&self) -> Option<&Error> {
        match self {
            ReadError::Storage(error) => Some(error),
            ReadError::OutOfRange { .. } => None,
        }
    }
}

/// Why batches were not appended. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error(transparent)]
    Storage(#[from] Error),
    #[error("producer {producer_id}: sequence {got}, expected {expected}")]
    OutOfOrderSequence {
        producer_id: ProducerId,
        expected: i32,
        got: i32,
    },
    #[error("producer {producer_id}: epoch {got} is older than {current}")]
    InvalidProducerEpoch {
        producer_id: ProducerId,
        current: ProducerEpoch,
        got: ProducerEpoch,
    },
    #[error("producer {producer_id}: a write outside its open transaction")]
    InvalidTransactionState { producer_id: ProducerId },
    #[error("producer {producer_id}: marker of coordinator epoch {got}, known is {current}")]
    TransactionCoordinatorFenced {
        producer_id: ProducerId,
        current: i32,
        got: i32,
    },
    /// A batch of a follower or of the metadata log does not continue the log.
    #[error("base offset {got} is below the log end offset {expected}")]
    UnexpectedOffset { expected: Offset, got: Offset },
    /// A batch larger than a segment may be (`segment.bytes`).
    #[error("{size} bytes do not fit into a segment of {segment_bytes}")]
    LargerThanSegment { size: usize, segment_bytes: u32 },
    #[error("bytes that are no whole record batches")]
    Malformed,
}

/// Why a read found nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Storage(#[from] Error),
    #[error("offset {got} is outside {start} to {end}")]
    OutOfRange {
        got: Offset,
        start: Offset,
        end: Offset,
    },
}
