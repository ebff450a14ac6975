//! An offset index and a time index, held against the batches that pass by.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Checked;
use crate::ids::{Offset, Timestamp};
use crate::log::index::{Entry, OffsetEntry, TimeEntry};
use crate::record::BatchHeader;

/// The entries of one index file and how far they have been held against batches.
struct Entries<E> {
    path: PathBuf,
    /// `None` where there is no file.
    entries: Option<Vec<E>>,
    next: usize,
    /// Told once for a file; the rest follows from it.
    is_wrong: bool,
}

impl<E: Entry> Entries<E> {
    fn read(path: PathBuf, base: Offset, size: u64, is_last: bool, checked: &mut Checked) -> Self {
        let mut index = Entries {
            entries: None,
            next: 0,
            is_wrong: false,
            path,
        };
        match fs::read(&index.path) {
            Ok(bytes) => index.take(&bytes, base, size, is_last, checked),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => index.wrong(checked, error.to_string()),
        }
        index
    }

    fn take(
        &mut self,
        bytes: &[u8],
        base: Offset,
        size: u64,
        is_last: bool,
        checked: &mut Checked,
    ) {
        if !bytes.len().is_multiple_of(E::SIZE) {
            self.wrong(checked, "it ends within an entry");
        }
        let is_zero = |entry: &&[u8]| entry.iter().all(|byte| *byte == 0);
        let chunks: Vec<&[u8]> = bytes.chunks_exact(E::SIZE).collect();
        let zeros = chunks
            .iter()
            .rev()
            .take_while(|entry| is_zero(entry))
            .count();
        // A file of one entry of zeros may be just that entry.
        let filled = if zeros == 1 && chunks.len() == 1 {
            1
        } else {
            chunks.len() - zeros
        };
        if zeros > 0 && filled < chunks.len() && !is_last {
            self.wrong(checked, "it ends in zeros, and its segment is not the last");
        }
        let entries: Vec<E> = chunks[..filled]
            .iter()
            .map(|entry| E::read(entry, base))
            .collect();
        for (at, entry) in entries.iter().enumerate() {
            if !entry.is_within(base, size) {
                self.wrong(checked, format!("entry {at} points out of the segment"));
            } else if at > 0 && !entry.follows(&entries[at - 1]) {
                self.wrong(
                    checked,
                    format!("entry {at} does not follow the one before it"),
                );
            }
        }
        self.entries = Some(entries);
    }

    fn wrong(&mut self, checked: &mut Checked, what: impl Into<String>) {
        if !self.is_wrong {
            self.is_wrong = true;
            checked.damage(&self.path, what);
        }
    }

    fn peek(&self) -> Option<&E> {
        self.entries.as_ref()?.get(self.next)
    }
}

/// Both indexes of a segment.
pub(super) struct Indexes {
    offsets: Entries<OffsetEntry>,
    times: Entries<TimeEntry>,
    largest: Timestamp,
}

impl Indexes {
    pub(super) fn read(
        dir: &Path,
        base: Offset,
        size: u64,
        is_last: bool,
        checked: &mut Checked,
    ) -> Indexes {
        let path = |suffix: &str| dir.join(format!("{base:020}.{suffix}"));
        Indexes {
            offsets: Entries::read(path(OffsetEntry::SUFFIX), base, size, is_last, checked),
            times: Entries::read(path(TimeEntry::SUFFIX), base, size, is_last, checked),
            largest: Timestamp::NONE,
        }
    }

    /// Takes the next batch.
    pub(super) fn batch(&mut self, position: u64, header: &BatchHeader, checked: &mut Checked) {
        while let Some(entry) = self.offsets.peek().copied() {
            let at = u64::from(entry.position);
            if at > position {
                break;
            }
            self.offsets.next += 1;
            let fits = at == position
                && (header.base_offset..=entry.offset).contains(&header.last_offset());
            if !fits {
                let what = format!(
                    "entry for offset {} leads to byte {at}, where no such batch begins",
                    entry.offset
                );
                self.offsets.wrong(checked, what);
            }
        }
        self.largest = self.largest.max(header.max_timestamp);
        while let Some(entry) = self.times.peek().copied() {
            if entry.offset > header.last_offset() {
                break;
            }
            self.times.next += 1;
            let fits = entry.offset >= header.base_offset
                && header.max_timestamp == entry.timestamp
                && self.largest == entry.timestamp;
            if !fits {
                let what = format!(
                    "entry for offset {} has timestamp {}, which is not the largest up to there",
                    entry.offset, entry.timestamp.0
                );
                self.times.wrong(checked, what);
            }
        }
    }

    /// No more batches come. `whole` says that all of them were seen.
    pub(super) fn end(mut self, size: u64, is_last: bool, whole: bool, checked: &mut Checked) {
        if !whole {
            return;
        }
        if self.offsets.peek().is_some() {
            self.offsets.wrong(checked, "entries behind the last batch");
        }
        if self.times.peek().is_some() {
            self.times.wrong(checked, "entries behind the last batch");
        }
        if is_last || size == 0 {
            return;
        }
        let missing = "missing; it is made anew when it is needed";
        if self.offsets.entries.is_none() && !self.offsets.is_wrong {
            checked.note(&self.offsets.path, missing);
        }
        let last = match &self.times.entries {
            None if self.times.is_wrong => return,
            None => return checked.note(&self.times.path, missing),
            Some(entries) => entries
                .last()
                .map_or(Timestamp::NONE, |last| last.timestamp),
        };
        if last != self.largest {
            let what = format!(
                "it ends with timestamp {}, the largest of the segment is {}",
                last.0, self.largest.0
            );
            self.times.wrong(checked, what);
        }
    }
}
