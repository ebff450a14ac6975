//! Indexes held against their segment. An index file may be sound in itself and yet be wrong: of another segment, too
//! short, damaged in an entry. What is read through one is checked where it lands: the batch there has to be the one
//! that the entry tells of. An index that disagrees is made anew, so that no record is skipped and none is dropped before
//! its time. (Kafka 4.3 trusts an index that passes its sanity check, and skips records.)

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::warn;

use super::error::Error;
use super::index::{OffsetEntry, TimeEntry};
use super::page_cache::{self, Source};
use super::scan::{Fault, Scan, UNVERIFIED};
use super::segment::{LOG_SUFFIX, LOOKUP_BYTES, Segment, lock};
use crate::ids::{Offset, Timestamp};
use crate::record::BatchHeader;
use crate::record::batch::HEADER_LEN;

impl Segment {
    /// Whether `header` can be the batch that `entry` points at. An entry's offset is the last one of its batch; Kafka
    /// before 4.0 has one entry for several batches that were appended together, with the last offset of them all.
    pub(super) fn is_of(&self, entry: &OffsetEntry, header: &BatchHeader) -> bool {
        header.base_offset >= self.base_offset()
            && header.last_offset_delta >= 0
            && header.last_offset() <= entry.offset
    }

    /// The header of the batch that an entry points at; `None` when there is none that it can tell of.
    pub(super) fn batch_of(
        &self,
        file: &File,
        entry: &OffsetEntry,
        source: Source,
    ) -> Result<Option<BatchHeader>, Error> {
        let position = u64::from(entry.position);
        let size = self.size();
        if position + HEADER_LEN as u64 > size {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_LEN];
        page_cache::read_exact_at(file, &mut bytes, position, source)
            .map_err(self.io(LOG_SUFFIX))?;
        let header = BatchHeader::parse(&bytes).ok();
        Ok(header
            .filter(|header| position + header.size() as u64 <= size && self.is_of(entry, header)))
    }

    /// The position of the batch that holds an entry's offset and has its timestamp, as the offset index leads there.
    fn batch_at(self: &Arc<Self>, time: &TimeEntry) -> Result<Option<u64>, Error> {
        let file = self.file()?;
        let entry = self.search_index(&self.offsets, Source::Disk, |entry| {
            entry.offset <= time.offset
        })?;
        let Some(from) = self.start_of(&file, entry.as_ref())? else {
            return Ok(None);
        };
        let mut buffer = [0; LOOKUP_BYTES];
        let mut scan = Scan::new(&file, from, self.size(), &mut buffer);
        loop {
            match scan.next(UNVERIFIED) {
                Ok(Some((position, header))) if header.last_offset() >= time.offset => {
                    let agrees =
                        header.base_offset <= time.offset && header.max_timestamp == time.timestamp;
                    return Ok(agrees.then_some(position));
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(Fault::Bad { .. }) => return Ok(None),
                Err(fault) => return Err(self.error(fault)),
            }
        }
    }

    /// The position that an entry leads to, the segment's start where there is none; `None` when it leads nowhere.
    fn start_of(&self, file: &File, entry: Option<&OffsetEntry>) -> Result<Option<u64>, Error> {
        let Some(entry) = entry else {
            return Ok(Some(0));
        };
        let header = self.batch_of(file, entry, Source::Disk)?;
        Ok(header.map(|_| u64::from(entry.position)))
    }

    /// Tells that an index is wrong, and makes both anew.
    pub(super) fn distrust(self: &Arc<Self>, suffix: &str, why: &str) -> Result<(), Error> {
        warn!(segment = %self.path().display(), "its .{suffix} does not agree with it ({why}): made anew");
        self.rebuild_indexes()
    }

    /// From which offset on a batch with at least `timestamp` may lie.
    pub(crate) fn offset_before_timestamp(
        self: &Arc<Self>,
        timestamp: Timestamp,
    ) -> Result<Offset, Error> {
        for _ in 0..2 {
            let entry = self.search_index(&self.times, Source::Disk, |entry| {
                entry.timestamp < timestamp
            })?;
            match entry {
                None => return Ok(self.base_offset()),
                Some(entry) if self.batch_at(&entry)?.is_some() => return Ok(entry.offset),
                Some(_) => self.distrust("timeindex", "another timestamp")?,
            }
        }
        Ok(self.base_offset())
    }

    /// [`Segment::largest_timestamp`] for who drops or passes over the segment because of it: held against the batches,
    /// once.
    pub(crate) fn proven_largest_timestamp(self: &Arc<Self>) -> Result<Option<TimeEntry>, Error> {
        let largest = self.largest_timestamp()?;
        if self.size() == 0 || self.is_largest_proven() {
            return Ok(largest);
        }
        if !self.is_largest(largest.as_ref())? {
            let why = "another timestamp is the largest";
            self.distrust("timeindex", why)?;
        }
        self.set_largest_proven();
        self.largest_timestamp()
    }

    /// Whether a segment has this timestamp, and none behind it is larger.
    fn is_largest(self: &Arc<Self>, largest: Option<&TimeEntry>) -> Result<bool, Error> {
        let (from, most) = match largest {
            None => (0, Timestamp::NONE),
            Some(largest) => match self.batch_at(largest)? {
                None => return Ok(false),
                Some(position) => (position, largest.timestamp),
            },
        };
        let larger = self.find(from, self.size(), |_, header| {
            (header.max_timestamp > most).then_some(())
        })?;
        Ok(larger.is_none())
    }

    /// Whether the indexes of a segment that is being opened can be gone on with: their last entries tell of batches
    /// that are there.
    pub(super) fn ends_agree(self: &Arc<Self>) -> Result<bool, Error> {
        let file = self.file()?;
        let (entry, time) = self.last_entry()?;
        if self.start_of(&file, entry.as_ref())?.is_none() {
            return Ok(false);
        }
        time.map_or(Ok(true), |time| Ok(self.batch_at(&time)?.is_some()))
    }

    /// The largest timestamp is that of the batches that were seen, not what an index says.
    pub(super) fn set_largest_proven(&self) {
        self.largest_proven.store(true, Ordering::Release);
    }

    fn is_largest_proven(&self) -> bool {
        self.largest_proven.load(Ordering::Acquire) && lock(&self.largest).is_some()
    }
}
