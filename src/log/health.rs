//! Whether a log directory can be used: shared by the directory, the logs in it, and whoever has to know when it fails.
//! The first failure counts, and only a new start gets over it: after a failed fsync nobody knows what the device holds.
//! Who opens the directory waits for [`Health::failed`]; who finds an error calls [`Health::judge_write`],
//! [`Health::judge_read`] or [`Health::fail`]. A shortage of space passes; see [`space`](super::space). (org.apache.kafka.storage.internals.log.LogDirFailureChannel)

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use tokio::sync::Notify;
use tracing::error;

use super::error::Error;
use super::fs::Fs;
use super::space::Space;

/// See the module.
#[derive(Debug)]
pub struct Health {
    failed: AtomicBool,
    failure: Notify,
    space: Space,
}

impl Default for Health {
    /// Of logs whose space nobody looks after.
    fn default() -> Health {
        Health::new(None)
    }
}

impl Health {
    fn new(directory: Option<(Arc<dyn Fs>, PathBuf)>) -> Health {
        Health {
            failed: AtomicBool::new(false),
            failure: Notify::new(),
            space: Space::of(directory),
        }
    }

    /// That of a log directory.
    pub(super) fn of(fs: Arc<dyn Fs>, path: PathBuf) -> Health {
        Health::new(Some((fs, path)))
    }

    /// How much records leave free: `log.reserve.bytes`, or [`RESERVE_DEFAULT`](super::RESERVE_DEFAULT).
    pub fn reserve(&self, bytes: i64) {
        self.space.reserve(bytes);
    }

    /// Whether records are refused for want of space. [`Health::look_for_space`] ends it.
    pub fn is_short_of_space(&self) -> bool {
        self.space.is_short()
    }

    /// To be called from time to time while [`Health::is_short_of_space`].
    pub fn look_for_space(&self) {
        self.space.look();
    }

    pub(super) fn space(&self) -> &Space {
        &self.space
    }

    /// Whether the directory is offline: nothing in it is written any more.
    pub fn is_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Resolves once the directory is offline, also when it was before.
    pub async fn failed(&self) {
        let failure = self.failure.notified();
        tokio::pin!(failure);
        // From here on no failure goes unheard.
        failure.as_mut().enable();
        if !self.is_failed() {
            failure.await;
        }
    }

    /// Takes the directory offline. The first error is told, since all that follow come from it.
    pub fn fail(&self, error: &Error) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            error!(%error, "the log directory goes offline");
            self.failure.notify_waiters();
        }
    }

    /// Takes the directory offline when a change of its files failed for another reason than a shortage, which passes.
    pub fn judge_write(&self, error: &Error) {
        match error {
            Error::Io { source, .. } if is_full(source) => self.space.exhausted(),
            Error::Io { source, .. } if is_shortage(source) => {}
            Error::Io { .. } => self.fail(error),
            Error::Corrupt { .. }
            | Error::Unreadable { .. }
            | Error::Malformed { .. }
            | Error::Offline { .. }
            | Error::NoSpace { .. } => {}
        }
    }

    /// Takes the directory offline when an fsync failed; not when too many files are open to begin it.
    pub(super) fn judge_sync(&self, error: &Error) {
        match error {
            Error::Io { source, .. } if is_out_of_descriptors(source) => {}
            error => self.fail(error),
        }
    }

    /// Takes the directory offline when the device could not give what lies on it.
    pub fn judge_read(&self, error: &Error) {
        if let Error::Io { source, .. } = error
            && Errno::from_io_error(source) == Some(Errno::IO)
        {
            self.fail(error);
        }
    }
}

/// Whether there was too little memory or too few descriptors, for now.
fn is_shortage(error: &io::Error) -> bool {
    error.kind() == ErrorKind::OutOfMemory || is_out_of_descriptors(error)
}

pub(super) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

/// Whether the disk or the quota is used up.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures_util::FutureExt as _;

    use super::*;

    fn error(source: impl Into<io::Error>) -> Error {
        Error::io(Path::new("t-0"))(source.into())
    }

    #[test]
    fn a_shortage_passes_and_other_errors_take_the_directory_offline() {
        for shortage in [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::NFILE] {
            let health = Health::default();
            health.judge_write(&error(shortage));
            health.judge_read(&error(shortage));
            assert!(!health.is_failed(), "{shortage}");
        }
        for (errno, by_write, by_read) in [
            (Errno::IO, true, true),
            (Errno::ROFS, true, false),
            (Errno::NOENT, true, false),
        ] {
            let (writing, reading) = (Health::default(), Health::default());
            writing.judge_write(&error(errno));
            reading.judge_read(&error(errno));
            assert_eq!(
                (writing.is_failed(), reading.is_failed()),
                (by_write, by_read),
                "{errno}"
            );
        }
        let health = Health::default();
        health.judge_write(&Error::corrupt(Path::new("t-0"), 0, "bad"));
        assert!(!health.is_failed());
    }

    #[tokio::test]
    async fn who_waits_hears_of_a_failure_and_so_does_who_comes_later() {
        let health = Arc::new(Health::default());
        let waiting = tokio::spawn({
            let health = health.clone();
            async move { health.failed().await }
        });
        assert!(health.failed().now_or_never().is_none());
        health.fail(&error(Errno::IO));
        waiting.await.unwrap();
        health.failed().await;
    }
}
