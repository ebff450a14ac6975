//! Whether a log directory has space for more records. Records leave a reserve free (`log.reserve.bytes`), so that
//! metadata, offsets of groups and checkpoints can still be written, and topics deleted, on a disk that is full for
//! producers.
//!
//! The disk is not asked for each append: what it had is given out in parts, and it is asked again when a part is used
//! up, so the more often the less there is. Once it is short, appends are refused until [`Space::look`] finds more.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use tracing::{info, warn};

use super::fs::Fs;

/// The largest part that is given out: what others may have written meanwhile has to fit into the reserve.
const PART_MAX: i64 = 16 << 20;
/// The reserve where nothing else is said; and it is at most the hundredth part of the disk then.
const RESERVE: i64 = 64 << 20;
/// Stands for [`RESERVE`].
pub const RESERVE_DEFAULT: i64 = -1;

/// Space is set aside only where there is so many times as much.
const SPARED: i64 = 64;

const ENOUGH: u8 = 0;
/// Less is free than the reserve.
const SHORT: u8 = 1;
/// A write found no space, whatever the disk says (a quota, for one).
const FULL: u8 = 2;
/// There may be space again after that; the next append shows it.
const TRYING: u8 = 3;

/// Whether an append may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Yes,
    /// Whether it works is to be told with [`Space::worked`].
    Trial,
    No,
}

/// See the module.
pub(super) struct Space {
    /// Whose space it is; `None` is not looked after.
    directory: Option<(Arc<dyn Fs>, PathBuf)>,
    reserve: AtomicI64,
    /// What may be written before the disk is asked again.
    part: AtomicI64,
    state: AtomicU8,
}

impl Space {
    pub(super) fn of(directory: Option<(Arc<dyn Fs>, PathBuf)>) -> Space {
        Space {
            directory,
            reserve: AtomicI64::new(RESERVE_DEFAULT),
            part: AtomicI64::new(0),
            state: AtomicU8::new(ENOUGH),
        }
    }

    /// `log.reserve.bytes`, or [`RESERVE_DEFAULT`].
    pub(super) fn reserve(&self, bytes: i64) {
        self.reserve.store(bytes, Ordering::Relaxed);
        self.part.store(0, Ordering::Relaxed);
    }

    pub(super) fn is_short(&self) -> bool {
        self.state.load(Ordering::Acquire) != ENOUGH
    }

    /// Whether `bytes` of records may be written.
    pub(super) fn admit(&self, bytes: usize) -> Admission {
        if self.directory.is_none() {
            return Admission::Yes;
        }
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        match self.state.load(Ordering::Acquire) {
            SHORT | FULL => return Admission::No,
            TRYING => return Admission::Trial,
            _ => {}
        }
        if self.part.fetch_sub(bytes, Ordering::Relaxed) >= bytes {
            return Admission::Yes;
        }
        let Some((free, reserve)) = self.ask() else {
            return Admission::Yes;
        };
        if free - reserve < bytes {
            self.become_short(SHORT, free);
            return Admission::No;
        }
        let part = (free - reserve - bytes) / 2;
        self.part.store(part.min(PART_MAX), Ordering::Relaxed);
        Admission::Yes
    }

    /// Whether `bytes` may be set aside for records that have not come yet. The next records ask the disk again.
    pub(super) fn spares(&self, bytes: u64) -> bool {
        if self.directory.is_none() {
            return true;
        }
        self.part.store(0, Ordering::Relaxed);
        let needed = i64::try_from(bytes)
            .unwrap_or(i64::MAX)
            .saturating_mul(SPARED);
        let is_plenty = |(free, reserve): (i64, i64)| free - reserve >= needed;
        !self.is_short() && self.ask().is_some_and(is_plenty)
    }

    /// A write found no space.
    pub(super) fn exhausted(&self) {
        if self.directory.is_some() {
            let free = self.ask().map_or(0, |(free, _)| free);
            self.become_short(FULL, free);
        }
    }

    /// An append that was a trial has worked.
    pub(super) fn worked(&self) {
        self.leave(TRYING);
    }

    /// Asks the disk whether there is space again.
    pub(super) fn look(&self) {
        let state = self.state.load(Ordering::Acquire);
        if state != SHORT && state != FULL {
            return;
        }
        let Some((free, reserve)) = self.ask() else {
            return;
        };
        // A little more than what was too little, so that it does not go to and fro.
        if free <= reserve + reserve / 4 {
            return;
        }
        if state == SHORT {
            self.leave(SHORT);
        } else {
            let _ = self
                .state
                .compare_exchange(FULL, TRYING, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    fn leave(&self, state: u8) {
        let left = self
            .state
            .compare_exchange(state, ENOUGH, Ordering::AcqRel, Ordering::Acquire);
        if let (Ok(_), Some((_, path))) = (left, &self.directory) {
            info!(directory = %path.display(), "there is space again: records are taken");
        }
    }

    fn become_short(&self, state: u8, free: i64) {
        self.part.store(0, Ordering::Relaxed);
        if self.state.swap(state, Ordering::AcqRel) == ENOUGH
            && let Some((_, path)) = &self.directory
        {
            warn!(directory = %path.display(), free, "too little space: records are refused until there is more");
        }
    }

    /// What is free, and the reserve. `None` when that cannot be told: then a write will.
    fn ask(&self) -> Option<(i64, i64)> {
        let (fs, path) = self.directory.as_ref()?;
        let space = fs.space(path).ok()?;
        let reserve = match self.reserve.load(Ordering::Relaxed) {
            ..0 => RESERVE.min(i64::try_from(space.total / 100).unwrap_or(i64::MAX)),
            bytes => bytes,
        };
        Some((i64::try_from(space.free).unwrap_or(i64::MAX), reserve))
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fs::DiskSpace;
    use super::super::fs::faulty::Faulty;
    use super::*;

    const MB: u64 = 1 << 20;

    fn disk(free: u64) -> (Arc<Faulty>, Space) {
        let disk = Arc::new(Faulty::default());
        disk.set_space(DiskSpace {
            total: 1000 * MB,
            free,
        });
        let space = Space::of(Some((disk.clone(), PathBuf::from("/logs"))));
        (disk, space)
    }

    fn set_free(disk: &Faulty, free: u64) {
        disk.set_space(DiskSpace {
            total: 1000 * MB,
            free,
        });
    }

    #[test]
    fn the_reserve_is_left_free() {
        // The hundredth part of the disk is reserved.
        let (disk, space) = disk(15 * MB);
        let mut free = 15 * MB;
        while space.admit(100_000) == Admission::Yes {
            free -= 100_000;
            set_free(&disk, free);
            assert!(free >= 10 * MB);
        }
        assert!(space.is_short());
        assert!(free < 10 * MB + 100_000);
        set_free(&disk, 12 * MB);
        space.look();
        assert_eq!(space.admit(1), Admission::No);
        set_free(&disk, 13 * MB);
        assert_eq!(space.admit(1), Admission::No);
        space.look();
        assert_eq!(space.admit(1), Admission::Yes);
        assert!(!space.is_short());
    }

    #[test]
    fn a_large_disk_is_asked_seldom() {
        let (disk, space) = disk(900 * MB);
        for _ in 0..10_000 {
            assert_eq!(space.admit(16_384), Admission::Yes);
        }
        assert!(disk.asked() < 12, "{}", disk.asked());
    }

    #[test]
    fn only_what_is_plenty_is_set_aside_and_then_the_disk_is_asked_again() {
        let (disk, space) = disk(522 * MB);
        assert!(space.spares(8 * MB));
        assert_eq!(space.admit(1), Admission::Yes);
        set_free(&disk, 521 * MB);
        assert!(!space.spares(8 * MB));
        set_free(&disk, 9 * MB);
        assert_eq!(space.admit(1), Admission::No);
        set_free(&disk, 900 * MB);
        assert!(!space.spares(1), "not before it is looked at");
        space.look();
        assert!(space.spares(1));
    }

    #[test]
    fn the_reserve_can_be_set() {
        let (_, space) = disk(15 * MB);
        space.reserve(15 * MB as i64);
        assert_eq!(space.admit(1), Admission::No);
        let (_, space) = disk(15 * MB);
        space.reserve(0);
        assert_eq!(space.admit(15 * MB as usize), Admission::Yes);
    }

    #[test]
    fn after_a_write_without_space_one_append_tries() {
        let (_, space) = disk(900 * MB);
        space.exhausted();
        assert_eq!(space.admit(1), Admission::No);
        space.look();
        assert_eq!(space.admit(1), Admission::Trial);
        space.exhausted();
        assert_eq!(space.admit(1), Admission::No);
        space.look();
        space.worked();
        assert_eq!(space.admit(1), Admission::Yes);
    }
}
