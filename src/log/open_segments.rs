//! The bound on open files: segments are opened on use, and those not used for longest are closed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use arc_swap::ArcSwap;

use super::deleted::DeletedFiles;
use super::error::Error;
use super::fs::{Fs, Mode};
use super::health::Health;
use super::log::Storage;
use super::segment::{Segment, lock};
use crate::ids::Offset;

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

    pub(super) fn admit(&self, segment: &Arc<Segment>) {
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
