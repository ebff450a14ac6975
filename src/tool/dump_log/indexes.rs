//! The entries of an offset index or a time index, checked against the segment beside it.
//! (DumpLogSegments.{dumpIndex, dumpTimeIndex})

use std::io;
use std::path::{Path, PathBuf};

use super::batches::Batches;
use super::{Findings, base_offset, note};
use crate::ids::Offset;
use crate::log::index::{Entry, OffsetEntry, TimeEntry};
use crate::record::Batch;
use crate::tool::Failure;
use crate::tool::print::say;

/// What is asked of an index besides its entries.
#[derive(Clone, Copy)]
pub(super) struct Only {
    /// The check that a broker makes when it opens the index, and nothing else.
    pub(super) sanity: bool,
    /// The entries are checked and not printed.
    pub(super) verify: bool,
}

/// An index file's entries; zeros at its end, which Kafka preallocates, count as entries.
struct Index<E> {
    base: i64,
    bytes: u64,
    entries: Vec<E>,
}

impl<E: Entry> Index<E> {
    fn read(path: &Path) -> Result<Index<E>, Failure> {
        let base = base_offset(path)?;
        let bytes = std::fs::read(path).map_err(|error| failed(path, &error))?;
        Ok(Index {
            base,
            bytes: bytes.len() as u64,
            entries: bytes
                .chunks_exact(E::SIZE)
                .map(|entry| E::read(entry, Offset(base)))
                .collect(),
        })
    }

    /// (AbstractIndex.sanityCheck)
    fn check(&self, path: &Path, last: impl Fn(&E) -> Option<String>) -> Result<(), Failure> {
        if let Some(what) = self.entries.last().and_then(last) {
            return Err(Failure::new(format!(
                "Corrupt {} found, index file ({}) has non-zero size but {what}",
                if E::SUFFIX == OffsetEntry::SUFFIX {
                    "index"
                } else {
                    "time index"
                },
                path.display(),
            )));
        }
        if !self.bytes.is_multiple_of(E::SIZE as u64) {
            return Err(Failure::new(format!(
                "Index file {} is corrupt, found {} bytes which is neither positive nor a multiple of {}.",
                path.display(),
                self.bytes,
                E::SIZE
            )));
        }
        Ok(())
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

fn segment(path: &Path) -> Result<(PathBuf, Batches, u64), Failure> {
    let log = path.with_extension("log");
    let batches = Batches::open(&log, u64::MAX).map_err(|error| failed(&log, &error))?;
    let size = batches.end;
    Ok((log, batches, size))
}

pub(super) fn offset_index(
    path: &Path,
    only: Only,
    bytes_max: u32,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let (log, mut batches, size) = segment(path)?;
    let index = Index::<OffsetEntry>::read(path)?;
    if index.entries.is_empty() {
        say!("{} is empty.", path.display());
        return Ok(());
    }
    if only.sanity {
        index.check(path, |last| {
            let below = last.offset.0 < index.base;
            below.then(|| {
                format!(
                    "the last offset is {} which is less than the base offset {}",
                    last.offset, index.base
                )
            })
        })?;
        say!("{} passed sanity check.", path.display());
        return Ok(());
    }
    for (at, entry) in index.entries.iter().enumerate() {
        if entry.offset.0 == index.base && at > 0 {
            return Ok(());
        }
        let position = u64::from(entry.position);
        if position > size {
            return Err(failed(
                path,
                &format!(
                    "an entry's position {position} is behind the end of {}",
                    log.display()
                ),
            ));
        }
        batches.seek(position, size.min(position + u64::from(bytes_max)));
        let found = batches.next().map_err(|error| failed(&log, &error))?;
        let batch = found.ok_or_else(|| {
            failed(
                path,
                &format!("no batch at position {position} of {}", log.display()),
            )
        })?;
        let last_offset = batch.header.last_offset();
        if last_offset != entry.offset {
            note(
                &mut findings.offset_mismatches,
                path,
                (entry.offset.0, last_offset.0),
            );
        }
        if !only.verify {
            say!("offset: {} position: {position}", entry.offset);
        }
    }
    Ok(())
}

pub(super) fn time_index(path: &Path, only: Only, findings: &mut Findings) -> Result<(), Failure> {
    let (log, mut batches, size) = segment(path)?;
    let offsets = Index::<OffsetEntry>::read(&path.with_extension("index"))?;
    let times = Index::<TimeEntry>::read(path)?;
    if only.sanity {
        times.check(path, |last| {
            let first = times.entries[0].timestamp;
            if last.timestamp < first {
                return Some(format!(
                    "the last timestamp is {} which is less than the first timestamp {}",
                    last.timestamp.0, first.0
                ));
            }
            let below = last.offset.0 < times.base;
            below.then(|| {
                format!(
                    "the last offset is {} which is less than the first offset {}",
                    last.offset, times.base
                )
            })
        })?;
        say!("{} passed sanity check.", path.display());
        return Ok(());
    }
    let mut before = -1;
    for (at, entry) in times.entries.iter().enumerate() {
        if entry.offset.0 == times.base && at > 0 {
            return Ok(());
        }
        let upto = offsets
            .entries
            .partition_point(|indexed| indexed.offset <= entry.offset);
        let position = upto
            .checked_sub(1)
            .map_or(0, |at| u64::from(offsets.entries[at].position));
        batches.seek(position.min(size), size);
        match first_reaching(&mut batches, entry.offset).map_err(|error| failed(&log, &error))? {
            None => note(&mut findings.not_found, path, (entry.offset.0, -1)),
            Some(batch) if batch.header.last_offset() != entry.offset => {
                note(
                    &mut findings.not_found,
                    path,
                    (entry.offset.0, batch.header.last_offset().0),
                );
            }
            Some(batch) => {
                let largest = largest_timestamp(&batch).map_err(|error| failed(&log, &error))?;
                if largest != entry.timestamp.0 {
                    note(
                        &mut findings.time_mismatches,
                        path,
                        (entry.timestamp.0, largest),
                    );
                }
                if before >= entry.timestamp.0 {
                    note(
                        &mut findings.out_of_order,
                        path,
                        (entry.timestamp.0, before),
                    );
                }
            }
        }
        if !only.verify {
            say!("timestamp: {} offset: {}", entry.timestamp.0, entry.offset);
        }
        before = entry.timestamp.0;
    }
    Ok(())
}

/// The next batch that ends at or behind `offset`.
fn first_reaching(batches: &mut Batches, offset: Offset) -> io::Result<Option<Batch>> {
    while let Some(batch) = batches.next()? {
        if batch.header.last_offset() >= offset {
            return Ok(Some(batch));
        }
    }
    Ok(None)
}

fn largest_timestamp(batch: &Batch) -> Result<i64, crate::record::Corrupt> {
    let mut largest = -1;
    let mut records = batch.reader()?;
    while let Some(record) = records.next()? {
        largest = largest.max(record.timestamp.0);
    }
    Ok(largest)
}
