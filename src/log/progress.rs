//! How far the opening of a directory's logs has come, so that who waits for a long recovery sees that it goes on.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counted while logs are opened; read by who tells it.
#[derive(Debug, Default)]
pub struct Progress {
    found: AtomicUsize,
    opened: AtomicUsize,
    checked_bytes: AtomicU64,
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Logs of the directory.
    pub found: usize,
    /// Those that are open, or cannot be.
    pub opened: usize,
    /// Bytes whose CRC was checked.
    pub checked_bytes: u64,
}

impl Progress {
    pub fn found(&self, logs: usize) {
        self.found.store(logs, Ordering::Relaxed);
    }

    pub fn opened_one(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn checked(&self, bytes: u64) {
        self.checked_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn done(&self) -> Done {
        Done {
            found: self.found.load(Ordering::Relaxed),
            opened: self.opened.load(Ordering::Relaxed),
            checked_bytes: self.checked_bytes.load(Ordering::Relaxed),
        }
    }
}
