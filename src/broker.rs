//! A running node: its parts put together. Handlers reach everything through it.
//!
//! `server` starts and stops it; nothing below `api` knows it.

mod coordinators;
pub mod directories;
pub mod lifecycle;
pub mod producer_ids;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::config::{CurrentSettings, Settings};
use crate::controller::{self, Controller, Machine};
use crate::coordinator::groups::GroupCoordinator;
use crate::coordinator::markers::Markers;
use crate::coordinator::transactions::TransactionCoordinator;
use crate::metadata::storage::{self, Storage};
use crate::metadata::{Image, MetadataListener, Published};
use crate::replica::Replicas;
use crate::replica::session::Sessions;
use coordinators::Coordinators;
use lifecycle::{Identity, Lifecycle};
use producer_ids::ProducerIds;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error(transparent)]
    Directories(#[from] directories::Unusable),
    #[error(transparent)]
    Controller(#[from] controller::StartError),
    #[error(transparent)]
    Lifecycle(#[from] lifecycle::Error),
}

/// Why a node that was running cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("the metadata log: {0}")]
    Controller(#[from] controller::Error),
    #[error(transparent)]
    Directories(#[from] directories::Unusable),
}

impl Failure {
    /// Whether what is left of the node can be stopped cleanly all the same.
    pub fn leaves_logs(&self) -> bool {
        matches!(
            self,
            Failure::Directories(directories::Unusable::Untold { .. })
        )
    }
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
    current_settings: CurrentSettings,
    clock: Clock,
    cluster_id: Arc<str>,
    metadata: Arc<Published>,
    controller: Arc<Controller>,
    lifecycle: Arc<Lifecycle>,
    replicas: Arc<Replicas>,
    groups: Arc<GroupCoordinator>,
    transactions: Arc<TransactionCoordinator>,
    markers: Arc<Markers>,
    fetch_sessions: Sessions,
    producer_ids: Arc<ProducerIds>,
    /// Run for as long as the logs are open.
    upkeep: Mutex<Vec<JoinHandle<()>>>,
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
        let directories = directories::open(&settings, &storage)?;
        let previous_epoch = directories::epoch_of_clean_stop(&directories);
        let current_settings = CurrentSettings::from(settings.clone());
        let replicas = Replicas::new(current_settings.clone(), clock.clone(), directories);
        let replicas = Arc::new(replicas);
        let coordinators = Coordinators::start(&settings, &clock, &metadata, &replicas);
        let listeners: Vec<Arc<dyn MetadataListener>> = vec![
            Arc::new(current_settings.clone()),
            replicas.clone(),
            coordinators.groups.clone(),
            coordinators.transactions.clone(),
        ];
        let options = controller::Options::of(&settings);
        let machine = Machine::new(cluster_id.clone(), settings.clone());
        let controller =
            Controller::start(options, machine, clock.clone(), metadata.clone(), listeners).await?;
        let controller = Arc::new(controller);
        let identity = Identity::of(
            &settings,
            cluster_id.clone(),
            addresses,
            replicas.directory_state(),
            previous_epoch,
        );
        let watch = tokio::spawn(replicas.clone().watch_directories());
        let lifecycle = Lifecycle::register(controller.clone(), metadata.clone(), identity).await?;
        let upkeep = vec![
            watch,
            tokio::spawn(replicas.clone().run()),
            tokio::spawn(replicas.clone().run_moves()),
            tokio::spawn(directories::tell(replicas.clone(), lifecycle.clone())),
        ];
        let slots =
            usize::try_from(settings.max_incremental_fetch_session_cache_slots()).unwrap_or(0);
        let producer_ids = Arc::new(ProducerIds::new(lifecycle.clone()));
        coordinators.set_producer_ids(&producer_ids);
        let broker = Arc::new(Broker {
            clock,
            cluster_id,
            metadata,
            controller,
            replicas,
            groups: coordinators.groups,
            transactions: coordinators.transactions,
            markers: coordinators.markers,
            fetch_sessions: Sessions::new(slots),
            producer_ids,
            upkeep: Mutex::new(upkeep),
            lifecycle,
            settings,
            current_settings,
            _storage: storage,
        });
        broker.lifecycle.unfence().await?;
        Ok(broker)
    }

    /// Hands over what it leads, closes the logs and marks them as cleanly stopped. Clients are no longer served.
    pub async fn stop(&self) -> Result<(), StopError> {
        let released = self.lifecycle.shut_down().await;
        let upkeep =
            std::mem::take(&mut *self.upkeep.lock().unwrap_or_else(PoisonError::into_inner));
        for task in upkeep {
            task.abort();
            // Aborted or not, it has ended.
            let _ = task.await;
        }
        let (replicas, epoch) = (self.replicas.clone(), self.lifecycle.epoch());
        let closed = tokio::task::spawn_blocking(move || replicas.shut_down(epoch)).await;
        closed.expect("closing logs reports its failures and does not panic");
        self.controller.stop().await?;
        Ok(released?)
    }

    /// Resolves when the node cannot go on, with the reason.
    pub async fn failed(&self) -> Failure {
        tokio::select! {
            () = self.controller.closed() => Failure::Controller(controller::Error::Stopped),
            unusable = directories::unusable(&self.settings, &self.replicas, &self.lifecycle) => unusable.into(),
        }
    }

    /// What the node was started with.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The same under what is given while the node runs.
    pub fn current_settings(&self) -> &CurrentSettings {
        &self.current_settings
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

    pub fn transactions(&self) -> &Arc<TransactionCoordinator> {
        &self.transactions
    }

    /// Writes the ends of transactions into the partitions that are led here.
    pub fn markers(&self) -> &Markers {
        &self.markers
    }

    pub fn fetch_sessions(&self) -> &Sessions {
        &self.fetch_sessions
    }

    pub fn producer_ids(&self) -> &Arc<ProducerIds> {
        &self.producer_ids
    }
}
