//! The end of all logs at a stop. (kafka.log.LogManager.shutdown)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::Directories;
use crate::ids::BrokerEpoch;
use crate::log::checkpoints::{CLEANER, HIGH_WATERMARK, LOG_START, RECOVERY_POINT};
use crate::replica::partition::Partition;

/// Logs of a directory that are closed at a time. Each waits for the device, and those that wait together share a commit
/// of its file system.
const CLOSING_THREADS: usize = 16;

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
            if !close_logs(&own) {
                continue;
            }
            let names = &[RECOVERY_POINT, LOG_START, HIGH_WATERMARK, CLEANER];
            directory.checkpoint_all(at, &own, names);
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

/// Closes logs, many at a time; whether all went well.
fn close_logs(partitions: &[(Arc<Partition>, usize)]) -> bool {
    let (next, clean) = (AtomicUsize::new(0), AtomicBool::new(true));
    let close = || {
        while let Some((partition, _)) = partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = partition.log().close() {
                tracing::error!(partition = %partition.topic_partition(), %error, "not closed cleanly");
                clean.store(false, Ordering::Release);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..CLOSING_THREADS.min(partitions.len()) {
            scope.spawn(close);
        }
    });
    clean.into_inner()
}
