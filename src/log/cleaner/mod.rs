//! Log compaction: of each key a log keeps the last record. One run over one log ([`Log::clean`]):
//!
//! 1. the keys of the dirty part go into a map of bounded memory with the offsets of their last records (`offset_map`)
//! 2. segments that shrink to one are taken together (`groups`); what stays of them ([`filter`]) is written beside them
//!    (`output`) and put in their place (`swap`), one group after another
//! 3. the log is clean up to where the map came (`cleaner-offset-checkpoint`)
//!
//! A run works beside appends, reads, retention and truncation; the append lock is held for the swap alone, which does not
//! happen when the segments are not those that were read. Which log is next, and the threads, are decided in `replica`.
//! (org.apache.kafka.storage.internals.log.{Cleaner, LogCleaner})

mod filter;
mod groups;
mod offset_map;
mod output;
mod range;
mod reader;
mod run;
mod swap;
mod transactions;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::offset_map::OffsetMap;
use self::run::Run;
use super::error::Error;
use super::health::is_full;
use super::log::Log;
use super::segment::Segment;
use crate::ids::{Now, Offset};
pub use range::Cleanable;

/// What a run may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// `log.cleaner.dedupe.buffer.size` for each thread.
    pub map_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`
    pub map_load: f64,
    /// `log.cleaner.io.buffer.size` for each thread and direction. A larger batch gets a larger buffer.
    pub io_buffer_bytes: usize,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reads the dirty part, of at most so many bytes, for its keys.
    Indexing { bytes: u64 },
    /// Writes anew segments of so many bytes.
    Cleaning { bytes: u64 },
}

/// Who looks after a run. It is called between any two pieces of work.
pub trait Watch {
    /// Whether to go on; else the run ends, and what it has put in place already stays.
    fn go_on(&self) -> bool;
    /// So many bytes were read or written. May wait, to keep to a rate.
    fn moved(&self, bytes: u64);
    fn begins(&self, stage: Stage);
}

/// Why a run came to no end.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    #[error("the run was stopped")]
    Stopped,
    #[error("the log was cut or retained meanwhile")]
    Changed,
    #[error(transparent)]
    Storage(#[from] Error),
}

impl CleanError {
    /// Whether the next run may come to its end.
    pub fn passes(&self) -> bool {
        match self {
            CleanError::Stopped
            | CleanError::Changed
            | CleanError::Storage(Error::Offline { .. } | Error::NoSpace { .. }) => true,
            CleanError::Storage(Error::Io { source, .. }) => is_full(source),
            CleanError::Storage(
                Error::Corrupt { .. } | Error::Unreadable { .. } | Error::Malformed { .. },
            ) => false,
        }
    }
}

/// What a run has done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CleanStats {
    pub first_dirty: Offset,
    /// The log is clean up to here.
    pub end: Offset,
    pub indexed_bytes: u64,
    pub indexed_records: u64,
    pub read_bytes: u64,
    pub read_records: u64,
    pub written_bytes: u64,
    pub written_records: u64,
    /// Records without a key, which were dropped.
    pub keyless_records: u64,
    pub segments_before: usize,
    pub segments_after: usize,
    pub keys: usize,
    /// The share of the map's slots that was used.
    pub map_utilization: f64,
    /// The memory that the map took.
    pub map_bytes: u64,
}

/// A segment as it was when the run began.
#[derive(Clone)]
struct Source {
    segment: Arc<Segment>,
    size: u64,
}

impl Source {
    fn of(segment: &Arc<Segment>) -> Source {
        Source {
            size: segment.size(),
            segment: segment.clone(),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.segment.path().display(), self.size)
    }
}

/// Whether a log still has these segments, one behind the other, as they were, and all of them sealed.
fn is_current(segments: &[Arc<Segment>], sources: &[Source]) -> bool {
    let Some(first) = sources.first() else {
        return true;
    };
    let Some(from) = segments
        .iter()
        .position(|segment| Arc::ptr_eq(segment, &first.segment))
    else {
        return false;
    };
    let is_same = |(at, source): (usize, &Source)| {
        from + at + 1 < segments.len()
            && Arc::ptr_eq(&segments[from + at], &source.segment)
            && source.segment.size() == source.size
    };
    sources.iter().enumerate().all(is_same)
}

impl Log {
    /// Compacts what [`Log::cleanable`] has found. One run at a time for each log; waits for the device.
    pub fn clean(
        &self,
        cleanable: &Cleanable,
        limits: &Limits,
        now: Now,
        watch: &dyn Watch,
    ) -> Result<CleanStats, CleanError> {
        // What is put in place of the segments is on the device at once; so must be what they were made from.
        self.flush_sealed()?;
        let sources: Vec<Source> = self
            .segments
            .load()
            .iter()
            .filter(|segment| segment.base_offset() < cleanable.first_uncleanable)
            .map(Source::of)
            .collect();
        let mut run = Run::new(self, limits, now, watch);
        let mut map = OffsetMap::new(limits.map_bytes, limits.map_load);
        run.build_map(&sources, cleanable, &mut map)
            .map_err(|error| self.or_changed(error, &sources))?;
        let end = map.latest() + 1;
        let taken = sources.partition_point(|source| source.segment.base_offset() < end);
        let last = run.rewrite(&sources[..taken], cleanable, &map)?;
        let stats = CleanStats {
            first_dirty: cleanable.first_dirty,
            end: end.max(cleanable.first_dirty),
            keys: map.keys(),
            map_utilization: map.utilization(),
            map_bytes: map.bytes(),
            ..run.stats
        };
        self.note_cleaned(stats.end, last.as_ref())?;
        Ok(stats)
    }

    /// Notes how far the log is clean, unless what was put in place last has been cut off since.
    fn note_cleaned(&self, end: Offset, last: Option<&Source>) -> Result<(), CleanError> {
        let _append = self.lock_for_append()?;
        if !is_current(
            &self.segments.load(),
            last.map_or(&[], std::slice::from_ref),
        ) {
            return Err(CleanError::Changed);
        }
        self.cleaned_to.store(end.0, Ordering::Release);
        Ok(())
    }

    /// An error with segments that the log does not have any more is none of the disk.
    fn or_changed(&self, error: CleanError, sources: &[Source]) -> CleanError {
        match error {
            CleanError::Storage(_) if !is_current(&self.segments.load(), sources) => {
                CleanError::Changed
            }
            error => error,
        }
    }
}
