//! One timer for all shards of a coordinator: the task sleeps until the earliest deadline, and is woken when an
//! earlier one is set.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Journal, Runtime};
use crate::coordinator::StateMachine;
use crate::coordinator::deadlines::Deadlines;
use crate::ids::{PartitionIndex, SteadyTime};

#[derive(Default)]
pub(super) struct Timer {
    shards: Mutex<Deadlines<PartitionIndex>>,
    earlier: Arc<Notify>,
}

impl Timer {
    pub(super) fn set(&self, shard: PartitionIndex, at: SteadyTime) {
        let mut shards = self.lock();
        let is_earliest = shards.earliest().is_none_or(|earliest| at < earliest);
        shards.schedule(shard, at);
        if is_earliest {
            self.earlier.notify_one();
        }
    }

    pub(super) fn cancel(&self, shard: PartitionIndex) {
        self.lock().cancel(&shard);
    }

    /// Takes out one shard whose time has come.
    pub(super) fn due(&self, now: SteadyTime) -> Option<PartitionIndex> {
        self.lock().pop(now)
    }

    pub(super) fn earliest(&self) -> Option<SteadyTime> {
        self.lock().earliest()
    }

    fn lock(&self) -> MutexGuard<'_, Deadlines<PartitionIndex>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.earlier.notify_one();
    }
}

/// Runs until the runtime is dropped.
pub(super) fn spawn<M: StateMachine, J: Journal>(runtime: &Arc<Runtime<M, J>>) {
    let earlier = runtime.timer.earlier.clone();
    let runtime = Arc::downgrade(runtime);
    tokio::spawn(async move {
        loop {
            let Some(running) = runtime.upgrade() else {
                return;
            };
            let next = running.tick();
            let now = running.clock.steady();
            drop(running);
            let Some(at) = next else {
                earlier.notified().await;
                continue;
            };
            // Timers stand still where the machine sleeps: a deadline is looked at again at least every few seconds.
            let wait = u64::try_from(at.since(now)).unwrap_or(0).min(5000);
            let _ = tokio::time::timeout(Duration::from_millis(wait), earlier.notified()).await;
        }
    });
}
