//! One segment of a log: a `.log` file of record batches with the offset, time and transaction index beside it.
//! Files are opened on use and closed again by [`OpenSegments`](super::OpenSegments). What an append adds to the indexes stays in memory
//! until a block of it is full, or the segment is flushed, rolled or closed.
//!
//! Only its log's append lock holder may call what writes; look-ups may come from any thread.
//! (org.apache.kafka.storage.internals.log.LogSegment)

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::UNIX_EPOCH;

use arc_swap::ArcSwapOption;

use super::error::Error;
use super::fs::{Fs, Mode};
use super::index::{Entry, OffsetEntry, TimeEntry};
use super::open_segments::Home;
use super::page_cache::Source;
use super::scan::{Fault, Scan, UNVERIFIED};
use super::segment_indexes::{Aborted, Slot};
use super::transactions;
use crate::ids::{Offset, Timestamp};
use crate::record::BatchHeader;

/// The end of the name of the file with the batches.
pub(crate) const LOG_SUFFIX: &str = "log";
/// Added to the names of files that are removed a little later.
pub(crate) const DELETED: &str = "deleted";

/// Bytes that one look-up reads at a time.
pub(super) const LOOKUP_BYTES: usize = 4096;

/// See the module.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(super) home: Arc<Home>,
    pub(super) base_offset: Offset,
    pub(super) size: AtomicU64,
    /// Up to where blocks were set aside for the file, or it was seen that they cannot be.
    pub(super) aside: AtomicU64,
    pub(super) log: ArcSwapOption<File>,
    pub(super) offsets: Mutex<Slot<OffsetEntry>>,
    pub(super) times: Mutex<Slot<TimeEntry>>,
    pub(super) aborted: Mutex<Aborted>,
    /// The largest timestamp with the last offset of its batch; `None` when it is not known yet.
    pub(super) largest: Mutex<Option<TimeEntry>>,
    /// It was held against the batches.
    pub(super) largest_proven: AtomicBool,
    /// Its index files were changed since they were brought to the device.
    pub(super) index_dirty: AtomicBool,
    /// Used since [`OpenSegments`](super::OpenSegments) last looked.
    pub(super) used: AtomicBool,
    pub(super) open: AtomicBool,
    /// Its files are gone from their names, and none may be made anew.
    removed: AtomicBool,
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
            aside: AtomicU64::new(0),
            log: ArcSwapOption::empty(),
            offsets: Mutex::default(),
            times: Mutex::default(),
            aborted: Mutex::default(),
            largest: Mutex::default(),
            largest_proven: AtomicBool::new(size == 0),
            index_dirty: AtomicBool::new(false),
            used: AtomicBool::new(false),
            open: AtomicBool::new(false),
            removed: AtomicBool::new(false),
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

    /// Names the file of an error, once there is one: the path costs more than what is done to the file.
    pub(super) fn io(&self, suffix: &str) -> impl FnOnce(io::Error) -> Error {
        move |error| Error::io(&self.home.file(self.base_offset, suffix))(error)
    }

    #[cfg(test)]
    pub(crate) fn is_open(&self) -> bool {
        self.log.load().is_some()
            || lock(&self.offsets).file.is_some()
            || lock(&self.times).file.is_some()
    }

    /// The open `.log` file.
    pub(crate) fn file(self: &Arc<Self>) -> Result<Arc<File>, Error> {
        self.file_from(Source::Disk)
    }

    /// Likewise; only the disk opens one.
    pub(super) fn file_from(self: &Arc<Self>, source: Source) -> Result<Arc<File>, Error> {
        self.used.store(true, Ordering::Relaxed);
        if let Some(file) = self.log.load_full() {
            return Ok(file);
        }
        self.expect_disk(source, LOG_SUFFIX)?;
        let path = self.path();
        let mode = if self.size() == 0 {
            Mode::Create
        } else {
            Mode::Write
        };
        self.expect_present()?;
        let file = self.home.open_file(&path, mode).map_err(Error::io(&path))?;
        let file = Arc::new(file);
        if mode == Mode::Create {
            self.home.names_dirty.store(true, Ordering::Release);
        }
        self.expect_present()?;
        self.log.store(Some(file.clone()));
        self.admit();
        Ok(file)
    }

    /// Its names may belong to the segment that has taken its place: who has opened one asks afterwards whether the
    /// file was still its own. Fails as for a missing file.
    pub(super) fn expect_present(&self) -> Result<(), Error> {
        if self.is_removed() {
            let error = io::Error::new(ErrorKind::NotFound, "dropped or replaced");
            return Err(self.io(LOG_SUFFIX)(error));
        }
        Ok(())
    }

    pub(super) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Who writes an index right now comes to an end first; who comes later writes nothing.
    fn set_removed(&self) {
        self.removed.store(true, Ordering::Release);
        drop(lock(&self.offsets));
        drop(lock(&self.times));
        drop(lock(&self.aborted));
    }

    pub(super) fn admit(self: &Arc<Self>) {
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
                .is_some_and(|entries| entries.len() == aborted.written && !aborted.dirty)
        {
            *aborted = Aborted::default();
        }
    }

    /// Writes whole batches at the end, which [`Segment::note`] and [`Segment::publish`] then take in. After an error a
    /// part of them may be there, for [`Segment::truncate`] to cut off.
    pub(crate) fn append(self: &Arc<Self>, parts: &[IoSlice<'_>]) -> Result<(), Error> {
        let file = self.file()?;
        let position = self.size();
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        self.set_aside(&file, position, position + bytes as u64);
        self.home
            .fs
            .write_at(&file, parts, position)
            .map_err(self.io(LOG_SUFFIX))
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
        self.with_entries(&self.offsets, |index| {
            index.push(OffsetEntry {
                offset: header.last_offset(),
                position,
            });
        })?;
        self.note_time(largest)
    }

    pub(super) fn note_time(self: &Arc<Self>, largest: Option<TimeEntry>) -> Result<(), Error> {
        let Some(largest) = largest.filter(|largest| largest.timestamp.0 >= 0) else {
            return Ok(());
        };
        self.with_entries(&self.times, |index| {
            if index.last().is_none_or(|last| largest.follows(&last)) {
                index.push(largest);
            }
        })
    }

    /// Entries in its offset index and in its time index.
    pub(crate) fn index_entries(self: &Arc<Self>) -> Result<(usize, usize), Error> {
        let offsets = self.with_entries(&self.offsets, |index| index.len())?;
        Ok((
            offsets,
            self.with_entries(&self.times, |index| index.len())?,
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
        let last = self.with_entries(&self.times, |index| index.last())?;
        let none = TimeEntry {
            timestamp: Timestamp::NONE,
            offset: self.base_offset,
        };
        *lock(&self.largest) = Some(last.unwrap_or(none));
        Ok(last)
    }

    /// When its file was last written, for batches without a timestamp.
    pub(crate) fn modified(&self) -> Result<Timestamp, Error> {
        let path = self.path();
        let modified = std::fs::metadata(&path)
            .and_then(|metadata| metadata.modified())
            .map_err(Error::io(&path))?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Timestamp(
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        ))
    }

    pub(crate) fn largest(&self) -> Option<TimeEntry> {
        *lock(&self.largest)
    }

    pub(crate) fn set_largest(&self, largest: Option<TimeEntry>) {
        *lock(&self.largest) = largest;
    }

    /// The first batch that ends at or behind `offset`, among those that begin before the position `end`: its
    /// position, or `end`.
    pub(crate) fn position_of(self: &Arc<Self>, offset: Offset, end: u64) -> Result<u64, Error> {
        self.position_from(offset, end, Source::Disk)
    }

    /// Likewise, with no more than the source gives.
    pub(super) fn position_from(
        self: &Arc<Self>,
        offset: Offset,
        end: u64,
        source: Source,
    ) -> Result<u64, Error> {
        if end == 0 {
            return Ok(0);
        }
        let file = self.file_from(source)?;
        for _ in 0..2 {
            let entry = self.search_index(&self.offsets, source, |entry| entry.offset <= offset)?;
            let from = entry.map_or(0, |entry| u64::from(entry.position));
            if from >= end {
                return Ok(end);
            }
            let mut buffer = [0; LOOKUP_BYTES];
            let mut scan = Scan::new(&file, from, end, &mut buffer).from(source);
            let mut first = entry;
            let disagrees = loop {
                match scan.next(UNVERIFIED) {
                    Ok(Some((_, header)))
                        if first
                            .take()
                            .is_some_and(|entry| !self.is_of(&entry, &header)) =>
                    {
                        break "other offsets";
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
            self.expect_disk(source, LOG_SUFFIX)?;
            self.distrust("index", disagrees)?;
        }
        Err(Error::corrupt(&self.path(), 0, "no index can be made"))
    }

    /// The end of the last batch that ends at or before the position `most`, and an offset that no record before it
    /// reaches; a batch begins at `from`. `from` itself when the first batch is larger, unless `min_one`.
    pub(super) fn cut(
        self: &Arc<Self>,
        from: u64,
        most: u64,
        end: u64,
        min_one: bool,
        source: Source,
    ) -> Result<(u64, Option<Offset>), Error> {
        let file = self.file_from(source)?;
        let entry = self.entry_within(&file, from, most, source)?;
        // A few kilobytes more matter only where little was asked for.
        if let Some((position, offset)) = entry
            && position - from >= (most - from) / 2
        {
            return Ok((position, Some(offset)));
        }
        let mut buffer = [0; LOOKUP_BYTES];
        let start = entry.map_or(from, |(position, _)| position);
        let mut scan = Scan::new(&file, start, end, &mut buffer).from(source);
        let mut bound = entry.map(|(_, offset)| offset);
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

    /// The last batch with an index entry that begins behind `from` and not behind `most`: position and base offset.
    fn entry_within(
        self: &Arc<Self>,
        file: &File,
        from: u64,
        most: u64,
        source: Source,
    ) -> Result<Option<(u64, Offset)>, Error> {
        for _ in 0..2 {
            let is_within = |entry: &OffsetEntry| u64::from(entry.position) <= most;
            let entry = self.search_index(&self.offsets, source, is_within)?;
            let Some(entry) = entry.filter(|entry| u64::from(entry.position) > from) else {
                return Ok(None);
            };
            match self.batch_of(file, &entry, source)? {
                Some(header) => {
                    return Ok(Some((u64::from(entry.position), header.base_offset)));
                }
                None => {
                    self.expect_disk(source, LOG_SUFFIX)?;
                    self.distrust("index", "no such batch")?;
                }
            }
        }
        Ok(None)
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

    /// No more batches come: the largest timestamp goes to the end of the time index, all indexes go to disk, and space that
    /// was set aside is given back.
    pub(crate) fn seal(self: &Arc<Self>) -> Result<(), Error> {
        let largest = *lock(&self.largest);
        self.write_full_blocks()?;
        self.note_time(largest)?;
        self.write_indexes()?;
        self.write_aborted()?;
        self.give_back();
        Ok(())
    }

    /// Brings batches, aborted transactions and what is in the index files to the device. Below the recovery point an
    /// index is believed, so that what a power loss has left of it must not be found there. The last entries of an
    /// active segment stay in memory; behind them a start walks the batches. A segment that is removed meanwhile needs
    /// none of it.
    pub(crate) fn sync(self: &Arc<Self>, is_sealed: bool) -> Result<(), Error> {
        if is_sealed {
            self.write_indexes()?;
        }
        self.write_aborted()?;
        if self.size() == 0 || self.is_removed() {
            return Ok(());
        }
        let file = match self.file() {
            Err(Error::Io { source, .. })
                if source.kind() == ErrorKind::NotFound && self.is_removed() =>
            {
                return Ok(());
            }
            file => file?,
        };
        self.home.sync(&file, &self.path())?;
        if std::mem::take(&mut lock(&self.aborted).dirty) {
            self.sync_file(transactions::SUFFIX)
                .inspect_err(|_| lock(&self.aborted).dirty = true)?;
        }
        self.sync_indexes()
    }

    /// Brings to the device what is in the index files.
    pub(crate) fn sync_indexes(&self) -> Result<(), Error> {
        if self.index_dirty.swap(false, Ordering::AcqRel) {
            self.sync_file(OffsetEntry::SUFFIX)
                .and_then(|()| self.sync_file(TimeEntry::SUFFIX))
                .inspect_err(|_| self.index_dirty.store(true, Ordering::Release))?;
        }
        Ok(())
    }

    /// Brings to the device what [`Segment::truncate`] did, also when nothing is left.
    pub(crate) fn sync_cut(self: &Arc<Self>) -> Result<(), Error> {
        self.home.sync(&*self.file()?, &self.path())?;
        self.sync_file(transactions::SUFFIX)?;
        self.sync_indexes()
    }

    pub(crate) fn sync_file(&self, suffix: &str) -> Result<(), Error> {
        self.home
            .sync_if_there(&self.home.file(self.base_offset, suffix))
    }

    /// Cuts the segment to `size` bytes, where a batch begins that holds or follows `offset`.
    pub(crate) fn truncate(self: &Arc<Self>, size: u64, offset: Offset) -> Result<(), Error> {
        let file = self.file()?;
        self.home
            .fs
            .set_len(&file, size)
            .map_err(self.io(LOG_SUFFIX))?;
        self.aside.store(0, Ordering::Relaxed);
        self.size.store(size, Ordering::Release);
        self.truncate_indexes(size, offset)?;
        // The time index has not every batch: what is the largest now is looked up before the next append is.
        self.proven_largest_timestamp().map(|_| ())
    }

    /// Renames its files, to be removed later; returns their new names.
    pub(crate) fn mark_deleted(&self) -> Result<Vec<PathBuf>, Error> {
        self.set_removed();
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
        self.set_removed();
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

    /// Whether an offset is one that its indexes can hold: at most 31 bits above its base.
    pub(crate) fn can_hold(&self, offset: Offset) -> bool {
        let delta = offset.0.checked_sub(self.base_offset.0);
        delta.is_some_and(|delta| (0..=i64::from(i32::MAX)).contains(&delta))
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
}

/// Removes a file that may be missing.
pub(crate) fn remove_file(fs: &dyn Fs, path: &Path) -> Result<(), Error> {
    match fs.remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}
