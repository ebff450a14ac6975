//! The broker's log directories: opening them, telling the controller where replicas lie, and when too few are left to
//! go on. (kafka.log.LogManager, kafka.server.AssignmentsManager, ReplicaManager.handleLogDirFailure)

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, error, warn};

use super::lifecycle::Lifecycle;
use crate::config::Settings;
use crate::controller::{Answer, Command};
use crate::error_code::ErrorCode;
use crate::ids::{BrokerEpoch, DirectoryId, TopicId, TopicPartition};
use crate::log;
use crate::log::directory::LogDirectory;
use crate::messages::assign_replicas_to_dirs_request::{DirectoryData, PartitionData, TopicData};
use crate::messages::{AssignReplicasToDirsRequest, BrokerId};
use crate::metadata::storage::Storage;
use crate::replica::{Assignment, LogDir, Replicas};

/// Before an assignment that could not be made is tried again.
const RETRY_BACKOFF: Duration = Duration::from_secs(1);

/// Why the node cannot go on with the directories that it has.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("the log directory of the metadata log, {}, has failed", .0.display())]
    Metadata(PathBuf),
    #[error("no log directory is left: {}", paths(.0))]
    All(Vec<PathBuf>),
    #[error(
        "Duplicate log directories for {partition} are found in both {} and {}. It is likely because log directory \
         failure happened while broker was replacing current replica with future replica. Recover broker from this \
         failure by manually deleting one of the two directories for this partition. It is recommended to delete the \
         partition in the log directory that is known to have failed recently.",
        .first.display(),
        .second.display()
    )]
    Duplicate {
        partition: TopicPartition,
        first: PathBuf,
        second: PathBuf,
    },
    #[error(
        "the controller was not told within {timeout:?} that log directory {directory} has failed"
    )]
    Untold {
        directory: DirectoryId,
        timeout: Duration,
    },
    #[error("a log that was replaced by one in another directory: {0}")]
    Supersede(log::Error),
}

fn paths(of: &[PathBuf]) -> String {
    let all: Vec<_> = of.iter().map(|path| path.display().to_string()).collect();
    all.join(", ")
}

/// Opens the directories of `log.dirs`, in their order. One that cannot be read is offline.
pub(super) fn open(settings: &Settings, storage: &Storage) -> Result<Vec<LogDir>, Unusable> {
    let log_storage = log::Storage::default();
    let open = |path: &PathBuf| {
        let Some(id) = storage.directories.get(path).copied() else {
            let (id, path) = (DirectoryId::TWO, path.clone());
            return LogDir {
                id,
                path,
                files: None,
            };
        };
        let files = LogDirectory::open(path.clone(), log_storage.clone())
            .inspect_err(|error| error!(%error, "the log directory is offline from the start"));
        LogDir {
            id,
            path: path.clone(),
            files: files.ok(),
        }
    };
    let opened: Vec<LogDir> = settings.log_dirs().iter().map(open).collect();
    check_usable(settings, &opened)?;
    check_duplicates(&opened)?;
    Ok(opened)
}

fn check_usable(settings: &Settings, opened: &[LogDir]) -> Result<(), Unusable> {
    let is_offline = |directory: &&LogDir| directory.files.is_none();
    if opened.iter().all(|directory| directory.files.is_none()) {
        let paths = opened.iter().map(|directory| directory.path.clone());
        return Err(Unusable::All(paths.collect()));
    }
    let mut offline = opened.iter().filter(is_offline);
    match offline.find(|directory| directory.path == settings.metadata_log_dir()) {
        Some(directory) => Err(Unusable::Metadata(directory.path.clone())),
        None => Ok(()),
    }
}

/// A partition whose log lies in two directories: nobody knows which is the right one, unless the last run ended while it
/// put one into the place of the other. (LogManager.loadLog)
fn check_duplicates(opened: &[LogDir]) -> Result<(), Unusable> {
    if opened.len() == 1 {
        return Ok(());
    }
    let mut seen: HashMap<TopicPartition, (&LogDirectory, PathBuf)> = HashMap::new();
    let online = || {
        opened
            .iter()
            .filter_map(|directory| directory.files.as_ref())
    };
    for files in online() {
        for (partition, path) in files.current_logs() {
            let Some((other, first)) = seen.insert(partition.clone(), (files, path.clone())) else {
                continue;
            };
            let superseded = match (log::is_replacing(&first), log::is_replacing(&path)) {
                (true, false) => files.supersede(&partition, &path),
                (false, true) => other.supersede(&partition, &first),
                _ => {
                    return Err(Unusable::Duplicate {
                        partition,
                        first,
                        second: path,
                    });
                }
            };
            superseded.map_err(Unusable::Supersede)?;
        }
    }
    for (files, path) in seen.values() {
        files.clear_replacing(path).map_err(Unusable::Supersede)?;
    }
    Ok(())
}

/// The broker epoch of the last run, where it stopped all directories cleanly: one that was not, or that was last
/// used by another run, may have lost records. (LogManager.readBrokerEpochFromCleanShutdownFiles)
pub(super) fn epoch_of_clean_stop(directories: &[LogDir]) -> Option<BrokerEpoch> {
    let online = directories
        .iter()
        .filter_map(|directory| directory.files.as_ref());
    same_epoch(online.map(LogDirectory::clean_shutdown))
}

fn same_epoch(mut stops: impl Iterator<Item = Option<BrokerEpoch>>) -> Option<BrokerEpoch> {
    let first = stops.next()??;
    stops.all(|other| other == Some(first)).then_some(first)
}

/// Resolves when the node cannot go on with its directories: that of the metadata log has failed, or the last of all, or
/// the controller is not told of one in time.
pub(super) async fn unusable(
    settings: &Settings,
    replicas: &Replicas,
    lifecycle: &Lifecycle,
) -> Unusable {
    let timeout = settings.long("log.dir.failure.timeout.ms");
    let timeout = Duration::from_millis(u64::try_from(timeout).unwrap_or(0));
    tokio::select! {
        unusable = too_few(settings, replicas) => unusable,
        directory = lifecycle.untold(timeout) => Unusable::Untold { directory, timeout },
    }
}

async fn too_few(settings: &Settings, replicas: &Replicas) -> Unusable {
    let mut state = replicas.directory_state();
    loop {
        let online = state.borrow_and_update().online.clone();
        if online.is_empty() {
            return Unusable::All(settings.log_dirs().to_vec());
        }
        if replicas.has_failed(settings.metadata_log_dir()) {
            return Unusable::Metadata(settings.metadata_log_dir().to_owned());
        }
        if state.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Tells the controller of the directories of replicas, for as long as it runs.
pub(super) async fn tell(replicas: Arc<Replicas>, lifecycle: Arc<Lifecycle>) {
    loop {
        let next = replicas.next_assignments().await;
        let command = Command::AssignReplicasToDirs(request(&lifecycle, &next));
        match lifecycle.controller().submit(command).await {
            Ok(Answer::AssignReplicasToDirs(response)) => {
                match ErrorCode::from_code(response.error_code) {
                    ErrorCode::None => {
                        debug!(replicas = next.len(), "the controller knows where they lie");
                        // Those that it refuses are gone from the cluster.
                        replicas.drop_assignments(&next);
                        continue;
                    }
                    code => warn!(
                        "the controller does not take where replicas lie: {}",
                        code.name()
                    ),
                }
            }
            Ok(other) => unreachable!("an assignment is answered by {other:?}"),
            Err(crate::controller::Error::Stopped) => return,
            Err(error) => debug!(%error, "where replicas lie is told later"),
        }
        sleep(RETRY_BACKOFF).await;
    }
}

fn request(lifecycle: &Lifecycle, assignments: &[Assignment]) -> AssignReplicasToDirsRequest {
    let mut by_directory: BTreeMap<DirectoryId, BTreeMap<TopicId, Vec<PartitionData>>> =
        BTreeMap::new();
    for assignment in assignments {
        let topics = by_directory.entry(assignment.directory).or_default();
        let partition = PartitionData::default().with_partition_index(assignment.partition.0);
        topics.entry(assignment.topic).or_default().push(partition);
    }
    let directories = by_directory.into_iter().map(|(id, topics)| {
        let topics = topics.into_iter().map(|(topic, partitions)| {
            TopicData::default()
                .with_topic_id(topic.0)
                .with_partitions(partitions)
        });
        DirectoryData::default()
            .with_id(id.0)
            .with_topics(topics.collect())
    });
    AssignReplicasToDirsRequest::default()
        .with_broker_id(BrokerId(lifecycle.node_id().0))
        .with_broker_epoch(lifecycle.epoch().0)
        .with_directories(directories.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_clean_when_it_was_in_all_directories() {
        let of =
            |epochs: &[Option<i64>]| same_epoch(epochs.iter().map(|epoch| epoch.map(BrokerEpoch)));
        assert_eq!(of(&[Some(5), Some(5)]), Some(BrokerEpoch(5)));
        for epochs in [
            &[Some(5), Some(4)][..],
            &[Some(5), None],
            &[None, Some(5)],
            &[],
        ] {
            assert_eq!(of(epochs), None, "{epochs:?}");
        }
    }
}
