//! The segment that a compaction writes, under names that end in `.cleaned` until it is whole and on the device.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::Watch;
use crate::ids::{Offset, Timestamp};
use crate::log::AbortedTransaction;
use crate::log::error::Error;
use crate::log::fs::Mode;
use crate::log::health::is_full;
use crate::log::index::{Entry, Index, OffsetEntry, TimeEntry};
use crate::log::listing::CLEANED;
use crate::log::open_segments::Home;
use crate::log::segment::{LOG_SUFFIX, remove_file};
use crate::log::transactions;
use crate::record::BatchHeader;

/// The files of a segment, the one with the batches first.
pub(super) const FILES: [&str; 4] = [
    LOG_SUFFIX,
    OffsetEntry::SUFFIX,
    TimeEntry::SUFFIX,
    transactions::SUFFIX,
];

/// A segment that was written as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cleaned {
    pub(super) base_offset: Offset,
    pub(super) size: u64,
    pub(super) largest: Option<TimeEntry>,
}

/// See the module. Dropped before it is finished, its files stay until they are removed by [`discard`].
pub(super) struct Output {
    home: Arc<Home>,
    base_offset: Offset,
    file: File,
    /// Bytes in the file.
    written: u64,
    /// What comes behind them.
    pub(super) buffer: Vec<u8>,
    buffer_bytes: usize,
    index_interval: u64,
    bytes_since_entry: u64,
    offsets: Index<OffsetEntry>,
    offsets_file: File,
    times: Index<TimeEntry>,
    times_file: File,
    largest: Option<TimeEntry>,
    aborted: Vec<AbortedTransaction>,
}

/// How an output is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) buffer_bytes: usize,
    pub(super) index_interval_bytes: u32,
}

impl Output {
    pub(super) fn create(
        home: &Arc<Home>,
        base_offset: Offset,
        shape: Shape,
    ) -> Result<Output, Error> {
        let open = |kind: &str| {
            let path = home.file(base_offset, &format!("{kind}.{CLEANED}"));
            let opened = home.fs.open(&path, Mode::Replace);
            opened.map_err(|error| failed(home, &path, error))
        };
        Ok(Output {
            home: home.clone(),
            base_offset,
            file: open(LOG_SUFFIX)?,
            written: 0,
            buffer: Vec::new(),
            buffer_bytes: shape.buffer_bytes,
            index_interval: u64::from(shape.index_interval_bytes),
            bytes_since_entry: 0,
            offsets: Index::empty(base_offset),
            offsets_file: open(OffsetEntry::SUFFIX)?,
            times: Index::empty(base_offset),
            times_file: open(TimeEntry::SUFFIX)?,
            largest: None,
            aborted: Vec::new(),
        })
    }

    /// Takes out what was appended to `buffer` behind `position`.
    pub(super) fn take_from(&mut self, position: u64) -> Vec<u8> {
        let at = usize::try_from(position - self.written).expect("a position in the buffer");
        self.buffer.split_off(at)
    }

    /// Bytes so far.
    pub(super) fn size(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Takes in a batch that was appended to `buffer` behind `position`, and writes the buffer when it is full.
    pub(super) fn note(
        &mut self,
        header: &BatchHeader,
        position: u64,
        watch: &dyn Watch,
    ) -> Result<(), Error> {
        let last_offset = header.last_offset();
        if self
            .largest
            .is_none_or(|largest| header.max_timestamp > largest.timestamp)
        {
            self.largest = Some(TimeEntry {
                timestamp: header.max_timestamp,
                offset: last_offset,
            });
        }
        if self.bytes_since_entry > self.index_interval {
            self.bytes_since_entry = 0;
            self.write_full_blocks()?;
            self.offsets.push(OffsetEntry {
                offset: last_offset,
                position: u32::try_from(position).expect("an output is smaller than 2 GB"),
            });
            self.push_time();
        }
        self.bytes_since_entry += header.size() as u64;
        if self.buffer.len() >= self.buffer_bytes {
            self.write_buffer(watch)?;
        }
        Ok(())
    }

    /// The marker of this transaction is in the segment.
    pub(super) fn note_aborted(&mut self, transaction: AbortedTransaction) {
        self.aborted.push(transaction);
    }

    fn write_buffer(&mut self, watch: &dyn Watch) -> Result<(), Error> {
        let path = self.path(LOG_SUFFIX);
        self.home
            .fs
            .write_at(&self.file, &[IoSlice::new(&self.buffer)], self.written)
            .map_err(|error| failed(&self.home, &path, error))?;
        let len = self.buffer.len() as u64;
        self.written += len;
        self.buffer.clear();
        // A batch larger than the buffer does not keep its memory.
        self.buffer.shrink_to(2 * self.buffer_bytes);
        watch.moved(len);
        Ok(())
    }

    fn push_time(&mut self) {
        if let Some(largest) = self.largest.filter(|largest| largest.timestamp.0 >= 0)
            && self.times.last().is_none_or(|last| largest.follows(&last))
        {
            self.times.push(largest);
        }
    }

    fn write_full_blocks(&mut self) -> Result<(), Error> {
        let fs = &*self.home.fs;
        if self.offsets.is_full() {
            let path = self.path(OffsetEntry::SUFFIX);
            self.offsets
                .write_pending(fs, &self.offsets_file)
                .map_err(|error| failed(&self.home, &path, error))?;
        }
        if self.times.is_full() {
            let path = self.path(TimeEntry::SUFFIX);
            self.times
                .write_pending(fs, &self.times_file)
                .map_err(|error| failed(&self.home, &path, error))?;
        }
        Ok(())
    }

    /// Brings the whole segment to the device. Its file is as old as `modified`: by that a segment without timestamps
    /// is retained.
    pub(super) fn finish(
        mut self,
        modified: SystemTime,
        watch: &dyn Watch,
    ) -> Result<Cleaned, Error> {
        self.write_buffer(watch)?;
        self.write_full_blocks()?;
        self.push_time();
        let fs = &*self.home.fs;
        let path = self.path(LOG_SUFFIX);
        self.offsets
            .write_pending(fs, &self.offsets_file)
            .and_then(|()| self.times.write_pending(fs, &self.times_file))
            .and_then(|()| self.file.set_modified(modified))
            .map_err(|error| failed(&self.home, &path, error))?;
        for file in [&self.file, &self.offsets_file, &self.times_file] {
            self.home.sync(file, &path)?;
        }
        self.write_aborted()?;
        Ok(Cleaned {
            base_offset: self.base_offset,
            size: self.written,
            largest: self
                .largest
                .filter(|largest| largest.timestamp != Timestamp::NONE),
        })
    }

    fn write_aborted(&self) -> Result<(), Error> {
        if self.aborted.is_empty() {
            return Ok(());
        }
        let path = self.path(transactions::SUFFIX);
        let bytes: Vec<u8> = self
            .aborted
            .iter()
            .flat_map(AbortedTransaction::encode)
            .collect();
        let fs = &*self.home.fs;
        let file = fs
            .open(&path, Mode::Replace)
            .and_then(|file| {
                fs.write_at(&file, &[IoSlice::new(&bytes)], 0)?;
                Ok(file)
            })
            .map_err(|error| failed(&self.home, &path, error))?;
        self.home.sync(&file, &path)
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.home
            .file(self.base_offset, &format!("{kind}.{CLEANED}"))
    }
}

/// Takes the directory offline for what failed, unless the disk is full: what was written goes again.
fn failed(home: &Home, path: &Path, error: io::Error) -> Error {
    let passes = is_full(&error);
    let error = Error::io(path)(error);
    if !passes {
        home.health.judge_write(&error);
    }
    error
}

/// Removes what an output under `base_offset` has written, with the ends `suffixes` to the names.
pub(super) fn discard(home: &Home, base_offset: Offset, suffixes: &[&str]) -> Result<(), Error> {
    for suffix in suffixes {
        for kind in FILES {
            let path = home.file(base_offset, &format!("{kind}.{suffix}"));
            remove_file(&*home.fs, &path)?;
        }
    }
    Ok(())
}
