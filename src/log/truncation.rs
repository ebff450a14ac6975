//! Taking a log back: what a follower does when its leader's log differs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::Error;
use super::log::{Appender, Log, Tail};
use super::producers::Producers;
use super::segment::{Segment, lock, remove_file};
use super::{recovery, snapshots};
use crate::ids::{LeaderEpoch, Offset};

impl Log {
    /// Drops all records from `offset` on, and with them the rest of their batch. The log ends there afterwards, or
    /// where that batch began, or where it ended before.
    ///
    /// When this or [`Log::truncate_fully_and_start_at`] fails midway the log takes no more appends: what it holds is
    /// found out when it is opened again.
    pub fn truncate_to(&self, offset: Offset) -> Result<(), Error> {
        let mut appender = self.lock_for_append()?;
        if offset >= self.log_end_offset() {
            return Ok(());
        }
        let _flushing = lock(&self.flushing);
        self.cut(&mut appender, offset)
            .inspect_err(|error| self.truncation_failed(error))
    }

    fn cut(&self, appender: &mut Appender, offset: Offset) -> Result<(), Error> {
        let mut segments = Vec::clone(&self.segments.load());
        if segments[0].base_offset() > offset {
            return self.restart(appender, offset);
        }
        let dropped =
            segments.split_off(segments.partition_point(|segment| segment.base_offset() <= offset));
        let active = segments
            .last()
            .expect("the first segment begins at or below the offset")
            .clone();
        let size = active.position_of(offset, active.size())?;
        // A batch goes as a whole: the log ends where it began.
        let cut = active.find(size, active.size(), |_, header| Some(header.base_offset))?;
        let offset = cut.map_or(offset, |base| base.min(offset));
        // Readers lose sight of what goes away before it does.
        self.segments.store(Arc::new(segments));
        *lock(&self.tail) = Tail::new(active.base_offset(), offset, size);
        self.end_offset.store(offset.0, Ordering::Release);
        // From the end, so that a crash leaves no gap.
        for segment in dropped.iter().rev() {
            segment.remove()?;
        }
        active.truncate(size, offset)?;
        self.after_truncation(appender, offset)?;
        // Before anything is appended: else a power loss could leave what was dropped behind what came in its place.
        active.sync_cut()?;
        self.home.names_dirty.store(true, Ordering::Release);
        self.sync_names()
    }

    fn after_truncation(&self, appender: &mut Appender, offset: Offset) -> Result<(), Error> {
        self.recovery_point.fetch_min(offset.0, Ordering::AcqRel);
        self.start_offset.fetch_min(offset.0, Ordering::AcqRel);
        self.cleaned_to.fetch_min(offset.0, Ordering::AcqRel);
        let mut epochs = lock(&self.epochs);
        epochs.truncate_from_end(&*self.home.fs, offset)?;
        appender.latest_epoch = epochs
            .latest()
            .map_or(LeaderEpoch::UNKNOWN, |entry| entry.epoch);
        drop(epochs);
        let gone = appender.snapshots.split_off(&(offset + 1));
        for snapshot in gone {
            let path = snapshots::path(&self.home.path.load(), snapshot);
            remove_file(&*self.home.fs, &path)?;
        }
        let segments = self.segments.load();
        let reloaded = recovery::reload(&self.home, &segments, &mut appender.snapshots, offset)?;
        appender.bytes_since_entry = reloaded.bytes_since_entry;
        appender.rolling_timestamp = reloaded.rolling_timestamp;
        let mut producers = lock(&self.producers);
        *producers = reloaded.producers;
        self.has_transactions
            .store(producers.has_transactions(), Ordering::Release);
        Ok(())
    }

    /// Drops everything; the log begins and ends at `offset` afterwards.
    pub fn truncate_fully_and_start_at(&self, offset: Offset) -> Result<(), Error> {
        let mut appender = self.lock_for_append()?;
        let _flushing = lock(&self.flushing);
        self.restart(&mut appender, offset)
            .inspect_err(|error| self.truncation_failed(error))
    }

    fn truncation_failed(&self, error: &Error) {
        self.go_offline();
        self.home.health.judge_write(error);
    }

    fn restart(&self, appender: &mut Appender, offset: Offset) -> Result<(), Error> {
        let active = Segment::new(self.home.clone(), offset, 0);
        let dropped = self.segments.swap(Arc::new(vec![active.clone()]));
        *lock(&self.tail) = Tail::new(offset, offset, 0);
        self.end_offset.store(offset.0, Ordering::Release);
        self.start_offset.store(offset.0, Ordering::Release);
        self.recovery_point.store(offset.0, Ordering::Release);
        self.cleaned_to.fetch_min(offset.0, Ordering::AcqRel);
        for segment in dropped.iter().rev() {
            segment.remove()?;
        }
        for snapshot in std::mem::take(&mut appender.snapshots) {
            remove_file(
                &*self.home.fs,
                &snapshots::path(&self.home.path.load(), snapshot),
            )?;
        }
        active.create_file()?;
        lock(&self.epochs).clear(&*self.home.fs)?;
        appender.latest_epoch = LeaderEpoch::UNKNOWN;
        appender.bytes_since_entry = 0;
        appender.rolling_timestamp = None;
        *lock(&self.producers) = Producers::default();
        self.has_transactions.store(false, Ordering::Release);
        self.home.names_dirty.store(true, Ordering::Release);
        self.sync_names()
    }
}
