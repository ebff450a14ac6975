//! Blocks that are set aside behind the end of a segment that grows, so that the file system finds room for many appends at once
//! and not for each block of each. They come back when the segment is sealed; after a crash recovery seals what was not.
//! (Kafka's `preallocate` makes a segment's file at its full length instead)

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::Error;
use super::segment::{LOG_SUFFIX, Segment};

/// What is set aside at a time for a segment that grows: this part of what it has, so many bytes at least and at most.
const ASIDE_PART: u64 = 8;
const ASIDE_MIN: u64 = 1 << 20;
const ASIDE_MAX: u64 = 8 << 20;
/// What a file may have beyond its bytes before that is given back: its last block, and where its blocks are.
const ASIDE_LEFT: u64 = 64 << 10;
/// The unit of `st_blocks`.
const BLOCK: u64 = 512;

impl Segment {
    /// Has blocks set aside for what is about to be written from `position` to `end`, and for what will follow, once the
    /// segment shows that it gets much. Where that is not to be had the file grows as any other does.
    pub(super) fn set_aside(&self, file: &File, position: u64, end: u64) {
        let ahead = (end / ASIDE_PART).min(ASIDE_MAX);
        if end <= self.aside.load(Ordering::Relaxed) || ahead < ASIDE_MIN {
            return;
        }
        let aside = match self.home.fs.set_aside(file, position, end + ahead) {
            Ok(()) => end + ahead,
            Err(_) => u64::MAX,
        };
        self.aside.store(aside, Ordering::Relaxed);
    }

    /// Gives back the blocks that were set aside and not used, by this process or by one that had no time to.
    pub(super) fn give_back(self: &Arc<Self>) -> Result<(), Error> {
        if self.size() < ASIDE_PART * ASIDE_MIN {
            return Ok(());
        }
        let file = self.file()?;
        let taken = file.metadata().map_err(self.io(LOG_SUFFIX))?.blocks() * BLOCK;
        if taken > self.size() + ASIDE_LEFT {
            let given = self.home.fs.set_len(&file, self.size());
            given.map_err(self.io(LOG_SUFFIX))?;
        }
        Ok(())
    }
}
