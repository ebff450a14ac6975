//! Moves of logs from one log directory of this broker to another: AlterReplicaLogDirs.
//!
//! A future log `<topic>-<partition>.<uuid>-future` in the new directory is copied to until it has all; then the controller
//! is told where the replica lies, and when the metadata says so the future log takes the place of the current one, which
//! is deleted. A start takes up what it finds: future logs go on, and one that had taken its place counts.
//! (kafka.server.ReplicaAlterLogDirsThread, ReplicaManager.alterReplicaLogDirs; KIP-113, KIP-858)

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

use super::partition::moving::Copied;
use super::partition::{Error, Future, Partition};
use super::replicas::{Hosted, Key, Replicas};
use crate::config::Value;
use crate::ids::TopicPartition;
use crate::log;
use crate::log::checkpoints::{CLEANER, HIGH_WATERMARK, LOG_START, RECOVERY_POINT};
use crate::log::directory::PartitionDirectory;
use crate::metadata::{Image, Resource};

/// What one step copies at most, but for a batch that is larger.
const STEP_BYTES: usize = 1 << 20;
const STEP_BYTES_MIN: usize = 1 << 14;
/// After a shortage of space a copy is tried again so much later.
const RETRY: Duration = Duration::from_secs(1);
/// A directory's name has at most so many characters. (ReplicaManager.alterReplicaLogDirs)
const NAME_MAX: usize = 255;
/// Partitions that are not here yet whose directory is remembered.
const PREFERRED_MAX: usize = 10_000;

/// Why a replica does not go to a directory.
#[derive(Debug, thiserror::Error)]
pub enum Unmovable {
    #[error("no log directory has this path")]
    NoSuchDirectory,
    #[error("a log directory is offline")]
    DirectoryOffline,
    #[error("the log directory is cordoned")]
    Cordoned,
    #[error("the name is too long for a future log")]
    NameTooLong,
    #[error("there is no such partition")]
    NoSuchPartition,
    #[error(transparent)]
    Replica(#[from] Error),
}

/// What is being moved, and how fast.
#[derive(Debug)]
pub(super) struct Moves {
    begun: Mutex<Vec<Move>>,
    added: Notify,
    under_way: watch::Sender<usize>,
    /// Held by each step; locked for good when the logs are closed.
    stopped: RwLock<bool>,
    /// `replica.alter.log.dirs.io.max.bytes.per.second`
    bytes_per_second: AtomicI64,
    /// Told when that changes.
    relimited: Notify,
    /// Whether the metadata has no place for directories: nobody is told then.
    unannounced: AtomicBool,
    /// When the next step may be made.
    free_at: Mutex<Option<Instant>>,
    /// Held while a partition's logs change places or come to an end.
    changing: Mutex<()>,
    /// Where partitions are to go that are not here yet.
    preferred: Mutex<HashMap<TopicPartition, usize>>,
}

impl Default for Moves {
    fn default() -> Moves {
        Moves {
            begun: Mutex::default(),
            added: Notify::new(),
            under_way: watch::Sender::new(0),
            stopped: RwLock::new(false),
            bytes_per_second: AtomicI64::new(i64::MAX),
            relimited: Notify::new(),
            unannounced: AtomicBool::new(false),
            free_at: Mutex::default(),
            changing: Mutex::default(),
            preferred: Mutex::default(),
        }
    }
}

#[derive(Clone, Debug)]
struct Move {
    partition: Arc<Partition>,
    future: Arc<Future>,
}

/// What a step of a move has come to.
enum Step {
    Copied(u64),
    All,
    Retry,
    /// Done, or given up.
    End,
}

impl Replicas {
    /// Begins to move a replica to the directory with this path. Moves it nowhere when it is there; a move elsewhere that
    /// is under way ends. Waits for files.
    pub fn move_replica(
        &self,
        image: &Image,
        name: &TopicPartition,
        path: &str,
    ) -> Result<(), Unmovable> {
        let target = self
            .directories
            .by_path(path)
            .ok_or(Unmovable::NoSuchDirectory)?;
        if !self.directories.is_online(target) {
            return Err(Unmovable::DirectoryOffline);
        }
        if self.directories.is_cordoned(target) {
            return Err(Unmovable::Cordoned);
        }
        // A UUID without dashes and `.` and `-future` come behind it.
        if name.to_string().len() + 1 + 32 + "-future".len() > NAME_MAX {
            return Err(Unmovable::NameTooLong);
        }
        let _changing = self.lock_changing();
        let topic = image.topics().by_name(&name.topic);
        let key = topic.map(|topic| (topic.id, name.partition));
        let hosted = key.and_then(|key| self.hosted.get(&key).map(|hosted| hosted.clone()));
        let (partition, present) = match hosted {
            Some(Hosted::Online {
                partition,
                directory,
            }) => (partition, directory),
            Some(Hosted::Offline) => return Err(Error::Offline.into()),
            None => {
                self.prefer(name, target);
                let exists = topic.is_some_and(|topic| topic.partition(name.partition).is_some());
                return Err(match exists {
                    true => Error::NotLeader.into(),
                    false => Unmovable::NoSuchPartition,
                });
            }
        };
        if partition
            .future()
            .is_some_and(|future| future.directory == target)
        {
            return Ok(());
        }
        self.drop_future(&partition);
        if present == target {
            return Ok(());
        }
        if (0..self.directories.len()).any(|at| !self.directories.is_online(at)) {
            return Err(Unmovable::DirectoryOffline);
        }
        let config = partition.config().log.clone();
        let files = self.directories.usable(target).map_err(Error::from)?;
        let log = files
            .create_future_log(name, partition.topic_id(), config, self.clock().now())
            .map_err(Error::from)?;
        info!(partition = %name, to = path, "the log moves to another directory");
        self.begin_move(partition, Future::new(log, target));
        Ok(())
    }

    /// How many logs are on their way; tells of changes.
    pub fn moves_under_way(&self) -> watch::Receiver<usize> {
        self.moves.under_way.subscribe()
    }

    fn begin_move(&self, partition: Arc<Partition>, future: Arc<Future>) {
        partition.set_future(Some(future.clone()));
        // What was set since it was opened.
        future.log.update_config(partition.config().log.clone());
        self.moves.under_way.send_modify(|count| *count += 1);
        self.lock_begun().push(Move { partition, future });
        self.moves.added.notify_one();
    }

    fn lock_begun(&self) -> MutexGuard<'_, Vec<Move>> {
        self.moves
            .begun
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Not to be held twice by one thread.
    pub(super) fn lock_changing(&self) -> MutexGuard<'_, ()> {
        self.moves
            .changing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_preferred(&self) -> MutexGuard<'_, HashMap<TopicPartition, usize>> {
        self.moves
            .preferred
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn prefer(&self, name: &TopicPartition, directory: usize) {
        let mut preferred = self.lock_preferred();
        if preferred.len() < PREFERRED_MAX || preferred.contains_key(name) {
            preferred.insert(name.clone(), directory);
        }
    }

    /// The directory that was asked for a partition before it came.
    pub(super) fn preferred(&self, name: &TopicPartition) -> Option<usize> {
        self.lock_preferred().remove(name)
    }

    /// Ends a partition's move, if it has one; the future log is deleted. The caller has [`Replicas::lock_changing`].
    pub(super) fn drop_future(&self, partition: &Partition) {
        if let Some(future) = self.end_move(partition) {
            let name = partition.topic_partition();
            self.directories
                .delete(future.directory, name, &future.log, self.clock().steady());
        }
    }

    /// The same, when the log's directory has failed: the future log stays, since it may be all that is left. The next
    /// start goes on with it, or leaves it to the administrator.
    pub(super) fn leave_future(&self, partition: &Partition) {
        if let Some(future) = self.end_move(partition) {
            let path = future.log.dir();
            warn!(partition = %partition.topic_partition(), path = %path.display(), "its future log is kept");
            // Nobody closes it.
            self.directories.went_offline(future.directory);
        }
    }

    fn end_move(&self, partition: &Partition) -> Option<Arc<Future>> {
        let future = partition.set_future(None)?;
        self.moves.under_way.send_modify(|count| *count -= 1);
        let name = partition.topic_partition();
        info!(partition = %name, "the log does not move any more");
        let key = (partition.topic_id(), name.partition);
        if future.is_announced()
            && let Some(Hosted::Online { directory, .. }) = self.hosted.get(&key).as_deref()
        {
            self.assign(key, *directory);
        }
        Some(future)
    }

    /// Takes over `replica.alter.log.dirs.io.max.bytes.per.second`, which only the cluster's metadata has.
    pub(super) fn limit_moves_as(&self, image: &Image) {
        let limit = image
            .configs()
            .value(
                &Resource::all_brokers(),
                "replica.alter.log.dirs.io.max.bytes.per.second",
            )
            .and_then(|value| value.to_string().parse().ok());
        let limit = limit.unwrap_or(i64::MAX);
        if self.moves.bytes_per_second.swap(limit, Ordering::AcqRel) != limit {
            *self.lock_free_at() = None;
            self.moves.relimited.notify_waiters();
        }
    }

    /// Takes over whether the metadata has a place for directories.
    pub(super) fn announce_moves_as(&self, image: &Image) {
        let has_place = image.features().metadata_version().directory_assignment();
        self.moves.unannounced.store(!has_place, Ordering::Release);
    }

    fn lock_free_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.moves
            .free_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out the moves that are begun, so many at a time as `num.replica.alter.log.dirs.threads` says.
    pub async fn run_moves(self: Arc<Self>) {
        let threads = match self.settings().value("num.replica.alter.log.dirs.threads") {
            Some(Value::Int(threads)) => usize::try_from(*threads).unwrap_or(1).max(1),
            _ => self.directories.len(),
        };
        let limit = Arc::new(Semaphore::new(threads));
        let mut running = JoinSet::new();
        loop {
            for one in std::mem::take(&mut *self.lock_begun()) {
                let (replicas, limit) = (self.clone(), limit.clone());
                running.spawn(async move {
                    if let Ok(_turn) = limit.acquire().await {
                        replicas.carry_out(one).await;
                    }
                });
            }
            tokio::select! {
                () = self.moves.added.notified() => {}
                Some(_) = running.join_next() => {}
            }
        }
    }

    async fn carry_out(self: &Arc<Self>, one: Move) {
        loop {
            match self.off_the_reactor(&one, Replicas::step).await {
                Step::Copied(bytes) => self.throttle(bytes).await,
                Step::All if self.is_assigned(&one) => {
                    if matches!(
                        self.off_the_reactor(&one, Replicas::finish).await,
                        Step::End
                    ) {
                        return;
                    }
                    sleep(RETRY).await;
                }
                // The metadata will say so, or the move ends; meanwhile more may have been appended.
                Step::All => {
                    tokio::select! {
                        () = one.future.assigned.notified() => one.future.set_assigned(),
                        () = sleep(RETRY) => {}
                    }
                }
                Step::Retry => sleep(RETRY).await,
                Step::End => return,
            }
        }
    }

    async fn off_the_reactor(
        self: &Arc<Self>,
        one: &Move,
        work: fn(&Replicas, &Move) -> Step,
    ) -> Step {
        let (replicas, one) = (self.clone(), one.clone());
        let done = spawn_blocking(move || {
            let stopped = replicas
                .moves
                .stopped
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            if *stopped || !one.partition.is_future(&one.future) {
                return Step::End;
            }
            work(&replicas, &one)
        });
        done.await.unwrap_or_else(|error| {
            error!(%error, "a move ended");
            Step::End
        })
    }

    fn step(&self, one: &Move) -> Step {
        // The run ends, since it is to move; none begins afterwards.
        if self.cleaning.is_running(&one.partition) {
            return Step::Retry;
        }
        match one
            .partition
            .copy(&one.future, self.step_bytes(), self.clock().now())
        {
            Ok(Copied::Bytes(0)) => Step::Retry,
            Ok(Copied::Bytes(bytes)) => Step::Copied(bytes),
            Ok(Copied::All) => Step::All,
            Err(error) => self.after_failure(one, &error),
        }
    }

    fn after_failure(&self, one: &Move, error: &Error) -> Step {
        let name = one.partition.topic_partition();
        match error {
            Error::Gone | Error::Offline => Step::End,
            _ if !one.partition.is_future(&one.future) => Step::End,
            Error::Storage(error) if self.directories.is_short_of_space(one.future.directory) => {
                warn!(partition = %name, %error, "the move waits for space");
                Step::Retry
            }
            error => {
                error!(partition = %name, %error, "the log stays where it is");
                let _changing = self.lock_changing();
                if one.partition.is_future(&one.future) {
                    self.drop_future(&one.partition);
                }
                Step::End
            }
        }
    }

    /// Whether the metadata says that the replica lies where it is going, or need not say. Announces it at first.
    fn is_assigned(&self, one: &Move) -> bool {
        if self.moves.unannounced.load(Ordering::Acquire) {
            return true;
        }
        if !one.future.announce() {
            let name = one.partition.topic_partition();
            self.assign(
                (one.partition.topic_id(), name.partition),
                one.future.directory,
            );
        }
        one.future.is_assigned()
    }

    /// Puts the future log into its place.
    fn finish(&self, one: &Move) -> Step {
        let replaced = self.replace(one);
        let has_replaced = Arc::ptr_eq(&one.partition.log(), &one.future.log);
        let step = match replaced {
            Ok(()) => {
                let path = self.directories.path(one.future.directory).display();
                info!(partition = %one.partition.topic_partition(), to = %path, "the log has moved");
                self.checkpoint(&[RECOVERY_POINT, LOG_START, HIGH_WATERMARK, CLEANER]);
                Step::End
            }
            Err(error) => self.after_failure(one, &error),
        };
        // Also when the directories failed behind that.
        if has_replaced {
            self.moves.under_way.send_modify(|count| *count -= 1);
        }
        step
    }

    fn replace(&self, one: &Move) -> Result<(), Error> {
        let (partition, future) = (&one.partition, &one.future);
        // Most of it comes to the device before appends, or who deletes a topic, have to wait.
        future.log.flush()?;
        let _changing = self.lock_changing();
        if !partition.is_future(future) {
            return Err(Error::Gone);
        }
        let name = partition.topic_partition();
        let key: Key = (partition.topic_id(), name.partition);
        let files = self.directories.usable(future.directory)?;
        files.mark_replacing(&future.log)?;
        let flusher = self.directories.flusher(future.directory);
        let former = partition.replace_log(future, flusher, self.clock().now(), || {
            files.promote(&future.log, name)
        })?;
        let mut from = None;
        if let Some(mut hosted) = self.hosted.get_mut(&key)
            && let Hosted::Online { directory, .. } = &mut *hosted
        {
            from = Some(std::mem::replace(directory, future.directory));
        }
        files.sync_names()?;
        if let Some(from) = from {
            self.directories
                .delete(from, name, &former, self.clock().steady());
            // Until the former log has another name there are two of this one, and the mark tells which is newer.
            self.directories.sync_names();
        }
        files.clear_replacing(&future.log.dir())?;
        Ok(())
    }

    /// Waits until the bytes that were copied keep to the limit, of all moves together, or until there is another limit.
    async fn throttle(&self, bytes: u64) {
        let relimited = self.moves.relimited.notified();
        let limit = self.moves.bytes_per_second.load(Ordering::Acquire);
        if limit == i64::MAX {
            return;
        }
        let takes = Duration::from_secs_f64(bytes as f64 / limit.max(1) as f64);
        let free_at = {
            let mut free_at = self.lock_free_at();
            let now = Instant::now();
            let next = free_at.map_or(now, |at| at.max(now)) + takes;
            *free_at = Some(next);
            next
        };
        tokio::select! {
            () = sleep_until(free_at) => {}
            () = relimited => {}
        }
    }

    /// What one step copies: less where the limit is low.
    fn step_bytes(&self) -> usize {
        let limit = self.moves.bytes_per_second.load(Ordering::Acquire);
        usize::try_from(limit)
            .unwrap_or(0)
            .clamp(STEP_BYTES_MIN, STEP_BYTES)
    }

    /// Ends all moves where they are: no step is being made afterwards.
    pub(super) fn stop_moves(&self) {
        *self
            .moves
            .stopped
            .write()
            .unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Closes the future logs; the next start goes on with them.
    pub(super) fn close_futures(&self, partitions: &[(Arc<Partition>, usize)]) {
        for (partition, _) in partitions {
            if let Some(future) = partition.future()
                && let Err(error) = future.log.close()
            {
                warn!(partition = %partition.topic_partition(), %error, "its future log is not closed cleanly");
                self.directories.went_offline(future.directory);
            }
        }
    }

    /// Goes on with the moves that an earlier run began. Called when the current logs are open.
    pub(super) fn resume_moves(&self, image: &Image) {
        for (directory, found) in self.directories.take_futures() {
            if let Err(error) = self.resume(image, directory, &found) {
                error!(path = %found.path.display(), %error, "a log on its way is left as it is");
            }
        }
    }

    fn resume(
        &self,
        image: &Image,
        directory: usize,
        found: &PartitionDirectory,
    ) -> Result<(), log::Error> {
        let name = &found.partition;
        let files = self.directories.usable(directory)?;
        let topic = image
            .topics()
            .by_name(&name.topic)
            .filter(|topic| found.topic_id.is_none_or(|id| id == topic.id));
        let here = topic.and_then(|topic| {
            let partition = topic.partition(name.partition)?;
            partition.directory(self.node())
        });
        let now = self.clock().now();
        let (Some(topic), Some(assigned)) = (topic, here) else {
            let log = self
                .directories
                .open_found(directory, found, Arc::default(), now)?;
            warn!(partition = %name, "the cluster does not know this future log; it is put aside");
            return files.mark_stray(&log, name).map(|_| ());
        };
        let config = self.config_of(image, &topic.name);
        let key = (topic.id, name.partition);
        match self.hosted.get(&key).map(|hosted| hosted.clone()) {
            Some(Hosted::Online {
                partition,
                directory: current,
            }) => {
                let log = self
                    .directories
                    .open_found(directory, found, config.log.clone(), now)?;
                if current == directory || partition.future().is_some() {
                    self.directories
                        .delete(directory, name, &log, self.clock().steady());
                } else {
                    info!(partition = %name, "the log goes on moving to another directory");
                    self.begin_move(partition, Future::new(log, directory));
                }
            }
            Some(Hosted::Offline) => {}
            // The log that it was to replace is gone. (LogManager.recoverAbandonedFutureLogs)
            None if assigned == self.directories.id(directory) && self.all_online() => {
                let log = self
                    .directories
                    .open_found(directory, found, config.log.clone(), now)?;
                files.promote(&log, name)?;
                files.sync_names()?;
                warn!(partition = %name, "the future log takes the place of one that is missing");
                let flusher = self.directories.flusher(directory);
                let start = log.log_start_offset();
                let name = TopicPartition::new(&*topic.name, name.partition.0);
                let log = Arc::new(log);
                let partition = Partition::new(name, topic.id, log, config, start, flusher);
                let hosted = Hosted::Online {
                    partition,
                    directory,
                };
                self.host(key, hosted);
            }
            // It may lie in a directory that is offline: no empty log is made in its place.
            None if assigned == self.directories.id(directory) => self.host(key, Hosted::Offline),
            None => warn!(partition = %name, "the log that this future log comes from is missing"),
        }
        Ok(())
    }

    fn all_online(&self) -> bool {
        (0..self.directories.len()).all(|at| self.directories.is_online(at))
    }
}

#[cfg(test)]
mod tests;
