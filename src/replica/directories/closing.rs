//! The end of all logs at a stop. (kafka.log.LogManager.shutdown)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::Directories;
use crate::ids::BrokerEpoch;
use crate::log::checkpoints::{CLEANER, HIGH_WATERMARK, LOG_START, RECOVERY_POINT};
use crate::log::directory::LogDirectory;
use crate::log::{self, Log};
use crate::replica::partition::Partition;

/// Logs of a directory that are closed at a time. Each waits for the device, and those that wait together share a commit
/// of its file system.
const CLOSING_THREADS: usize = 16;
/// Logs with something to bring to the device for which the whole file system, with what others wrote, is not.
const SYNCED_ONE_BY_ONE: usize = 64;

impl Directories {
    /// Closes the logs, writes every checkpoint, and marks the stop as clean where all went well.
    pub(in crate::replica) fn close(
        &self,
        partitions: &[(Arc<Partition>, usize)],
        mark: Option<BrokerEpoch>,
    ) {
        for (at, directory) in self.all.iter().enumerate() {
            let Some(files) = directory.online() else {
                continue;
            };
            let own: Vec<_> = partitions
                .iter()
                .filter(|(_, of)| *of == at)
                .cloned()
                .collect();
            let closed = close_logs(files, &own);
            // What they hold is true of each log, of one that was not closed, too.
            let names = &[RECOVERY_POINT, LOG_START, HIGH_WATERMARK, CLEANER];
            if directory.online().is_some() {
                directory.checkpoint_all(at, &own, names);
            }
            if !closed {
                continue;
            }
            if directory.unclean.load(Ordering::Acquire) {
                tracing::warn!(directory = %directory.path.display(), "a log is offline: the next start will check the logs");
                continue;
            }
            if let Some(Err(error)) = mark.map(|epoch| files.write_clean_shutdown(epoch)) {
                tracing::error!(%error, "the next start will check the logs");
            }
        }
    }
}

/// Closes the logs of a directory; whether all went well. Where many have something to bring to the device that is done
/// for the whole file system first: some fsyncs for each of thousands of logs take minutes.
fn close_logs(files: &LogDirectory, partitions: &[(Arc<Partition>, usize)]) -> bool {
    let is_dirty = |log: &Log| log.recovery_point() < log.log_end_offset();
    let dirty = partitions
        .iter()
        .filter(|(partition, _)| is_dirty(&partition.log()));
    if dirty.count() > SYNCED_ONE_BY_ONE {
        // One that fails here fails again when it is closed.
        each(partitions, Log::write_out);
        if let Err(error) = files.sync_file_system() {
            tracing::error!(%error, "the logs are not closed cleanly");
            return false;
        }
    }
    each(partitions, Log::close)
}

/// Does something with each of the logs; whether all went well.
fn each(
    partitions: &[(Arc<Partition>, usize)],
    act: impl Fn(&Log) -> Result<(), log::Error> + Sync,
) -> bool {
    let (next, clean) = (AtomicUsize::new(0), AtomicBool::new(true));
    let work = || {
        while let Some((partition, _)) = partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = act(&partition.log()) {
                tracing::error!(partition = %partition.topic_partition(), %error, "not closed cleanly");
                clean.store(false, Ordering::Release);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..CLOSING_THREADS.min(partitions.len()) {
            scope.spawn(work);
        }
    });
    clean.into_inner()
}
