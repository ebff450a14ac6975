//! One partition on this broker: the log, the role that the cluster gave it, the high watermark, and who waits for
//! these to move.
//!
//! An append runs under the role's read lock, so that a change of leader waits for appends under way and no append
//! slips in after it. The high watermark follows the log at once while this broker is the only one in the ISR.
//! (kafka.cluster.Partition)

mod deletion;
mod epochs;
mod flush;
pub(super) mod moving;
mod read;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::config::{FlushBefore, PartitionConfig};
use super::flusher::Flusher;
use super::waiting::{Goal, Waiter, Waiting};
use crate::ids::{LeaderEpoch, Offset, PartitionEpoch, Timestamp, TopicId, TopicPartition};
use crate::log::{self, AppendError, AppendInfo, Log, Origin, ReadError};
use crate::record::ValidBatch;
pub use deletion::Deletion;
use flush::Flushing;
pub(super) use moving::Future;
pub use read::{FoundOffset, Isolation, OffsetQuery, Read, ReadInfo};

/// `acks` of a write that waits for all in-sync replicas.
pub const ACKS_ALL: i16 = -1;

/// More bytes than a reader waits for.
const ANY_BYTES: usize = 1 << 40;

/// What a partition cannot do, and why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this broker does not lead the partition")]
    NotLeader,
    #[error("the partition is not on this broker any more")]
    Gone,
    #[error("the partition's log cannot be used")]
    Offline,
    #[error("leader epoch {got} is older than {current}")]
    FencedLeaderEpoch {
        current: LeaderEpoch,
        got: LeaderEpoch,
    },
    #[error("leader epoch {got} is not known yet, {current} is the newest")]
    UnknownLeaderEpoch {
        current: LeaderEpoch,
        got: LeaderEpoch,
    },
    #[error("{isr} replicas are in sync and {min} are wanted")]
    NotEnoughReplicas { isr: usize, min: usize },
    #[error("offset {got} is outside {start} to {end}")]
    OffsetOutOfRange {
        got: Offset,
        start: Offset,
        end: Offset,
    },
    #[error("the topic is compacted and nothing else: its records are not deleted")]
    CompactOnly,
    #[error("the log knows no end of leader epoch {0}")]
    NoSuchEpoch(LeaderEpoch),
    #[error(transparent)]
    Append(AppendError),
    #[error(transparent)]
    Storage(#[from] log::Error),
}

impl Error {
    /// Whether a read would have had to wait for the device; see [`Source::PageCache`](log::Source).
    pub fn would_wait(&self) -> bool {
        matches!(self, Error::Storage(error) if error.would_wait())
    }
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Error {
        match error {
            AppendError::Storage(error) => Error::Storage(error),
            error => Error::Append(error),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Error {
        match error {
            ReadError::Storage(error) => Error::Storage(error),
            ReadError::OutOfRange { got, start, end } => {
                Error::OffsetOutOfRange { got, start, end }
            }
        }
    }
}

/// What a partition is on this broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Leader(Leadership),
    /// Another broker leads, or none does.
    NotLeader {
        epoch: LeaderEpoch,
    },
    /// Its log directory has failed.
    Offline,
    /// Deleted, or moved to other brokers.
    Gone,
}

/// With what a leader leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    pub epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    /// Replicas in sync, this one among them.
    pub isr: usize,
    /// All replicas, this one among them.
    pub replicas: usize,
    /// Where the log ended when the epoch began.
    pub start_offset: Offset,
}

/// A batch that was appended, and under which leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub info: AppendInfo,
    pub leader_epoch: LeaderEpoch,
    /// Whether an acks=1 answer, too, waits for the device.
    pub flush_first: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Partition {
    topic_partition: TopicPartition,
    topic_id: TopicId,
    log: ArcSwap<Log>,
    future: ArcSwapOption<Future>,
    config: ArcSwap<PartitionConfig>,
    role: RwLock<Role>,
    high_watermark: AtomicI64,
    waiting: Arc<Waiting>,
    /// That of the log's directory.
    flusher: ArcSwap<Flusher>,
    flushing: Flushing,
    /// For the flusher's queue.
    me: Weak<Partition>,
}

impl Partition {
    /// A partition over its open log, which nobody leads yet. `high_watermark` is what was known of it before.
    pub(super) fn new(
        topic_partition: TopicPartition,
        topic_id: TopicId,
        log: Arc<Log>,
        config: impl Into<Arc<PartitionConfig>>,
        high_watermark: Offset,
        flusher: Arc<Flusher>,
    ) -> Arc<Partition> {
        let high_watermark = high_watermark.clamp(log.log_start_offset(), log.log_end_offset());
        Arc::new_cyclic(|me| Partition {
            topic_partition,
            topic_id,
            log: ArcSwap::new(log),
            future: ArcSwapOption::empty(),
            config: ArcSwap::new(config.into()),
            role: RwLock::new(Role::NotLeader {
                epoch: LeaderEpoch::UNKNOWN,
            }),
            high_watermark: AtomicI64::new(high_watermark.0),
            waiting: Arc::default(),
            flusher: ArcSwap::new(flusher),
            flushing: Flushing::default(),
            me: me.clone(),
        })
    }

    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    pub fn log(&self) -> Arc<Log> {
        self.log.load_full()
    }

    pub fn config(&self) -> Arc<PartitionConfig> {
        self.config.load_full()
    }

    /// Whether `cleanup.policy` has `compact` in it.
    pub(super) fn is_compacted(&self) -> bool {
        self.config.load().log.compact
    }

    pub fn role(&self) -> Role {
        *self.lock_role()
    }

    /// The epoch in which this broker leads the partition; `None` when it does not.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        match self.role() {
            Role::Leader(leadership) => Some(leadership.epoch),
            Role::NotLeader { .. } | Role::Offline | Role::Gone => None,
        }
    }

    pub fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::Acquire))
    }

    pub fn log_start_offset(&self) -> Offset {
        self.log.load().log_start_offset()
    }

    pub fn log_end_offset(&self) -> Offset {
        self.log.load().log_end_offset()
    }

    pub fn last_stable_offset(&self) -> Offset {
        self.log.load().last_stable_offset(self.high_watermark())
    }

    /// Appends a batch as the leader, to the page cache. With acks=all enough replicas have to be in sync.
    /// `expected_leader_epoch` refuses an append that was decided under another leader.
    pub fn append_as_leader(
        &self,
        batch: &ValidBatch,
        origin: Origin,
        required_acks: i16,
        expected_leader_epoch: Option<LeaderEpoch>,
        now: Timestamp,
    ) -> Result<Appended, Error> {
        let role = self.lock_role();
        let leadership = leadership(&role)?;
        if expected_leader_epoch.is_some_and(|expected| expected != leadership.epoch) {
            return Err(Error::NotLeader);
        }
        // Fewer replicas than min.insync.replicas are all that there can be. (Partition.effectiveMinIsr)
        let config = self.config.load();
        let min = config.min_insync_replicas.min(leadership.replicas);
        if required_acks == ACKS_ALL && leadership.isr < min {
            return Err(Error::NotEnoughReplicas {
                isr: leadership.isr,
                min,
            });
        }
        let info = self
            .log
            .load()
            .append_as_leader(batch, leadership.epoch, origin, now)?;
        if !info.duplicate {
            // A marker may free more than its own bytes for readers of committed records.
            let bytes = if batch.header().is_control() {
                ANY_BYTES
            } else {
                batch.size()
            };
            match config.flush_before {
                FlushBefore::Nothing => self.follow_log_end(leadership, &config, bytes),
                FlushBefore::AcksAll | FlushBefore::AnyAcks => {
                    self.flushing.add_unseen(bytes);
                    // Sessions that read to the log's end see it already.
                    self.waiting.changed();
                }
            }
        }
        let leader_epoch = leadership.epoch;
        drop(role);
        self.flush_after(&info, &config);
        Ok(Appended {
            info,
            leader_epoch,
            flush_first: config.flush_before == FlushBefore::AnyAcks,
        })
    }

    /// Moves the high watermark to where all in-sync replicas are, and wakes who waited for it. This replica is as far
    /// as its log reaches, or its device.
    fn follow_log_end(&self, leadership: &Leadership, config: &PartitionConfig, bytes: usize) {
        if leadership.isr == 1 {
            let end = match config.flush_before {
                FlushBefore::Nothing => self.log.load().log_end_offset(),
                FlushBefore::AcksAll | FlushBefore::AnyAcks => self.log.load().recovery_point(),
            };
            self.high_watermark.fetch_max(end.0, Ordering::AcqRel);
        }
        self.waiting.advanced(bytes, self.high_watermark());
    }

    /// Resolves once the high watermark is at `offset` or above: what was appended below it is then with all in-sync
    /// replicas. Fails when the partition is no longer led here in `epoch`, or its log directory went offline.
    pub async fn wait_for_high_watermark(
        &self,
        offset: Offset,
        epoch: LeaderEpoch,
    ) -> Result<(), Error> {
        self.wait(Goal::HighWatermark, offset, epoch).await
    }

    /// The same, for once all below `offset` is on the device.
    pub async fn wait_for_flush(&self, offset: Offset, epoch: LeaderEpoch) -> Result<(), Error> {
        self.wait(Goal::Flush, offset, epoch).await
    }

    async fn wait(&self, goal: Goal, offset: Offset, epoch: LeaderEpoch) -> Result<(), Error> {
        let reached = || match goal {
            Goal::HighWatermark => self.high_watermark(),
            Goal::Flush => self.log.load().recovery_point(),
        };
        loop {
            if reached() >= offset {
                return Ok(());
            }
            let waiter = Arc::new(Waiter::default());
            let _expectation = Expectation {
                waiting: &self.waiting,
                goal,
                key: self.waiting.expect(goal, offset, waiter.clone()),
            };
            match self.role() {
                Role::Leader(leadership) if leadership.epoch == epoch => {}
                Role::Leader(_) | Role::NotLeader { .. } => return Err(Error::NotLeader),
                Role::Offline => return Err(Error::Offline),
                Role::Gone => return Err(Error::Gone),
            }
            if reached() >= offset {
                return Ok(());
            }
            if self.log.load().is_offline() {
                return Err(Error::Offline);
            }
            waiter.woken().await;
        }
    }

    /// Has `waiter` told of every advance until the subscription is dropped.
    pub fn subscribe(self: &Arc<Self>, waiter: &Arc<Waiter>) -> Subscription {
        let number = self.waiting.subscribe(waiter.clone());
        Subscription {
            partition: self.clone(),
            number,
        }
    }

    /// What tells fetch sessions of changes.
    pub(super) fn waiting(&self) -> &Arc<Waiting> {
        &self.waiting
    }

    /// Takes other settings, from the next append on.
    pub fn update_config(&self, config: impl Into<Arc<PartitionConfig>>) {
        let config = config.into();
        let former = {
            // Meanwhile no future log takes the place of the current one.
            let _role = self.lock_role();
            // First, since a future log that comes now looks here.
            let former = self.config.swap(config.clone());
            self.log.load().update_config(config.log.clone());
            if let Some(future) = self.future() {
                future.log.update_config(config.log.clone());
            }
            former
        };
        let kinds = |config: &PartitionConfig| (config.flush_before, config.log.flush_ms);
        if kinds(&former) != kinds(&config) {
            self.flush_what_is_there(&config);
            if let Role::Leader(leadership) = &*self.lock_role() {
                self.follow_log_end(leadership, &config, ANY_BYTES);
            }
        }
    }

    /// Takes the role that the cluster's metadata gives. `isr` and `replicas` count this broker.
    /// (Partition.makeLeader)
    pub fn lead(
        &self,
        epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        isr: usize,
        replicas: usize,
    ) -> Result<(), Error> {
        let mut role = self.role.write().unwrap_or_else(PoisonError::into_inner);
        let start_offset = match &*role {
            Role::Offline => return Err(Error::Offline),
            Role::Gone => return Err(Error::Gone),
            Role::Leader(old) if old.epoch == epoch => old.start_offset,
            Role::Leader(_) | Role::NotLeader { .. } => self.log.load().log_end_offset(),
        };
        if !matches!(&*role, Role::Leader(old) if old.epoch == epoch) {
            // The epoch begins in the log with its first batch, or here, if it is asked for before.
            self.log.load().assign_epoch_start(epoch, start_offset)?;
        }
        let leadership = Leadership {
            epoch,
            partition_epoch,
            isr,
            replicas,
            start_offset,
        };
        *role = Role::Leader(leadership);
        let config = self.config.load();
        self.follow_log_end(&leadership, &config, 0);
        drop(role);
        self.waiting.wake_all();
        self.flush_what_is_there(&config);
        Ok(())
    }

    /// Stops leading: another broker does, or none.
    pub fn stop_leading(&self, epoch: LeaderEpoch) {
        self.change_role(|role| match role {
            Role::Offline => Role::Offline,
            Role::Gone => Role::Gone,
            Role::Leader(_) | Role::NotLeader { .. } => Role::NotLeader { epoch },
        });
    }

    /// Ends the partition on this broker: every call from now on says that it is gone.
    pub fn retire(&self) {
        self.change_role(|_| Role::Gone);
    }

    /// Ends the partition on this broker until the next start: its log directory has failed.
    pub fn go_offline(&self) {
        self.change_role(|role| match role {
            Role::Gone => Role::Gone,
            Role::Leader(_) | Role::NotLeader { .. } | Role::Offline => Role::Offline,
        });
    }

    fn change_role(&self, change: impl FnOnce(Role) -> Role) {
        let mut role = self.role.write().unwrap_or_else(PoisonError::into_inner);
        *role = change(*role);
        drop(role);
        self.waiting.wake_all();
    }

    /// The leadership, when the caller's epoch is it. (Partition.checkCurrentLeaderEpoch)
    fn leading(&self, known: Option<LeaderEpoch>) -> Result<Leadership, Error> {
        let role = self.role();
        let current = match role {
            Role::Leader(leadership) => leadership.epoch,
            Role::NotLeader { epoch } => epoch,
            Role::Offline => return Err(Error::Offline),
            Role::Gone => return Err(Error::Gone),
        };
        match known {
            Some(got) if got < current => return Err(Error::FencedLeaderEpoch { current, got }),
            Some(got) if got > current => return Err(Error::UnknownLeaderEpoch { current, got }),
            _ => {}
        }
        leadership(&role).copied()
    }

    fn lock_role(&self) -> RwLockReadGuard<'_, Role> {
        self.role.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn leadership(role: &Role) -> Result<&Leadership, Error> {
    match role {
        Role::Leader(leadership) => Ok(leadership),
        Role::NotLeader { .. } => Err(Error::NotLeader),
        Role::Offline => Err(Error::Offline),
        Role::Gone => Err(Error::Gone),
    }
}

/// A waiter's place at a partition; dropping it takes it off.
#[derive(Debug)]
pub struct Subscription {
    partition: Arc<Partition>,
    number: usize,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.partition.waiting.unsubscribe(self.number);
    }
}

/// A writer's place at a partition, also when its future is dropped.
struct Expectation<'a> {
    waiting: &'a Waiting,
    goal: Goal,
    key: (Offset, u64),
}

impl Drop for Expectation<'_> {
    fn drop(&mut self) {
        self.waiting.forget(self.goal, self.key);
    }
}
