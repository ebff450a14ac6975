//! The bound on open files: segments are opened on use, and those not used for longest are closed.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

use arc_swap::ArcSwap;

use super::fs::Fs;
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
}

impl Home {
    /// `<base offset>.<suffix>` in the log's directory.
    pub(crate) fn file(&self, base: Offset, suffix: &str) -> PathBuf {
        self.path.load().join(format!("{base:020}.{suffix}"))
    }
}
