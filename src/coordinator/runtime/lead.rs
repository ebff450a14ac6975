//! Partitions are taken up when this broker begins to lead them, and laid down when it ceases to. One that cannot be read
//! is read again later, for as long as it is led here: until then its requests are told that it is loading.
//! (CoordinatorRuntime.scheduleLoadOperation, scheduleUnloadOperation; Kafka waits for another leader epoch)

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::{error, info};

use super::{Active, Event, Journal, Runtime, Shard, StateMachine, Ticket, Unavailable, load};
use crate::ids::{LeaderEpoch, PartitionIndex};

/// Before a partition that could not be read is read again; each time twice as long.
const LOAD_BACKOFF: Duration = Duration::from_millis(500);
const LOAD_BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Requests that a partition is told once it is read. One that cannot be read for long is not told of more: they are of topics that
/// were deleted, whose offsets expire without them.
const PENDING_MAX: usize = 10_000;

/// A partition that this broker leads.
pub(super) struct Slot<M: StateMachine, J> {
    taking: Taking,
    /// `None` while it is being read.
    pub(super) shard: Option<Arc<Shard<M, J>>>,
    /// What it is told once it is read.
    pending: Vec<M::Request>,
}

/// One time that a partition was taken up.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Taking {
    index: PartitionIndex,
    epoch: LeaderEpoch,
    /// Tells it from others in the same epoch, of a topic that was deleted and made anew.
    number: u64,
}

impl<M: StateMachine, J: Journal> Runtime<M, J> {
    /// This broker leads the partition in `epoch`: reads it, off the reactor unless it is empty. The handle, if any,
    /// is of the reading.
    pub fn lead(
        self: &Arc<Self>,
        index: PartitionIndex,
        epoch: LeaderEpoch,
        journal: Arc<J>,
    ) -> Option<JoinHandle<()>> {
        let taking = Taking {
            index,
            epoch,
            number: self.taken.fetch_add(1, Ordering::Relaxed),
        };
        let former = {
            let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
            if shards
                .get(&index)
                .is_some_and(|slot| slot.taking.epoch >= epoch)
            {
                return None;
            }
            let mut former = shards.remove(&index);
            let pending = former
                .as_mut()
                .map(|slot| std::mem::take(&mut slot.pending));
            let slot = Slot {
                taking,
                shard: None,
                pending: pending.unwrap_or_default(),
            };
            shards.insert(index, slot);
            former
        };
        former.into_iter().for_each(Slot::resign);
        let is_empty = journal.log_start_offset() == journal.log_end_offset();
        if is_empty && self.load(taking, journal.clone()) {
            return None;
        }
        let loading = Self::load_again_and_again(Arc::downgrade(self), taking, journal);
        Some(self.tasks.spawn(loading))
    }

    /// Another broker leads the partition, or it is gone. Who waits is told to look elsewhere.
    pub fn resign(&self, index: PartitionIndex) {
        let slot = {
            let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
            shards.remove(&index)
        };
        self.timer.cancel(index);
        slot.into_iter().for_each(Slot::resign);
    }

    /// The shard of a partition; while it is being read, it will be told the request.
    pub(super) fn shard_or_tell_later(
        &self,
        index: PartitionIndex,
        request: &M::Request,
    ) -> Result<Arc<Shard<M, J>>, Unavailable>
    where
        M::Request: Clone,
    {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        let slot = shards.get_mut(&index).ok_or(Unavailable::NotCoordinator)?;
        match &slot.shard {
            Some(shard) => Ok(shard.clone()),
            None => {
                if slot.pending.len() < PENDING_MAX {
                    slot.pending.push(request.clone());
                }
                Err(Unavailable::Loading)
            }
        }
    }

    /// Ends when the partition is read, or led here no more.
    async fn load_again_and_again(runtime: Weak<Self>, taking: Taking, journal: Arc<J>) {
        let mut backoff = LOAD_BACKOFF;
        loop {
            let Some(running) = runtime.upgrade() else {
                return;
            };
            if !running.is_led(taking) {
                return;
            }
            let (tasks, journal) = (running.tasks.clone(), journal.clone());
            let loaded = tasks.spawn_blocking(move || running.load(taking, journal));
            if loaded.await.unwrap_or(true) {
                return;
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(LOAD_BACKOFF_MAX);
        }
    }

    fn is_led(&self, taking: Taking) -> bool {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        shards
            .get(&taking.index)
            .is_some_and(|slot| slot.taking == taking)
    }

    /// Reads the partition; whether it could be read.
    fn load(&self, taking: Taking, journal: Arc<J>) -> bool {
        let Taking { index, epoch, .. } = taking;
        let loaded = match load::load::<M, J>(&journal, self.config.load_bytes) {
            Ok(loaded) => loaded,
            Err(reason) => {
                error!(partition = %index, %reason, "a coordinator's partition cannot be read; it is tried again");
                return false;
            }
        };
        if loaded.records > 0 {
            info!(partition = %index, records = loaded.records, "read a coordinator's partition");
        }
        let active = Active {
            state: loaded.state,
            scratch: M::Scratch::default(),
            waiting: HashMap::new(),
            tickets: 0,
            end: loaded.end,
            resigned: false,
            timer_at: None,
        };
        let shard = Arc::new(Shard {
            index,
            epoch,
            journal,
            active: Mutex::new(active),
        });
        self.begin(taking, &shard);
        true
    }

    /// Starts what goes on by itself, and shows the shard. Nothing is begun where the partition was laid down, or taken up
    /// again, while it was read: its timer is that of another shard.
    fn begin(&self, taking: Taking, shard: &Arc<Shard<M, J>>) {
        let mut active = shard.lock();
        let active = &mut *active;
        let now = self.clock.both();
        let outcome = self.machine.loaded(&active.state, &mut active.scratch, now);
        let Some(pending) = self.show(taking, shard) else {
            return;
        };
        self.carry_out(shard, active, outcome, now);
        for request in pending {
            active.tickets += 1;
            let ticket = Ticket(active.tickets);
            self.event(shard, active, Event::Request { ticket, request });
        }
    }

    /// From now on requests find the shard. Returns what it has to be told first, or `None` when it has no place.
    fn show(&self, taking: Taking, shard: &Arc<Shard<M, J>>) -> Option<Vec<M::Request>> {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        let slot = shards
            .get_mut(&taking.index)
            .filter(|slot| slot.taking == taking)?;
        slot.shard = Some(shard.clone());
        Some(std::mem::take(&mut slot.pending))
    }
}

impl<M: StateMachine, J> Slot<M, J> {
    fn resign(self) {
        if let Some(shard) = self.shard {
            let mut active = shard.lock();
            active.resigned = true;
            active.waiting.clear();
        }
    }
}
