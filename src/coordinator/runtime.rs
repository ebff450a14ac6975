//! Runs a [`StateMachine`]: one shard for each partition of its internal topic that this broker leads.
//!
//! An event is dealt with at once, on the caller's thread, under the lock of its shard: decide, append (to the page
//! cache), apply. Answers are let out when the high watermark has passed all that was written before them; a request
//! that has to wait is a future, and no channel or task stands between it and the partition. A partition is read off
//! the reactor; meanwhile its shard answers that it is loading.
//!
//! Knows nothing of groups or transactions; called by `api` and, when the metadata changes, by the broker.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::markers::Marker;
use super::{Event, Outcome, Position, StateMachine, Ticket, client_error};
use crate::clock::Clock;
use crate::error_code::ErrorCode;
use crate::ids::{LeaderEpoch, Now, Offset, PartitionIndex, ProducerId, SteadyTime};
use crate::log::Origin;
use crate::record::compress::Codec;

mod batches;
mod journal;
mod lead;
mod load;
#[cfg(test)]
mod tests;
mod timer;

pub use journal::Journal;
pub(super) use journal::journal_error;
use lead::Slot;
use timer::Timer;

/// Deadlines dealt with before requests to the same shard get their turn.
const DEADLINES_PER_TURN: usize = 256;

/// The settings of a coordinator's topic.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How its batches are compressed.
    pub codec: Codec,
    /// The base sequence of its batches, which have no producer: each coordinator of Kafka has its own.
    pub base_sequence: i32,
    /// How long an answer waits for the high watermark (`offsets.commit.timeout.ms`).
    pub commit_timeout: Duration,
    /// How much of a partition is read at a time when it is loaded.
    pub load_bytes: usize,
}

/// Why a partition answers nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("this broker does not lead the partition")]
    NotCoordinator,
    #[error("the partition is being read")]
    Loading,
}

impl Unavailable {
    pub fn code(self) -> ErrorCode {
        match self {
            Unavailable::NotCoordinator => ErrorCode::NotCoordinator,
            Unavailable::Loading => ErrorCode::CoordinatorLoadInProgress,
        }
    }
}

/// What became of a request.
pub enum Answer<R> {
    Now(R),
    /// Resolves when the request has been answered and its answer is committed. The error is that of the append or
    /// of the wait: the answer, if there is one, cannot be told.
    Later(Pin<Box<dyn Future<Output = Result<R, ErrorCode>> + Send>>),
}

/// What a coordinator says, or the error that it cannot; now or when it can be told.
pub enum Said<R> {
    Now(Result<R, ErrorCode>),
    Later(Pin<Box<dyn Future<Output = Result<R, ErrorCode>> + Send>>),
}

impl<R: Send + 'static> Said<R> {
    /// With the errors that clients are told.
    pub(super) fn of(answer: Result<Answer<R>, Unavailable>) -> Said<R> {
        match answer {
            Ok(Answer::Now(response)) => Said::Now(Ok(response)),
            Ok(Answer::Later(response)) => {
                Said::Later(Box::pin(
                    async move { response.await.map_err(client_error) },
                ))
            }
            Err(unavailable) => Said::Now(Err(unavailable.code())),
        }
    }
}

/// The coordinator of one internal topic on this broker.
pub struct Runtime<M: StateMachine, J> {
    machine: M,
    config: Config,
    clock: Clock,
    shards: RwLock<BTreeMap<PartitionIndex, Slot<M, J>>>,
    /// How often a partition was taken up.
    taken: AtomicU64,
    timer: Timer,
    tasks: Handle,
}

struct Shard<M: StateMachine, J> {
    index: PartitionIndex,
    epoch: LeaderEpoch,
    journal: Arc<J>,
    active: Mutex<Active<M>>,
}

/// What the lock of a shard guards.
struct Active<M: StateMachine> {
    state: M::State,
    scratch: M::Scratch,
    waiting: HashMap<Ticket, oneshot::Sender<Decided<M::Response>>>,
    tickets: u64,
    /// One past the last record written or read.
    end: Offset,
    /// The leadership has ended.
    resigned: bool,
    /// For when the timer is set.
    timer_at: Option<SteadyTime>,
}

/// An answer, and up to where the partition has to be committed before it is told.
struct Decided<R> {
    response: R,
    after: Offset,
}

impl<M: StateMachine, J: Journal> Runtime<M, J> {
    /// A coordinator without partitions; its timer runs until it is dropped.
    ///
    /// # Panics
    /// When called outside of a tokio runtime.
    pub fn start(machine: M, config: Config, clock: Clock) -> Arc<Runtime<M, J>> {
        let runtime = Arc::new(Runtime {
            machine,
            config,
            clock,
            shards: RwLock::new(BTreeMap::new()),
            taken: AtomicU64::new(0),
            timer: Timer::default(),
            tasks: Handle::current(),
        });
        timer::spawn(&runtime);
        runtime
    }

    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The partitions that are led here, and those being read.
    pub fn partitions(&self) -> Vec<PartitionIndex> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        shards.keys().copied().collect()
    }

    /// Has all partitions that are led here deal with a request that nobody waits for: those that are being read, once
    /// they are.
    pub fn tell_all(&self, request: &M::Request)
    where
        M::Request: Clone,
    {
        for partition in self.partitions() {
            if let Ok(shard) = self.shard_or_tell_later(partition, request) {
                // It has just been laid down.
                let _ = self.request_of(shard, request.clone());
            }
        }
    }

    /// Deals with a request. What it changes is appended, and in order, when this returns.
    pub fn request(
        &self,
        partition: PartitionIndex,
        request: M::Request,
    ) -> Result<Answer<M::Response>, Unavailable> {
        let shard = self.shard(partition)?;
        self.request_of(shard, request)
    }

    /// The same of one who serves only the coordinator of this epoch.
    pub fn request_in(
        &self,
        partition: PartitionIndex,
        epoch: LeaderEpoch,
        request: M::Request,
    ) -> Result<Answer<M::Response>, Unavailable> {
        let shard = self.shard(partition)?;
        if shard.epoch != epoch {
            return Err(Unavailable::NotCoordinator);
        }
        self.request_of(shard, request)
    }

    fn request_of(
        &self,
        shard: Arc<Shard<M, J>>,
        request: M::Request,
    ) -> Result<Answer<M::Response>, Unavailable> {
        let mut active = shard.lock();
        if active.resigned {
            return Err(Unavailable::NotCoordinator);
        }
        active.tickets += 1;
        let ticket = Ticket(active.tickets);
        let said = self.event(&shard, &mut active, Event::Request { ticket, request });
        match said.into_iter().find(|(said, _)| *said == ticket) {
            Some((_, said)) if shard.journal.high_watermark() >= said.after => {
                Ok(Answer::Now(said.response))
            }
            Some((_, said)) => {
                drop(active);
                let committed = self.committed(&shard, said);
                Ok(Answer::Later(Box::pin(committed)))
            }
            None => {
                let (sender, receiver) = oneshot::channel();
                active.waiting.insert(ticket, sender);
                drop(active);
                Ok(Answer::Later(Box::pin(self.answered(shard, receiver))))
            }
        }
    }

    /// Waits for an answer, then for what it has to wait for.
    fn answered(
        &self,
        shard: Arc<Shard<M, J>>,
        receiver: oneshot::Receiver<Decided<M::Response>>,
    ) -> impl Future<Output = Result<M::Response, ErrorCode>> + Send + use<M, J> {
        let timeout = self.config.commit_timeout;
        async move {
            // Nobody answers any more: the shard was dropped with all who waited.
            let said = receiver.await.map_err(|_| ErrorCode::NotCoordinator)?;
            commit(&*shard.journal, shard.epoch, said, timeout).await
        }
    }

    fn committed<R: Send + 'static>(
        &self,
        shard: &Arc<Shard<M, J>>,
        said: Decided<R>,
    ) -> impl Future<Output = Result<R, ErrorCode>> + Send + use<M, J, R> {
        let (journal, epoch, timeout) = (
            shard.journal.clone(),
            shard.epoch,
            self.config.commit_timeout,
        );
        async move { commit(&*journal, epoch, said, timeout).await }
    }

    /// Has the machine decide, writes and applies what it decided, and answers those who waited. Returns the answers
    /// of those who do not wait yet.
    fn event(
        &self,
        shard: &Arc<Shard<M, J>>,
        active: &mut Active<M>,
        event: Event<M::Request>,
    ) -> Vec<(Ticket, Decided<M::Response>)> {
        let now = self.clock.both();
        let outcome = self
            .machine
            .handle(&active.state, &mut active.scratch, event, now);
        self.carry_out(shard, active, outcome, now)
    }

    fn carry_out(
        &self,
        shard: &Arc<Shard<M, J>>,
        active: &mut Active<M>,
        mut outcome: Outcome<M::Record, M::Response>,
        now: Now,
    ) -> Vec<(Ticket, Decided<M::Response>)> {
        let written = self.write(shard, active, &mut outcome, now);
        let replies = match written {
            Ok(()) => outcome.replies,
            Err(error) => {
                self.machine
                    .append_failed(&active.state, &mut active.scratch, outcome, error, now)
            }
        };
        self.set_timer(shard, active);
        let after = active.end;
        let mut unclaimed = Vec::new();
        for (ticket, response) in replies {
            let said = Decided { response, after };
            match active.waiting.remove(&ticket) {
                // A client that went away takes no answer.
                Some(sender) => drop(sender.send(said)),
                None => unclaimed.push((ticket, said)),
            }
        }
        unclaimed
    }

    /// Appends the records, batch by batch, and applies those that were appended. On an error what was not written
    /// is left in `outcome`.
    fn write(
        &self,
        shard: &Arc<Shard<M, J>>,
        active: &mut Active<M>,
        outcome: &mut Outcome<M::Record, M::Response>,
        now: Now,
    ) -> Result<(), ErrorCode> {
        let producer_id = outcome
            .transactional
            .map_or(ProducerId::NONE, |it| it.producer.id);
        while !outcome.records.is_empty() {
            let limit = shard.journal.max_batch_bytes();
            let (batch, count) = batches::build::<M>(
                &outcome.records,
                outcome.transactional,
                &self.config,
                limit,
                now.wall,
            )?;
            if outcome.atomic && count < outcome.records.len() {
                return Err(ErrorCode::MessageTooLarge);
            }
            let origin = match outcome.transactional.map(|it| it.verified) {
                Some(Some(guard)) => Origin::VerifiedCoordinator(guard),
                Some(None) | None => Origin::Coordinator,
            };
            let base_offset = shard
                .journal
                .append(&batch, origin, shard.epoch, now.wall)?;
            for (index, record) in (0..).zip(outcome.records.drain(..count)) {
                let at = Position {
                    offset: base_offset + index,
                    producer_id,
                };
                M::apply(&mut active.state, record, at);
                active.end = base_offset + index + 1;
            }
        }
        Ok(())
    }

    fn set_timer(&self, shard: &Arc<Shard<M, J>>, active: &mut Active<M>) {
        let Some(at) = self.machine.next_deadline(&active.scratch) else {
            return;
        };
        if active.timer_at.is_none_or(|set| at < set) {
            active.timer_at = Some(at);
            self.timer.set(shard.index, at);
        }
    }

    /// Deals with the deadlines that have come; returns when the next may come.
    fn tick(&self) -> Option<SteadyTime> {
        let now = self.clock.steady();
        while let Some(index) = self.timer.due(now) {
            let Ok(shard) = self.shard(index) else {
                continue;
            };
            let mut active = shard.lock();
            if !active.resigned {
                self.pass_deadlines(&shard, &mut active, now);
            }
        }
        self.timer.earliest()
    }

    fn pass_deadlines(&self, shard: &Arc<Shard<M, J>>, active: &mut Active<M>, now: SteadyTime) {
        // The timer is set once, at the end.
        active.timer_at = Some(now);
        for _ in 0..DEADLINES_PER_TURN {
            match self.machine.next_deadline(&active.scratch) {
                Some(at) if at <= now => drop(self.event(shard, active, Event::Deadline)),
                _ => break,
            }
        }
        active.timer_at = None;
        self.set_timer(shard, active);
    }

    /// Writes the end marker of a producer's transaction, and has what was written within count, or not.
    pub fn end_transaction(&self, partition: PartitionIndex, marker: &Marker) -> Said<()> {
        let shard = match self.shard(partition) {
            Ok(shard) => shard,
            Err(unavailable) => return Said::Now(Err(unavailable.code())),
        };
        let mut active = shard.lock();
        if active.resigned {
            return Said::Now(Err(ErrorCode::NotCoordinator));
        }
        let now = self.clock.now();
        let origin = Origin::Marker(marker.transaction_version);
        let appended = shard
            .journal
            .append(&marker.batch(now), origin, shard.epoch, now);
        let offset = match appended {
            Ok(offset) => offset,
            Err(error) => return Said::Now(Err(client_error(error))),
        };
        M::end_transaction(&mut active.state, marker.producer.id, marker.end.commit);
        active.end = offset + 1;
        let said = Decided {
            response: (),
            after: active.end,
        };
        drop(active);
        if shard.journal.high_watermark() >= said.after {
            return Said::Now(Ok(()));
        }
        let committed = self.committed(&shard, said);
        Said::Later(Box::pin(
            async move { committed.await.map_err(client_error) },
        ))
    }

    fn shard(&self, partition: PartitionIndex) -> Result<Arc<Shard<M, J>>, Unavailable> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let slot = shards.get(&partition).ok_or(Unavailable::NotCoordinator)?;
        match &slot.shard {
            Some(shard) => Ok(shard.clone()),
            None => Err(Unavailable::Loading),
        }
    }
}

impl<M: StateMachine, J> Shard<M, J> {
    fn lock(&self) -> MutexGuard<'_, Active<M>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until an answer may be told.
async fn commit<J: Journal, R>(
    journal: &J,
    epoch: LeaderEpoch,
    said: Decided<R>,
    timeout: Duration,
) -> Result<R, ErrorCode> {
    let wait = journal.wait_for_high_watermark(said.after, epoch);
    match tokio::time::timeout(timeout, wait).await {
        Ok(Ok(())) => Ok(said.response),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(ErrorCode::RequestTimedOut),
    }
}
