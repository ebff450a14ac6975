//! The bound on open files: segments are opened on use, and those not used for longest are closed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use arc_swap::ArcSwap;
use rustix::process::Resource;

use super::deleted::DeletedFiles;
use super::error::Error;
use super::fs::{Fs, Mode};
use super::health::{Health, is_out_of_descriptors};
use super::log::Storage;
use super::segment::{Segment, lock};
use crate::ids::Offset;

/// Segments with open files when the process may have as many files open as it likes.
const SEGMENTS_MAX: usize = 65_536;
/// And at least, however few it may have.
const SEGMENTS_MIN: usize = 64;
/// The part of the files that are open that is closed when the process may open no more.
const MADE_ROOM: usize = 8;
/// Places in the queue before those of segments that are gone are looked for.
const PLACES_MIN: usize = 64;

/// The segments with open files, at most so many. One that has not been used since its last turn is closed when
/// another needs room.
///
/// A segment in use has its `.log` file open, and its index files after a start or while an older part of it is read.
#[derive(Debug)]
pub struct OpenSegments {
    limit: usize,
    queue: Mutex<Queue>,
}

/// In the order of their turns. A place keeps the memory of its segment, also of one that is gone.
#[derive(Debug)]
struct Queue {
    places: VecDeque<Weak<Segment>>,
    /// With so many places those of segments that are gone are given up.
    tidy_at: usize,
}

impl Queue {
    fn push(&mut self, segment: &Arc<Segment>) {
        if self.places.len() >= self.tidy_at {
            self.places.retain(|place| place.strong_count() > 0);
            self.tidy_at = PLACES_MIN.max(2 * self.places.len());
        }
        self.places.push_back(Arc::downgrade(segment));
    }
}

impl OpenSegments {
    pub fn new(limit: usize) -> OpenSegments {
        OpenSegments {
            limit: limit.max(1),
            queue: Mutex::new(Queue {
                places: VecDeque::new(),
                tidy_at: PLACES_MIN,
            }),
        }
    }

    /// A quarter of the files that the process may have open now, since each segment may have three; the others are for
    /// connections.
    pub fn of_process() -> OpenSegments {
        let files = rustix::process::getrlimit(Resource::Nofile).current;
        let quarter = files.map_or(usize::MAX, |files| {
            usize::try_from(files / 4).unwrap_or(usize::MAX)
        });
        OpenSegments::new(quarter.clamp(SEGMENTS_MIN, SEGMENTS_MAX))
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        lock(&self.queue).places.len()
    }

    /// Closes the files of an eighth of the segments, those that are open for longest.
    fn make_room(&self) {
        let oldest: Vec<Weak<Segment>> = {
            let mut queue = lock(&self.queue);
            let count = queue.places.len().div_ceil(MADE_ROOM);
            queue.places.drain(..count).collect()
        };
        for segment in oldest.iter().filter_map(Weak::upgrade) {
            segment.close_files();
        }
    }

    pub(super) fn admit(&self, segment: &Arc<Segment>) {
        // Closed without the queue's lock, and only what no other thread is using: nobody waits for two segments.
        for unused in self.enqueue(segment) {
            unused.close_files();
        }
    }

    /// Takes a segment in; returns those that have to make room.
    fn enqueue(&self, segment: &Arc<Segment>) -> Vec<Arc<Segment>> {
        let mut queue = lock(&self.queue);
        queue.push(segment);
        let mut unused = Vec::new();
        let mut turns = 2 * queue.places.len();
        while queue.places.len() > self.limit && turns > 0 {
            turns -= 1;
            let Some(oldest) = queue.places.pop_front() else {
                break;
            };
            let Some(oldest) = oldest.upgrade() else {
                continue;
            };
            if oldest.used.swap(false, Ordering::Relaxed) {
                queue.push(&oldest);
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
    /// Of its log directory.
    pub(crate) health: Arc<Health>,
    /// Likewise.
    pub(crate) deleted: Arc<DeletedFiles>,
    /// Names in the directory are not on the device yet.
    pub(crate) names_dirty: AtomicBool,
    /// Nor are the directory's own name and `partition.metadata`.
    pub(crate) is_new: AtomicBool,
}

impl Home {
    /// `flushed`: a process that stopped cleanly has brought it to the device once. What another made may not be there.
    pub(crate) fn new(dir: PathBuf, storage: Storage, flushed: bool) -> Home {
        Home {
            path: ArcSwap::from_pointee(dir),
            fs: storage.fs,
            open: storage.open,
            health: storage.health,
            deleted: storage.deleted,
            names_dirty: AtomicBool::new(!flushed),
            is_new: AtomicBool::new(!flushed),
        }
    }

    /// `<base offset>.<suffix>` in the log's directory.
    pub(crate) fn file(&self, base: Offset, suffix: &str) -> PathBuf {
        self.path.load().join(format!("{base:020}.{suffix}"))
    }

    /// Opens a file; where the process may open no more, others make room for it.
    pub(super) fn open_file(&self, path: &Path, mode: Mode) -> io::Result<File> {
        self.fs.open(path, mode).or_else(|error| {
            if !is_out_of_descriptors(&error) {
                return Err(error);
            }
            self.open.make_room();
            self.fs.open(path, mode)
        })
    }

    /// Brings a file to the device; the log directory is offline when that fails.
    pub(crate) fn sync(&self, file: &File, path: &Path) -> Result<(), Error> {
        self.fs
            .sync(file)
            .map_err(Error::io(path))
            .inspect_err(|error| self.health.fail(error))
    }

    /// [`Home::sync`] of a file that may be missing.
    pub(crate) fn sync_if_there(&self, path: &Path) -> Result<(), Error> {
        match self.fs.open(path, Mode::Write) {
            Ok(file) => self.sync(&file, path),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::io(path)(error)),
        }
    }

    /// Brings the names in a directory to the device; the log directory is offline when that fails.
    pub(crate) fn sync_directory(&self, path: &Path) -> Result<(), Error> {
        self.fs
            .sync_directory(path)
            .map_err(Error::io(path))
            .inspect_err(|error| self.health.judge_sync(error))
    }
}
