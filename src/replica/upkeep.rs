//! What has to be done for the logs from time to time: checkpoints, retention, the removal of deleted files, the
//! expiry of producer ids. One task, which works off the reactor.
//! (kafka.log.LogManager.startup; ReplicaManager.startHighWatermarkCheckPointThread)

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::partition::{Partition, Role};
use super::replicas::Replicas;
use crate::ids::Now;
use crate::log::checkpoints::{HIGH_WATERMARK, LOG_START, RECOVERY_POINT};

/// After a start, retention waits this long. (LogManager.InitialTaskDelayMs)
const INITIAL_DELAY: Duration = Duration::from_secs(30);
/// How often deleted files are looked for, and space where it is short.
const SHORT_INTERVAL: Duration = Duration::from_secs(1);

/// A piece of upkeep.
#[derive(Clone, Copy, Debug)]
enum Task {
    HighWatermarks,
    RecoveryPoints,
    LogStarts,
    Retention,
    ProducerIds,
    Short,
}

impl Replicas {
    /// Keeps the logs in order until it is dropped.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.clone().keep(), self.compact());
    }

    async fn keep(self: Arc<Self>) {
        let settings = self.settings();
        let every = |period: Duration, delay: Duration| {
            let period = period.max(Duration::from_millis(1));
            let first = if delay.is_zero() { period } else { delay };
            let mut interval = interval_at(Instant::now() + first, period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        };
        let no_delay = Duration::ZERO;
        let producer_ids =
            Duration::from_millis(settings.int("producer.id.expiration.check.interval.ms") as u64);
        let mut high_watermarks = every(
            settings.replica_high_watermark_checkpoint_interval(),
            no_delay,
        );
        let mut recovery_points = every(
            settings.log_flush_offset_checkpoint_interval(),
            INITIAL_DELAY,
        );
        let mut log_starts = every(
            settings.log_flush_start_offset_checkpoint_interval(),
            INITIAL_DELAY,
        );
        let mut retention = every(settings.log_retention_check_interval(), INITIAL_DELAY);
        let mut producer_ids = every(producer_ids, no_delay);
        let mut short = every(SHORT_INTERVAL, no_delay);
        loop {
            let task = tokio::select! {
                _ = high_watermarks.tick() => Task::HighWatermarks,
                _ = recovery_points.tick() => Task::RecoveryPoints,
                _ = log_starts.tick() => Task::LogStarts,
                _ = retention.tick() => Task::Retention,
                _ = producer_ids.tick() => Task::ProducerIds,
                _ = short.tick() => Task::Short,
            };
            let replicas = self.clone();
            let done = tokio::task::spawn_blocking(move || replicas.do_task(task)).await;
            done.unwrap_or_else(
                |error| tracing::error!(?task, %error, "the upkeep of the logs failed"),
            );
        }
    }

    /// Aborting `run` does not end what it has begun, so [`Replicas::shut_down`] waits for it.
    fn do_task(&self, task: Task) {
        let closed = self.closed();
        if *closed {
            return;
        }
        match task {
            Task::HighWatermarks => self.checkpoint(&[HIGH_WATERMARK]),
            Task::RecoveryPoints => self.checkpoint(&[RECOVERY_POINT]),
            Task::LogStarts => self.checkpoint(&[LOG_START]),
            Task::Retention => self.retain(),
            Task::ProducerIds => self.expire_producers(),
            Task::Short => {
                self.remove_deleted();
                self.refresh_checkpoints();
            }
        }
    }

    fn retain(&self) {
        let now = self.clock().both();
        for (partition, _) in self.online_by_directory() {
            // What is being compacted comes when that is done, which would begin anew otherwise.
            if !self.cleaning.is_running(&partition) {
                retain(&partition, now);
            }
        }
    }

    fn expire_producers(&self) {
        let expiration_ms = self.settings().producer_id_expiration().as_millis() as i64;
        let now = self.clock().now();
        for (partition, _) in self.online_by_directory() {
            partition.log().expire_producers(now, expiration_ms);
        }
    }

    /// Removes deleted files. Where space is short they go before their time, and so do segments that may go.
    fn remove_deleted(&self) {
        let now = self.clock().both();
        if self.directories.is_any_short_of_space() {
            for (partition, directory) in self.online_by_directory() {
                if self.directories.is_short_of_space(directory) {
                    retain(&partition, now);
                }
            }
        }
        self.directories.remove_deleted(now.steady);
        self.directories.look_for_space();
    }
}

pub(super) fn retain(partition: &Partition, now: Now) {
    let start = partition.log_start_offset();
    let dropped = partition
        .log()
        .delete_old_segments(partition.high_watermark(), now);
    if partition.log_start_offset() != start {
        partition.waiting().changed();
    }
    if let Err(error) = dropped
        && partition.role() != Role::Gone
    {
        tracing::error!(partition = %partition.topic_partition(), %error, "old segments stay");
    }
}
