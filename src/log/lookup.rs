//! Questions for offsets: by timestamp (ListOffsets) and by aborted transaction (Fetch of committed records).

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use super::error::{Error, LookUpError};
use super::index::TimeEntry;
use super::log::Log;
use super::page_cache::Source;
use super::segment::{Segment, lock};
use super::transactions::AbortedTransaction;
use crate::ids::{LeaderEpoch, Offset, Timestamp};
use crate::record::batch::{Batch, BatchHeader};

/// How often a look-up begins anew because the segments have changed.
const LOOK_UPS: usize = 8;

/// A record found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampedOffset {
    pub timestamp: Timestamp,
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
}

impl Log {
    /// The first record whose timestamp is at least `timestamp`. Reads from the disk.
    pub fn offset_for_timestamp(
        &self,
        timestamp: Timestamp,
    ) -> Result<Option<TimestampedOffset>, Error> {
        self.look_up(|| self.find_timestamp(timestamp))
    }

    /// Looks something up, and once more where a segment went away meanwhile: it was dropped or cut, or compaction has put
    /// another in its place. What is wrong with the files all the same has its consequences.
    pub(super) fn look_up<T, E: LookUpError>(
        &self,
        look: impl Fn() -> Result<T, E>,
    ) -> Result<T, E> {
        let outcome = self.look_again(look);
        if let Err(error) = &outcome
            && let Some(error) = error.storage()
        {
            self.judge_read(error);
        }
        outcome
    }

    fn look_again<T, E: LookUpError>(&self, look: impl Fn() -> Result<T, E>) -> Result<T, E> {
        for _ in 0..LOOK_UPS {
            let segments = self.segments.load_full();
            match look() {
                Err(error) if error.storage().is_some_and(Error::may_be_of_a_change) => {
                    // Who changes the list holds this lock until it is whole again.
                    drop(lock(&self.append));
                    if Arc::ptr_eq(&segments, &self.segments.load()) {
                        return Err(error);
                    }
                }
                outcome => return outcome,
            }
        }
        look()
    }

    fn find_timestamp(&self, timestamp: Timestamp) -> Result<Option<TimestampedOffset>, Error> {
        let start = self.log_start_offset();
        for segment in self.segments_from(start) {
            let is_before = |largest: Option<TimeEntry>| {
                largest.is_none_or(|largest| largest.timestamp < timestamp)
            };
            if is_before(segment.largest_timestamp()?)
                && is_before(segment.proven_largest_timestamp()?)
            {
                continue;
            }
            let from = segment.offset_before_timestamp(timestamp)?.max(start);
            let mut position = segment.position_of(from, segment.size())?;
            let reaches = |header: &BatchHeader| {
                header.max_timestamp >= timestamp && header.last_offset() >= start
            };
            while let Some((at, header)) =
                segment.find(position, segment.size(), |at, header| {
                    reaches(header).then(|| (at, header.clone()))
                })?
            {
                let wanted = |of: Timestamp, offset: Offset| of >= timestamp && offset >= start;
                if let Some(found) = first_record(&segment, at, &header, wanted)? {
                    return Ok(Some(found));
                }
                position = at + header.size() as u64;
            }
        }
        Ok(None)
    }

    /// The first record with the largest timestamp of all (KIP-734). Reads from the disk.
    pub fn max_timestamp(&self) -> Result<Option<TimestampedOffset>, Error> {
        self.look_up(|| self.find_max_timestamp())
    }

    fn find_max_timestamp(&self) -> Result<Option<TimestampedOffset>, Error> {
        let start = self.log_start_offset();
        let mut best: Option<(Timestamp, Offset, Arc<Segment>)> = None;
        for segment in self.segments_from(start) {
            if let Some(largest) = segment.proven_largest_timestamp()?
                && best
                    .as_ref()
                    .is_none_or(|(timestamp, ..)| largest.timestamp > *timestamp)
            {
                best = Some((largest.timestamp, largest.offset, segment.clone()));
            }
        }
        let Some((timestamp, offset, segment)) = best else {
            return Ok(None);
        };
        let position = segment.position_of(offset, segment.size())?;
        let header = segment.find(position, segment.size(), |_, header| Some(header.clone()))?;
        let Some(header) = header else {
            return Ok(None);
        };
        first_record(&segment, position, &header, |of, _| of >= timestamp)
    }

    /// The transactions that were aborted and have records from `from` up to, not including, `upto`.
    pub fn aborted_transactions(
        &self,
        from: Offset,
        upto: Offset,
    ) -> Result<Vec<AbortedTransaction>, Error> {
        self.aborted_from(from, upto, Source::Disk)
    }

    /// Likewise; see [`Log::read_from`].
    pub fn aborted_from(
        &self,
        from: Offset,
        upto: Offset,
        source: Source,
    ) -> Result<Vec<AbortedTransaction>, Error> {
        self.look_up(|| self.find_aborted(from, upto, source))
    }

    fn find_aborted(
        &self,
        from: Offset,
        upto: Offset,
        source: Source,
    ) -> Result<Vec<AbortedTransaction>, Error> {
        let mut found = Vec::new();
        for segment in self.segments_from(from) {
            for aborted in self.aborted_of(&segment, source)? {
                if aborted.last_offset >= from && aborted.first_offset < upto {
                    found.push(aborted);
                }
                if aborted.last_stable_offset >= upto {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// The segments from the one that holds `from` on.
    fn segments_from(&self, from: Offset) -> Vec<Arc<Segment>> {
        let segments = self.segments.load();
        let first = segments
            .partition_point(|segment| segment.base_offset() <= from)
            .saturating_sub(1);
        segments[first..].to_vec()
    }
}

/// The first record of the batch at `position` that is `wanted` by its timestamp and offset.
fn first_record(
    segment: &Arc<Segment>,
    position: u64,
    header: &BatchHeader,
    wanted: impl Fn(Timestamp, Offset) -> bool,
) -> Result<Option<TimestampedOffset>, Error> {
    let mut bytes = vec![0; header.size()];
    segment
        .file()?
        .read_exact_at(&mut bytes, position)
        .map_err(Error::io(&segment.path()))?;
    let path = || segment.path();
    let batch = Batch::parse(&Bytes::from(bytes))
        .map_err(|_| Error::corrupt(&path(), position, "no batch"))?;
    // A leader opens compressed batches only where it has to: a client may have written anything.
    let unreadable = |_| match batch.check_crc() {
        Ok(()) => Error::Unreadable {
            path: path(),
            position,
        },
        Err(_) => Error::corrupt(&path(), position, "wrong CRC"),
    };
    let mut records = batch.reader().map_err(unreadable)?;
    while let Some(record) = records.next().map_err(unreadable)? {
        if wanted(record.timestamp, record.offset) {
            let (timestamp, offset) = (record.timestamp, record.offset);
            return Ok(Some(TimestampedOffset {
                timestamp,
                offset,
                leader_epoch: header.leader_epoch,
            }));
        }
    }
    Ok(None)
}
