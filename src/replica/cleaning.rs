//! Which log is compacted next, and the threads that do it: the dirtiest of those that are due, with so many at a time
//! as `log.cleaner.threads` says. A run is a blocking task; it ends early when its partition is deleted, its directory
//! fails, or the node stops. A log that is on its way to another directory is left alone: of a key whose record is in the
//! copy already the tombstone must not go before it is copied, too. (org.apache.kafka.storage.internals.log.{LogCleaner, LogCleanerManager})

mod progress;
#[cfg(test)]
mod tests;
mod throttle;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use self::progress::Progress;
use self::throttle::Throttle;
use super::partition::{Partition, Role};
use super::replicas::{Key, Replicas};
use super::upkeep::retain;
use crate::config::Settings;
use crate::ids::TopicPartition;
use crate::log::Log;
use crate::log::cleaner::{CleanError, Cleanable, Limits, Stage, Watch};

/// Runs under way and logs that cannot be compacted.
#[derive(Debug, Default)]
pub(super) struct Cleaning {
    state: Mutex<State>,
    /// A run has ended, or all are to end.
    changed: Condvar,
    stopping: AtomicBool,
    throttle: Throttle,
}

#[derive(Debug, Default)]
struct State {
    running: HashMap<Key, Arc<Progress>>,
    /// With the reason. Tried again after a start. (LogCleanerManager.markPartitionUncleanable)
    uncleanable: HashMap<Key, (TopicPartition, String)>,
}

/// What compaction is doing now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CleaningStatus {
    pub running: Vec<RunStatus>,
    /// Logs that are left alone since a run failed, with the reason.
    pub uncleanable: Vec<(TopicPartition, String)>,
}

/// A run under way.
#[derive(Clone, Debug, PartialEq)]
pub struct RunStatus {
    pub partition: TopicPartition,
    /// `None` before anything is read.
    pub stage: Option<Stage>,
    /// Bytes read or written in this stage.
    pub moved_bytes: u64,
}

impl Cleaning {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a run works on this partition's log.
    pub(super) fn is_running(&self, partition: &Partition) -> bool {
        self.lock().running.contains_key(&key(partition))
    }

    /// Has all runs end, and waits for them. None begins afterwards.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        self.stopping.store(true, Ordering::Release);
        self.changed.notify_all();
        while !state.running.is_empty() {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits, but not longer than until all runs are to end.
    fn pause(&self, time: Duration) {
        let state = self.lock();
        let wait = |_: &mut State| !self.is_stopping();
        drop(self.changed.wait_timeout_while(state, time, wait));
    }

    fn status(&self) -> CleaningStatus {
        let state = self.lock();
        CleaningStatus {
            running: state.running.values().map(|run| run.status()).collect(),
            uncleanable: state.uncleanable.values().cloned().collect(),
        }
    }
}

fn key(partition: &Partition) -> Key {
    (partition.topic_id(), partition.topic_partition().partition)
}

/// A log that was chosen; it is nobody else's until this is dropped.
struct Run {
    replicas: Arc<Replicas>,
    partition: Arc<Partition>,
    log: Arc<Log>,
    cleanable: Cleanable,
    progress: Arc<Progress>,
}

impl Drop for Run {
    fn drop(&mut self) {
        let cleaning = &self.replicas.cleaning;
        cleaning.lock().running.remove(&key(&self.partition));
        cleaning.changed.notify_all();
    }
}

impl Replicas {
    /// What compaction is doing now.
    pub fn cleaning_status(&self) -> CleaningStatus {
        self.cleaning.status()
    }

    /// Compacts logs until it is dropped. What it has begun ends with [`Cleaning::stop`].
    pub(super) async fn compact(self: &Arc<Self>) {
        let mut runs: JoinSet<bool> = JoinSet::new();
        loop {
            let settings = self.settings();
            let threads = usize::try_from(settings.int("log.cleaner.threads")).unwrap_or(0);
            let backoff = Duration::from_millis(settings.long("log.cleaner.backoff.ms") as u64);
            while runs.len() < threads {
                let replicas = self.clone();
                let chosen = tokio::task::spawn_blocking(move || replicas.choose()).await;
                let Ok(Some(run)) = chosen else { break };
                let _ = runs.spawn_blocking(move || run.run());
            }
            // The next is chosen when a thread is free; later when there was none, or none that came to its end.
            tokio::select! {
                Some(ended) = runs.join_next() => if !ended.unwrap_or(false) {
                    tokio::time::sleep(backoff).await;
                },
                () = tokio::time::sleep(backoff) => {}
            }
        }
    }

    /// The dirtiest of the logs that are due. (LogCleanerManager.grabFilthiestCompactedLog)
    fn choose(self: Arc<Self>) -> Option<Run> {
        if !self.settings().boolean("log.cleaner.enable") || *self.closed() {
            return None;
        }
        let now = self.clock().now();
        let mut dirtiest: Option<(Arc<Partition>, Arc<Log>, Cleanable)> = None;
        for partition in self.compacted() {
            if !self.may_be_cleaned(&partition) {
                continue;
            }
            let log = partition.log().clone();
            match log.cleanable(partition.high_watermark(), now) {
                Ok(cleanable) => {
                    let is_dirtier =
                        |(_, _, best): &(_, _, Cleanable)| cleanable.ratio() > best.ratio();
                    if cleanable.is_due() && dirtiest.as_ref().is_none_or(is_dirtier) {
                        dirtiest = Some((partition, log, cleanable));
                    }
                }
                Err(error) => self.mark_uncleanable(&partition, CleanError::Storage(error)),
            }
        }
        let (partition, log, cleanable) = dirtiest?;
        let progress = Arc::new(Progress::begin(
            partition.topic_partition().clone(),
            self.clock().steady(),
        ));
        let mut state = self.cleaning.lock();
        if self.cleaning.is_stopping() {
            return None;
        }
        state.running.insert(key(&partition), progress.clone());
        drop(state);
        let run = Run {
            replicas: self,
            partition,
            log,
            cleanable,
            progress,
        };
        // A move that began meanwhile copies nothing before this run is gone.
        Some(run).filter(|run| run.partition.future().is_none())
    }

    fn may_be_cleaned(&self, partition: &Partition) -> bool {
        let state = self.cleaning.lock();
        let key = key(partition);
        !state.running.contains_key(&key)
            && !state.uncleanable.contains_key(&key)
            && partition.future().is_none()
            && !partition.log().is_offline()
    }

    /// Leaves a log alone from now on, unless what went wrong passes.
    fn mark_uncleanable(&self, partition: &Partition, error: CleanError) {
        let name = partition.topic_partition();
        if error.passes() || partition.role() == Role::Gone {
            tracing::info!(partition = %name, "not compacted for now: {error}");
            return;
        }
        tracing::error!(partition = %name, %error, "the log is not compacted any more");
        let entry = (name.clone(), error.to_string());
        self.cleaning
            .lock()
            .uncleanable
            .insert(key(partition), entry);
    }

    /// Forgets what was known of a partition that is no longer here.
    pub(super) fn forget_uncleanable(&self, partition: &Partition) {
        self.cleaning.lock().uncleanable.remove(&key(partition));
    }
}

/// What one thread may take of what is set for all. (LogCleaner.CleanerThread)
fn limits(settings: &Settings) -> Limits {
    let threads = u64::try_from(settings.int("log.cleaner.threads"))
        .unwrap_or(1)
        .max(1);
    let map_bytes = u64::try_from(settings.long("log.cleaner.dedupe.buffer.size")).unwrap_or(0);
    let buffer = u64::try_from(settings.int("log.cleaner.io.buffer.size")).unwrap_or(0);
    Limits {
        map_bytes: (map_bytes / threads).min(i32::MAX as u64),
        map_load: settings.double("log.cleaner.io.buffer.load.factor"),
        io_buffer_bytes: (buffer / threads / 2) as usize,
    }
}

impl Run {
    /// Returns whether it came to its end.
    fn run(self) -> bool {
        let (replicas, partition) = (&self.replicas, &self.partition);
        let limits = limits(&replicas.settings());
        let now = replicas.clock().both();
        let outcome = self.log.clean(&self.cleanable, &limits, now, &self);
        let is_ok = outcome.is_ok();
        match outcome {
            Ok(stats) => {
                self.progress
                    .report(&self.cleanable, &stats, replicas.clock().steady());
                replicas.stale.cleaned();
            }
            Err(error) => replicas.mark_uncleanable(partition, error),
        }
        // It was passed over while this ran.
        retain(partition, replicas.clock().both());
        is_ok
    }
}

impl Watch for Run {
    fn go_on(&self) -> bool {
        !self.replicas.cleaning.is_stopping()
            && self.partition.role() != Role::Gone
            && self.partition.future().is_none()
            && !self.log.is_offline()
    }

    fn moved(&self, bytes: u64) {
        let (cleaning, clock) = (&self.replicas.cleaning, self.replicas.clock());
        self.progress.moved(bytes, clock.steady());
        let rate = self
            .replicas
            .settings()
            .double("log.cleaner.io.max.bytes.per.second");
        let mut wait = cleaning.throttle.moved(bytes, rate, clock.steady());
        while !wait.is_zero() && self.go_on() {
            let part = wait.min(throttle::PAUSE_MAX);
            cleaning.pause(part);
            wait -= part;
        }
    }

    fn begins(&self, stage: Stage) {
        self.progress.begins(stage, self.replicas.clock().steady());
    }
}
