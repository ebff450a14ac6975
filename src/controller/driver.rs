//! The task that runs the active controller: it takes commands in order, has them decided over the pending image, and
//! proposes what they write. It owns the pending image and the machine's soft state; both end with the epoch in which
//! this node leads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info};

use super::Error;
use super::machine::{Answer, Command, Decision, Machine, Seeded};
use super::raft::consensus::{Consensus, Outcome, Role, Roles, Stopped};
use super::raft::state_machine::Applied;
use super::snapshots::Keeper;
use crate::clock::Clock;
use crate::ids::{KafkaUuid, LeaderEpoch, Offset, SteadyTime, Timestamp};
use crate::messages::records::frame::MetadataRecord;
use crate::metadata::{Image, Provenance, records};

/// Commands that are decided before the task looks up again.
const COMMANDS_AT_ONCE: usize = 64;
/// A task that comes so much later than it was to has stood still, and with it whatever brokers had to say.
const STANDSTILL: Duration = Duration::from_millis(500);

/// A command and whoever waits for its answer.
pub(super) struct Submission {
    pub(super) command: Command,
    pub(super) reply: Reply,
}

pub(super) type Reply = oneshot::Sender<Result<Answer, Error>>;

/// What a controller needs while it leads.
struct Leading {
    epoch: LeaderEpoch,
    /// With all records that this node has proposed, committed or not.
    pending: Image,
}

/// An answer that wrote nothing but rests on records that are not committed yet.
struct Waiting {
    end_offset: Offset,
    answer: Answer,
    reply: Reply,
}

pub(super) struct Driver {
    consensus: Arc<Consensus>,
    clock: Clock,
    machine: Machine,
    random: Seeded,
    bootstrap: Vec<MetadataRecord>,
    keeper: Keeper,
    roles: Roles,
    applied: watch::Receiver<Applied>,
    leading: Option<Leading>,
    waiting: VecDeque<Waiting>,
    active: watch::Sender<Option<LeaderEpoch>>,
    stopped: watch::Receiver<bool>,
}

impl Driver {
    pub(super) fn new(
        consensus: Arc<Consensus>,
        clock: Clock,
        machine: Machine,
        bootstrap: Vec<MetadataRecord>,
        keeper: Keeper,
        active: watch::Sender<Option<LeaderEpoch>>,
        stopped: watch::Receiver<bool>,
    ) -> Driver {
        Driver {
            roles: consensus.roles(),
            applied: consensus.applied(),
            consensus,
            clock,
            machine,
            random: Seeded::new(KafkaUuid::random().0.as_u128()),
            bootstrap,
            keeper,
            leading: None,
            waiting: VecDeque::new(),
            active,
            stopped,
        }
    }

    /// Runs until the controller stops or its log fails. What waits for an answer then gets [`Error::Stopped`].
    pub(super) async fn run(mut self, mut submitted: mpsc::Receiver<Submission>) {
        if let Err(error) = self.work(&mut submitted).await {
            error!("{error}");
        }
        self.active.send_replace(None);
    }

    async fn work(&mut self, submitted: &mut mpsc::Receiver<Submission>) -> Result<(), Stopped> {
        let mut commands = Vec::with_capacity(COMMANDS_AT_ONCE);
        loop {
            self.follow_role().await?;
            let due = Instant::now() + self.due();
            let mut is_time = false;
            tokio::select! {
                biased;
                // It changes once, or the controller is gone.
                _ = self.stopped.changed() => break,
                changed = self.roles.changed() => if !changed { break },
                changed = self.applied.changed() => {
                    if changed.is_err() { break }
                    self.answer_waiting();
                    self.share_image();
                    self.keeper.look(&self.consensus, self.clock.both()).await?;
                }
                count = submitted.recv_many(&mut commands, COMMANDS_AT_ONCE) => {
                    if count == 0 { break }
                    for Submission { command, reply } in commands.drain(..) {
                        self.decide(&command, reply).await?;
                    }
                }
                () = sleep_until(due) => is_time = true,
            }
            self.forgive_standstill(due);
            if is_time {
                self.on_time().await?;
            }
        }
        self.drain(submitted).await
    }

    /// Refuses what was not decided, and waits for what was.
    async fn drain(&mut self, submitted: &mut mpsc::Receiver<Submission>) -> Result<(), Stopped> {
        submitted.close();
        while let Ok(Submission { reply, .. }) = submitted.try_recv() {
            drop(reply.send(Err(Error::Stopped)));
        }
        let Some(leading) = &self.leading else {
            return Ok(());
        };
        let end_offset = leading.pending.provenance().end_offset;
        while self.applied.borrow_and_update().end_offset < end_offset {
            tokio::select! {
                changed = self.applied.changed() => if changed.is_err() { break },
                changed = self.roles.changed() => {
                    if !changed || self.roles.current() != Role::Leader(leading.epoch) { break }
                }
            }
        }
        self.answer_waiting();
        Ok(())
    }

    /// Begins to lead once everything from before this node's epoch is applied, and ends with the epoch.
    async fn follow_role(&mut self) -> Result<(), Stopped> {
        let role = self.roles.current();
        if let Some(leading) = &self.leading
            && role != Role::Leader(leading.epoch)
        {
            info!("no longer the active controller of epoch {}", leading.epoch);
            self.leading = None;
            self.active.send_replace(None);
            for waiting in self.waiting.drain(..) {
                drop(waiting.reply.send(Err(Error::NotController)));
            }
        }
        let Role::Leader(epoch) = role else {
            return Ok(());
        };
        let (image, in_transaction) = {
            let applied = self.applied.borrow_and_update();
            // Its LeaderChange batch is the first of an epoch.
            if self.leading.is_some() || applied.epoch != epoch {
                return Ok(());
            }
            (Image::clone(&applied.image), applied.is_in_transaction)
        };
        info!(
            "active controller of epoch {epoch} from offset {}",
            image.provenance().end_offset
        );
        self.leading = Some(Leading {
            epoch,
            pending: image,
        });
        let (reply, activated) = oneshot::channel();
        self.decide(
            &Command::Activate {
                in_transaction,
                bootstrap: self.bootstrap.clone(),
            },
            reply,
        )
        .await?;
        let active = self.active.clone();
        tokio::spawn(async move {
            if let Ok(Ok(_)) = activated.await {
                active.send_replace(Some(epoch));
            }
        });
        Ok(())
    }

    /// Decides one command, and proposes what it writes.
    async fn decide(&mut self, command: &Command, reply: Reply) -> Result<(), Stopped> {
        let Some(leading) = &mut self.leading else {
            drop(reply.send(Err(Error::NotController)));
            return Ok(());
        };
        let now = self.clock.both();
        let Decision { records, answer } =
            self.machine
                .decide(&leading.pending, command, now.steady, &mut self.random);
        if records.is_empty() {
            let end_offset = leading.pending.provenance().end_offset;
            self.waiting.push_back(Waiting {
                end_offset,
                answer,
                reply,
            });
            self.answer_waiting();
            return Ok(());
        }
        let (pending, batch) = append(leading, &records, now.wall);
        leading.pending = pending;
        let then = |outcome| {
            drop(reply.send(match outcome {
                Outcome::Committed => Ok(answer),
                Outcome::NotLeader => Err(Error::NotController),
            }));
        };
        self.consensus.propose(batch, leading.epoch, then).await
    }

    /// Gives the answers whose images are published.
    fn answer_waiting(&mut self) {
        let end_offset = self.applied.borrow().end_offset;
        while let Some(waiting) = self
            .waiting
            .pop_front_if(|waiting| waiting.end_offset <= end_offset)
        {
            drop(waiting.reply.send(Ok(waiting.answer)));
        }
    }

    /// When all that is pending has been applied, the two images are equal, and one of them is enough.
    fn share_image(&mut self) {
        let applied = self.applied.borrow();
        if let Some(leading) = &mut self.leading
            && leading.pending.provenance().end_offset == applied.image.provenance().end_offset
        {
            leading.pending = Image::clone(&applied.image);
        }
    }

    /// How long until something is due though nothing happens.
    fn due(&self) -> Duration {
        let now = self.clock.steady();
        let fence = self
            .leading
            .as_ref()
            .and_then(|_| self.machine.next_deadline());
        let next = [fence, Some(self.keeper.next_look(now))]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(now);
        Duration::from_millis(u64::try_from(next.since(now)).unwrap_or(0))
    }

    /// Who stood still (a process that was stopped, a machine that was overloaded) cannot tell that brokers were silent:
    /// their heartbeats may lie unread. As after an election, all have just been heard of.
    fn forgive_standstill(&mut self, due: Instant) {
        let now = self.clock.steady();
        if due.elapsed() >= STANDSTILL && self.is_session_over(now) {
            self.machine.renew_sessions(now);
        }
    }

    fn is_session_over(&self, now: SteadyTime) -> bool {
        let deadline = self.machine.next_deadline();
        self.leading.is_some() && deadline.is_some_and(|deadline| deadline <= now)
    }

    async fn on_time(&mut self) -> Result<(), Stopped> {
        let now = self.clock.both();
        self.keeper.look(&self.consensus, now).await?;
        if self.is_session_over(now.steady) {
            let (reply, _) = oneshot::channel();
            self.decide(&Command::FenceStaleBrokers, reply).await?;
        }
        Ok(())
    }
}

/// The pending image with these records, and the batch that brings them into the log behind all that is pending.
fn append(
    leading: &Leading,
    records: &[MetadataRecord],
    now: Timestamp,
) -> (Image, crate::record::Batch) {
    let base_offset = leading.pending.provenance().end_offset;
    let count = i64::try_from(records.len()).expect("a batch holds fewer records");
    let provenance = Provenance {
        end_offset: base_offset + count,
        epoch: leading.epoch,
        timestamp: now,
    };
    let (image, _) = leading
        .pending
        .apply(records, provenance)
        .expect("the machine writes what its image can take");
    let version = image.features().metadata_version();
    let batch = records::batch(
        records.iter().cloned(),
        version,
        base_offset,
        leading.epoch,
        now,
    )
    .expect("the machine writes what the metadata version can say");
    (image, batch)
}

#[cfg(test)]
mod tests;
