//! A running node: its parts put together. Handlers reach everything through it.
//!
//! `server` starts and stops it; nothing below `api` knows it.

pub mod lifecycle;
pub mod producer_ids;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::config::Settings;
use crate::controller::{self, Controller, Machine};
use crate::coordinator::groups::GroupCoordinator;
use crate::ids::BrokerEpoch;
use crate::log::directory::LogDirectory;
use crate::metadata::storage::{self, Storage};
use crate::metadata::{Image, MetadataListener, Published};
use crate::replica::Replicas;
use crate::replica::session::Sessions;
use lifecycle::{Identity, Lifecycle};
use producer_ids::ProducerIds;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error(transparent)]
    Directory(#[from] crate::log::Error),
    #[error(transparent)]
    Controller(#[from] controller::StartError),
    #[error(transparent)]
    Lifecycle(#[from] lifecycle::Error),
}

/// What went wrong while a node stopped; it has stopped all the same.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    #[error("the controlled shutdown: {0}")]
    Lifecycle(#[from] lifecycle::Error),
    #[error("the metadata log: {0}")]
    Controller(#[from] std::io::Error),
}

/// The parts of a node.
pub struct Broker {
    settings: Arc<Settings>,
    clock: Clock,
    cluster_id: Arc<str>,
    metadata: Arc<Published>,
    controller: Arc<Controller>,
    lifecycle: Arc<Lifecycle>,
    replicas: Arc<Replicas>,
    groups: Arc<GroupCoordinator>,
    fetch_sessions: Sessions,
    producer_ids: ProducerIds,
    /// Runs for as long as the logs are open.
    upkeep: Mutex<Option<JoinHandle<()>>>,
    /// Holds the locks on the log directories.
    _storage: Storage,
}

impl Broker {
    /// Opens the node's directories and takes part in its cluster; clients may be served when this returns.
    /// `addresses`: the listeners and what they are bound to.
    pub async fn start(
        settings: Settings,
        addresses: &[(Arc<str>, SocketAddr)],
    ) -> Result<Arc<Broker>, StartError> {
        let (settings, clock) = (Arc::new(settings), Clock::system());
        let storage = Storage::open(&settings, clock.now())?;
        let cluster_id: Arc<str> = storage.cluster_id.as_str().into();
        let metadata = Arc::new(Published::of(Image::empty()));
        let directories = open_directories(&settings, &storage)?;
        let log_dirs = directories.iter().map(|(id, _)| *id).collect();
        let stops = directories
            .iter()
            .map(|(_, directory)| directory.clean_shutdown());
        let previous_epoch = epoch_of_clean_stop(stops);
        let replicas = Arc::new(Replicas::new(settings.clone(), clock.clone(), directories));
        let look_up = {
            let replicas = replicas.clone();
            Box::new(move |topic, partition| replicas.get(topic, partition).ok())
        };
        let groups = Arc::new(GroupCoordinator::start(&settings, clock.clone(), look_up));
        let listeners: Vec<Arc<dyn MetadataListener>> = vec![replicas.clone(), groups.clone()];
        let options = controller::Options::of(&settings);
        let machine = Machine::new(cluster_id.clone(), settings.clone());
        let controller =
            Controller::start(options, machine, clock.clone(), metadata.clone(), listeners).await?;
        let controller = Arc::new(controller);
        let identity = Identity::of(
            &settings,
            cluster_id.clone(),
            addresses,
            log_dirs,
            previous_epoch,
        );
        let lifecycle = Lifecycle::register(controller.clone(), metadata.clone(), identity).await?;
        let upkeep = tokio::spawn(replicas.clone().run());
        let slots =
            usize::try_from(settings.max_incremental_fetch_session_cache_slots()).unwrap_or(0);
        let broker = Arc::new(Broker {
            clock,
            cluster_id,
            metadata,
            controller,
            replicas,
            groups,
            fetch_sessions: Sessions::new(slots),
            producer_ids: ProducerIds::new(lifecycle.clone()),
            upkeep: Mutex::new(Some(upkeep)),
            lifecycle,
            settings,
            _storage: storage,
        });
        broker.lifecycle.unfence().await?;
        Ok(broker)
    }

    /// Hands over what it leads, closes the logs and marks them as cleanly stopped. Clients are no longer served.
    pub async fn stop(&self) -> Result<(), StopError> {
        let released = self.lifecycle.shut_down().await;
        let upkeep = self
            .upkeep
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(upkeep) = upkeep {
            upkeep.abort();
            // Aborted or not, it has ended.
            let _ = upkeep.await;
        }
        let (replicas, epoch) = (self.replicas.clone(), self.lifecycle.epoch());
        let closed = tokio::task::spawn_blocking(move || replicas.shut_down(epoch)).await;
        closed.expect("closing logs reports its failures and does not panic");
        self.controller.stop().await?;
        Ok(released?)
    }

    /// Resolves when the node cannot go on, with the reason: the metadata log cannot be written any more.
    pub async fn failed(&self) -> controller::Error {
        self.controller.closed().await;
        controller::Error::Stopped
    }

    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    pub fn cluster_id(&self) -> &Arc<str> {
        &self.cluster_id
    }

    /// The cluster as it is known here, and its changes.
    pub fn metadata(&self) -> &Arc<Published> {
        &self.metadata
    }

    /// The newest image: a request takes one and keeps it.
    pub fn image(&self) -> Arc<Image> {
        self.metadata.image()
    }

    pub fn controller(&self) -> &Arc<Controller> {
        &self.controller
    }

    /// The partitions that are here.
    pub fn replicas(&self) -> &Arc<Replicas> {
        &self.replicas
    }

    pub fn groups(&self) -> &Arc<GroupCoordinator> {
        &self.groups
    }

    pub fn fetch_sessions(&self) -> &Sessions {
        &self.fetch_sessions
    }

    pub fn producer_ids(&self) -> &ProducerIds {
        &self.producer_ids
    }
}

/// The broker epoch of the last run, where it stopped all directories cleanly: one that was not, or that was last
/// used by another run, may have lost records. (LogManager.readBrokerEpochFromCleanShutdownFiles)
fn epoch_of_clean_stop(
    mut directories: impl Iterator<Item = Option<BrokerEpoch>>,
) -> Option<BrokerEpoch> {
    let first = directories.next()??;
    directories
        .all(|other| other == Some(first))
        .then_some(first)
}

/// The directories of `log.dirs`, in their order.
fn open_directories(
    settings: &Settings,
    storage: &Storage,
) -> Result<Vec<(crate::ids::DirectoryId, LogDirectory)>, crate::log::Error> {
    let log_storage = crate::log::Storage::default();
    let directory = |path: &std::path::PathBuf| {
        let id = storage.directories.get(path).copied().unwrap_or_default();
        Ok((id, LogDirectory::open(path.clone(), log_storage.clone())?))
    };
    settings.log_dirs().iter().map(directory).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_clean_when_it_was_in_all_directories() {
        let of = |epochs: &[Option<i64>]| {
            epoch_of_clean_stop(epochs.iter().map(|epoch| epoch.map(BrokerEpoch)))
        };
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
