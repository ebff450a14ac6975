//! One run of compaction over one log: the map of its dirty part, then its segments group by group.
//! (org.apache.kafka.storage.internals.log.Cleaner.{buildOffsetMap, cleanSegments, cleanInto})

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::filter::Filter;
use super::offset_map::OffsetMap;
use super::output::{Cleaned, Output, Shape, discard};
use super::reader::BatchReader;
use super::transactions::Transactions;
use super::{CleanError, CleanStats, Cleanable, Limits, Source, Stage, Watch, groups};
use crate::ids::{Now, Offset};
use crate::log::error::Error;
use crate::log::listing::CLEANED;
use crate::log::log::Log;
use crate::log::segment::Segment;
use crate::record::RecordReader;
use crate::record::batch::HEADER_LEN;

/// Positions in an index have 31 bits, and what is written anew may be larger than it was.
const OUTPUT_BYTES_MAX: u64 = i32::MAX as u64;

/// A run under way.
pub(super) struct Run<'a> {
    log: &'a Log,
    watch: &'a dyn Watch,
    now: Now,
    io_buffer_bytes: usize,
    /// Goes from one reader to the next.
    buffer: Vec<u8>,
    pub(super) stats: CleanStats,
}

impl<'a> Run<'a> {
    pub(super) fn new(log: &'a Log, limits: &Limits, now: Now, watch: &'a dyn Watch) -> Run<'a> {
        Run {
            log,
            watch,
            now,
            io_buffer_bytes: limits.io_buffer_bytes.max(HEADER_LEN),
            buffer: Vec::new(),
            stats: CleanStats::default(),
        }
    }

    /// Fills the map with the keys of the dirty part, as far as they fit.
    pub(super) fn build_map(
        &mut self,
        sources: &[Source],
        cleanable: &Cleanable,
        map: &mut OffsetMap,
    ) -> Result<(), CleanError> {
        let (start, end) = (cleanable.first_dirty, cleanable.first_uncleanable);
        let dirty = sources
            .partition_point(|source| source.segment.base_offset() <= start)
            .saturating_sub(1);
        let dirty = if start < end { &sources[dirty..] } else { &[] };
        self.watch.begins(Stage::Indexing {
            bytes: dirty.iter().map(|source| source.size).sum(),
        });
        let mut transactions = Transactions::default();
        transactions.announce(self.log.aborted_transactions(start, end)?);
        for (at, source) in dirty.iter().enumerate() {
            let next = dirty
                .get(at + 1)
                .map_or(end, |next| next.segment.base_offset());
            if !self.map_segment(source, start, map, &mut transactions)? {
                return Ok(());
            }
            // There may be no batches up to the next segment.
            map.advance(Offset(next.0 - 1));
        }
        Ok(())
    }

    /// Gives back what a large batch took. (Cleaner.restoreBuffers)
    fn restore_buffer(&mut self) {
        self.buffer.truncate(self.io_buffer_bytes);
        self.buffer.shrink_to(self.io_buffer_bytes);
        self.buffer.resize(self.io_buffer_bytes, 0);
    }

    /// False when the map is full.
    fn map_segment(
        &mut self,
        source: &Source,
        start: Offset,
        map: &mut OffsetMap,
        transactions: &mut Transactions,
    ) -> Result<bool, CleanError> {
        let segment = &source.segment;
        let position = if segment.base_offset() < start {
            segment.position_of(start, source.size)?
        } else {
            0
        };
        self.restore_buffer();
        let mut reader = BatchReader::new(segment, position, source.size, &mut self.buffer)?;
        while let Some(batch) = reader.next(self.watch)? {
            let header = &batch.header;
            let payload = &batch.bytes[HEADER_LEN..];
            self.stats.indexed_bytes += batch.bytes.len() as u64;
            if header.is_control() {
                transactions.on_control(header, payload);
                self.stats.indexed_records += 1;
            } else if transactions.on_batch(header) {
                self.stats.indexed_records += header.record_count.max(0) as u64;
            } else {
                let corrupt = |_| unreadable(segment, batch.position);
                let mut records = RecordReader::open(header, payload).map_err(corrupt)?;
                while let Some(record) = records.next().map_err(corrupt)? {
                    if let Some(key) = record.key.filter(|_| record.offset >= start)
                        && !map.put(key, record.offset)
                    {
                        return Ok(false);
                    }
                    self.stats.indexed_records += 1;
                }
            }
            if header.last_offset() >= start {
                map.advance(header.last_offset());
            }
        }
        Ok(true)
    }

    /// Writes the segments anew, group by group; returns what stands last in their place.
    pub(super) fn rewrite(
        &mut self,
        sources: &[Source],
        cleanable: &Cleanable,
        map: &OffsetMap,
    ) -> Result<Option<Source>, CleanError> {
        self.watch.begins(Stage::Cleaning {
            bytes: sources.iter().map(|source| source.size).sum(),
        });
        self.stats.segments_before = sources.len();
        let config = self.log.config();
        let groups = groups::group(sources, &config, cleanable.first_uncleanable)
            .map_err(|error| self.log.or_changed(error.into(), sources))?;
        let mut filter = Filter::new(
            map,
            self.now.wall,
            config.delete_retention_ms,
            cleanable.first_uncleanable,
        );
        let mut last = None;
        let mut next = sources
            .iter()
            .skip(1)
            .map(|source| source.segment.base_offset());
        for group in &groups {
            let bounds: Vec<Offset> = group
                .iter()
                .map(|_| next.next().unwrap_or(cleanable.first_uncleanable))
                .collect();
            let replaced = self.rewrite_group(group, &bounds, &mut filter)?;
            self.stats.segments_after += replaced.len();
            last = replaced.last().cloned();
        }
        Ok(last)
    }

    /// Writes one group and puts it in place. `bounds` are where each of its segments ends.
    fn rewrite_group(
        &mut self,
        group: &[Source],
        bounds: &[Offset],
        filter: &mut Filter<'_>,
    ) -> Result<Vec<Source>, CleanError> {
        let log = self.log;
        let mut begun = Vec::new();
        let swapped = self
            .write_group(group, bounds, filter, &mut begun)
            .and_then(|cleaned| {
                if !self.watch.go_on() {
                    return Err(CleanError::Stopped);
                }
                log.swap(group, &cleaned, self.now)
            });
        swapped.map_err(|error| {
            for base in begun {
                if let Err(error) = discard(&log.home, base, &[CLEANED]) {
                    tracing::warn!(%error, "the next start removes it");
                }
            }
            log.or_changed(error, group)
        })
    }

    /// Writes what stays of a group. `begun` tells the names that are used.
    fn write_group(
        &mut self,
        group: &[Source],
        bounds: &[Offset],
        filter: &mut Filter<'_>,
        begun: &mut Vec<Offset>,
    ) -> Result<Vec<Cleaned>, CleanError> {
        let shape = Shape {
            buffer_bytes: self.io_buffer_bytes,
            index_interval_bytes: self.log.config().index_interval_bytes,
        };
        let modified = group
            .last()
            .expect("a group has a segment")
            .segment
            .modified()?;
        let modified = UNIX_EPOCH + Duration::from_millis(modified.0.max(0) as u64);
        let mut outputs = Outputs {
            log: self.log,
            shape,
            modified,
            finished: Vec::new(),
            begun,
        };
        let mut output = outputs.begin(group[0].segment.base_offset())?;
        filter.know(&self.log.producers());
        for (source, bound) in group.iter().zip(bounds) {
            let from = source.segment.base_offset();
            filter
                .transactions
                .announce(self.log.aborted_transactions(from, *bound)?);
            output = self.write_segment(source, filter, &mut outputs, output)?;
        }
        outputs.finish(output, self.watch)?;
        Ok(outputs.finished)
    }

    /// Writes what stays of one segment behind what there is in `output`; returns the output that is the last then.
    fn write_segment(
        &mut self,
        source: &Source,
        filter: &mut Filter<'_>,
        outputs: &mut Outputs<'_>,
        mut output: Output,
    ) -> Result<Output, CleanError> {
        let segment = &source.segment;
        self.restore_buffer();
        let mut reader = BatchReader::new(segment, 0, source.size, &mut self.buffer)?;
        while let Some(batch) = reader.next(self.watch)? {
            let position = output.size();
            let filtered = filter
                .filter(&batch, &mut output.buffer)
                .map_err(|_| unreadable(segment, batch.position))?;
            self.stats.read_bytes += batch.bytes.len() as u64;
            self.stats.read_records += filtered.records_read;
            self.stats.keyless_records += filtered.keyless;
            let Some(header) = filtered.header else {
                continue;
            };
            self.stats.written_bytes += header.size() as u64;
            self.stats.written_records += filtered.records_kept;
            if output.size() > OUTPUT_BYTES_MAX {
                let moved = output.take_from(position);
                outputs.finish(output, self.watch)?;
                output = outputs.begin(header.base_offset)?;
                output.buffer = moved;
                output.note(&header, 0, self.watch)?;
            } else {
                output.note(&header, position, self.watch)?;
            }
            if let Some(transaction) = filtered.aborted {
                output.note_aborted(transaction);
            }
        }
        Ok(output)
    }
}

/// The segments that one group becomes: one, unless it outgrows a segment.
struct Outputs<'a> {
    log: &'a Log,
    shape: Shape,
    modified: SystemTime,
    finished: Vec<Cleaned>,
    begun: &'a mut Vec<Offset>,
}

impl Outputs<'_> {
    fn begin(&mut self, base_offset: Offset) -> Result<Output, Error> {
        self.begun.push(base_offset);
        Output::create(&self.log.home, base_offset, self.shape)
    }

    fn finish(&mut self, output: Output, watch: &dyn Watch) -> Result<(), Error> {
        self.finished.push(output.finish(self.modified, watch)?);
        Ok(())
    }
}

fn unreadable(segment: &Arc<Segment>, position: u64) -> CleanError {
    Error::corrupt(&segment.path(), position, "records that cannot be read").into()
}
