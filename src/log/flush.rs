//! Bringing a log to the device, and closing it.
//!
//! What is flushed is there after a power loss: the batches, the names of the files that hold them, and what cannot be
//! made again from the batches behind the recovery point. The first fsync that fails takes the whole log directory
//! offline, since the kernel may have dropped what it could not write and will not say so twice.

use std::sync::atomic::Ordering;

use super::directory::{LogDirectory, PARTITION_METADATA};
use super::error::Error;
use super::log::Log;
use super::segment::lock;
use super::snapshots;
use crate::ids::Offset;

impl Log {
    /// Brings all that is appended so far to the device and moves the recovery point there. Returns up to where that
    /// is. After a failed fsync the log directory takes no more appends.
    pub fn flush(&self) -> Result<Offset, Error> {
        self.records_since_flush.store(0, Ordering::Relaxed);
        self.bytes_since_flush.store(0, Ordering::Relaxed);
        self.flush_to(|| self.log_end_offset())
    }

    /// [`Log::flush`] of the sealed segments alone: what is due after a roll.
    pub fn flush_sealed(&self) -> Result<Offset, Error> {
        self.flush_to(|| self.active().base_offset())
    }

    fn flush_to(&self, end: impl FnOnce() -> Offset) -> Result<Offset, Error> {
        let _one = lock(&self.flushing);
        self.check_online()?;
        let (from, end) = (self.recovery_point(), end());
        if end <= from {
            return Ok(end);
        }
        self.sync_range(from, end)
            .inspect_err(|error| self.home.health.judge_write(error))?;
        // Another log's fsync may have failed meanwhile.
        self.check_online()?;
        self.recovery_point.fetch_max(end.0, Ordering::AcqRel);
        Ok(end)
    }

    /// Takes no more appends.
    pub(super) fn go_offline(&self) {
        self.offline.store(true, Ordering::Release);
    }

    fn sync_range(&self, from: Offset, end: Offset) -> Result<(), Error> {
        let segments = self.segments.load();
        // Also one that ends there: it may have been sealed since.
        let first = segments
            .partition_point(|segment| segment.base_offset() < from)
            .saturating_sub(1);
        for (at, segment) in segments.iter().enumerate().skip(first) {
            let base = segment.base_offset();
            if base < end {
                segment.sync(at + 1 < segments.len())?;
            }
            if base > from && base <= end {
                segment.sync_file(snapshots::SUFFIX)?;
            }
        }
        lock(&self.epochs).sync(&*self.home.fs)?;
        self.sync_names()
    }

    /// Brings the names of its files to the device, and those of the directories above them that are new.
    pub(super) fn sync_names(&self) -> Result<(), Error> {
        let home = &*self.home;
        let path = home.path.load();
        if home.is_new.load(Ordering::Acquire) {
            home.sync_if_there(&path.join(PARTITION_METADATA))?;
        }
        if home.names_dirty.swap(false, Ordering::AcqRel) {
            home.sync_directory(&path)
                .inspect_err(|_| home.names_dirty.store(true, Ordering::Release))?;
        }
        if home.is_new.load(Ordering::Acquire) {
            if let Some(parent) = path.parent() {
                home.sync_directory(parent)?;
            }
            home.is_new.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// Brings everything to the device, with a snapshot of the producers, and closes the files. The log can be
    /// opened as cleanly stopped afterwards.
    pub fn close(&self) -> Result<(), Error> {
        self.write_out()?;
        self.flush()?;
        self.active().sync_indexes()?;
        for segment in self.segments.load().iter() {
            segment.close_files();
        }
        Ok(())
    }

    /// Writes what [`Log::close`] writes, and brings nothing to the device.
    pub fn write_out(&self) -> Result<(), Error> {
        let mut appender = self.lock_for_append()?;
        let end = self.log_end_offset();
        self.active().seal()?;
        if end > self.log_start_offset() || lock(&self.producers).states().len() > 0 {
            self.take_snapshot(&mut appender, end)?;
        }
        Ok(())
    }
}

impl LogDirectory {
    /// Brings all that its logs have written to the device at once. A log's own flush has to come behind it, which then
    /// finds nothing left to wait for and tells what went wrong with its files.
    pub fn sync_file_system(&self) -> Result<(), Error> {
        let synced = self.storage().fs.sync_file_system(self.path());
        synced
            .map_err(Error::io(self.path()))
            .inspect_err(|error| self.health().fail(error))
    }
}
