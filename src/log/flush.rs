//! Bringing a log to the device, and closing it.

use std::sync::atomic::Ordering;

use super::error::Error;
use super::log::Log;
use super::segment::lock;
use crate::ids::Offset;

impl Log {
    /// Brings all that is appended so far to the device and moves the recovery point there. When this fails, the
    /// log takes no more appends: what the device holds is not known any longer.
    pub fn flush(&self) -> Result<Offset, Error> {
        let end = self.log_end_offset();
        self.flush_to(end)?;
        Ok(end)
    }

    /// [`Log::flush`] of the sealed segments alone: what is due after a roll.
    pub fn flush_sealed(&self) -> Result<Offset, Error> {
        let base = self.active().base_offset();
        self.flush_to(base)?;
        Ok(base)
    }

    fn flush_to(&self, end: Offset) -> Result<(), Error> {
        if self.offline.load(Ordering::Acquire) {
            return Err(Error::Offline { path: self.dir() });
        }
        let from = self.recovery_point();
        if end <= from {
            return Ok(());
        }
        self.sync_range(from, end)
            .inspect_err(|_| self.go_offline())?;
        self.recovery_point.fetch_max(end.0, Ordering::AcqRel);
        Ok(())
    }

    /// Takes no more appends.
    pub(super) fn go_offline(&self) {
        self.offline.store(true, Ordering::Release);
    }

    fn sync_range(&self, from: Offset, end: Offset) -> Result<(), Error> {
        lock(&self.append).records_since_flush = 0;
        let segments = self.segments.load();
        let first = segments
            .partition_point(|segment| segment.base_offset() <= from)
            .saturating_sub(1);
        for (at, segment) in segments.iter().enumerate().skip(first) {
            if segment.base_offset() < end {
                segment.sync(at + 1 < segments.len())?;
            }
        }
        lock(&self.epochs).sync(&*self.home.fs)?;
        if self.names_dirty.swap(false, Ordering::AcqRel) {
            let path = self.home.path.load();
            self.home
                .fs
                .sync_directory(&path)
                .map_err(Error::io(&path))?;
        }
        Ok(())
    }

    /// Brings everything to the device, with a snapshot of the producers, and closes the files. The log can be
    /// opened as cleanly stopped afterwards.
    pub fn close(&self) -> Result<(), Error> {
        let mut appender = self.lock_for_append()?;
        let end = self.log_end_offset();
        let active = self.active();
        active.seal()?;
        if end > self.log_start_offset() || lock(&self.producers).states().len() > 0 {
            self.take_snapshot(&mut appender, end)?;
        }
        drop(appender);
        self.flush()?;
        for segment in self.segments.load().iter() {
            segment.close_files();
        }
        Ok(())
    }
}
