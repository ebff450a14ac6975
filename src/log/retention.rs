//! What leaves a log at its start: by age, by size, and below the log start offset.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::Error;
use super::health::is_full;
use super::index::TimeEntry;
use super::log::{Appender, Log};
use super::segment::{DELETED, Segment, lock, remove_file};
use super::snapshots;
use crate::ids::{Now, Offset, SteadyTime, Timestamp};

/// Files that were renamed to `.deleted`, and when they go.
#[derive(Debug)]
pub(super) struct Deleted {
    pub(super) at: SteadyTime,
    pub(super) files: Vec<PathBuf>,
}

/// What a retention run has dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    pub segments: usize,
    pub bytes: u64,
}

impl Log {
    /// Moves the log start offset up to `offset`; segments that lie below are dropped by the next retention run.
    /// Returns whether it moved.
    pub fn advance_log_start_offset(&self, offset: Offset) -> Result<bool, Error> {
        let _append = self.lock_for_append()?;
        let offset = offset.min(self.log_end_offset());
        if offset <= self.log_start_offset() {
            return Ok(false);
        }
        self.start_offset.store(offset.0, Ordering::Release);
        self.trim_epochs()
            .inspect_err(|error| self.home.health.judge_write(error))?;
        Ok(true)
    }

    /// Drops the oldest segments that `retention.ms`, `retention.bytes` or the log start offset let go and that lie
    /// wholly below the high watermark. Their files are renamed, and removed by [`Log::remove_deleted`].
    pub fn delete_old_segments(&self, high_watermark: Offset, now: Now) -> Result<Dropped, Error> {
        // What is decided here must hold until it is done: no append may come between.
        let mut appender = self.lock_for_append()?;
        self.drop_old(&mut appender, high_watermark, now)
            .inspect_err(|error| self.home.health.judge_write(error))
    }

    fn drop_old(
        &self,
        appender: &mut Appender,
        high_watermark: Offset,
        now: Now,
    ) -> Result<Dropped, Error> {
        let config = self.config();
        let segments = self.segments.load_full();
        let start = self.log_start_offset();
        let mut over_bytes = match config.retention_bytes {
            bytes if config.delete && bytes >= 0 => self.size().checked_sub(bytes as u64),
            _ => None,
        };
        let mut count = 0;
        for (at, segment) in segments.iter().enumerate() {
            let next = segments.get(at + 1).map(|next| next.base_offset());
            let end = next.unwrap_or_else(|| self.log_end_offset());
            let is_empty = next.is_none() && segment.size() == 0;
            if is_empty || end > high_watermark {
                break;
            }
            let excess = over_bytes.and_then(|over| over.checked_sub(segment.size()));
            // The active segment goes by age alone.
            let goes = next.is_some() && (excess.is_some() || end <= start);
            let goes =
                goes || (config.delete && is_expired(segment, config.retention_ms, now.wall)?);
            if !goes {
                break;
            }
            over_bytes = excess;
            count += 1;
        }
        if count == 0 {
            Ok(Dropped::default())
        } else {
            self.drop_first(appender, count, now)
        }
    }

    fn drop_first(
        &self,
        appender: &mut Appender,
        count: usize,
        now: Now,
    ) -> Result<Dropped, Error> {
        let mut segments = Vec::clone(&self.segments.load());
        if count >= segments.len() {
            self.roll_to(appender, self.log_end_offset(), now.wall)?
                .create_file()?;
            segments = Vec::clone(&self.segments.load());
        }
        let kept = segments.split_off(count);
        let start = kept[0].base_offset();
        self.start_offset.fetch_max(start.0, Ordering::AcqRel);
        self.segments.store(Arc::new(kept));
        let at = now.steady.plus_ms(self.config().file_delete_delay_ms);
        let mut dropped = Dropped::default();
        for segment in segments {
            dropped.segments += 1;
            dropped.bytes += segment.size();
            let mut files = segment.mark_deleted()?;
            if appender.snapshots.remove(&segment.base_offset()) {
                files.extend(self.mark_snapshot_deleted(segment.base_offset())?);
            }
            lock(&self.deleted).push(Deleted { at, files });
        }
        self.trim_epochs()?;
        Ok(dropped)
    }

    /// Drops the epochs below the log's start. On a full disk their file stays as it is: what is opened again is
    /// trimmed again, and what needs space must not keep back what makes some.
    fn trim_epochs(&self) -> Result<(), Error> {
        let start = self.log_start_offset();
        match lock(&self.epochs).truncate_from_start(&*self.home.fs, start) {
            Err(Error::Io { source, .. }) if is_full(&source) => Ok(()),
            trimmed => trimmed,
        }
    }

    pub(super) fn mark_snapshot_deleted(&self, offset: Offset) -> Result<Option<PathBuf>, Error> {
        let from = snapshots::path(&self.home.path.load(), offset);
        let mut to = from.clone().into_os_string();
        to.push(format!(".{DELETED}"));
        let to = PathBuf::from(to);
        match self.home.fs.rename(&from, &to) {
            Ok(()) => Ok(Some(to)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(&from)(error)),
        }
    }

    /// Removes the files whose `file.delete.delay.ms` has passed; returns when the next are due.
    pub fn remove_deleted(&self, now: SteadyTime) -> Result<Option<SteadyTime>, Error> {
        let mut due = Vec::new();
        let next = {
            let mut deleted = lock(&self.deleted);
            deleted.retain_mut(|files| {
                let is_due = files.at <= now;
                if is_due {
                    due.append(&mut files.files);
                }
                !is_due
            });
            deleted.iter().map(|files| files.at).min()
        };
        for file in due {
            remove_file(&*self.home.fs, &file)
                .inspect_err(|error| self.home.health.judge_write(error))?;
        }
        Ok(next)
    }
}

/// Whether the youngest record of a segment is older than `retention.ms`.
fn is_expired(segment: &Arc<Segment>, retention_ms: i64, now: Timestamp) -> Result<bool, Error> {
    if retention_ms < 0 {
        return Ok(false);
    }
    let is_old = |largest: Option<TimeEntry>| {
        let youngest = match largest {
            Some(largest) => largest.timestamp,
            None => segment.modified()?,
        };
        Ok(now.0.saturating_sub(youngest.0) > retention_ms)
    };
    // An index that is wrong must not make records go before their time.
    Ok(is_old(segment.largest_timestamp()?)? && is_old(segment.proven_largest_timestamp()?)?)
}
