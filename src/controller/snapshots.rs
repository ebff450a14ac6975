//! When snapshots of the metadata log are taken, and when old ones and the log below them may go.
//! (SnapshotGenerator; KafkaRaftLog.maybeClean)

use std::fs;
use std::path::Path;

use tracing::{debug, warn};

use super::raft::consensus::{Consensus, Stopped};
use super::raft::storage::{blocking, invalid};
use crate::ids::{Now, SteadyTime, Timestamp};
use crate::metadata::checkpoint::{self, SnapshotId};

/// Between two looks at what may go. (KafkaMetadataLog's cleanup delay)
const LOOK_INTERVAL_MS: i64 = 60_000;

/// The settings of snapshots. -1 is "no bound", 0 for the interval "never by time".
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// `metadata.log.max.record.bytes.between.snapshots`
    pub(crate) record_bytes_max: u64,
    /// `metadata.log.max.snapshot.interval.ms`
    pub(crate) interval_ms: i64,
    /// `metadata.max.retention.bytes`: of the log and its snapshots together.
    pub(crate) retention_bytes: i64,
    /// `metadata.max.retention.ms`
    pub(crate) retention_ms: i64,
}

/// Keeps to the [`Policy`].
pub(super) struct Keeper {
    policy: Policy,
    next_clean: SteadyTime,
}

impl Keeper {
    pub(super) fn new(policy: Policy, now: SteadyTime) -> Keeper {
        Keeper {
            policy,
            next_clean: now.plus_ms(LOOK_INTERVAL_MS),
        }
    }

    /// When [`Keeper::look`] is due though nothing was written.
    pub(super) fn next_look(&self, now: SteadyTime) -> SteadyTime {
        self.next_clean.max(now)
    }

    /// Has a snapshot taken when one is due, and lets old ones go.
    pub(super) async fn look(&mut self, consensus: &Consensus, now: Now) -> Result<(), Stopped> {
        let (bytes, snapshot_at) = {
            let applied = consensus.applied();
            let applied = applied.borrow();
            (applied.bytes_since_snapshot, applied.snapshot_at)
        };
        let old =
            self.policy.interval_ms > 0 && now.steady.since(snapshot_at) >= self.policy.interval_ms;
        if bytes >= self.policy.record_bytes_max || (old && bytes > 0) {
            debug!("a snapshot of the metadata log is due: {bytes} bytes since the last");
            consensus.snapshot().await?;
        }
        if now.steady < self.next_clean {
            return Ok(());
        }
        self.next_clean = now.steady.plus_ms(LOOK_INTERVAL_MS);
        self.clean(consensus, now.wall).await
    }

    /// Drops the oldest snapshots while the bounds are exceeded, never the newest, and the log up to the oldest that
    /// stays.
    async fn clean(&self, consensus: &Consensus, now: Timestamp) -> Result<(), Stopped> {
        let (policy, directory) = (self.policy.clone(), consensus.directory().to_owned());
        let (log_size, log_start) = (consensus.log_size(), consensus.log_start_offset());
        let cleaned =
            blocking(move || drop_oldest(&policy, &directory, log_size, now).map_err(invalid))
                .await;
        match cleaned {
            Ok(Some(oldest)) if oldest.end_offset > log_start => consensus.purge(oldest).await,
            Ok(_) => Ok(()),
            Err(error) => {
                warn!("old snapshots of the metadata log stay: {error}");
                Ok(())
            }
        }
    }
}

/// Returns the oldest snapshot that stays when older ones were dropped.
fn drop_oldest(
    policy: &Policy,
    directory: &Path,
    log_size: u64,
    now: Timestamp,
) -> Result<Option<SnapshotId>, checkpoint::Error> {
    let ids = checkpoint::list(directory)?;
    let failed = |id: SnapshotId| {
        let path = id.path(directory);
        move |source| checkpoint::Error::Io { path, source }
    };
    let mut sizes = Vec::with_capacity(ids.len());
    for &id in &ids {
        sizes.push(fs::metadata(id.path(directory)).map_err(failed(id))?.len());
    }
    let mut total = log_size + sizes.iter().sum::<u64>();
    let mut dropped = 0;
    while dropped + 1 < ids.len() {
        let id = ids[dropped];
        let over_bytes = u64::try_from(policy.retention_bytes).is_ok_and(|bytes| total > bytes);
        let timestamp = checkpoint::last_contained_log_timestamp(&id.path(directory))?;
        let expired = policy.retention_ms >= 0 && now.0 - timestamp.0 > policy.retention_ms;
        if !over_bytes && !expired {
            break;
        }
        fs::remove_file(id.path(directory)).map_err(failed(id))?;
        total -= sizes[dropped];
        dropped += 1;
    }
    Ok((dropped > 0).then(|| ids[dropped]))
}
