//! The offset index and the time index of a segment: sparse, sorted entries that tell where in the `.log` file to
//! begin looking. They can always be made again from the segment.
//!
//! | file | entry |
//! |---|---|
//! | `.index` | int32 offset - base offset, int32 position in the `.log` file |
//! | `.timeindex` | int64 timestamp, int32 offset - base offset |
//!
//! In memory stand only the first entry of each block of [`BLOCK`] entries and the entries after the last full
//! block: a look-up costs one read of one block, and neither a map nor memory that grows with the segment. Entries
//! of an active segment reach the file a block at a time, and when it is flushed, rolled or closed; after a crash
//! they are made anew from the part of the segment that is scanned anyway.
//!
//! Kafka preallocates both files with zeros while a segment is active, so a file may end in entries of zeros.
//! (org.apache.kafka.storage.internals.log.{OffsetIndex, TimeIndex, AbstractIndex})

use std::fs::File;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::fs::Fs;
use super::page_cache::{self, Source};
use crate::ids::{Offset, Timestamp};

/// How far an offset may lie above its segment's base: an entry has 31 bits for it.
pub(crate) const MAX_OFFSET_DELTA: i64 = i32::MAX as i64;
/// Entries of one look-up's read. A partition that is written to holds as many in memory, in both indexes.
const BLOCK: usize = 256;
/// A sealed segment's index that leaves more than this behind its last entry is too short, unless it has gaps that are
/// as wide between its entries.
const UNINDEXED_MAX: u64 = 1 << 20;
/// The largest entry's size.
const ENTRY_MAX: usize = 12;

/// A kind of entry.
pub(crate) trait Entry: Copy + PartialEq + std::fmt::Debug {
    const SIZE: usize;
    /// The end of its file's name.
    const SUFFIX: &'static str;
    /// Whether a sealed segment has an entry at its end, so that an empty file is wrong.
    const ENDS_WITH_SEGMENT: bool;
    fn read(bytes: &[u8], base: Offset) -> Self;
    fn write(&self, base: Offset, to: &mut Vec<u8>);
    /// Whether this may stand right behind `earlier`.
    fn follows(&self, earlier: &Self) -> bool;
    /// Whether this can be an entry of a segment of `size` bytes.
    fn is_within(&self, base: Offset, size: u64) -> bool;
    /// Where it points, if it does.
    fn position(&self) -> Option<u64>;
}

/// The batch at `position` ends with `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) offset: Offset,
    pub(crate) position: u32,
}

/// `timestamp` is the largest up to the batch that ends with `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: Timestamp,
    pub(crate) offset: Offset,
}

fn relative(base: Offset, offset: Offset) -> [u8; 4] {
    let delta = i32::try_from(offset - base)
        .expect("a segment is rolled before its offsets exceed 31 bits");
    delta.to_be_bytes()
}

fn absolute(base: Offset, bytes: &[u8]) -> Offset {
    base + i64::from(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

impl Entry for OffsetEntry {
    const SIZE: usize = 8;
    const SUFFIX: &'static str = "index";
    const ENDS_WITH_SEGMENT: bool = false;

    fn read(bytes: &[u8], base: Offset) -> OffsetEntry {
        let position = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        OffsetEntry {
            offset: absolute(base, bytes),
            position,
        }
    }

    fn write(&self, base: Offset, to: &mut Vec<u8>) {
        to.extend_from_slice(&relative(base, self.offset));
        to.extend_from_slice(&self.position.to_be_bytes());
    }

    fn follows(&self, earlier: &OffsetEntry) -> bool {
        self.offset > earlier.offset && self.position > earlier.position
    }

    fn is_within(&self, base: Offset, size: u64) -> bool {
        self.offset >= base && u64::from(self.position) < size
    }

    fn position(&self) -> Option<u64> {
        Some(u64::from(self.position))
    }
}

impl Entry for TimeEntry {
    const SIZE: usize = 12;
    const SUFFIX: &'static str = "timeindex";
    const ENDS_WITH_SEGMENT: bool = true;

    fn read(bytes: &[u8], base: Offset) -> TimeEntry {
        let mut timestamp = [0; 8];
        timestamp.copy_from_slice(&bytes[..8]);
        TimeEntry {
            timestamp: Timestamp(i64::from_be_bytes(timestamp)),
            offset: absolute(base, &bytes[8..]),
        }
    }

    fn write(&self, base: Offset, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.timestamp.0.to_be_bytes());
        to.extend_from_slice(&relative(base, self.offset));
    }

    fn follows(&self, earlier: &TimeEntry) -> bool {
        self.timestamp > earlier.timestamp && self.offset >= earlier.offset
    }

    fn is_within(&self, base: Offset, size: u64) -> bool {
        size > 0 && self.offset >= base && self.timestamp.0 >= 0
    }

    fn position(&self) -> Option<u64> {
        None
    }
}

/// The entries of one index file; the file itself is opened by the caller when a call asks for it.
#[derive(Debug)]
pub(crate) struct Index<E> {
    base: Offset,
    /// The first entry of each full block.
    blocks: Packed<E>,
    /// The entries after the last full block.
    tail: Packed<E>,
    /// Entries that are in the file.
    written: usize,
}

impl<E: Entry> Index<E> {
    pub(crate) fn empty(base: Offset) -> Index<E> {
        Index {
            base,
            blocks: Packed::empty(),
            tail: Packed::empty(),
            written: 0,
        }
    }

    /// Reads and checks a whole index file of a segment of `segment_size` bytes. `None` when it is not sound; it is
    /// to be made anew then. Only while a segment is active may its file end in zeros.
    pub(crate) fn load(
        file: &File,
        base: Offset,
        segment_size: u64,
        is_active: bool,
    ) -> io::Result<Option<Index<E>>> {
        let len = file.metadata()?.len();
        if !len.is_multiple_of(E::SIZE as u64) {
            return Ok(None);
        }
        let mut index = Index::empty(base);
        let mut block = vec![0; BLOCK * E::SIZE];
        let mut position = 0;
        let (mut indexed, mut widest_gap) = (0, 0);
        while position < len {
            let bytes = usize::try_from(len - position)
                .unwrap_or(usize::MAX)
                .min(block.len());
            file.read_exact_at(&mut block[..bytes], position)?;
            for entry in block[..bytes].chunks_exact(E::SIZE) {
                if entry.iter().all(|byte| *byte == 0) && (index.len() > 0 || len > E::SIZE as u64)
                {
                    return Ok(is_active.then_some(index));
                }
                let entry = E::read(entry, base);
                if !entry.is_within(base, segment_size)
                    || index.last().is_some_and(|last| !entry.follows(&last))
                {
                    return Ok(None);
                }
                if let Some(position) = entry.position() {
                    widest_gap = widest_gap.max(position - indexed);
                    indexed = position;
                }
                index.push(entry);
                index.written = index.len();
            }
            position += bytes as u64;
        }
        let lacks_end = match E::ENDS_WITH_SEGMENT {
            true => index.len() == 0 && segment_size > 0,
            false => segment_size - indexed > UNINDEXED_MAX.max(4 * widest_gap),
        };
        Ok((is_active || !lacks_end).then_some(index))
    }

    pub(crate) fn len(&self) -> usize {
        self.blocks.len() * BLOCK + self.tail.len()
    }

    pub(crate) fn last(&self) -> Option<E> {
        self.tail.last(self.base)
    }

    /// Adds an entry behind the others, in memory.
    pub(crate) fn push(&mut self, entry: E) {
        if self.tail.len() == BLOCK + 1 {
            debug_assert!(
                !self.is_full(),
                "a full block is written before the next entry"
            );
            // The tail keeps the newest entry, so that `last` needs no read, and never drops what is not written.
            self.blocks.push(self.tail.get(0, self.base), self.base);
            self.tail.drop_first(BLOCK);
        }
        self.tail.push(entry, self.base);
    }

    /// Whether the entries in memory have to be written before the next is added.
    pub(crate) fn is_full(&self) -> bool {
        self.tail.len() == BLOCK + 1 && self.written < self.len()
    }

    /// Whether any entry is in the file.
    pub(crate) fn has_file(&self) -> bool {
        self.written > 0
    }

    /// Whether entries are in memory alone.
    pub(crate) fn is_pending(&self) -> bool {
        self.written < self.len()
    }

    /// Writes the entries that are not in the file yet.
    pub(crate) fn write_pending(&mut self, fs: &dyn Fs, file: &File) -> io::Result<()> {
        let pending = self.len() - self.written;
        if pending == 0 {
            return Ok(());
        }
        let bytes = &self.tail.bytes[(self.tail.len() - pending) * E::SIZE..];
        fs.write_at(
            file,
            &[IoSlice::new(bytes)],
            (self.written * E::SIZE) as u64,
        )?;
        self.written = self.len();
        Ok(())
    }

    /// The last entry that `is_at_or_before` holds for; it must hold for a prefix of the entries.
    pub(crate) fn search(
        &self,
        file: Option<&File>,
        source: Source,
        is_at_or_before: impl Fn(&E) -> bool,
    ) -> io::Result<Option<E>> {
        let base = self.base;
        if self
            .tail
            .first(base)
            .is_none_or(|first| is_at_or_before(&first))
        {
            let after = self.tail.partition_point(base, &is_at_or_before);
            return Ok(after.checked_sub(1).map(|at| self.tail.get(at, base)));
        }
        let (Some(block), Some(file)) = (self.block_of(&is_at_or_before), file) else {
            return Ok(None);
        };
        let mut bytes = [0; BLOCK * ENTRY_MAX];
        let bytes = &mut bytes[..BLOCK * E::SIZE];
        page_cache::read_exact_at(file, bytes, block.start, source)?;
        let after = partition_point(bytes, base, is_at_or_before);
        Ok(after.checked_sub(1).map(|at| entry_at(bytes, at, base)))
    }

    /// Where in the file the block lies that holds the entry which [`Index::search`] looks for, when it is not in memory.
    pub(crate) fn block_of(&self, is_at_or_before: impl Fn(&E) -> bool) -> Option<Range<u64>> {
        let after = self.blocks.partition_point(self.base, is_at_or_before);
        let block = after.checked_sub(1)? as u64;
        let bytes = (BLOCK * E::SIZE) as u64;
        Some(block * bytes..(block + 1) * bytes)
    }

    /// Keeps only the entries for which `keep` holds; it must hold for a prefix of them.
    pub(crate) fn truncate(
        &mut self,
        fs: &dyn Fs,
        file: Option<&File>,
        keep: impl Fn(&E) -> bool,
    ) -> io::Result<()> {
        let base = self.base;
        while self.tail.first(base).is_none_or(|first| !keep(&first)) {
            let (Some(_), Some(file)) = (self.blocks.last(base), file) else {
                break;
            };
            let mut bytes = vec![0; BLOCK * E::SIZE];
            let block = self.blocks.len() - 1;
            file.read_exact_at(&mut bytes, (block * BLOCK * E::SIZE) as u64)?;
            self.blocks.truncate(block);
            self.tail = Packed::of(bytes);
        }
        self.tail.truncate(self.tail.partition_point(base, &keep));
        if self.written > self.len() {
            self.written = self.len();
        }
        if let Some(file) = file {
            fs.set_len(file, (self.written * E::SIZE) as u64)?;
        }
        Ok(())
    }
}

/// Entries one behind the other as in the file, which is half of what they take up as values.
#[derive(Debug)]
struct Packed<E> {
    bytes: Vec<u8>,
    kind: PhantomData<E>,
}

impl<E: Entry> Packed<E> {
    fn empty() -> Packed<E> {
        Packed::of(Vec::new())
    }

    fn of(bytes: Vec<u8>) -> Packed<E> {
        Packed {
            bytes,
            kind: PhantomData,
        }
    }

    fn len(&self) -> usize {
        self.bytes.len() / E::SIZE
    }

    fn get(&self, at: usize, base: Offset) -> E {
        entry_at(&self.bytes, at, base)
    }

    fn first(&self, base: Offset) -> Option<E> {
        (!self.bytes.is_empty()).then(|| self.get(0, base))
    }

    fn last(&self, base: Offset) -> Option<E> {
        let at = self.len().checked_sub(1)?;
        Some(self.get(at, base))
    }

    fn push(&mut self, entry: E, base: Offset) {
        if self.bytes.len() == self.bytes.capacity() {
            // A tail never has more than a block and one.
            match (BLOCK + 1).saturating_sub(self.len()) {
                0 => self.bytes.reserve(E::SIZE),
                left => self
                    .bytes
                    .reserve_exact(left.min(self.len().max(1)) * E::SIZE),
            }
        }
        entry.write(base, &mut self.bytes);
    }

    fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len * E::SIZE);
    }

    fn drop_first(&mut self, count: usize) {
        self.bytes.drain(..count * E::SIZE);
    }

    fn partition_point(&self, base: Offset, holds: impl Fn(&E) -> bool) -> usize {
        partition_point(&self.bytes, base, holds)
    }
}

fn entry_at<E: Entry>(bytes: &[u8], at: usize, base: Offset) -> E {
    E::read(&bytes[at * E::SIZE..], base)
}

/// How many of the entries `holds` is true for; it must be true for a prefix of them.
fn partition_point<E: Entry>(bytes: &[u8], base: Offset, holds: impl Fn(&E) -> bool) -> usize {
    let (mut low, mut high) = (0, bytes.len() / E::SIZE);
    while low < high {
        let middle = usize::midpoint(low, high);
        if holds(&entry_at(bytes, middle, base)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::super::fs::Disk;
    use super::*;

    const BASE: Offset = Offset(1000);

    fn entry(n: u32) -> OffsetEntry {
        OffsetEntry {
            offset: BASE + i64::from(n) * 10 + 9,
            position: n * 100,
        }
    }

    fn filled(count: u32, file: &File) -> Index<OffsetEntry> {
        let mut index = Index::empty(BASE);
        for n in 1..=count {
            if index.is_full() {
                index.write_pending(&Disk, file).unwrap();
            }
            index.push(entry(n));
        }
        index
    }

    fn search(index: &Index<OffsetEntry>, file: &File, offset: Offset) -> Option<OffsetEntry> {
        index
            .search(Some(file), Source::Disk, |entry| entry.offset <= offset)
            .unwrap()
    }

    #[test]
    fn every_entry_is_found_before_and_after_a_reload() {
        for count in [0, 1, 255, 256, 257, 512, 513, 3000] {
            let file = tempfile::tempfile().unwrap();
            let mut index = filled(count, &file);
            index.write_pending(&Disk, &file).unwrap();
            let loaded = Index::<OffsetEntry>::load(&file, BASE, 1 << 30, true)
                .unwrap()
                .unwrap();
            for index in [&index, &loaded] {
                assert_eq!(index.len(), count as usize);
                assert_eq!(index.last(), (count > 0).then(|| entry(count)));
                assert_eq!(search(index, &file, BASE + 18), None);
                for n in 1..=count {
                    assert_eq!(search(index, &file, entry(n).offset), Some(entry(n)));
                    assert_eq!(search(index, &file, entry(n).offset + 9), Some(entry(n)));
                }
            }
        }
    }

    #[test]
    fn what_stays_in_memory_is_a_block_of_bytes() {
        let file = tempfile::tempfile().unwrap();
        let index = filled(10_000, &file);
        assert!(index.tail.bytes.capacity() <= (BLOCK + 1) * OffsetEntry::SIZE);
        assert_eq!(index.blocks.len(), 10_000 / BLOCK);
    }

    #[test]
    fn truncation_keeps_the_entries_before() {
        for keep in [0, 1, 255, 256, 257, 700, 1024, 1025, 1300] {
            let file = tempfile::tempfile().unwrap();
            let mut index = filled(1300, &file);
            index
                .truncate(&Disk, Some(&file), |entry| entry.position <= keep * 100)
                .unwrap();
            assert_eq!(
                (index.len(), index.last()),
                (keep as usize, (keep > 0).then(|| entry(keep)))
            );
            index.push(entry(5000));
            index.write_pending(&Disk, &file).unwrap();
            assert_eq!(file.metadata().unwrap().len(), u64::from(keep + 1) * 8);
            assert_eq!(search(&index, &file, Offset(i64::MAX)), Some(entry(5000)));
            let loaded = Index::<OffsetEntry>::load(&file, BASE, 1 << 30, true)
                .unwrap()
                .unwrap();
            assert_eq!(loaded.last(), Some(entry(5000)));
        }
    }

    #[test]
    fn a_preallocated_file_ends_at_its_zeros() {
        let file = tempfile::tempfile().unwrap();
        filled(20, &file).write_pending(&Disk, &file).unwrap();
        file.set_len(8192).unwrap();
        let loaded = Index::<OffsetEntry>::load(&file, BASE, 1 << 30, true)
            .unwrap()
            .unwrap();
        assert_eq!((loaded.len(), loaded.last()), (20, Some(entry(20))));
        let sealed = Index::<OffsetEntry>::load(&file, BASE, 1 << 30, false).unwrap();
        assert!(
            sealed.is_none(),
            "a sealed segment's file was cut to its entries"
        );
    }

    #[test]
    fn an_unsound_file_is_refused() {
        let file = tempfile::tempfile().unwrap();
        filled(20, &file).write_pending(&Disk, &file).unwrap();
        assert!(
            Index::<OffsetEntry>::load(&file, BASE, 1999, true)
                .unwrap()
                .is_none(),
            "points behind the segment"
        );
        file.write_all_at(&[0, 0, 0, 1], 80).unwrap();
        assert!(
            Index::<OffsetEntry>::load(&file, BASE, 1 << 30, true)
                .unwrap()
                .is_none(),
            "not sorted"
        );
        file.set_len(7).unwrap();
        assert!(
            Index::<OffsetEntry>::load(&file, BASE, 1 << 30, true)
                .unwrap()
                .is_none(),
            "half an entry"
        );
    }
}
