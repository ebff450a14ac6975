//! Reading a log: finding the range of a segment file that answers a fetch. No record is read.

use std::sync::Arc;

use super::error::ReadError;
use super::log::{Log, ReadOutcome};
use super::page_cache::Source;
use super::segment::{LOG_SUFFIX, Segment, lock};
use crate::ids::Offset;
use crate::messages::{FileRange, Records};

/// What a read asks for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    from: Offset,
    max_bytes: usize,
    below: Offset,
    min_one_batch: bool,
    source: Source,
}

impl Log {
    /// Finds up to `max_bytes` of whole batches from the one that holds `from` on, all of whose records lie below
    /// `below`; with `min_one_batch` the first may be larger. Reads no record, but may wait for the device.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        below: Offset,
        min_one_batch: bool,
    ) -> Result<ReadOutcome, ReadError> {
        self.read_from(from, max_bytes, below, min_one_batch, Source::Disk)
    }

    /// Likewise, with no more than the source gives: from the page cache it fails where the look-up would have to wait
    /// ([`Error::would_wait`](super::Error::would_wait)). Whether the records lie there it does not ask.
    pub fn read_from(
        &self,
        from: Offset,
        max_bytes: usize,
        below: Offset,
        min_one_batch: bool,
        source: Source,
    ) -> Result<ReadOutcome, ReadError> {
        let asked = Asked {
            from,
            max_bytes,
            below,
            min_one_batch,
            source,
        };
        self.look_up(|| self.read_once(asked))
    }

    fn read_once(&self, asked: Asked) -> Result<ReadOutcome, ReadError> {
        let Asked {
            from,
            below,
            source,
            ..
        } = asked;
        let (segment, end_offset, position, known_from, known_below) = {
            let tail = lock(&self.tail);
            (
                tail.segment,
                tail.end_offset,
                tail.position,
                tail.position_of(from),
                tail.position_of(below),
            )
        };
        let start = self.log_start_offset();
        if from < start || from > end_offset {
            return Err(ReadError::OutOfRange {
                got: from,
                start,
                end: end_offset,
            });
        }
        let below = below.min(end_offset);
        let segments = self.segments.load();
        let first = segments
            .partition_point(|segment| segment.base_offset() <= from)
            .saturating_sub(1);
        for (at, candidate) in segments.iter().enumerate().skip(first) {
            let is_tail = candidate.base_offset() == segment;
            if from >= below || candidate.base_offset() >= below {
                break;
            }
            let limit = if is_tail { position } else { candidate.size() };
            let begin = match known_from.filter(|_| is_tail) {
                Some(begin) => begin,
                None => candidate.position_from(from, limit, source)?,
            };
            let whole = below >= end_offset
                || segments
                    .get(at + 1)
                    .is_some_and(|next| next.base_offset() <= below);
            let limit = match known_below.filter(|_| is_tail) {
                Some(limit) => limit,
                None if whole => limit,
                None => candidate.position_from(below, limit, source)?,
            };
            if begin < limit {
                return self.range(candidate, begin, limit, Asked { below, ..asked });
            }
        }
        let (base, at) = if from == end_offset {
            (segment, position)
        } else {
            (segments[first].base_offset(), 0)
        };
        Ok(ReadOutcome {
            records: Records::default(),
            segment_base_offset: base,
            position: at,
            upper_bound: below,
        })
    }

    fn range(
        &self,
        segment: &Arc<Segment>,
        begin: u64,
        limit: u64,
        asked: Asked,
    ) -> Result<ReadOutcome, ReadError> {
        let Asked { below, source, .. } = asked;
        let most = begin.saturating_add(asked.max_bytes as u64);
        let (end, bound) = if limit <= most {
            (limit, None)
        } else {
            segment.cut(begin, most, limit, asked.min_one_batch, source)?
        };
        let len = usize::try_from(end - begin).expect("a segment is smaller than 4 GB");
        let records = match len {
            0 => Records::default(),
            len => {
                let file = segment.file_from(source)?;
                if self.config.load().verify_on_read {
                    // Much work also where nothing is waited for.
                    segment.expect_disk(source, LOG_SUFFIX)?;
                    self.verify(segment, &file, begin, end)?;
                }
                Records::File(FileRange {
                    file,
                    position: begin,
                    len,
                })
            }
        };
        let upper_bound = bound.map_or(below, |bound| bound.min(below));
        Ok(ReadOutcome {
            records,
            segment_base_offset: segment.base_offset(),
            position: begin,
            upper_bound,
        })
    }
}
