//! The aborted transactions of a segment, held against it before they are told: a reader of committed records skips what
//! they cover, and would take what they leave out for committed. A `.txnindex` that disagrees is made anew from the
//! markers in the segment and the producers' states at its start.

use std::sync::Arc;

use tracing::warn;

use super::error::Error;
use super::log::Log;
use super::page_cache::Source;
use super::producers::{Origin, Producers, Verdict};
use super::scan::{Fault, Scan, UNVERIFIED};
use super::segment::Segment;
use super::snapshots;
use super::transactions::{self, AbortedTransaction};
use crate::ids::Offset;
use crate::record::BatchHeader;

/// Bytes read at a time.
const WALK_BYTES: usize = 64 * 1024;

impl Log {
    /// The transactions whose ABORT marker lies in a segment. They are held against it by who may wait for the disk.
    pub(super) fn aborted_of(
        &self,
        segment: &Arc<Segment>,
        source: Source,
    ) -> Result<Vec<AbortedTransaction>, Error> {
        let entries = match segment.aborted(source) {
            Ok(entries) if entries.is_empty() || segment.is_aborted_proven() => return Ok(entries),
            Err(error) if !matches!(error, Error::Malformed { .. }) => return Err(error),
            found => {
                segment.expect_disk(source, transactions::SUFFIX)?;
                match found {
                    Ok(entries) if self.are_markers(segment, &entries)? => {
                        segment.set_aborted_proven();
                        return Ok(entries);
                    }
                    _ => self.aborted_anew(segment)?,
                }
            }
        };
        warn!(segment = %segment.path().display(), "its .txnindex does not agree with it: made anew");
        segment.replace_aborted(&entries)?;
        Ok(entries)
    }

    /// Whether each entry tells of a transaction that is there: its producer's first batch and marker.
    fn are_markers(
        &self,
        segment: &Arc<Segment>,
        entries: &[AbortedTransaction],
    ) -> Result<bool, Error> {
        let segments = self.segments.load();
        for entry in entries {
            let is_producers = |header: &BatchHeader| header.producer_id == entry.producer_id;
            let is_marker = |header: &BatchHeader| header.is_control() && is_producers(header);
            if entry.first_offset > entry.last_offset
                || entry.last_stable_offset > entry.last_offset + 1
                || !self.is_there(segment, entry.last_offset, is_marker)?
            {
                return Ok(false);
            }
            let after = segments.partition_point(|other| other.base_offset() <= entry.first_offset);
            let is_first = |header: &BatchHeader| {
                header.base_offset == entry.first_offset && is_producers(header)
            };
            // What began in a segment that is gone cannot be looked at.
            if let Some(at) = after.checked_sub(1)
                && !self.is_there(&segments[at], entry.first_offset, is_first)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the batch that holds an offset is such a one. Compaction may have removed it.
    fn is_there(
        &self,
        segment: &Arc<Segment>,
        offset: Offset,
        is_such: impl Fn(&BatchHeader) -> bool,
    ) -> Result<bool, Error> {
        let position = segment.position_of(offset, segment.size())?;
        let found = segment.find(position, segment.size(), |_, header| {
            let holds = header.base_offset <= offset;
            Some(if holds {
                is_such(header)
            } else {
                self.config().compact
            })
        })?;
        Ok(found.unwrap_or_else(|| self.config().compact))
    }

    /// Reads the markers of a segment, from the producers' states at the start of it or of one before it.
    fn aborted_anew(&self, segment: &Arc<Segment>) -> Result<Vec<AbortedTransaction>, Error> {
        let dir = self.dir();
        let segments = self.segments.load();
        let upto = segments.partition_point(|other| other.base_offset() <= segment.base_offset());
        let mut producers = Producers::default();
        let mut first = upto;
        while first > 0 {
            first -= 1;
            let base = segments[first].base_offset();
            if let Ok(Some(states)) = snapshots::read(&snapshots::path(&dir, base)) {
                states.into_iter().for_each(|state| producers.load(state));
                break;
            }
        }
        let mut aborted = Vec::new();
        for each in &segments[first..upto] {
            aborted = aborted_in(each, &mut producers)?;
        }
        Ok(aborted)
    }
}

/// The transactions that are aborted in a segment; takes its batches into the producers' states.
fn aborted_in(
    segment: &Arc<Segment>,
    producers: &mut Producers,
) -> Result<Vec<AbortedTransaction>, Error> {
    let mut aborted = Vec::new();
    if segment.size() == 0 {
        return Ok(aborted);
    }
    let file = segment.file()?;
    let mut buffer = vec![0; WALK_BYTES];
    let mut scan = Scan::new(&file, 0, segment.size(), &mut buffer);
    while let Some((position, header)) = scan
        .next(UNVERIFIED)
        .map_err(|fault| segment.error(fault))?
    {
        if !header.has_producer_id() {
            continue;
        }
        let marker = scan
            .marker(position, &header)
            .map_err(|error| segment.error(Fault::Io(error)))?;
        let verdict = producers.prepare(&header, header.base_offset, marker, Origin::Replication);
        if let Ok(Verdict::New(Some(prepared))) = verdict {
            aborted.extend(producers.commit(prepared));
        }
    }
    Ok(aborted)
}
