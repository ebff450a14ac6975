//! The segments of `__cluster_metadata-0`: [`crate::log::Log`] as the storage of raft entries needs it. Everything here may
//! wait for the disk; an append goes to the page cache only.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::{Bytes, BytesMut};

use super::storage::invalid;
use crate::clock::Clock;
use crate::ids::{Offset, TopicId};
use crate::log::{Log, LogConfig, LogOptions, Storage};
use crate::messages::Records;
use crate::record::{Batch, batches};

/// Bytes that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// The settings of the metadata log's segments.
#[derive(Clone, Debug)]
pub(crate) struct JournalConfig {
    /// `metadata.log.segment.bytes`
    pub(crate) segment_bytes: u32,
    /// `metadata.log.segment.ms`
    pub(crate) segment_ms: i64,
    /// `internal.metadata.max.batch.size.in.bytes`
    pub(crate) batch_bytes_max: u32,
    /// `internal.metadata.delete.delay.millis`
    pub(crate) delete_delay_ms: i64,
    /// How it reaches the disk.
    pub(crate) storage: Storage,
}

pub(crate) struct Journal {
    log: Log,
    clock: Clock,
}

impl Journal {
    /// Opens the log, or creates it. Whatever a crash tore off at its end is dropped: the whole log is checked, since
    /// snapshots keep it short. (KafkaRaftLog.createLog, which opens it as not cleanly stopped, too)
    pub(crate) fn open(
        directory: &Path,
        config: &JournalConfig,
        clock: Clock,
    ) -> io::Result<Journal> {
        let log_config = LogConfig {
            segment_bytes: config.segment_bytes,
            segment_ms: config.segment_ms,
            max_message_bytes: config.batch_bytes_max,
            file_delete_delay_ms: config.delete_delay_ms,
            // Only what a snapshot holds may go; see `purge`.
            delete: false,
            ..LogConfig::default()
        };
        let options = LogOptions {
            clean: false,
            now: clock.now(),
            ..LogOptions::default()
        };
        fs::create_dir_all(directory)?;
        let log = Log::open(
            directory.to_owned(),
            log_config,
            options,
            config.storage.clone(),
        )
        .map_err(failed)?;
        let metadata = directory.join("partition.metadata");
        if !metadata.exists() {
            fs::write(&metadata, format!("version: 0\ntopic_id: {}", TopicId::ONE))?;
        }
        Ok(Journal { log, clock })
    }

    pub(crate) fn start_offset(&self) -> Offset {
        self.log.log_start_offset()
    }

    pub(crate) fn end_offset(&self) -> Offset {
        self.log.log_end_offset()
    }

    /// Bytes of all segments.
    pub(crate) fn size(&self) -> u64 {
        self.log.size()
    }

    /// Shows every batch from `start` on, in order.
    pub(crate) fn scan(
        &self,
        start: Offset,
        mut each: impl FnMut(Batch) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut from = start;
        while from < self.end_offset() {
            for batch in batches(self.read_some(from, self.end_offset())?) {
                let batch = batch.map_err(invalid)?;
                from = batch.header.next_offset();
                // A read begins with the whole batch that holds the offset.
                if batch.header.base_offset >= start {
                    each(batch)?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn append(&self, bytes: &Bytes) -> io::Result<()> {
        self.log
            .append_as_follower(bytes, self.clock.now())
            .map_err(io::Error::other)?;
        Ok(())
    }

    /// The batches from `start`, where one begins, to `end`, where one ends.
    pub(crate) fn read(&self, start: Offset, end: Offset) -> io::Result<Bytes> {
        let first = self.read_some(start, end)?;
        let mut from = end_of(&first)?;
        if from >= end {
            return Ok(first);
        }
        let mut bytes = BytesMut::from(first);
        while from < end {
            let more = self.read_some(from, end)?;
            from = end_of(&more)?;
            bytes.extend_from_slice(&more);
        }
        Ok(bytes.freeze())
    }

    /// At least one batch from `from` on, nothing that reaches `end`.
    fn read_some(&self, from: Offset, end: Offset) -> io::Result<Bytes> {
        match self
            .log
            .read(from, READ_BYTES, end, true)
            .map_err(io::Error::other)?
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

    /// Brings all that was appended to the device.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.log.flush().map_err(failed)?;
        Ok(())
    }

    /// Drops what is from `end` on.
    pub(crate) fn truncate(&self, end: Offset) -> io::Result<()> {
        self.log.truncate_to(end).map_err(failed)?;
        self.flush()
    }

    /// Drops everything; the log goes on at `start`, up to which a snapshot holds all.
    pub(crate) fn restart(&self, start: Offset) -> io::Result<()> {
        self.log
            .truncate_fully_and_start_at(start)
            .map_err(failed)?;
        self.flush()
    }

    /// Lets go what is below `end`, up to which a snapshot holds all: whole segments, but never the last.
    pub(crate) fn purge(&self, end: Offset) -> io::Result<()> {
        if end > self.end_offset() {
            return self.restart(end);
        }
        self.log.advance_log_start_offset(end).map_err(failed)?;
        let now = self.clock.both();
        self.log
            .delete_old_segments(self.end_offset(), now)
            .map_err(failed)?;
        self.log.remove_deleted(now.steady).map_err(failed)?;
        Ok(())
    }

    /// Brings everything to the device and closes the files.
    pub(crate) fn close(&self) -> io::Result<()> {
        self.log.close().map_err(failed)
    }
}

fn failed(error: crate::log::Error) -> io::Error {
    io::Error::other(error)
}

/// Offset behind the last of these batches.
fn end_of(bytes: &Bytes) -> io::Result<Offset> {
    let last = batches(bytes.clone())
        .last()
        .ok_or_else(|| invalid("the log ends within what it should hold"))?;
    Ok(last.map_err(invalid)?.header.next_offset())
}
