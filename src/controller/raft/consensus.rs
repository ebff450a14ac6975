//! A controller's part in the quorum: opens the log and its snapshots, starts openraft over them, campaigns.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::metrics::RaftServerMetrics;
use openraft::type_config::alias::WatchReceiverOf;
use openraft::{Config, Raft, ServerState, SnapshotPolicy};
use tokio::sync::watch;

use super::journal::{Journal, JournalConfig};
use super::network::Network;
use super::state_machine::{Applied, Parts, StateMachine};
use super::storage::{Storage, invalid};
use super::{Callback, LogId, Proposal, TypeConfig, log_id};
use crate::clock::Clock;
use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::metadata::checkpoint::{self, SnapshotId};
use crate::metadata::control::{Quorum, Voters};
use crate::metadata::{CLUSTER_METADATA, MetadataListener, Published};
use crate::record::Batch;

/// Entries that one append to a peer holds at most.
const PAYLOAD_ENTRIES_MAX: u64 = 1024;

/// How this node takes part.
pub(crate) struct Options {
    pub(crate) node_id: NodeId,
    /// `metadata.log.dir`, or else the first of `log.dirs`.
    pub(crate) log_dir: PathBuf,
    /// Those of `controller.quorum.voters`; they count while kraft.version is 0.
    pub(crate) voters: Voters,
    pub(crate) journal: JournalConfig,
    /// `controller.quorum.election.timeout.ms`
    pub(crate) election_timeout: Duration,
    /// `controller.quorum.fetch.timeout.ms`
    pub(crate) fetch_timeout: Duration,
}

/// Whether this node leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Leader(LeaderEpoch),
    Other {
        epoch: LeaderEpoch,
        leader_id: Option<NodeId>,
    },
}

/// The outcome of a proposal.
pub(crate) enum Outcome {
    /// In the log of a quorum, applied and published.
    Committed,
    /// This node does not lead, or no longer; whether the records are in the log is not known.
    NotLeader,
}

/// The consensus has ended: its log could not be written, or it was shut down.
#[derive(Debug, thiserror::Error)]
#[error("the metadata log has stopped: {0}")]
pub(crate) struct Stopped(String);

pub(crate) struct Consensus {
    raft: Raft<TypeConfig, StateMachine>,
    storage: Storage,
    applied: watch::Receiver<Applied>,
    node_id: NodeId,
    directory: PathBuf,
}

pub(crate) fn directory(log_dir: &Path) -> PathBuf {
    log_dir.join(format!("{CLUSTER_METADATA}-0"))
}

impl Consensus {
    /// Opens the log, and campaigns at once when nobody else could be elected.
    pub(crate) async fn start(
        options: Options,
        clock: Clock,
        published: Arc<Published>,
        listeners: Vec<Arc<dyn MetadataListener>>,
    ) -> io::Result<Consensus> {
        let directory = directory(&options.log_dir);
        let opened = Opened::open(&directory, &options, &clock)?;
        let Opened {
            journal,
            snapshot,
            quorum,
            start,
            purged_epoch,
        } = opened;
        let node_id = options.node_id;
        let storage = Storage::open(
            node_id,
            &directory,
            clock.clone(),
            journal,
            quorum.clone(),
            (start, purged_epoch),
        )?;
        let machine = StateMachine::open(Parts {
            directory: directory.clone(),
            clock,
            storage: storage.clone(),
            published,
            listeners,
            snapshot: snapshot.filter(|(id, _)| *id != SnapshotId::EMPTY),
            quorum,
        })?;
        let applied = machine.applied();
        let voters = storage.quorum().voter_ids();
        let config = Arc::new(config(&options).map_err(invalid)?);
        let raft = Raft::new(node_id, config, Network, storage.clone(), machine)
            .await
            .map_err(io::Error::other)?;
        if voters == [node_id.0] {
            raft.trigger()
                .elect(false)
                .await
                .map_err(io::Error::other)?;
        }
        Ok(Consensus {
            raft,
            storage,
            applied,
            node_id,
            directory,
        })
    }

    /// Appends a batch that was made in `epoch`; `then` gets the outcome once that is known. Batches are appended in the
    /// order of the calls.
    pub(crate) async fn propose(
        &self,
        batch: Batch,
        epoch: LeaderEpoch,
        then: impl FnOnce(Outcome) + Send + 'static,
    ) -> Result<(), Stopped> {
        let leader = *log_id(epoch, 0).committed_leader_id();
        let callback = Callback::new(
            move |outcome: openraft::raft::ClientWriteResult<TypeConfig>| {
                then(match outcome {
                    Ok(_) => Outcome::Committed,
                    Err(_) => Outcome::NotLeader,
                });
            },
        );
        let write = self
            .raft
            .write(Proposal(batch))
            .responder(callback)
            .with_leader(leader);
        write.await.map_err(|error| Stopped(error.to_string()))
    }

    /// Who leads, now and whenever it changes.
    pub(crate) fn roles(&self) -> Roles {
        Roles {
            metrics: self.raft.server_metrics(),
            node_id: self.node_id,
        }
    }

    pub(crate) fn applied(&self) -> watch::Receiver<Applied> {
        self.applied.clone()
    }

    pub(crate) fn quorum(&self) -> Quorum {
        self.storage.quorum()
    }

    pub(crate) fn log_end_offset(&self) -> Offset {
        self.storage.end_offset()
    }

    pub(crate) fn log_start_offset(&self) -> Offset {
        self.storage.start_offset()
    }

    pub(crate) fn log_size(&self) -> u64 {
        self.storage.size()
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Offset below which a quorum has the log.
    pub(crate) fn high_watermark(&self) -> Offset {
        let committed: Option<LogId> = self.raft.data_metrics().borrow_watched().cluster_committed;
        committed.map_or(Offset::ZERO, |id| self.storage.end_of(&id))
    }

    /// Has a snapshot written of what is applied; returns before it is there.
    pub(crate) async fn snapshot(&self) -> Result<(), Stopped> {
        self.raft
            .trigger()
            .snapshot()
            .await
            .map_err(|error| Stopped(error.to_string()))
    }

    /// Lets the log go up to a snapshot's end, segment by segment.
    pub(crate) async fn purge(&self, id: SnapshotId) -> Result<(), Stopped> {
        let Some(last) = self.storage.ending_at(id.end_offset, id.epoch) else {
            return Ok(());
        };
        self.raft
            .trigger()
            .purge_log(last.index)
            .await
            .map_err(|error| Stopped(error.to_string()))
    }

    /// Stops taking part and closes the log.
    pub(crate) async fn stop(&self) -> io::Result<()> {
        self.raft.shutdown().await.map_err(io::Error::other)?;
        self.storage.close().await
    }
}

/// See [`Consensus::roles`].
pub(crate) struct Roles {
    metrics: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>,
    node_id: NodeId,
}

impl Roles {
    pub(crate) fn current(&self) -> Role {
        let metrics = self.metrics.borrow_watched();
        let epoch = metrics.vote.leader_id.term;
        let leads = metrics.state == ServerState::Leader
            && metrics.vote.leader_id.voted_for == self.node_id;
        match leads && metrics.vote.committed {
            true => Role::Leader(epoch),
            false => Role::Other {
                epoch,
                leader_id: metrics.current_leader,
            },
        }
    }

    /// Waits for a change; false when the consensus has ended.
    pub(crate) async fn changed(&mut self) -> bool {
        self.metrics.changed().await.is_ok()
    }
}

fn config(options: &Options) -> Result<Config, openraft::ConfigError> {
    let ms = |duration: Duration| {
        u64::try_from(duration.as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
    };
    let fetch_timeout = ms(options.fetch_timeout);
    let config = Config {
        cluster_name: CLUSTER_METADATA.to_owned(),
        // As in KRaft, a voter that hears nothing for the fetch timeout stands for election, at a random time within
        // the election timeout after it.
        election_timeout_min: fetch_timeout,
        election_timeout_max: fetch_timeout + ms(options.election_timeout),
        heartbeat_interval: (fetch_timeout / 4).max(1),
        max_payload_entries: PAYLOAD_ENTRIES_MAX,
        // By bytes and time instead, as metadata.log.max.* say.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        // As in KRaft, a leader that starts again resigns and needs a new epoch.
        enable_leader_restore: Some(false),
        enable_pre_vote: Some(true),
        ..Config::default()
    };
    config.validate()
}

/// What lies in the directory.
struct Opened {
    journal: Journal,
    /// The latest.
    snapshot: Option<(SnapshotId, checkpoint::Checkpoint)>,
    /// As of the latest snapshot, or else of the settings.
    quorum: Quorum,
    /// Where the entries begin that raft is to know, and the epoch of what was before.
    start: Offset,
    purged_epoch: Option<LeaderEpoch>,
}

impl Opened {
    fn open(directory: &Path, options: &Options, clock: &Clock) -> io::Result<Opened> {
        let journal = Journal::open(directory, &options.journal, clock.clone())?;
        checkpoint::remove_leftovers(directory).map_err(invalid)?;
        let ids = checkpoint::list(directory).map_err(invalid)?;
        let latest = match ids.last() {
            Some(&id) => Some((id, checkpoint::read(&id.path(directory)).map_err(invalid)?)),
            None => None,
        };
        if let Some((id, _)) = &latest
            && id.end_offset > journal.end_offset()
        {
            journal.restart(id.end_offset)?;
        }
        let start = journal.start_offset();
        let first = ids.iter().find(|id| id.end_offset >= start);
        let (start, purged_epoch) = match (start, first) {
            (Offset::ZERO, _) => (start, None),
            (_, Some(id)) => (id.end_offset, Some(id.epoch)),
            (_, None) => {
                return Err(invalid(format!(
                    "{}: the log begins at offset {start} and no snapshot holds what was before",
                    directory.display()
                )));
            }
        };
        let recorded = latest.as_ref().and_then(|(id, checkpoint)| {
            let recorded = *id != SnapshotId::EMPTY;
            checkpoint
                .quorum
                .clone()
                .map(|quorum| Quorum { recorded, ..quorum })
        });
        let quorum = recorded.unwrap_or_else(|| Quorum::fixed(options.voters.clone()));
        Ok(Opened {
            journal,
            snapshot: latest,
            quorum,
            start,
            purged_epoch,
        })
    }
}
