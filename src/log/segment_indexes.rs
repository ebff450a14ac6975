//! The indexes of a segment: brought in on use, made anew when missing or wrong, written a block at a time.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

use tracing::warn;

use super::error::Error;
use super::fs::{self as files, Fs, Mode};
use super::index::{Entry, Index, OffsetEntry, TimeEntry};
use super::page_cache::{self, Source};
use super::scan::{Scan, UNVERIFIED};
use super::segment::{LOG_SUFFIX, Segment, lock, remove_file};
use super::transactions::{self, AbortedTransaction};
use crate::ids::Offset;

/// Bytes that the walk over a whole segment reads at a time.
const WALK_BYTES: usize = 64 * 1024;
/// One index entry for so many bytes where an index is made anew (Kafka's default `index.interval.bytes`).
const REBUILD_INTERVAL: u64 = 4096;
/// How often an index is made anew before the segment is given up.
const REBUILDS_MAX: usize = 3;

/// An index and its file, each there only when it was needed.
#[derive(Debug)]
pub(super) struct Slot<E> {
    pub(super) index: Option<Index<E>>,
    pub(super) file: Option<File>,
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
pub(super) struct Aborted {
    pub(super) entries: Option<Vec<AbortedTransaction>>,
    /// Entries that are in the file.
    pub(super) written: usize,
    /// Written since the file was brought to the device.
    pub(super) dirty: bool,
    /// The entries were held against the segment.
    pub(super) proven: bool,
    /// The file holds something else; entries that are added are in memory alone until it is replaced.
    pub(super) wrong: bool,
}

impl Segment {
    /// The transactions whose ABORT marker lies in this segment, as its index says.
    pub(crate) fn aborted(
        self: &Arc<Self>,
        source: Source,
    ) -> Result<Vec<AbortedTransaction>, Error> {
        let mut aborted = self.lock_from(&self.aborted, source, transactions::SUFFIX)?;
        if aborted.entries.is_none() {
            self.expect_disk(source, transactions::SUFFIX)?;
        }
        let entries = self.load_aborted(&mut aborted)?.clone();
        match aborted.wrong {
            true => Err(Error::Malformed {
                path: self.home.file(self.base_offset, transactions::SUFFIX),
                reason: "not a list of aborted transactions".to_owned(),
            }),
            false => Ok(entries),
        }
    }

    pub(crate) fn is_aborted_proven(&self) -> bool {
        lock(&self.aborted).proven
    }

    pub(crate) fn set_aborted_proven(&self) {
        lock(&self.aborted).proven = true;
    }

    /// Puts these entries in the place of the index, its file included. What was appended after they were found stays.
    pub(crate) fn replace_aborted(&self, found: &[AbortedTransaction]) -> Result<(), Error> {
        let mut aborted = lock(&self.aborted);
        self.expect_present()?;
        let last = found.last().map(|entry| entry.last_offset);
        let appended = aborted.entries.take().unwrap_or_default();
        let appended = appended.into_iter().skip(aborted.written);
        let mut entries = found.to_vec();
        entries.extend(appended.filter(|entry| Some(entry.last_offset) > last));
        let path = self.home.file(self.base_offset, transactions::SUFFIX);
        let bytes: Vec<u8> = entries
            .iter()
            .flat_map(AbortedTransaction::encode)
            .collect();
        match bytes.is_empty() {
            true => remove_file(&*self.home.fs, &path)?,
            false => {
                files::replace(&*self.home.fs, &path, &bytes, true).map_err(Error::io(&path))?;
            }
        }
        *aborted = Aborted {
            written: entries.len(),
            entries: Some(entries),
            proven: true,
            ..Aborted::default()
        };
        Ok(())
    }

    pub(crate) fn add_aborted(&self, entry: AbortedTransaction) -> Result<(), Error> {
        let mut aborted = lock(&self.aborted);
        self.load_aborted(&mut aborted)?.push(entry);
        Ok(())
    }

    pub(super) fn load_aborted<'a>(
        &self,
        aborted: &'a mut Aborted,
    ) -> Result<&'a mut Vec<AbortedTransaction>, Error> {
        if aborted.entries.is_none() {
            let path = self.home.file(self.base_offset, transactions::SUFFIX);
            let entries = match std::fs::read(&path) {
                Ok(bytes) => transactions::decode(&bytes).unwrap_or_else(|| {
                    aborted.wrong = true;
                    Vec::new()
                }),
                Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(Error::io(&path)(error)),
            };
            self.expect_present()?;
            aborted.written = entries.len();
            aborted.entries = Some(entries);
        }
        Ok(aborted.entries.as_mut().expect("it was just set"))
    }

    /// Cuts off an aborted transaction that a crash kept from arriving as a whole: it was not on the device yet, and the
    /// replay notes it again.
    pub(crate) fn cut_torn_aborted(&self) -> Result<(), Error> {
        let path = self.home.file(self.base_offset, transactions::SUFFIX);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io(&path)(error)),
        };
        // What is wrong otherwise is told when it is loaded.
        let Some(kept) = transactions::untorn(&bytes).filter(|kept| *kept < bytes.len()) else {
            return Ok(());
        };
        warn!(index = %path.display(), "torn: cut at byte {kept}");
        let fs = &*self.home.fs;
        let file = fs.open(&path, Mode::Write).map_err(Error::io(&path))?;
        fs.set_len(&file, kept as u64).map_err(Error::io(&path))
    }

    /// Brings both indexes in; empties them when one is missing or wrong, so that a walk from the start fills them.
    pub(crate) fn load_indexes_or_empty(self: &Arc<Self>) -> Result<(), Error> {
        let (mut offsets, mut times) = (lock(&self.offsets), lock(&self.times));
        if offsets.index.is_none() {
            self.open_index(&mut offsets, true)?;
        }
        if times.index.is_none() {
            self.open_index(&mut times, true)?;
        }
        if offsets.index.is_none() || times.index.is_none() {
            self.empty(&mut offsets, &mut times)?;
        }
        Ok(())
    }

    /// Empties both indexes, so that a walk from the start fills them.
    pub(crate) fn empty_indexes(self: &Arc<Self>) -> Result<(), Error> {
        self.empty(&mut lock(&self.offsets), &mut lock(&self.times))
    }

    fn empty(
        self: &Arc<Self>,
        offsets: &mut Slot<OffsetEntry>,
        times: &mut Slot<TimeEntry>,
    ) -> Result<(), Error> {
        *offsets = Slot {
            index: Some(Index::empty(self.base_offset)),
            file: Some(self.create::<OffsetEntry>()?),
        };
        *times = Slot {
            index: Some(Index::empty(self.base_offset)),
            file: Some(self.create::<TimeEntry>()?),
        };
        self.admit();
        Ok(())
    }

    /// Makes both indexes from the whole segment. Not of one that was removed meanwhile: its names stay free.
    pub(crate) fn rebuild_indexes(self: &Arc<Self>) -> Result<(), Error> {
        let file = self.file()?;
        let (mut offsets_slot, mut times_slot) = (lock(&self.offsets), lock(&self.times));
        self.expect_present()?;
        // Should this fail midway nothing is left of what the files no longer hold.
        (*offsets_slot, *times_slot) = (Slot::default(), Slot::default());
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
        let io = |error| self.io(LOG_SUFFIX)(error);
        let mut indexed = 0;
        while let Some((position, header)) =
            scan.next(UNVERIFIED).map_err(|fault| self.error(fault))?
        {
            if !self.can_hold(header.last_offset()) {
                let reason = "offsets outside the segment's";
                return Err(Error::corrupt(&self.path(), position, reason));
            }
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
            let position = u32::try_from(position).map_err(|_| {
                Error::corrupt(&self.path(), position, "a segment is smaller than 4 GB")
            })?;
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
        self.take_largest(largest);
        self.admit();
        // It may be of a segment that no flush touches again.
        self.sync_indexes()
    }

    /// What lies in its index files may not be on the device.
    pub(crate) fn distrust_indexes(&self) {
        self.index_dirty.store(true, Ordering::Release);
    }

    /// Takes the largest timestamp of a walk; a batch that was appended during the walk may have a larger one.
    fn take_largest(&self, walked: Option<TimeEntry>) {
        let was_proven = self.largest_proven.swap(true, Ordering::AcqRel);
        let mut largest = lock(&self.largest);
        let appended = largest.filter(|_| was_proven);
        *largest = match (walked, appended) {
            (Some(walked), Some(appended)) if appended.timestamp <= walked.timestamp => {
                Some(walked)
            }
            (walked, appended) => appended.or(walked),
        };
    }

    fn create<E: Entry>(&self) -> Result<File, Error> {
        self.distrust_indexes();
        let path = self.home.file(self.base_offset, E::SUFFIX);
        self.home
            .open_file(&path, Mode::Replace)
            .map_err(Error::io(&path))
    }

    /// Writes what is in memory alone to the index files. Where one of the two has entries the other is there as well,
    /// empty or not, as Kafka's tools expect.
    pub(crate) fn write_indexes(self: &Arc<Self>) -> Result<(), Error> {
        if lock(&self.offsets).is_pending() || lock(&self.times).is_pending() {
            self.write_pending(&self.offsets)?;
            self.write_pending(&self.times)?;
        }
        Ok(())
    }

    /// Writes the aborted transactions that are in memory alone.
    pub(crate) fn write_aborted(&self) -> Result<(), Error> {
        let mut aborted = lock(&self.aborted);
        if self.is_removed() {
            return Ok(());
        }
        let Some(entries) = &aborted.entries else {
            return Ok(());
        };
        // A wrong file stays as it is, to be known as such, until it is replaced.
        if entries.len() == aborted.written || aborted.wrong {
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
        if aborted.written == 0 {
            self.home.names_dirty.store(true, Ordering::Release);
        }
        let position = (aborted.written * transactions::ENTRY_SIZE) as u64;
        self.home
            .fs
            .write_at(&file, &[IoSlice::new(&bytes)], position)
            .map_err(Error::io(&path))?;
        aborted.written = entries.len();
        aborted.dirty = true;
        Ok(())
    }

    pub(super) fn write_full_blocks(self: &Arc<Self>) -> Result<(), Error> {
        if self.with_entries(&self.offsets, |index| index.is_full())? {
            self.write_pending(&self.offsets)?;
        }
        if self.with_entries(&self.times, |index| index.is_full())? {
            self.write_pending(&self.times)?;
        }
        Ok(())
    }

    fn write_pending<E: Entry>(self: &Arc<Self>, slot: &Mutex<Slot<E>>) -> Result<(), Error> {
        let mut slot = lock(slot);
        if self.is_removed() {
            return Ok(());
        }
        let slot = &mut *slot;
        let Some(index) = &mut slot.index else {
            return Ok(());
        };
        self.distrust_indexes();
        let path = self.home.file(self.base_offset, E::SUFFIX);
        // The file is not kept: it is written once in hundreds of batches, and as many may be open as there are
        // partitions in use.
        let file = match slot.file.take() {
            Some(file) => file,
            None => self
                .home
                .open_file(&path, Mode::Create)
                .map_err(Error::io(&path))?,
        };
        index
            .write_pending(&*self.home.fs, &file)
            .map_err(Error::io(&path))
    }

    /// Drops index entries for what is at or behind the position `size` and `offset`.
    pub(crate) fn truncate_indexes(
        self: &Arc<Self>,
        size: u64,
        offset: Offset,
    ) -> Result<(), Error> {
        let fs = &*self.home.fs;
        self.distrust_indexes();
        self.with_index(&self.offsets, |index, file| {
            index.truncate(fs, file, |entry| {
                entry.offset < offset && u64::from(entry.position) < size
            })
        })?;
        self.with_index(&self.times, |index, file| {
            index.truncate(fs, file, |entry| entry.offset < offset)
        })?;
        self.largest_proven.store(false, Ordering::Release);
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
        let offset = self.with_entries(&self.offsets, |index| index.last())?;
        Ok((
            offset,
            self.with_entries(&self.times, |index| index.last())?,
        ))
    }

    /// Empties the indexes, in memory; for a segment that has no batches.
    pub(super) fn forget_indexes(&self) {
        *lock(&self.offsets) = Slot {
            index: Some(Index::empty(self.base_offset)),
            file: None,
        };
        *lock(&self.times) = Slot {
            index: Some(Index::empty(self.base_offset)),
            file: None,
        };
    }

    /// Calls `f` with an index and its file, both brought in when they are not there.
    pub(super) fn with_index<E: Entry, T>(
        self: &Arc<Self>,
        slot: &Mutex<Slot<E>>,
        f: impl FnOnce(&mut Index<E>, Option<&File>) -> io::Result<T>,
    ) -> Result<T, Error> {
        self.with_index_from(slot, Source::Disk, f)
    }

    /// The last entry that `is_at_or_before` holds for; it must hold for a prefix of them. What the disk has to be waited
    /// for is brought in without the lock, which an append may want.
    pub(super) fn search_index<E: Entry>(
        self: &Arc<Self>,
        slot: &Mutex<Slot<E>>,
        source: Source,
        is_at_or_before: impl Fn(&E) -> bool,
    ) -> Result<Option<E>, Error> {
        let missing = self.with_index_from(slot, source, |index, file| {
            match index.search(file, Source::PageCache, &is_at_or_before) {
                Err(error) if error.kind() == ErrorKind::WouldBlock && source == Source::Disk => {
                    // For want of a descriptor it is waited for under the lock.
                    let file = file.and_then(|file| file.try_clone().ok());
                    Ok(Err(file.zip(index.block_of(&is_at_or_before))))
                }
                found => found.map(Ok),
            }
        })?;
        match missing {
            Ok(found) => return Ok(found),
            Err(Some((file, block))) => {
                // Whether it could be read, and whether it is still the one, is found out under the lock.
                let _ = page_cache::bring_in(&file, block.start, block.end - block.start);
            }
            Err(None) => {}
        }
        self.with_index(slot, |index, file| {
            index.search(file, Source::Disk, is_at_or_before)
        })
    }

    /// [`Segment::with_index`]; only the disk brings one in, and only there another is waited for that may be reading.
    fn with_index_from<E: Entry, T>(
        self: &Arc<Self>,
        slot: &Mutex<Slot<E>>,
        source: Source,
        f: impl FnOnce(&mut Index<E>, Option<&File>) -> io::Result<T>,
    ) -> Result<T, Error> {
        let mut guard = self.ready(slot, source, Slot::is_ready)?;
        let Slot { index, file } = &mut *guard;
        let index = index.as_mut().expect("it is ready");
        f(index, file.as_ref()).map_err(self.io(E::SUFFIX))
    }

    /// Calls `f` with an index, whose entries suffice. A file that is not open stays closed.
    pub(super) fn with_entries<E: Entry, T>(
        self: &Arc<Self>,
        slot: &Mutex<Slot<E>>,
        f: impl FnOnce(&mut Index<E>) -> T,
    ) -> Result<T, Error> {
        let mut guard = self.ready(slot, Source::Disk, |slot| slot.index.is_some())?;
        Ok(f(guard.index.as_mut().expect("it is ready")))
    }

    /// The slot, locked, with its index in it.
    fn ready<'a, E: Entry>(
        self: &Arc<Self>,
        slot: &'a Mutex<Slot<E>>,
        source: Source,
        is_ready: impl Fn(&Slot<E>) -> bool,
    ) -> Result<MutexGuard<'a, Slot<E>>, Error> {
        self.used.store(true, Ordering::Relaxed);
        let mut guard = self.lock_from(slot, source, E::SUFFIX)?;
        if !is_ready(&guard) {
            self.expect_disk(source, E::SUFFIX)?;
            self.open_index(&mut guard, false)?;
        }
        // Made anew it may be closed again, to make room for others, before it is locked here.
        for _ in 0..REBUILDS_MAX {
            if guard.index.is_some() {
                break;
            }
            drop(guard);
            warn!(segment = %self.path().display(), "its .{} is missing or wrong: made anew", E::SUFFIX);
            self.rebuild_indexes()?;
            guard = lock(slot);
            if !is_ready(&guard) {
                self.open_index(&mut guard, false)?;
            }
        }
        match guard.index.is_some() {
            true => Ok(guard),
            false => Err(Error::corrupt(&self.path(), 0, "no index can be made")),
        }
    }

    /// Refuses where only the disk can help.
    pub(super) fn expect_disk(&self, source: Source, suffix: &str) -> Result<(), Error> {
        source.expect_disk().map_err(self.io(suffix))
    }

    /// Locks what may be locked by one who reads from the disk.
    fn lock_from<'a, T>(
        &self,
        mutex: &'a Mutex<T>,
        source: Source,
        suffix: &str,
    ) -> Result<MutexGuard<'a, T>, Error> {
        match mutex.try_lock() {
            Ok(guard) => Ok(guard),
            Err(_) => self.expect_disk(source, suffix).map(|()| lock(mutex)),
        }
    }

    /// Opens an index file and reads it if it is not in memory. Leaves no index when the file is missing or wrong.
    fn open_index<E: Entry>(
        self: &Arc<Self>,
        slot: &mut Slot<E>,
        is_active: bool,
    ) -> Result<(), Error> {
        let path = self.home.file(self.base_offset, E::SUFFIX);
        let file = match self.home.open_file(&path, Mode::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return self.expect_present(),
            Err(error) => return Err(Error::io(&path)(error)),
        };
        self.expect_present()?;
        if slot.index.is_none() {
            slot.index = Index::load(&file, self.base_offset, self.size(), is_active)
                .map_err(Error::io(&path))?;
        }
        slot.file = Some(file);
        self.admit();
        Ok(())
    }
}

impl<E: Entry> Slot<E> {
    /// Whether the index is in memory, and its file open where it has one.
    fn is_ready(&self) -> bool {
        self.index
            .as_ref()
            .is_some_and(|index| self.file.is_some() || !index.has_file())
    }

    fn is_pending(&self) -> bool {
        self.index.as_ref().is_some_and(Index::is_pending)
    }

    pub(super) fn close(&mut self) {
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
