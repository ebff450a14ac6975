//! Committed batches become images: openraft's state machine. It decodes, folds, tells the listeners, publishes, and
//! only then lets the command that wrote the batch be answered. What the log held when it was opened is folded into
//! one change, so that no listener sees topics come and go that are long gone.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, StreamExt as _};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;

use super::storage::{Storage, blocking, invalid};
use super::{Entry, LogId, StoredMembership, TypeConfig, epoch_of, membership};
use crate::clock::Clock;
use crate::ids::{LeaderEpoch, Offset, SteadyTime, Timestamp};
use crate::metadata::checkpoint::{self, Checkpoint, Contents, SnapshotId};
use crate::metadata::control::{self, Quorum};
use crate::metadata::{Delta, Image, Loader, MetadataListener, Provenance, Published, records};

type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotFile>;
type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;

/// Batches that are taken together before the listeners hear of them.
const BATCHES_MAX: usize = 1024;

/// A snapshot on disk, under its final name.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotFile {
    pub(crate) id: SnapshotId,
    pub(crate) path: PathBuf,
}

/// How far this node has applied the log.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) end_offset: Offset,
    /// Of the last batch. Equal to a leader's own epoch once everything before its election is applied.
    pub(crate) epoch: LeaderEpoch,
    /// The image up to there, without the records of an open transaction.
    pub(crate) image: Arc<Image>,
    /// Whether a metadata transaction is open there.
    pub(crate) is_in_transaction: bool,
    /// Bytes of batches since the latest snapshot.
    pub(crate) bytes_since_snapshot: u64,
    /// When the latest snapshot was made, or else when the log was opened.
    pub(crate) snapshot_at: SteadyTime,
}

/// What the state machine is opened with.
pub(crate) struct Parts {
    pub(crate) directory: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) storage: Storage,
    pub(crate) published: Arc<Published>,
    pub(crate) listeners: Vec<Arc<dyn MetadataListener>>,
    /// The latest snapshot, if one is there.
    pub(crate) snapshot: Option<(SnapshotId, Checkpoint)>,
    /// The voters as of that snapshot.
    pub(crate) quorum: Quorum,
}

pub(crate) struct StateMachine {
    storage: Storage,
    published: Arc<Published>,
    listeners: Arc<[Arc<dyn MetadataListener>]>,
    snapshots: Arc<Snapshots>,
    loader: Loader,
    /// The newest image that may be seen: without the records of an open transaction.
    visible: Arc<Image>,
    last: Option<LogId>,
    membership: StoredMembership,
    quorum: Quorum,
    /// What the listeners have not heard of: the newest image that may be published, and all that changed up to it.
    unpublished: Option<(Arc<Image>, Delta)>,
    /// End of the log when it was opened; nothing is published before.
    catch_up_to: Offset,
    applied: watch::Sender<Applied>,
}

/// The snapshots of one log. The newest is openraft's current one.
pub(crate) struct Snapshots {
    directory: PathBuf,
    clock: Clock,
    current: Mutex<Option<(SnapshotFile, SnapshotMeta)>>,
}

impl Snapshots {
    fn current(&self) -> Option<(SnapshotFile, SnapshotMeta)> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_current(&self, file: SnapshotFile, meta: SnapshotMeta) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some((file, meta));
    }

    fn file(&self, id: SnapshotId) -> SnapshotFile {
        SnapshotFile {
            id,
            path: id.path(&self.directory),
        }
    }
}

impl StateMachine {
    pub(crate) fn open(parts: Parts) -> io::Result<StateMachine> {
        let snapshots = Snapshots {
            directory: parts.directory,
            clock: parts.clock,
            current: Mutex::new(None),
        };
        let opened_at = snapshots.clock.steady();
        let applied = Applied {
            end_offset: Offset::ZERO,
            epoch: LeaderEpoch(0),
            image: Arc::new(Image::empty()),
            is_in_transaction: false,
            bytes_since_snapshot: 0,
            snapshot_at: opened_at,
        };
        let voters = membership(&parts.quorum.voters);
        let mut machine = StateMachine {
            catch_up_to: parts.storage.end_offset(),
            storage: parts.storage,
            published: parts.published,
            listeners: parts.listeners.into(),
            snapshots: Arc::new(snapshots),
            loader: Loader::default(),
            visible: Arc::new(Image::empty()),
            last: None,
            membership: StoredMembership::new(None, voters),
            quorum: parts.quorum,
            unpublished: None,
            applied: watch::Sender::new(applied),
        };
        if let Some((id, checkpoint)) = parts.snapshot {
            let last = machine.storage.ending_at(id.end_offset, id.epoch);
            let membership = StoredMembership::new(last, machine.membership.membership().clone());
            let meta = SnapshotMeta {
                last_log_id: last,
                last_membership: membership,
            };
            machine.load(id, &checkpoint, &meta)?;
            machine
                .snapshots
                .set_current(machine.snapshots.file(id), meta);
        }
        Ok(machine)
    }

    /// Tells how far the log is applied.
    pub(crate) fn applied(&self) -> watch::Receiver<Applied> {
        self.applied.subscribe()
    }

    /// Replaces all state by that of a snapshot.
    fn load(
        &mut self,
        id: SnapshotId,
        checkpoint: &Checkpoint,
        meta: &SnapshotMeta,
    ) -> io::Result<()> {
        let provenance = Provenance {
            end_offset: id.end_offset,
            epoch: id.epoch,
            timestamp: checkpoint.last_contained_log_timestamp,
        };
        let before = self.loader.image().clone();
        let mut loader = Loader::default();
        let (image, mut delta) = loader
            .apply(&checkpoint.records, provenance)
            .map_err(invalid)?
            .ok_or_else(|| invalid(format!("snapshot {id} ends within a transaction")))?;
        for topic in before
            .topics()
            .iter()
            .filter(|topic| image.topics().by_id(topic.id).is_none())
        {
            delta.deleted.insert(topic.id, topic.clone());
        }
        delta
            .brokers
            .extend(before.brokers().iter().map(|broker| broker.id));
        delta.configs.extend(
            before
                .configs()
                .iter()
                .map(|(resource, _)| resource.clone()),
        );
        self.loader = loader;
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        if let Some(quorum) = &checkpoint.quorum {
            self.quorum = quorum.clone();
        }
        self.visible = image.clone();
        self.unpublished = Some((image.clone(), delta));
        let now = self.snapshots.clock.steady();
        self.applied.send_modify(|applied| {
            *applied = Applied {
                end_offset: id.end_offset,
                epoch: id.epoch,
                image,
                is_in_transaction: false,
                bytes_since_snapshot: 0,
                snapshot_at: now,
            };
        });
        Ok(())
    }

    /// Folds one entry; returns the bytes of its batch.
    fn replay(&mut self, entry: Entry) -> io::Result<u64> {
        let batch = entry
            .payload
            .batch
            .expect("entries of the log have their batches");
        let provenance = Provenance {
            end_offset: batch.header.next_offset(),
            epoch: epoch_of(&entry.log_id),
            timestamp: batch.header.max_timestamp,
        };
        let records = match batch.header.is_control() {
            true => {
                let control = control::parse(&batch).map_err(invalid)?;
                self.quorum.apply(&control);
                if let Some(voters) = &control.voters {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership(voters));
                }
                Vec::new()
            }
            false => records::decode(&batch).map_err(invalid)?,
        };
        if let Some((image, delta)) = self.loader.apply(&records, provenance).map_err(invalid)? {
            let mut all = self
                .unpublished
                .take()
                .map(|(_, delta)| delta)
                .unwrap_or_default();
            all.merge(delta);
            self.visible = image.clone();
            self.unpublished = Some((image, all));
        }
        self.last = Some(entry.log_id);
        Ok(batch.bytes.len() as u64)
    }

    /// Lets the world see what was replayed, then answers those who wrote it.
    async fn publish(
        &mut self,
        bytes: u64,
        responders: &mut Vec<ApplyResponder<TypeConfig>>,
    ) -> io::Result<()> {
        let provenance = self.loader.image().provenance();
        if provenance.end_offset >= self.catch_up_to
            && let Some((image, delta)) = self.unpublished.take()
        {
            if !delta.is_empty() && !self.listeners.is_empty() {
                let (listeners, image) = (self.listeners.clone(), image.clone());
                blocking(move || {
                    listeners
                        .iter()
                        .for_each(|listener| listener.apply(&image, &delta));
                    Ok(())
                })
                .await?;
            }
            self.published.publish(image);
        }
        let is_in_transaction = self.loader.is_in_transaction();
        let image = match is_in_transaction {
            true => Arc::new(self.visible.advanced(provenance)),
            false => self.visible.clone(),
        };
        self.applied.send_modify(|applied| {
            applied.is_in_transaction = is_in_transaction;
            applied.end_offset = provenance.end_offset;
            applied.epoch = provenance.epoch;
            applied.image = image;
            applied.bytes_since_snapshot += bytes;
        });
        for responder in responders.drain(..) {
            responder.send(());
        }
        Ok(())
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut responders = Vec::new();
        let (mut count, mut bytes) = (0, 0);
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            bytes += self.replay(entry)?;
            responders.extend(responder);
            count += 1;
            if count == BATCHES_MAX {
                self.publish(bytes, &mut responders).await?;
                (count, bytes) = (0, 0);
            }
        }
        self.publish(bytes, &mut responders).await
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            snapshots: self.snapshots.clone(),
            image: self.loader.image().clone(),
            quorum: self.quorum.clone(),
            last: self.last,
            membership: self.membership.clone(),
            applied: self.applied.clone(),
        }
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        // An image within a transaction is none that anybody may see.
        match self.loader.is_in_transaction() || self.last.is_none() {
            true => None,
            false => Some(self.get_snapshot_builder().await),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        file: SnapshotFile,
    ) -> io::Result<()> {
        let path = file.path.clone();
        let checkpoint = blocking(move || checkpoint::read(&path).map_err(invalid)).await?;
        self.load(file.id, &checkpoint, meta)?;
        self.catch_up_to = Offset::ZERO;
        self.snapshots.set_current(file, meta.clone());
        self.publish(0, &mut Vec::new()).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self
            .snapshots
            .current()
            .map(|(snapshot, meta)| Snapshot { meta, snapshot }))
    }
}

/// Writes one image as a snapshot, while newer batches are applied.
pub(crate) struct Builder {
    snapshots: Arc<Snapshots>,
    image: Image,
    quorum: Quorum,
    last: Option<LogId>,
    membership: StoredMembership,
    applied: watch::Sender<Applied>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let provenance = self.image.provenance();
        let file = self.snapshots.file(SnapshotId {
            end_offset: provenance.end_offset,
            epoch: provenance.epoch,
        });
        let meta = SnapshotMeta {
            last_log_id: self.last,
            last_membership: self.membership.clone(),
        };
        let now = self.snapshots.clock.both();
        let (image, quorum, path) = (self.image.clone(), self.quorum.clone(), file.path.clone());
        blocking(move || write(&path, &image, &quorum, now.wall)).await?;
        self.snapshots.set_current(file.clone(), meta.clone());
        self.applied.send_modify(|applied| {
            applied.bytes_since_snapshot = 0;
            applied.snapshot_at = now.steady;
        });
        Ok(Snapshot {
            meta,
            snapshot: file,
        })
    }
}

fn write(path: &Path, image: &Image, quorum: &Quorum, now: Timestamp) -> io::Result<()> {
    let contents = Contents {
        last_contained_log_timestamp: image.provenance().timestamp,
        quorum: Some(quorum),
        records: image.records(),
        metadata_version: image.features().metadata_version(),
        now,
    };
    checkpoint::write(path, contents).map_err(invalid)
}
