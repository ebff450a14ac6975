//! Blocks that are set aside behind the end of a segment that grows, so that the file system finds room for many appends at once
//! and not for each block of each. They come back when the segment is sealed, and after a crash by recovery. Nothing depends on
//! them: where they are not to be had a file grows as any other does, and there have to be many times as many.
//! (Kafka's `preallocate` makes a segment's file at its full length instead)

use std::fs::File;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::warn;

use super::segment::{LOG_SUFFIX, Segment};

/// What is set aside at a time for a segment that grows: this part of what it has, so many bytes at least and at most.
const ASIDE_PART: u64 = 8;
const ASIDE_MIN: u64 = 1 << 20;
const ASIDE_MAX: u64 = 8 << 20;
/// Of a segment for which nothing can be set aside.
const NEVER: u64 = u64::MAX;

impl Segment {
    /// Has blocks set aside for what is about to be written from `position` to `end`, and for what will follow, once the
    /// segment shows that it gets much.
    pub(super) fn set_aside(&self, file: &File, position: u64, end: u64) {
        let ahead = (end / ASIDE_PART).min(ASIDE_MAX);
        if end <= self.aside.load(Ordering::Relaxed) || ahead < ASIDE_MIN {
            return;
        }
        let mut aside = end + ahead;
        if self.home.health.space().spares(ahead)
            && let Err(error) = self.home.fs.set_aside(file, position, aside)
        {
            if error.kind() == ErrorKind::Unsupported {
                aside = NEVER;
            } else {
                // What was found of it is of more use to others.
                let _ = self.home.fs.give_back(file, position);
            }
        }
        self.aside.store(aside, Ordering::Relaxed);
    }

    /// Gives back what this process has set aside.
    pub(super) fn give_back(self: &Arc<Self>) {
        if !matches!(self.aside.load(Ordering::Relaxed), 0 | NEVER) {
            self.give_back_left();
        }
    }

    /// Gives back what this process or one before it has set aside.
    pub(super) fn give_back_left(self: &Arc<Self>) {
        let given = self.file().and_then(|file| {
            let given = self.home.fs.give_back(&file, self.size());
            given.map_err(self.io(LOG_SUFFIX))
        });
        match given {
            Ok(()) => self.aside.store(0, Ordering::Relaxed),
            Err(error) => warn!(%error, "blocks that were set aside are not given back"),
        }
    }
}
