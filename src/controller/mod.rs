//! The controller: the one place where the cluster's metadata changes. Commands are decided over the image that all
//! records so far make, one after another in the order in which they were submitted; the records of one command are
//! one batch of `__cluster_metadata`, in it whole or not at all; a command is answered when a quorum has the batch and
//! the image with it is published here.
//!
//! [`machine`] and the modules under it are pure: image, command, time and chance in; records and answer out. [`raft`]
//! keeps the log and does not know what it says. [`driver`] takes commands from the one to the other.

mod assignments;
mod bootstrap;
mod brokers;
mod configs;
mod deletions;
mod driver;
mod features;
mod isr;
pub mod machine;
mod options;
mod partitions;
mod placement;
mod producer_ids;
pub mod quorum;
pub(crate) mod raft;
mod snapshots;
mod topics;
mod updates;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::ids::{LeaderEpoch, NodeId};
use crate::metadata::{MetadataListener, Published, checkpoint};
pub use brokers::Sessions;
pub use configs::{AlteredConfigs, ConfigChanges, Edit, Operation, ResourceChange};
use driver::{Driver, Submission};
pub use features::default_bootstrap;
pub use machine::{Answer, Command, Decision, Machine, Random, Refusal, Seeded};
pub use options::Options;
use raft::consensus::Consensus;
use snapshots::Keeper;

/// Commands that wait to be decided. More than these are refused.
const COMMANDS_MAX: usize = 10_000;

/// Why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// NOT_CONTROLLER. Whether the command took effect is not known when it was already decided.
    #[error("this node is not the active controller")]
    NotController,
    /// Too many commands wait; REQUEST_TIMED_OUT, as Kafka answers what its queue does not reach in time.
    #[error("{COMMANDS_MAX} commands wait for the controller")]
    Busy,
    /// The metadata log cannot be written any more, or the node stops.
    #[error("the controller has stopped")]
    Stopped,
}

/// Why the controller does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the metadata log: {0}")]
    Log(#[from] io::Error),
    #[error(transparent)]
    Bootstrap(#[from] checkpoint::Error),
    #[error(transparent)]
    Stopped(Error),
}

/// The controller of this node: active when the quorum has elected it.
pub struct Controller {
    commands: mpsc::Sender<Submission>,
    consensus: Arc<Consensus>,
    node_id: NodeId,
    clock: Clock,
    /// The epoch in which this node takes commands.
    active: watch::Receiver<Option<LeaderEpoch>>,
    driver: Mutex<Option<JoinHandle<()>>>,
    stop: watch::Sender<bool>,
}

impl Controller {
    /// Opens the metadata log and takes part in the quorum. Images are given to the listeners and then published. When
    /// this node is the only voter it is the active controller, with the cluster's first records committed, when this
    /// returns.
    pub async fn start(
        options: Options,
        machine: Machine,
        clock: Clock,
        published: Arc<Published>,
        listeners: Vec<Arc<dyn MetadataListener>>,
    ) -> Result<Controller, StartError> {
        let node_id = options.consensus.node_id;
        let bootstrap = bootstrap::read(&options.consensus.log_dir)?;
        let consensus =
            Consensus::start(options.consensus, clock.clone(), published, listeners).await?;
        let consensus = Arc::new(consensus);
        let is_only_voter = consensus.quorum().voter_ids() == [node_id.0];
        let (commands, submitted) = mpsc::channel(COMMANDS_MAX);
        let (activate, active) = watch::channel(None);
        let (stop, stopped) = watch::channel(false);
        let keeper = Keeper::new(options.snapshots, clock.steady());
        let driver = Driver::new(
            consensus.clone(),
            clock.clone(),
            machine,
            bootstrap,
            keeper,
            activate,
            stopped,
        );
        let driver = Mutex::new(Some(tokio::spawn(driver.run(submitted))));
        let controller = Controller {
            commands,
            consensus,
            node_id,
            clock,
            active,
            driver,
            stop,
        };
        if is_only_voter {
            controller
                .wait_until_active()
                .await
                .map_err(StartError::Stopped)?;
        }
        Ok(controller)
    }

    /// Puts a command in order: it is decided after all that were submitted before, whether or not the answer is
    /// waited for.
    pub fn submit(
        &self,
        command: Command,
    ) -> impl Future<Output = Result<Answer, Error>> + Send + 'static {
        let (reply, answer) = oneshot::channel();
        let submitted = self.commands.try_send(Submission { command, reply });
        async move {
            match submitted {
                Ok(()) => answer.await.unwrap_or(Err(Error::Stopped)),
                Err(mpsc::error::TrySendError::Full(_)) => Err(Error::Busy),
                Err(mpsc::error::TrySendError::Closed(_)) => Err(Error::Stopped),
            }
        }
    }

    /// Whether this node takes commands now.
    pub fn is_active(&self) -> bool {
        self.active.borrow().is_some()
    }

    /// Waits until this node takes commands; returns the epoch.
    pub async fn wait_until_active(&self) -> Result<LeaderEpoch, Error> {
        let mut active = self.active.clone();
        let epoch = active
            .wait_for(Option::is_some)
            .await
            .map_err(|_| Error::Stopped)?;
        epoch.ok_or(Error::Stopped)
    }

    /// Waits until no more commands are taken: the controller was stopped, or the metadata log cannot be written, which a
    /// node does not outlive.
    pub async fn closed(&self) {
        self.commands.closed().await;
    }

    /// Takes no more commands, lets those that are decided be committed, and closes the log.
    pub async fn stop(&self) -> Result<(), io::Error> {
        self.stop.send_replace(true);
        let driver = self
            .driver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(driver) = driver {
            driver.await.map_err(io::Error::other)?;
        }
        self.consensus.stop().await
    }
}
