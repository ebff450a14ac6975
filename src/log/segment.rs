//! One segment of a log: a `.log` file of record batches with the offset, time and transaction index beside it.
//! Files are opened on use and closed again by [`OpenSegments`]. What an append adds to the indexes stays in memory
//! until a block of it is full, or the segment is flushed, rolled or closed.
//!
//! Only its log's append lock holder may call what writes; look-ups may come from any thread.
//! (org.apache.kafka.storage.internals.log.LogSegment)

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
use tracing::warn;

use super::error::Error;
use super::fs::{Fs, Mode};
use super::index::{Entry, Index, OffsetEntry, TimeEntry};
use super::scan::{Fault, Scan, UNVERIFIED};
use super::transactions::{self, AbortedTransaction};
use crate::ids::{Offset, Timestamp};
use crate::record::BatchHeader;

/// The end of the name of the file with the batches.
pub(crate) const LOG_SUFFIX: &str = "log";
/// Added to the names of files that are removed a little later.
pub(crate) const DELETED: &str = "deleted";

/// Bytes that one look-up reads at a time.
const LOOKUP_BYTES: usize = 4096;
/// Bytes that the walk over a whole segment reads at a time.
const WALK_BYTES: usize = 64 * 1024;

/// The segments with open files, at most so many. One that has not been used since its last turn is closed when
/// another needs room.
#[derive(Debug)]
pub struct OpenSegments {
    limit: usize,
    queue: Mutex<VecDeque<Weak<Segment>>>,
}

impl OpenSegments {
    pub fn new(limit: usize) -> OpenSegments {
        OpenSegments {
            limit: limit.max(1),
            queue: Mutex::default(),
        }
    }

    fn admit(&self, segment: &Arc<Segment>) {
        // Closed without the queue's lock, and only what no other thread is using: nobody waits for two segments.
        for unused in self.enqueue(segment) {
            unused.close_files();
        }
    }

    /// Takes a segment in; returns those that have to make room.
    fn enqueue(&self, segment: &Arc<Segment>) -> Vec<Arc<Segment>> {
        let mut queue = lock(&self.queue);
        queue.push_back(Arc::downgrade(segment));
        let mut unused = Vec::new();
        let mut turns = 2 * queue.len();
        while queue.len() > self.limit && turns > 0 {
            turns -= 1;
            let Some(oldest) = queue.pop_front() else {
                break;
            };
            let Some(oldest) = oldest.upgrade() else {
                continue;
            };
            if oldest.used.swap(false, Ordering::Relaxed) {
                queue.push_back(Arc::downgrade(&oldest));
            } else {
                unused.push(oldest);
            }
        }
        unused
    }
}

/// What the segments of one log share: where they lie and how they are reached.
#[derive(Debug)]
pub(crate) struct Home {
    /// Changes when the directory is renamed.
    pub(crate) path: ArcSwap<PathBuf>,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) open: Arc<OpenSegments>,
}

impl Home {
    /// `<base offset>.<suffix>` in the log's directory.
    pub(crate) fn file(&self, base: Offset, suffix: &str) -> PathBuf {
        self.path.load().join(format!("{base:020}.{suffix}"))
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Segment {
    home: Arc<Home>,
    base_offset: Offset,
    size: AtomicU64,
    log: ArcSwapOption<File>,
    offsets: Mutex<Slot<OffsetEntry>>,
    times: Mutex<Slot<TimeEntry>>,
    aborted: Mutex<Aborted>,
    /// The largest timestamp with the last offset of its batch; `None` when it is not known yet.
    largest: Mutex<Option<TimeEntry>>,
    /// Used since [`OpenSegments`] last looked.
    used: AtomicBool,
    open: AtomicBool,
}

/// An index and its file, each there only when it was needed.
#[derive(Debug)]
struct Slot<E> {
    index: Option<Index<E>>,
    file: Option<File>,
}

impl<E> Default for Slot<E> {
    fn default() -> Slot<E> {
        Slot {
            index: None,
            file: None,
        }
    }
}

/// The transaction index; small, so that all of it is in memory once it was needed.
#[derive(Debug, Default)]
struct Aborted {
    entries: Option<Vec<AbortedTransaction>>,
    /// Entries that are in the file.
    written: usize,
}

/// Locks a mutex whose holders leave it sound even when they panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Segment {
    /// A segment whose file has `size` bytes, or is to be created by the first append when that is 0.
    pub(crate) fn new(home: Arc<Home>, base_offset: Offset, size: u64) -> Arc<Segment> {
        let segment = Segment {
            home,
            base_offset,
            size: AtomicU64::new(size),
            log: ArcSwapOption::empty(),
            offsets: Mutex::default(),
            times: Mutex::default(),
            aborted: Mutex::default(),
            largest: Mutex::default(),
            used: AtomicBool::new(false),
            open: AtomicBool::new(false),
        };
        if size == 0 {
            segment.forget_indexes();
        }
        Arc::new(segment)
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    pub(crate) fn base_offset(&self) -> Offset {
        self.base_offset
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.home.file(self.base_offset, LOG_SUFFIX)
    }

    /// The open `.log` file.
    pub(crate) fn file(self: &Arc<Self>) -> Result<Arc<File>, Error> {
        self.used.store(true, Ordering::Relaxed);
        if let Some(file) = self.log.load_full() {
            return Ok(file);
        }
        let path = self.path();
        let mode = if self.size() == 0 {
            Mode::Create
        } else {
            Mode::Write
        };
        let file = Arc::new(self.home.fs.open(&path, mode).map_err(Error::io(&path))?);
        self.log.store(Some(file.clone()));
        self.admit();
        Ok(file)
    }

    fn admit(self: &Arc<Self>) {
        if !self.open.swap(true, Ordering::AcqRel) {
            self.home.open.admit(self);
        }
    }

    /// Closes its files, and forgets the indexes that can be read again. Ranges that are being sent keep theirs.
    pub(crate) fn close_files(&self) {
        self.open.store(false, Ordering::Release);
        self.log.store(None);
        if let Ok(mut offsets) = self.offsets.try_lock() {
            offsets.close();
        }
        if let Ok(mut times) = self.times.try_lock() {
            times.close();
        }
        if let Ok(mut aborted) = self.aborted.try_lock()
            && aborted
                .entries
                .as_ref()
                .is_some_and(|entries| entries.len() == aborted.written)
        {
            *aborted = Aborted::default();
        }
    }

    /// Writes whole batches at the end, which [`Segment::note`] and [`Segment::publish`] then take in. After an
    /// error the file is as before, as far as the disk allows.
    pub(crate) fn append(self: &Arc<Self>, parts: &[IoSlice<'_>]) -> Result<(), Error> {
        let file = self.file()?;
        let position = self.size();
        self.home
            .fs
            .write_at(&file, parts, position)
            .map_err(|error| {
                // Should this fail as well, the next write overwrites what is there, and recovery cuts it off.
                let _ = self.home.fs.set_len(&file, position);
                Error::io(&self.path())(error)
            })
    }

    /// Lets readers see the file up to `size`.
    pub(crate) fn publish(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }

    /// Takes a batch at `position` into account, with an index entry when `index` is set.
    pub(crate) fn note(
        self: &Arc<Self>,
        position: u64,
        header: &BatchHeader,
        index: bool,
    ) -> Result<(), Error> {
        let largest = {
            let mut largest = lock(&self.largest);
            if largest.is_none_or(|largest| header.max_timestamp > largest.timestamp) {
                *largest = Some(TimeEntry {
                    timestamp: header.max_timestamp,
                    offset: header.last_offset(),
                });
            }
            *largest
        };
        if !index {
            return Ok(());
        }
        self.write_full_blocks()?;
        let position = u32::try_from(position).expect("a segment is smaller than 4 GB");
        self.with_index(&self.offsets, |index, _| {
            index.push(OffsetEntry {
                offset: header.last_offset(),
                position,
            });
            Ok(())
        })?;
        self.note_time(largest)
    }

    fn note_time(self: &Arc<Self>, largest: Option<TimeEntry>) -> Result<(), Error> {
        let Some(largest) = largest.filter(|largest| largest.timestamp.0 >= 0) else {
            return Ok(());
        };
        self.with_index(&self.times, |index, _| {
            if index.last().is_none_or(|last| largest.follows(&last)) {
                index.push(largest);
            }
            Ok(())
        })
    }

    /// Entries in its offset index and in its time index.
    pub(crate) fn index_entries(self: &Arc<Self>) -> Result<(usize, usize), Error> {
        let offsets = self.with_index(&self.offsets, |index, _| Ok(index.len()))?;
        Ok((
            offsets,
            self.with_index(&self.times, |index, _| Ok(index.len()))?,
        ))
    }

    /// The largest timestamp and the last offset of its batch; `None` when there are no batches or none has one.
    pub(crate) fn largest_timestamp(self: &Arc<Self>) -> Result<Option<TimeEntry>, Error> {
        if let Some(largest) = *lock(&self.largest) {
            return Ok(Some(largest).filter(|largest| largest.timestamp.0 >= 0));
        }
        if self.size() == 0 {
            return Ok(None);
        }
        let last = self.with_index(&self.times, |index, _| Ok(index.last()))?;
        let none = TimeEntry {
            timestamp: Timestamp::NONE,
            offset: self.base_offset,
        };
        *lock(&self.largest) = Some(last.unwrap_or(none));
        Ok(last)
    }

    pub(crate) fn set_largest(&self, largest: Option<TimeEntry>) {
        *lock(&self.largest) = largest;
    }

    /// The first batch that ends at or behind `offset`, among those that begin before the position `end`: its
    /// position, or `end`.
    pub(crate) fn position_of(self: &Arc<Self>, offset: Offset, end: u64) -> Result<u64, Error> {
        let file = self.file()?;
        for _ in 0..2 {
            let entry = self.with_index(&self.offsets, |index, file| {
                index.search(file, |entry| entry.offset <= offset)
            })?;
            let from = entry.map_or(0, |entry| u64::from(entry.position));
            if from >= end {
                return Ok(end);
            }
            let mut buffer = [0; LOOKUP_BYTES];
            let mut scan = Scan::new(&file, from, end, &mut buffer);
            let mut first = entry;
            let disagrees = loop {
                match scan.next(UNVERIFIED) {
                    Ok(Some((_, header)))
                        if first
                            .take()
                            .is_some_and(|entry| header.base_offset > entry.offset) =>
                    {
                        break "its offset is not that of the segment";
                    }
                    Ok(Some((position, header))) if header.last_offset() >= offset => {
                        return Ok(position);
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => return Ok(end),
                    Err(Fault::Bad { reason, .. }) if first.is_some() => break reason,
                    Err(fault) => return Err(self.error(fault)),
                }
            };
            warn!(segment = %self.path().display(), "index entry points to no batch ({disagrees}): made anew");
            self.rebuild_indexes()?;
        }
        Err(Error::corrupt(&self.path(), 0, "no index can be made"))
    }

    /// The end of the last batch that ends at or before the position `most`, and an offset that no record before it
    /// reaches; a batch begins at `from`. `from` itself when the first batch is larger, unless `min_one`.
    pub(crate) fn cut(
        self: &Arc<Self>,
        from: u64,
        most: u64,
        end: u64,
        min_one: bool,
    ) -> Result<(u64, Option<Offset>), Error> {
        let entry = self.with_index(&self.offsets, |index, file| {
            index.search(file, |entry| u64::from(entry.position) <= most)
        })?;
        let entry = entry.filter(|entry| u64::from(entry.position) > from);
        // A few kilobytes more matter only where little was asked for.
        if let Some(entry) = entry
            && u64::from(entry.position) - from >= (most - from) / 2
        {
            return Ok((u64::from(entry.position), Some(entry.offset)));
        }
        let file = self.file()?;
        let mut buffer = [0; LOOKUP_BYTES];
        let start = entry.map_or(from, |entry| u64::from(entry.position));
        let mut scan = Scan::new(&file, start, end, &mut buffer);
        let mut bound = entry.map(|entry| entry.offset);
        let mut cut = start;
        while let Some((position, header)) =
            scan.next(UNVERIFIED).map_err(|fault| self.error(fault))?
        {
            let fits = scan.position() <= most;
            let is_allowed = fits || (min_one && position == from);
            if !is_allowed {
                break;
            }
            (cut, bound) = (scan.position(), Some(header.next_offset()));
            if !fits {
                break;
            }
        }
        Ok((cut, bound))
    }

    /// Walks the batches from `position` to `end` until `visit` returns `Some`.
    pub(crate) fn find<T>(
        self: &Arc<Self>,
        position: u64,
        end: u64,
        mut visit: impl FnMut(u64, &BatchHeader) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let file = self.file()?;
        let mut buffer = [0; LOOKUP_BYTES];
        let mut scan = Scan::new(&file, position, end, &mut buffer);
        while let Some((position, header)) =
            scan.next(UNVERIFIED).map_err(|fault| self.error(fault))?
        {
            if let Some(found) = visit(position, &header) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// From which offset on a batch with at least `timestamp` may lie.
    pub(crate) fn offset_before_timestamp(
        self: &Arc<Self>,
        timestamp: Timestamp,
    ) -> Result<Offset, Error> {
        let entry = self.with_index(&self.times, |index, file| {
            index.search(file, |entry| entry.timestamp < timestamp)
        })?;
        Ok(entry.map_or(self.base_offset, |entry| entry.offset))
    }

    /// The transactions whose ABORT marker lies in this segment.
    pub(crate) fn aborted(self: &Arc<Self>) -> Result<Vec<AbortedTransaction>, Error> {
        let mut aborted = lock(&self.aborted);
        Ok(self.load_aborted(&mut aborted)?.clone())
    }

    pub(crate) fn add_aborted(&self, entry: AbortedTransaction) -> Result<(), Error> {
        let mut aborted = lock(&self.aborted);
        self.load_aborted(&mut aborted)?.push(entry);
        Ok(())
    }

    fn load_aborted<'a>(
        &self,
        aborted: &'a mut Aborted,
    ) -> Result<&'a mut Vec<AbortedTransaction>, Error> {
        if aborted.entries.is_none() {
            let path = self.home.file(self.base_offset, transactions::SUFFIX);
            let entries = match std::fs::read(&path) {
                Ok(bytes) => transactions::decode(&bytes).ok_or_else(|| Error::Malformed {
                    path,
                    reason: "not a list of aborted transactions".to_owned(),
                })?,
                Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(Error::io(&path)(error)),
            };
            aborted.written = entries.len();
            aborted.entries = Some(entries);
        }
        Ok(aborted.entries.as_mut().expect("it was just set"))
    }

    /// Brings both indexes in; empties them when one is missing or wrong, so that a walk from the start fills them.
    pub(crate) fn load_indexes_or_empty(self: &Arc<Self>) -> Result<(), Error> {
        let (mut offsets, mut times) = (lock(&self.offsets), lock(&self.times));
        if offsets.index.is_none() {
            self.open_index(&mut offsets)?;
        }
        if times.index.is_none() {
            self.open_index(&mut times)?;
        }
        if offsets.index.is_none() || times.index.is_none() {
            *offsets = Slot {
                index: Some(Index::empty(self.base_offset)),
                file: Some(self.create::<OffsetEntry>()?),
            };
            *times = Slot {
                index: Some(Index::empty(self.base_offset)),
                file: Some(self.create::<TimeEntry>()?),
            };
            self.admit();
        }
        Ok(())
    }

    /// Makes both indexes from the whole segment.
    pub(crate) fn rebuild_indexes(self: &Arc<Self>) -> Result<(), Error> {
        let file = self.file()?;
        let (mut offsets_slot, mut times_slot) = (lock(&self.offsets), lock(&self.times));
        let (mut offsets, mut times) = (
            Index::empty(self.base_offset),
            Index::empty(self.base_offset),
        );
        let mut largest: Option<TimeEntry> = None;
        let mut buffer = vec![0; WALK_BYTES];
        let mut scan = Scan::new(&file, 0, self.size(), &mut buffer);
        let (offsets_file, times_file) =
            (self.create::<OffsetEntry>()?, self.create::<TimeEntry>()?);
        let fs = &*self.home.fs;
        let io = |error| Error::io(&self.path())(error);
        let mut indexed = 0;
        while let Some((position, header)) =
            scan.next(UNVERIFIED).map_err(|fault| self.error(fault))?
        {
            if largest.is_none_or(|largest| header.max_timestamp > largest.timestamp) {
                largest = Some(TimeEntry {
                    timestamp: header.max_timestamp,
                    offset: header.last_offset(),
                });
            }
            if position - indexed <= REBUILD_INTERVAL {
                continue;
            }
            indexed = position;
            if offsets.is_full() {
                offsets.write_pending(fs, &offsets_file).map_err(io)?;
            }
            let position = u32::try_from(position).expect("a segment is smaller than 4 GB");
            offsets.push(OffsetEntry {
                offset: header.last_offset(),
                position,
            });
            push_time(&mut times, largest, fs, &times_file).map_err(io)?;
        }
        push_time(&mut times, largest, fs, &times_file).map_err(io)?;
        offsets.write_pending(fs, &offsets_file).map_err(io)?;
        times.write_pending(fs, &times_file).map_err(io)?;
        *offsets_slot = Slot {
            index: Some(offsets),
            file: Some(offsets_file),
        };
        *times_slot = Slot {
            index: Some(times),
            file: Some(times_file),
        };
        *lock(&self.largest) = largest;
        self.admit();
        Ok(())
    }

    fn create<E: Entry>(&self) -> Result<File, Error> {
        let path = self.home.file(self.base_offset, E::SUFFIX);
        self.home
            .fs
            .open(&path, Mode::Replace)
            .map_err(Error::io(&path))
    }

    /// Writes what is in memory alone to the index files.
    pub(crate) fn write_indexes(self: &Arc<Self>) -> Result<(), Error> {
        self.write_pending(&self.offsets)?;
        self.write_pending(&self.times)?;
        let mut aborted = lock(&self.aborted);
        let Some(entries) = &aborted.entries else {
            return Ok(());
        };
        if entries.len() == aborted.written {
            return Ok(());
        }
        let bytes: Vec<u8> = entries[aborted.written..]
            .iter()
            .flat_map(AbortedTransaction::encode)
            .collect();
        let path = self.home.file(self.base_offset, transactions::SUFFIX);
        let file = self
            .home
            .fs
            .open(&path, Mode::Create)
            .map_err(Error::io(&path))?;
        let position = (aborted.written * transactions::ENTRY_SIZE) as u64;
        self.home
            .fs
            .write_at(&file, &[IoSlice::new(&bytes)], position)
            .map_err(Error::io(&path))?;
        aborted.written = entries.len();
        Ok(())
    }

    fn write_full_blocks(self: &Arc<Self>) -> Result<(), Error> {
        if self.with_index(&self.offsets, |index, _| Ok(index.is_full()))? {
            self.write_pending(&self.offsets)?;
        }
        if self.with_index(&self.times, |index, _| Ok(index.is_full()))? {
            self.write_pending(&self.times)?;
        }
        Ok(())
    }

    fn write_pending<E: Entry>(self: &Arc<Self>, slot: &Mutex<Slot<E>>) -> Result<(), Error> {
        let mut slot = lock(slot);
        let slot = &mut *slot;
        let Some(index) = &mut slot.index else {
            return Ok(());
        };
        if !index.is_pending() {
            return Ok(());
        }
        let path = self.home.file(self.base_offset, E::SUFFIX);
        if slot.file.is_none() {
            slot.file = Some(
                self.home
                    .fs
                    .open(&path, Mode::Create)
                    .map_err(Error::io(&path))?,
            );
            self.admit();
        }
        let file = slot.file.as_ref().expect("it was just opened");
        index
            .write_pending(&*self.home.fs, file)
            .map_err(Error::io(&path))
    }

    /// No more batches come: the largest timestamp goes to the end of the time index, and all indexes to disk.
    pub(crate) fn seal(self: &Arc<Self>) -> Result<(), Error> {
        let largest = *lock(&self.largest);
        self.write_full_blocks()?;
        self.note_time(largest)?;
        self.write_indexes()
    }

    /// Brings batches and indexes to the device.
    pub(crate) fn sync(self: &Arc<Self>) -> Result<(), Error> {
        self.write_indexes()?;
        if self.size() == 0 {
            return Ok(());
        }
        let file = self.file()?;
        self.home.fs.sync(&file).map_err(Error::io(&self.path()))?;
        for suffix in [OffsetEntry::SUFFIX, TimeEntry::SUFFIX, transactions::SUFFIX] {
            let path = self.home.file(self.base_offset, suffix);
            match self.home.fs.open(&path, Mode::Write) {
                Ok(file) => self.home.fs.sync(&file).map_err(Error::io(&path))?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io(&path)(error)),
            }
        }
        Ok(())
    }

    /// Cuts the segment to `size` bytes, where a batch begins that holds or follows `offset`.
    pub(crate) fn truncate(self: &Arc<Self>, size: u64, offset: Offset) -> Result<(), Error> {
        let file = self.file()?;
        self.home
            .fs
            .set_len(&file, size)
            .map_err(Error::io(&self.path()))?;
        self.size.store(size, Ordering::Release);
        self.truncate_indexes(size, offset)
    }

    /// Drops index entries for what is at or behind the position `size` and `offset`.
    pub(crate) fn truncate_indexes(
        self: &Arc<Self>,
        size: u64,
        offset: Offset,
    ) -> Result<(), Error> {
        let fs = &*self.home.fs;
        self.with_index(&self.offsets, |index, file| {
            index.truncate(fs, file, |entry| {
                entry.offset < offset && u64::from(entry.position) < size
            })
        })?;
        self.with_index(&self.times, |index, file| {
            index.truncate(fs, file, |entry| entry.offset < offset)
        })?;
        *lock(&self.largest) = None;
        let mut aborted = lock(&self.aborted);
        let entries = self.load_aborted(&mut aborted)?;
        entries.retain(|entry| entry.last_offset < offset);
        let kept = entries.len();
        if kept < aborted.written {
            aborted.written = kept;
            let path = self.home.file(self.base_offset, transactions::SUFFIX);
            let file = fs.open(&path, Mode::Write).map_err(Error::io(&path))?;
            fs.set_len(&file, (kept * transactions::ENTRY_SIZE) as u64)
                .map_err(Error::io(&path))?;
        }
        Ok(())
    }

    /// The last offset entry: a batch that a walk can begin at.
    pub(crate) fn last_entry(
        self: &Arc<Self>,
    ) -> Result<(Option<OffsetEntry>, Option<TimeEntry>), Error> {
        let offset = self.with_index(&self.offsets, |index, _| Ok(index.last()))?;
        Ok((
            offset,
            self.with_index(&self.times, |index, _| Ok(index.last()))?,
        ))
    }

    /// Empties the indexes, in memory; for a segment that has no batches.
    fn forget_indexes(&self) {
        *lock(&self.offsets) = Slot {
            index: Some(Index::empty(self.base_offset)),
            file: None,
        };
        *lock(&self.times) = Slot {
            index: Some(Index::empty(self.base_offset)),
            file: None,
        };
    }

    /// Renames its files, to be removed later; returns their new names.
    pub(crate) fn mark_deleted(&self) -> Result<Vec<PathBuf>, Error> {
        self.close_files();
        let mut marked = Vec::new();
        for suffix in [
            LOG_SUFFIX,
            OffsetEntry::SUFFIX,
            TimeEntry::SUFFIX,
            transactions::SUFFIX,
        ] {
            let from = self.home.file(self.base_offset, suffix);
            let to = self
                .home
                .file(self.base_offset, &format!("{suffix}.{DELETED}"));
            match self.home.fs.rename(&from, &to) {
                Ok(()) => marked.push(to),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io(&from)(error)),
            }
        }
        Ok(marked)
    }

    /// Removes its files at once.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        self.close_files();
        for suffix in [
            OffsetEntry::SUFFIX,
            TimeEntry::SUFFIX,
            transactions::SUFFIX,
            LOG_SUFFIX,
        ] {
            remove_file(&*self.home.fs, &self.home.file(self.base_offset, suffix))?;
        }
        Ok(())
    }

    /// Creates the empty `.log` file.
    pub(crate) fn create_file(self: &Arc<Self>) -> Result<(), Error> {
        self.file().map(|_| ())
    }

    pub(crate) fn error(&self, fault: Fault) -> Error {
        match fault {
            Fault::Io(source) => Error::Io {
                path: self.path(),
                source,
            },
            Fault::Bad { position, reason } => Error::corrupt(&self.path(), position, reason),
        }
    }

    /// Calls `f` with an index and its file, both brought in when they are not there.
    fn with_index<E: Entry, T>(
        self: &Arc<Self>,
        slot: &Mutex<Slot<E>>,
        f: impl FnOnce(&mut Index<E>, Option<&File>) -> io::Result<T>,
    ) -> Result<T, Error> {
        self.used.store(true, Ordering::Relaxed);
        let mut guard = lock(slot);
        if !guard.is_ready() {
            self.open_index(&mut guard)?;
            if guard.index.is_none() {
                drop(guard);
                warn!(segment = %self.path().display(), "its .{} is missing or wrong: made anew", E::SUFFIX);
                self.rebuild_indexes()?;
                guard = lock(slot);
            }
        }
        let Slot { index, file } = &mut *guard;
        let index = index
            .as_mut()
            .ok_or_else(|| Error::corrupt(&self.path(), 0, "closed while in use"))?;
        f(index, file.as_ref()).map_err(Error::io(&self.home.file(self.base_offset, E::SUFFIX)))
    }

    /// Opens an index file and reads it if it is not in memory. Leaves no index when the file is missing or wrong.
    fn open_index<E: Entry>(self: &Arc<Self>, slot: &mut Slot<E>) -> Result<(), Error> {
        let path = self.home.file(self.base_offset, E::SUFFIX);
        let file = match self.home.fs.open(&path, Mode::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io(&path)(error)),
        };
        if slot.index.is_none() {
            slot.index =
                Index::load(&file, self.base_offset, self.size()).map_err(Error::io(&path))?;
        }
        slot.file = Some(file);
        self.admit();
        Ok(())
    }
}

/// One index entry for so many bytes where an index is made anew (Kafka's default `index.interval.bytes`).
const REBUILD_INTERVAL: u64 = 4096;

impl<E: Entry> Slot<E> {
    /// Whether the index is in memory, and its file open where it has one.
    fn is_ready(&self) -> bool {
        self.index
            .as_ref()
            .is_some_and(|index| self.file.is_some() || !index.has_file())
    }

    fn close(&mut self) {
        self.file = None;
        if self
            .index
            .as_ref()
            .is_some_and(|index| index.has_file() && !index.is_pending())
        {
            self.index = None;
        }
    }
}

fn push_time(
    times: &mut Index<TimeEntry>,
    largest: Option<TimeEntry>,
    fs: &dyn Fs,
    file: &File,
) -> io::Result<()> {
    let Some(largest) = largest.filter(|largest| largest.timestamp.0 >= 0) else {
        return Ok(());
    };
    if times.last().is_none_or(|last| largest.follows(&last)) {
        if times.is_full() {
            times.write_pending(fs, file)?;
        }
        times.push(largest);
    }
    Ok(())
}

/// Removes a file that may be missing.
pub(crate) fn remove_file(fs: &dyn Fs, path: &Path) -> Result<(), Error> {
    match fs.remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}
