//! What leaves a log at its start: by age, by size, and below the log start offset.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::Error;
use super::health::is_full;
use super::index::TimeEntry;
use super::log::{Appender, Log};
use super::segment::{DELETED, Segment, lock};
use super::snapshots;
use crate::ids::{Now, Offset, Timestamp};

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
        self.check_online()?;
        // Sealed segments are looked at before appends have to wait, since that may read one.
        let expired = self.judged(self.look_up(|| self.find_expired(high_watermark, now.wall)))?;
        // What is decided here must hold until it is done: no append may come between.
        let mut appender = self.lock_for_append()?;
        let count = self.count_old(high_watermark, |segment, is_active| match is_active {
            true => self.is_expired(segment, now.wall),
            false => Ok(expired.iter().any(|known| Arc::ptr_eq(known, segment))),
        });
        let dropped = count.and_then(|count| match count {
            0 => Ok(Dropped::default()),
            count => self.drop_first(&mut appender, count, now),
        });
        self.judged(dropped)
    }

    /// The sealed segments that go for their age.
    fn find_expired(
        &self,
        high_watermark: Offset,
        now: Timestamp,
    ) -> Result<Vec<Arc<Segment>>, Error> {
        let mut expired = Vec::new();
        self.count_old(high_watermark, |segment, is_active| {
            let is_expired = !is_active && self.is_expired(segment, now)?;
            if is_expired {
                expired.push(segment.clone());
            }
            Ok(is_expired)
        })?;
        Ok(expired)
    }

    fn judged<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.inspect_err(|error| self.home.health.judge_write(error))
    }

    /// How many of the oldest segments may go. `is_expired` is asked of those that do not go for another reason, and
    /// told which one is active.
    fn count_old(
        &self,
        high_watermark: Offset,
        mut is_expired: impl FnMut(&Arc<Segment>, bool) -> Result<bool, Error>,
    ) -> Result<usize, Error> {
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
            if !goes && !is_expired(segment, next.is_none())? {
                break;
            }
            over_bytes = excess;
            count += 1;
        }
        Ok(count)
    }

    /// Whether the youngest record of a segment is older than `retention.ms`.
    fn is_expired(&self, segment: &Arc<Segment>, now: Timestamp) -> Result<bool, Error> {
        let config = self.config.load();
        if !config.delete || config.retention_ms < 0 {
            return Ok(false);
        }
        let is_old = |largest: Option<TimeEntry>| {
            let youngest = match largest {
                Some(largest) => largest.timestamp,
                None => segment.modified()?,
            };
            Ok(now.0.saturating_sub(youngest.0) > config.retention_ms)
        };
        // An index that is wrong must not make records go before their time.
        Ok(is_old(segment.largest_timestamp()?)? && is_old(segment.proven_largest_timestamp()?)?)
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
        let mut dropped = Dropped::default();
        for segment in segments {
            dropped.segments += 1;
            dropped.bytes += segment.size();
            let mut files = segment.mark_deleted()?;
            if appender.snapshots.remove(&segment.base_offset()) {
                files.extend(self.mark_snapshot_deleted(segment.base_offset())?);
            }
            self.remove_later(&files, now.steady);
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
}
