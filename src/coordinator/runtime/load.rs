//! Reads a partition into a state: all its records from the log's start to its end.

use bytes::Bytes;
use tracing::warn;

use super::Journal;
use crate::coordinator::{Position, StateMachine};
use crate::ids::{Offset, ProducerId};
use crate::record::{Batch, Corrupt, batches};

/// Why a partition cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    #[error("nothing can be read at offset {0}")]
    Empty(Offset),
}

pub(super) struct Loaded<S> {
    pub(super) state: S,
    /// One past the last record.
    pub(super) end: Offset,
    pub(super) records: usize,
}

/// Reads so many bytes at a time, or a batch that is larger.
pub(super) fn load<M: StateMachine, J: Journal>(
    journal: &J,
    max_bytes: usize,
) -> Result<Loaded<M::State>, Error> {
    let end = journal.log_end_offset();
    let mut loaded = Loaded {
        state: M::State::default(),
        end,
        records: 0,
    };
    let mut next = journal.log_start_offset();
    while next < end {
        let from = next;
        for batch in batches(journal.read(next, max_bytes)?) {
            let batch = batch?;
            next = batch.header.next_offset();
            if next > from {
                replay::<M>(&batch, &mut loaded)?;
            }
        }
        if next == from {
            return Err(Error::Empty(from));
        }
    }
    Ok(loaded)
}

fn replay<M: StateMachine>(batch: &Batch, loaded: &mut Loaded<M::State>) -> Result<(), Error> {
    if batch.header.is_control() {
        if let Some(marker) = batch.end_marker() {
            M::end_transaction(&mut loaded.state, batch.header.producer_id, marker.commit);
        }
        return Ok(());
    }
    let transactional = batch.header.is_transactional();
    let producer_id = if transactional {
        batch.header.producer_id
    } else {
        ProducerId::NONE
    };
    let mut reader = batch.reader()?;
    while let Some(record) = reader.next()? {
        let at = Position {
            offset: record.offset,
            producer_id,
        };
        let Some(key) = record.key else { continue };
        let value = record.value.map(Bytes::copy_from_slice);
        match M::decode(Bytes::copy_from_slice(key), value) {
            Ok(Some(record)) => M::apply(&mut loaded.state, record, at),
            // Of a newer version: it stays in the log for the one who knows it.
            Ok(None) => {}
            Err(error) => {
                warn!(offset = %at.offset, %error, "a coordinator's record cannot be read")
            }
        }
        loaded.records += 1;
    }
    Ok(())
}
