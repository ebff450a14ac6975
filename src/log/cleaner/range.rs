//! How far a log can be compacted, how dirty it is, and whether that is worth a run.
//! (org.apache.kafka.storage.internals.log.{LogCleanerManager, LogToClean})

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::warn;

use crate::ids::{Offset, Timestamp};
use crate::log::error::Error;
use crate::log::log::Log;
use crate::log::segment::Segment;

/// The part of a log that a run would compact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cleanable {
    /// All below was compacted before.
    pub first_dirty: Offset,
    /// The first segment that is not touched begins here.
    pub first_uncleanable: Offset,
    /// Bytes below `first_dirty`.
    pub clean_bytes: u64,
    /// Bytes from there to `first_uncleanable`.
    pub cleanable_bytes: u64,
    /// For how long `max.compaction.lag.ms` has been exceeded.
    pub overdue_ms: i64,
    /// `min.cleanable.dirty.ratio`
    min_ratio: f64,
}

impl Cleanable {
    /// The share of what is dirty in all that can be compacted; 0 to 1.
    pub fn ratio(&self) -> f64 {
        let total = self.clean_bytes + self.cleanable_bytes;
        if total == 0 {
            return 0.0;
        }
        self.cleanable_bytes as f64 / total as f64
    }

    /// Whether a run is due.
    pub fn is_due(&self) -> bool {
        self.ratio() > self.min_ratio || (self.overdue_ms > 0 && self.cleanable_bytes > 0)
    }
}

impl Log {
    /// Up to where the log was compacted; `None` where it never was.
    pub fn cleaned_to(&self) -> Option<Offset> {
        let offset = self.cleaned_to.load(Ordering::Acquire);
        (offset >= 0).then_some(Offset(offset))
    }

    /// Takes over how far the log was compacted that this one is a copy of.
    pub fn set_cleaned_to(&self, offset: Option<Offset>) {
        self.cleaned_to
            .store(offset.map_or(-1, |offset| offset.0), Ordering::Release);
    }

    /// What can be compacted now: nothing of the active segment, nothing that is not stable, and nothing younger than
    /// `min.compaction.lag.ms`; whole segments.
    pub fn cleanable(&self, high_watermark: Offset, now: Timestamp) -> Result<Cleanable, Error> {
        let config = self.config.load();
        let segments = self.segments.load_full();
        let (active, sealed) = segments.split_last().expect("a log has a segment");
        let first_dirty = self.first_dirty();
        let dirty_from = containing(&segments, first_dirty);
        let stable = self.last_stable_offset(high_watermark);
        let mut uncleanable = stable.min(active.base_offset());
        if config.min_compaction_lag_ms > 0 {
            let youngest = now.0.saturating_sub(config.min_compaction_lag_ms);
            for segment in &sealed[dirty_from..] {
                if youngest_of(segment)?.0 > youngest {
                    uncleanable = uncleanable.min(segment.base_offset());
                    break;
                }
            }
        }
        let uncleanable = uncleanable.max(first_dirty);
        // A segment that is not wholly below it is not touched.
        let end = containing(&segments, uncleanable);
        let bytes = |segments: &[Arc<Segment>]| segments.iter().map(|segment| segment.size()).sum();
        let dirty_from = dirty_from.min(end);
        Ok(Cleanable {
            first_dirty,
            first_uncleanable: segments[end].base_offset(),
            clean_bytes: bytes(&sealed[..dirty_from]),
            cleanable_bytes: bytes(&sealed[dirty_from..end]),
            overdue_ms: overdue(&sealed[dirty_from..], config.max_compaction_lag_ms, now)?,
            min_ratio: config.min_cleanable_dirty_ratio,
        })
    }

    /// Where the part begins that was not compacted yet. What the checkpoint says is not believed when it lies outside
    /// the log: all is dirty then.
    fn first_dirty(&self) -> Offset {
        let (start, end) = (self.log_start_offset(), self.log_end_offset());
        match self.cleaned_to() {
            None => start,
            Some(cleaned) if cleaned < start => {
                // Retention has passed it, as it does under compact,delete.
                if !self.config.load().delete {
                    warn!(log = %self.dir().display(), "compacted up to {cleaned}, which is below the log start offset {start}");
                }
                self.set_cleaned_to(Some(start));
                start
            }
            Some(cleaned) if cleaned > end => {
                warn!(
                    log = %self.dir().display(),
                    "compacted up to {cleaned}, which is above the log end offset {end}: beginning anew"
                );
                self.set_cleaned_to(Some(start));
                start
            }
            Some(cleaned) => cleaned,
        }
    }
}

/// The place of the segment that holds `offset`, or of the first one.
fn containing(segments: &[Arc<Segment>], offset: Offset) -> usize {
    segments
        .partition_point(|segment| segment.base_offset() <= offset)
        .saturating_sub(1)
}

/// The largest timestamp of a segment, or when it was written where it has none.
fn youngest_of(segment: &Arc<Segment>) -> Result<Timestamp, Error> {
    match segment.largest_timestamp()? {
        Some(largest) => Ok(largest.timestamp),
        None => segment.modified(),
    }
}

/// For how long the oldest dirty segment has waited beyond the greatest lag. (LogCleanerManager.maxCompactionDelay)
fn overdue(dirty: &[Arc<Segment>], lag_ms: i64, now: Timestamp) -> Result<i64, Error> {
    let until = now.0.saturating_sub(lag_ms.max(0));
    let mut longest = 0;
    // Nothing is that old.
    if until <= 0 {
        return Ok(0);
    }
    for segment in dirty.iter().filter(|segment| segment.size() > 0) {
        let first = segment.find(0, segment.size(), |_, header| Some(header.max_timestamp))?;
        if let Some(first) = first.filter(|first| first.0 > 0) {
            longest = longest.max(until - first.0);
        }
    }
    Ok(longest)
}
