//! When a partition's log is brought to the device, and who is told of it.
//!
//! | asked for by | what | when |
//! |---|---|---|
//! | a segment that was rolled | the sealed segments | at once |
//! | `flush.messages` | all | when there are so many records that are not on the device |
//! | `flush.ms` | all | so long after the first of these |
//! | `log.flush.interval.bytes` | all | when there are so many bytes that are not on the device, before the kernel finds so much to write back that who writes has to wait |
//! | `log.flush.acks=all`, `flush.messages=1` | all | at once; appends made while the device works share the next fsync |
//!
//! With `log.flush.acks=all` or `flush.messages=1` the high watermark does not pass what is on the device ([`FlushBefore`]): no consumer sees
//! a record that a power loss takes back, whatever acks it was written with, and an acks=all answer, a coordinator's
//! among them, waits for the device as it waits for the other replicas. (UnifiedLog.append and .flush)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tracing::warn;

use super::{Partition, Role};
use crate::log::{self, AppendInfo};
use crate::replica::config::{FlushBefore, PartitionConfig};
use crate::replica::flusher::Flusher;

/// After a shortage (space, descriptors) a flush is tried again so much later.
const RETRY: Duration = Duration::from_secs(1);

/// Nothing asks for a flush.
const IDLE: u8 = 0;
/// It waits for its turn.
const QUEUED: u8 = 1;
const WORKING: u8 = 2;
/// More was asked for while it is being worked on.
const AGAIN: u8 = 3;

/// Where a partition stands with its flusher.
#[derive(Debug, Default)]
pub(super) struct Flushing {
    state: AtomicU8,
    /// Whether all is asked for, not the sealed segments alone.
    whole: AtomicBool,
    /// The timer of `flush.ms` runs.
    timed: AtomicBool,
    /// That of another try runs.
    retrying: AtomicBool,
    /// Bytes that readers have not been told of.
    unseen: AtomicUsize,
}

impl Flushing {
    /// Bytes that are told to readers once they are on the device.
    pub(super) fn add_unseen(&self, bytes: usize) {
        self.unseen.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Whether the partition has to go into the queue. It writes the state in any case: what was appended before is
    /// seen by who works on it afterwards.
    fn ask(&self) -> bool {
        let asked = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                Some(match state {
                    IDLE | QUEUED => QUEUED,
                    _ => AGAIN,
                })
            });
        asked == Ok(IDLE)
    }

    fn begin(&self) {
        self.state.swap(WORKING, Ordering::AcqRel);
    }

    fn is_idle(&self) -> bool {
        self.state.load(Ordering::Acquire) == IDLE
    }

    /// Whether it has to go into the queue again.
    fn end(&self) -> bool {
        let ended = self
            .state
            .compare_exchange(WORKING, IDLE, Ordering::AcqRel, Ordering::Acquire);
        if ended.is_err() {
            self.state.store(QUEUED, Ordering::Release);
        }
        ended.is_err()
    }
}

impl Partition {
    /// Asks for the flush that an append has made due.
    pub(super) fn flush_after(&self, info: &AppendInfo, config: &PartitionConfig) {
        if info.duplicate {
            return;
        }
        if info.flush_due || config.flush_before != FlushBefore::Nothing {
            self.flush_soon(true);
        } else if info.rolled {
            self.flush_soon(false);
        }
        if config.log.flush_ms != i64::MAX {
            self.flush_in_time(config);
        }
    }

    /// What a log that was opened or got other settings has to catch up with.
    pub(super) fn flush_what_is_there(&self, config: &PartitionConfig) {
        if self.log.load().recovery_point() >= self.log.load().log_end_offset() {
            return;
        }
        if config.flush_before != FlushBefore::Nothing {
            self.flush_soon(true);
        } else if config.log.flush_ms != i64::MAX {
            // A timer that runs may be of another time.
            self.flushing.timed.store(false, Ordering::Release);
            self.flush_in_time(config);
        }
    }

    fn flush_soon(&self, whole: bool) {
        if whole {
            self.flushing.whole.store(true, Ordering::Release);
        }
        if self.flushing.ask()
            && let Some(me) = self.me.upgrade()
        {
            self.flusher.load().submit(me);
        }
    }

    /// Starts the timer of `flush.ms` unless it runs.
    fn flush_in_time(&self, config: &PartitionConfig) {
        if self.flushing.timed.load(Ordering::Acquire)
            || self.flushing.timed.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let delay = Duration::from_millis(u64::try_from(config.log.flush_ms).unwrap_or(0));
        self.later(delay, |partition| {
            partition.flushing.timed.store(false, Ordering::Release);
            if partition.config().log.flush_ms != i64::MAX {
                partition.flush_soon(true);
            }
        });
    }

    fn flush_again(&self) {
        if !self.flushing.retrying.swap(true, Ordering::AcqRel) {
            self.later(RETRY, |partition| {
                partition.flushing.retrying.store(false, Ordering::Release);
                partition.flush_soon(true);
            });
        }
    }

    /// Nothing comes later outside of a runtime.
    fn later(&self, delay: Duration, act: impl FnOnce(&Partition) + Send + 'static) {
        let me = self.me.clone();
        if let Ok(runtime) = Handle::try_current() {
            let sleep = tokio::time::sleep(delay);
            runtime.spawn(async move {
                sleep.await;
                if let Some(partition) = me.upgrade() {
                    act(&partition);
                }
            });
        }
    }

    /// Brings to the device what was asked for, and tells who waits for it. Waits for the device. Returns whether more
    /// has been asked for meanwhile.
    pub(in crate::replica) fn flush_now(&self) -> bool {
        self.flushing.begin();
        if self.flushing.whole.swap(false, Ordering::AcqRel) {
            let unseen = self.flushing.unseen.swap(0, Ordering::AcqRel);
            match self.log.load().flush() {
                Ok(_) => self.follow_flush(unseen),
                Err(error) => {
                    self.flushing.add_unseen(unseen);
                    self.flush_failed(&error);
                }
            }
        } else if let Err(error) = self.log.load().flush_sealed() {
            self.flush_failed(&error);
        }
        self.flushing.end()
    }

    /// Goes into the queue once more: that of `flusher`, whose thread calls this, or of who has taken over from it.
    pub(in crate::replica) fn flush_further(self: Arc<Self>, flusher: &Arc<Flusher>) {
        let present = self.flusher.load_full();
        match Arc::ptr_eq(&present, flusher) {
            true => present.put_back(self),
            false => present.submit(self),
        }
    }

    /// Another directory's flusher takes over, with the log that is there. What waits for the former one's device may
    /// wait long: it is asked for here as well, and is nothing new where it comes second.
    pub(super) fn change_flusher(&self, flusher: Arc<Flusher>) {
        self.flusher.store(flusher);
        if !self.flushing.is_idle()
            && let Some(me) = self.me.upgrade()
        {
            self.flusher.load().submit(me);
        }
    }

    pub(super) fn follow_flush(&self, bytes: usize) {
        self.waiting.flushed(self.log.load().recovery_point());
        if let Role::Leader(leadership) = &*self.lock_role() {
            self.follow_log_end(leadership, &self.config.load(), bytes);
        }
    }

    fn flush_failed(&self, error: &log::Error) {
        if self.role() == Role::Gone {
            return;
        }
        if self.log.load().is_offline() {
            // Told already, with the log directory. Who waits is told now.
            self.waiting.wake_all();
        } else {
            warn!(partition = %self.topic_partition, %error, "not flushed; it is tried again");
            self.flush_again();
        }
    }
}

#[cfg(test)]
mod tests;
