//! The transaction coordinator: one [`Machine`] for every partition of `__transaction_state`.
//!
//! [`state`] is what the records say of a transactional id, [`init`] gives producer ids and fences, [`add`] takes
//! partitions into a transaction, [`end`] decides its outcome, [`work`] is what has to be done outside: end markers
//! that are to be written, and the news that they are. [`admin`] lists, describes and forgets.
//!
//! An answer waits until the records are committed. So does [`Work`], which is the answer to a request: no marker
//! goes out before the decision is safe. (kafka.coordinator.transaction.TransactionCoordinator; KIP-98, 360, 890)

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI16, Ordering};

use bytes::Bytes;

use super::deadlines::Deadlines;
use super::{Event, Position, ProducerIdAndEpoch, StateMachine, Ticket, client_error};
use crate::error_code::ErrorCode;
use crate::ids::{Now, ProducerEpoch, ProducerId, SteadyTime, TopicPartition};
use crate::messages::describe_transactions_response;
use crate::messages::list_transactions_response;
use crate::messages::{DecodeError, EncodeError};

mod add;
mod admin;
mod end;
mod init;
mod records;
mod state;
#[cfg(test)]
mod tests;
mod work;

pub use admin::Filter;
pub use records::Record;
pub use state::{EPOCH_PER_TRANSACTION, Partitions, State, Transaction, TransactionState};
pub use work::{Prepared, Work};

pub(super) type Outcome = super::Outcome<Record, Response>;

/// An idle id is looked at after this time at the latest.
const EXPIRY_LOOK_MAX_MS: i64 = 60 * 60 * 1000;

/// The settings of the transaction coordinator.
#[derive(Clone, Debug)]
pub struct Config {
    /// `transaction.max.timeout.ms`
    pub max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`
    pub expiration_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub expiration_interval_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`
    pub abort_interval_ms: i64,
    /// `transaction.two.phase.commit.enable`
    pub two_phase_commit: bool,
}

/// What is asked of the coordinator of a transactional id.
#[derive(Clone, Debug)]
pub enum Request {
    InitProducerId {
        id: Arc<str>,
        timeout_ms: i32,
        /// What the producer believes to be; none of a new one.
        expected: Option<ProducerIdAndEpoch>,
        two_phase: bool,
        keep_prepared: bool,
        /// A producer id that nobody had, in case one is needed. See [`Response::ProducerIdWanted`].
        fresh: Option<ProducerId>,
    },
    AddPartitions {
        id: Arc<str>,
        producer: ProducerIdAndEpoch,
        partitions: Arc<[TopicPartition]>,
        client_version: i16,
        /// When the transaction before is still being ended, the answer comes when it is, or at this time.
        wait_until: Option<SteadyTime>,
    },
    /// Whether the partitions are in the transaction.
    Verify {
        id: Arc<str>,
        producer: ProducerIdAndEpoch,
        partitions: Arc<[TopicPartition]>,
    },
    End {
        id: Arc<str>,
        producer: ProducerIdAndEpoch,
        commit: bool,
        client_version: i16,
        /// As of InitProducerId.
        fresh: Option<ProducerId>,
    },
    List(Arc<Filter>),
    Describe {
        id: Arc<str>,
    },
    /// Answered when there is something to do. `again`: what was told before was not done.
    TakeWork {
        again: bool,
    },
    /// All markers of a transaction are written.
    Complete {
        id: Arc<str>,
        producer: ProducerIdAndEpoch,
    },
    /// Work said that one is wanted.
    GiveProducerId(ProducerId),
}

/// What it answers; each to the request of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    InitProducerId(Result<ProducerIdAndEpoch, ErrorCode>),
    AddPartitions(ErrorCode),
    /// One code for each partition, in order, or one for all.
    Verify(Result<Vec<ErrorCode>, ErrorCode>),
    /// The producer id and epoch to go on with, where each transaction has its own.
    End(Result<ProducerIdAndEpoch, ErrorCode>),
    List(Vec<list_transactions_response::TransactionState>),
    Describe(Box<describe_transactions_response::TransactionState>),
    /// The error: what was to be told was not written, nor is anything else told with it.
    Work(Result<Work, ErrorCode>),
    Complete(ErrorCode),
    GiveProducerId,
    /// To InitProducerId and End: nothing was done; to be asked again with a fresh producer id.
    ProducerIdWanted,
}

/// What happens at a time, if nothing prevents it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Deadline {
    /// The transaction may have been open for too long.
    Timeout { id: Arc<str> },
    /// The id may have been idle for too long.
    Expiry { id: Arc<str> },
    /// A request that waits for the end of the transaction before is answered as it is.
    Waiting { id: Arc<str>, ticket: Ticket },
}

/// What is known besides the records.
#[derive(Debug, Default)]
pub struct Scratch {
    deadlines: Deadlines<Deadline>,
    /// The epoch before the present one, given back to a producer whose answer was lost (KIP-360). Not written, as
    /// in Kafka: after a change of coordinator such a producer is fenced.
    last_epochs: HashMap<Arc<str>, ProducerEpoch>,
    work: work::Pending,
    /// Requests that wait for the end of a transaction.
    waiting: HashMap<Arc<str>, BTreeSet<Ticket>>,
    /// For a transaction that times out with its epochs used up.
    spare_producer_id: Option<ProducerId>,
}

/// The transaction coordinator's decisions.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    /// The finalized level of `transaction.version`.
    level: AtomicI16,
}

impl Machine {
    pub fn new(config: Config) -> Machine {
        Machine {
            config,
            level: AtomicI16::new(0),
        }
    }

    pub fn set_transaction_version(&self, level: i16) {
        self.level.store(level, Ordering::Relaxed);
    }

    fn step<'a>(
        &'a self,
        state: &'a State,
        scratch: &'a mut Scratch,
        out: &'a mut Outcome,
        now: Now,
    ) -> Step<'a> {
        Step {
            config: &self.config,
            level: self.level.load(Ordering::Relaxed),
            state,
            scratch,
            out,
            now,
        }
    }
}

impl StateMachine for Machine {
    type State = State;
    type Scratch = Scratch;
    type Request = Request;
    type Response = Response;
    type Record = Record;

    fn handle(
        &self,
        state: &State,
        scratch: &mut Scratch,
        event: Event<Request>,
        now: Now,
    ) -> Outcome {
        let mut out = Outcome::default();
        let mut step = self.step(state, scratch, &mut out, now);
        match event {
            Event::Request { ticket, request } => step.request(ticket, request),
            Event::Deadline => {
                if let Some(deadline) = step.scratch.deadlines.pop(now.steady) {
                    step.deadline(deadline);
                }
            }
        }
        out
    }

    fn loaded(&self, state: &State, scratch: &mut Scratch, now: Now) -> Outcome {
        let mut out = Outcome::default();
        let mut step = self.step(state, scratch, &mut out, now);
        for (id, transaction) in state.iter() {
            step.follow_up(id, transaction);
            step.schedule_timeout(id, transaction);
        }
        out
    }

    fn append_failed(
        &self,
        state: &State,
        scratch: &mut Scratch,
        outcome: Outcome,
        error: ErrorCode,
        now: Now,
    ) -> Vec<(Ticket, Response)> {
        let error = client_error(error);
        let mut out = Outcome::default();
        let mut step = self.step(state, scratch, &mut out, now);
        for record in outcome.records {
            // Whoever was told of a prepared transaction keeps it until it is complete.
            step.scratch.work.forget(&record.id);
            if let Some((id, transaction)) = state.get(&record.id) {
                step.schedule_expiry(id, transaction);
                step.schedule_timeout(id, transaction);
            }
        }
        let replies = outcome.replies;
        replies
            .into_iter()
            .map(|(ticket, response)| (ticket, response.failed(error)))
            .collect()
    }

    fn next_deadline(&self, scratch: &Scratch) -> Option<SteadyTime> {
        scratch.deadlines.earliest()
    }

    fn apply(state: &mut State, record: Record, _at: Position) {
        state.apply(record);
    }

    /// Nothing here is written within a transaction.
    fn end_transaction(_state: &mut State, _producer_id: ProducerId, _committed: bool) {}

    fn encode(record: &Record) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        record.encode()
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Record>, DecodeError> {
        Record::decode(key, value)
    }
}

/// One event being decided.
struct Step<'a> {
    config: &'a Config,
    level: i16,
    state: &'a State,
    scratch: &'a mut Scratch,
    out: &'a mut Outcome,
    now: Now,
}

impl Step<'_> {
    fn request(&mut self, ticket: Ticket, request: Request) {
        let response = match request {
            Request::InitProducerId {
                id,
                timeout_ms,
                expected,
                two_phase,
                keep_prepared,
                fresh,
            } => self.init_producer_id(&init::Init {
                id,
                timeout_ms,
                expected,
                two_phase,
                keep_prepared,
                fresh,
            }),
            Request::AddPartitions {
                id,
                producer,
                partitions,
                client_version,
                wait_until,
            } => {
                let code = self.add_partitions(&id, producer, &partitions, client_version);
                match wait_until.filter(|until| self.may_wait(&id, code, *until)) {
                    Some(until) => return self.wait(ticket, &id, until),
                    None => Response::AddPartitions(code),
                }
            }
            Request::Verify {
                id,
                producer,
                partitions,
            } => Response::Verify(self.verify(&id, producer, &partitions)),
            Request::End {
                id,
                producer,
                commit,
                client_version,
                fresh,
            } => self.end(&end::End {
                id,
                producer,
                commit,
                client_version,
                fresh,
            }),
            Request::List(filter) => Response::List(self.list(&filter)),
            Request::Describe { id } => Response::Describe(Box::new(self.describe(&id))),
            Request::TakeWork { again } => return self.take_work(ticket, again),
            Request::Complete { id, producer } => Response::Complete(self.complete(&id, producer)),
            Request::GiveProducerId(producer_id) => {
                self.scratch.spare_producer_id = Some(producer_id);
                Response::GiveProducerId
            }
        };
        self.out.replies.push((ticket, response));
        self.tell_work();
    }

    fn deadline(&mut self, deadline: Deadline) {
        match deadline {
            Deadline::Timeout { id } => self.time_out(&id),
            Deadline::Expiry { id } => self.expire(&id),
            Deadline::Waiting { id, ticket } => self.stop_waiting(&id, ticket),
        }
        self.tell_work();
    }

    /// Decides what becomes of an id, and what follows from it.
    fn put(&mut self, id: &Arc<str>, transaction: Transaction) {
        let record = Record::new(id.clone(), Some(transaction), self.level);
        if let Some(transaction) = record.transaction.as_deref() {
            self.follow_up(id, transaction);
        }
        self.out.records.push(record);
    }

    /// What follows from a state: markers to write where it is decided, and that an idle id expires.
    fn follow_up(&mut self, id: &Arc<str>, transaction: &Transaction) {
        // A marker too many could end the next transaction.
        self.scratch.work.forget(id);
        if transaction.state.is_prepared() {
            self.scratch.work.add(id, transaction);
        }
        self.schedule_expiry(id, transaction);
    }

    fn schedule_expiry(&mut self, id: &Arc<str>, transaction: &Transaction) {
        if transaction.state.may_expire() {
            self.look_for_expiry(id, transaction);
        }
    }

    /// Has a transaction aborted when it will have been open for its time. What passes until then is time in which this
    /// process runs, whatever the wall clock says meanwhile.
    fn schedule_timeout(&mut self, id: &Arc<str>, transaction: &Transaction) {
        let Some(at) = transaction.times_out() else {
            return;
        };
        let wait = at.0.saturating_sub(self.now.wall.0).max(0);
        let at = on_grid(self.now.steady.plus_ms(wait), self.config.abort_interval_ms);
        let deadline = Deadline::Timeout { id: id.clone() };
        self.scratch.deadlines.schedule(deadline, at);
    }

    /// Looks for what has expired when it may have; the wall clock may be set meanwhile, so at least at every check.
    fn look_for_expiry(&mut self, id: &Arc<str>, transaction: &Transaction) {
        let at = transaction.last_update.plus_ms(self.config.expiration_ms);
        let wait = at.0.saturating_sub(self.now.wall.0).max(0);
        let wait = wait.min(EXPIRY_LOOK_MAX_MS.max(self.config.expiration_interval_ms));
        let at = on_grid(
            self.now.steady.plus_ms(wait.max(1)),
            self.config.expiration_interval_ms,
        );
        let deadline = Deadline::Expiry { id: id.clone() };
        self.scratch.deadlines.schedule_by(deadline, at);
    }
}

/// The first time at or after `at` at which is looked every `interval_ms`.
fn on_grid(at: SteadyTime, interval_ms: i64) -> SteadyTime {
    let interval_ms = interval_ms.max(1);
    let rounds = at.0.div_euclid(interval_ms) + i64::from(at.0.rem_euclid(interval_ms) > 0);
    SteadyTime(rounds.saturating_mul(interval_ms))
}

impl Response {
    /// The same answer as an error.
    fn failed(self, error: ErrorCode) -> Response {
        match self {
            Response::InitProducerId(_) => Response::InitProducerId(Err(error)),
            Response::AddPartitions(_) => Response::AddPartitions(error),
            Response::End(_) => Response::End(Err(error)),
            Response::Complete(_) => Response::Complete(error),
            // Nothing may be done that was not decided; what else there is will be asked for again.
            Response::Work(_) => Response::Work(Err(error)),
            unchanged @ (Response::Verify(_)
            | Response::List(_)
            | Response::Describe(_)
            | Response::GiveProducerId
            | Response::ProducerIdWanted) => unchanged,
        }
    }
}
