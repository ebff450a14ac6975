//! Fetch sessions (KIP-227): what a client fetches is remembered between its requests, so that a request names only
//! what changed and an answer only what is new. A bounded cache of them, with Kafka's rules of who makes room.
//!
//! A request opens a [`Context`], reads what it wants, and finishes it with what it is about to answer. No lock is
//! held between the two. What a session wants to be read are the partitions that the request names, that changed since the last
//! one, or whose answer is told each time: a request costs nothing for the others, however many there are.
//! Knows nothing of logs; called by `api::fetch`.
//! (kafka.server.{FetchManager, FetchSessionCacheShard, IncrementalFetchContext})

mod cache;
mod partitions;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use self::cache::Shard;
use self::partitions::Partitions;
use super::partition::{Isolation, Partition};
use super::waiting::{Waiter, Waiting};
use super::watching::Changes;
use crate::ids::{LeaderEpoch, Offset, PartitionIndex, SteadyTime, TopicId};

/// The session id of a request or answer without a session.
pub const NO_SESSION: i32 = 0;
/// The epoch of a request that wants a new session.
pub const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that wants no session, or the end of the one that it names.
pub const FINAL_EPOCH: i32 = -1;
/// A session that remembers more partitions than these is not kept.
const PARTITIONS_MAX: usize = 200_000;
/// Sessions older than this make room for others. (ServerConfigs.MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS)
const EVICTION_MS: i64 = 120_000;
/// As many parts with a lock of their own as Kafka has. (FetchSessionCache, NUM_FETCH_SESSION_CACHE_SHARDS)
const SHARDS: usize = 8;

/// A topic as a request names it: by id from version 13 on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicKey {
    Id(TopicId),
    Name(Arc<str>),
}

/// A partition as a request names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartitionKey {
    pub topic: TopicKey,
    pub partition: PartitionIndex,
}

/// What a client wants of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub key: PartitionKey,
    pub fetch_offset: Offset,
    pub max_bytes: i32,
    pub current_leader_epoch: Option<LeaderEpoch>,
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// Of a follower's own log.
    pub log_start_offset: Offset,
}

/// What an answer says of one partition, as far as the session compares it with the one before.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub high_watermark: Offset,
    pub log_start_offset: Offset,
    pub has_records: bool,
    pub has_error: bool,
    /// A diverging epoch or a preferred read replica: always told.
    pub has_hint: bool,
    /// Nothing can be read: another look tells the same until the partition changes.
    pub is_at_end: bool,
}

/// The session's part of a request.
#[derive(Debug)]
pub struct Asked {
    pub session_id: i32,
    pub session_epoch: i32,
    /// Whether topics are named by id.
    pub by_id: bool,
    /// Whether a follower asks; its session is evicted after those of consumers.
    pub from_follower: bool,
    /// How far it sees; `None` when its limits let no read succeed.
    pub isolation: Option<Isolation>,
    pub partitions: Vec<Wanted>,
    pub forgotten: Vec<PartitionKey>,
}

/// Why the whole request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("no such fetch session")]
    NotFound,
    #[error("the fetch session is at another epoch")]
    Epoch,
    #[error("the fetch session names topics in another way")]
    TopicId,
}

/// The fetch sessions of this broker.
#[derive(Debug)]
pub struct Sessions {
    shards: Vec<Mutex<Shard>>,
}

impl Sessions {
    /// A cache of `max.incremental.fetch.session.cache.slots` sessions.
    pub fn new(slots: usize) -> Sessions {
        let shards = if slots < SHARDS { 1 } else { SHARDS };
        let of_shard = slots / shards;
        Sessions {
            shards: (0..shards)
                .map(|_| Mutex::new(Shard::new(of_shard, EVICTION_MS)))
                .collect(),
        }
    }

    /// Sessions kept now.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds out what a request wants and in which session. (FetchManager.newContext)
    pub fn open(&self, asked: Asked, now: SteadyTime) -> Result<Context, Error> {
        if asked.session_epoch == INITIAL_EPOCH || asked.session_epoch == FINAL_EPOCH {
            if asked.session_id != NO_SESSION {
                lock(self.shard(asked.session_id)).remove(asked.session_id);
            }
            let kind = match asked.session_epoch {
                FINAL_EPOCH => Kind::Sessionless,
                _ => Kind::Full {
                    by_id: asked.by_id,
                    from_follower: asked.from_follower,
                },
            };
            return Ok(Context::without_session(kind, asked.partitions));
        }
        let mut shard = lock(self.shard(asked.session_id));
        let session = shard.get(asked.session_id).ok_or(Error::NotFound)?;
        let mut state = lock(&session.state);
        if state.epoch != asked.session_epoch {
            return Err(Error::Epoch);
        }
        if session.by_id != asked.by_id {
            return Err(Error::TopicId);
        }
        for wanted in &asked.partitions {
            state.partitions.upsert(wanted);
        }
        for key in &asked.forgotten {
            state.partitions.remove(key);
        }
        // Whoever asked before may not answer any more: its partitions may be forgotten now.
        state.epoch = next_epoch(state.epoch);
        state.partitions.changes().supersede();
        if state.partitions.is_empty() || state.partitions.len() > PARTITIONS_MAX {
            let too_many = !state.partitions.is_empty();
            drop(state);
            shard.remove(asked.session_id);
            if too_many {
                return Err(Error::NotFound);
            }
            return Ok(Context::without_session(
                Kind::Sessionless,
                asked.partitions,
            ));
        }
        let reader = (asked.from_follower, asked.isolation);
        if state.reader != Some(reader) || asked.isolation.is_none() {
            state.reader = Some(reader);
            state.partitions.make_all_due();
        }
        state.partitions.note_changes();
        let (wanted, slots) = state.partitions.due();
        let (size, idle) = (state.partitions.len(), state.partitions.idle());
        let epoch = state.epoch;
        drop(state);
        shard.touch(&session, size, now);
        Ok(Context {
            kind: Kind::Incremental { session, epoch },
            wanted,
            slots,
            idle,
        })
    }

    fn shard(&self, session_id: i32) -> &Mutex<Shard> {
        &self.shards[session_id.unsigned_abs() as usize % self.shards.len()]
    }

    /// Keeps a new session when there is room or room can be made; the session's id, or [`NO_SESSION`].
    fn create(&self, session: NewSession, now: SteadyTime) -> i32 {
        if session.wanted.len() > PARTITIONS_MAX {
            return NO_SESSION;
        }
        // Random, so that a session of before a restart is not taken for one of after it.
        let id = (Uuid::new_v4().as_u128() as i32 & i32::MAX).max(1);
        let mut shard = lock(self.shard(id));
        if shard.get(id).is_some()
            || !shard.make_room(session.from_follower, session.wanted.len(), now)
        {
            return NO_SESSION;
        }
        let size = session.wanted.len();
        let mut partitions = Partitions::default();
        for (wanted, told) in session.wanted.iter().zip(session.told) {
            let slot = partitions.upsert(wanted);
            partitions.remember(slot, told);
        }
        let state = Mutex::new(State {
            epoch: next_epoch(INITIAL_EPOCH),
            reader: None,
            partitions,
        });
        let session = Session {
            id,
            by_id: session.by_id,
            from_follower: session.from_follower,
            created: now,
            state,
        };
        shard.insert(Arc::new(session), size, now);
        id
    }
}

struct NewSession<'a> {
    by_id: bool,
    from_follower: bool,
    wanted: &'a [Wanted],
    told: &'a [Told],
}

#[derive(Debug)]
struct Session {
    id: i32,
    by_id: bool,
    from_follower: bool,
    created: SteadyTime,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// That the next request must have.
    epoch: i32,
    /// Whom the last request came from and how far it saw: what another finds may differ.
    reader: Option<(bool, Option<Isolation>)>,
    partitions: Partitions,
}

/// One request's view of its session.
#[derive(Debug)]
pub struct Context {
    kind: Kind,
    wanted: Vec<Wanted>,
    /// The place of each in the session; empty without one.
    slots: Vec<u32>,
    /// Partitions of the session that are not wanted, since they have nothing new.
    idle: usize,
}

/// What has come since a request looked at its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    Nothing,
    /// Other partitions are wanted, or the same once more.
    Changes,
    /// No session watches.
    Unknown,
}

#[derive(Debug)]
enum Kind {
    Sessionless,
    Full { by_id: bool, from_follower: bool },
    Incremental { session: Arc<Session>, epoch: i32 },
}

/// How an answer goes out.
#[derive(Debug, PartialEq, Eq)]
pub struct Finished {
    pub session_id: i32,
    /// For each partition that was wanted, whether the answer names it; `None` is all.
    pub named: Option<Vec<bool>>,
}

impl Context {
    /// Of a request whose partitions are no session's, not yet or not any more.
    fn without_session(kind: Kind, wanted: Vec<Wanted>) -> Context {
        Context {
            kind,
            wanted,
            slots: Vec::new(),
            idle: 0,
        }
    }

    /// What is to be read, in this order.
    pub fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    /// Whether there are partitions beside those wanted, which have nothing new.
    pub fn has_idle(&self) -> bool {
        self.idle > 0
    }

    /// Has the session told of the changes of these partitions, one for each of [`Context::wanted`], `None` for one that is
    /// not here. Comes before they are read: else a change may be missed.
    pub fn watch<'a>(&self, partitions: impl Iterator<Item = Option<&'a Partition>>) {
        self.watch_all(partitions.map(|partition| partition.map(Partition::waiting)));
    }

    fn watch_all<'a>(&self, partitions: impl Iterator<Item = Option<&'a Arc<Waiting>>>) {
        let Kind::Incremental { session, epoch } = &self.kind else {
            return;
        };
        let mut state = lock(&session.state);
        if state.epoch == *epoch {
            for (&slot, partition) in self.slots.iter().zip(partitions) {
                state.partitions.watch(slot, partition);
            }
        }
    }

    /// Has `waiter` told of all changes in the session until what is returned is dropped; `None` without a session.
    pub fn wait_by(&self, waiter: &Arc<Waiter>) -> Option<Wait> {
        let Kind::Incremental { session, epoch } = &self.kind else {
            return None;
        };
        let state = lock(&session.state);
        let changes = state.partitions.changes().clone();
        // Else the session has gone on, which the next look finds out.
        if state.epoch == *epoch {
            changes.set_waiter(waiter);
        }
        let waiter = waiter.clone();
        Some(Wait { changes, waiter })
    }

    /// Takes up what has changed since the last look. [`Error::Epoch`] as in [`Context::finish`]; a request that waits
    /// is woken for it, where Kafka has it wait and answers the same.
    pub fn renew(&mut self) -> Result<News, Error> {
        let Kind::Incremental { session, epoch } = &self.kind else {
            return Ok(News::Unknown);
        };
        let mut state = lock(&session.state);
        if state.epoch != *epoch {
            return Err(Error::Epoch);
        }
        if state.partitions.changes().is_empty() {
            return Ok(News::Nothing);
        }
        state.partitions.note_changes();
        (self.wanted, self.slots) = state.partitions.due();
        self.idle = state.partitions.idle();
        Ok(News::Changes)
    }

    /// Settles what is answered, one [`Told`] for each of [`Context::wanted`], in its order.
    /// [`Error::Epoch`] when the client sent another request of the session meanwhile.
    pub fn finish(
        self,
        sessions: &Sessions,
        told: &[Told],
        now: SteadyTime,
    ) -> Result<Finished, Error> {
        debug_assert_eq!(told.len(), self.wanted.len());
        match self.kind {
            Kind::Sessionless => Ok(Finished {
                session_id: NO_SESSION,
                named: None,
            }),
            Kind::Full {
                by_id,
                from_follower,
            } => {
                let session = NewSession {
                    by_id,
                    from_follower,
                    wanted: &self.wanted,
                    told,
                };
                Ok(Finished {
                    session_id: sessions.create(session, now),
                    named: None,
                })
            }
            Kind::Incremental { session, epoch } => {
                let mut state = lock(&session.state);
                if state.epoch != epoch {
                    return Err(Error::Epoch);
                }
                let named = self
                    .slots
                    .iter()
                    .zip(told)
                    .map(|(&slot, told)| state.partitions.tell(slot, told));
                Ok(Finished {
                    session_id: session.id,
                    named: Some(named.collect()),
                })
            }
        }
    }

    /// The id that an answer carries which refuses the request as a whole.
    pub fn session_id(&self) -> i32 {
        match &self.kind {
            Kind::Incremental { session, .. } => session.id,
            Kind::Sessionless | Kind::Full { .. } => NO_SESSION,
        }
    }
}

/// A request's wait for its session; dropping it ends it.
#[derive(Debug)]
pub struct Wait {
    changes: Arc<Changes>,
    waiter: Arc<Waiter>,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.changes.clear_waiter(&self.waiter);
    }
}

/// After the greatest epoch comes 1. (FetchMetadata.nextEpoch)
fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
