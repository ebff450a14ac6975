//! One part of the session cache and its rules of eviction: a new session replaces one unused for two minutes, else a
//! smaller one that is older than two minutes; a follower's also a consumer's of any age.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Session;
use crate::ids::SteadyTime;

/// Order of eviction among sessions: consumers' first, then the small.
type EvictionKey = (bool, usize, i32);

#[derive(Debug)]
pub(super) struct Shard {
    slots: usize,
    eviction_ms: i64,
    sessions: HashMap<i32, Entry>,
    by_last_used: BTreeSet<(SteadyTime, i32)>,
    evictable_by_all: BTreeSet<EvictionKey>,
    evictable_by_followers: BTreeSet<EvictionKey>,
}

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    last_used: SteadyTime,
    /// Partitions when it was last used.
    size: usize,
}

impl Shard {
    pub(super) fn new(slots: usize, eviction_ms: i64) -> Shard {
        Shard {
            slots,
            eviction_ms,
            sessions: HashMap::new(),
            by_last_used: BTreeSet::new(),
            evictable_by_all: BTreeSet::new(),
            evictable_by_followers: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn get(&self, id: i32) -> Option<Arc<Session>> {
        self.sessions.get(&id).map(|entry| entry.session.clone())
    }

    pub(super) fn insert(&mut self, session: Arc<Session>, size: usize, now: SteadyTime) {
        self.sessions.insert(
            session.id,
            Entry {
                session: session.clone(),
                last_used: now,
                size,
            },
        );
        self.touch(&session, size, now);
    }

    /// Notes that a session was used and how large it is now. (FetchSessionCacheShard.touch)
    pub(super) fn touch(&mut self, session: &Session, size: usize, now: SteadyTime) {
        let Some(entry) = self.sessions.get_mut(&session.id) else {
            return;
        };
        self.by_last_used.remove(&(entry.last_used, session.id));
        let old = (session.from_follower, entry.size, session.id);
        self.evictable_by_all.remove(&old);
        self.evictable_by_followers.remove(&old);
        entry.last_used = now;
        entry.size = size;
        self.by_last_used.insert((now, session.id));
        let key = (session.from_follower, size, session.id);
        let aged = now.since(session.created) > self.eviction_ms;
        if aged || !session.from_follower {
            self.evictable_by_followers.insert(key);
        }
        if aged {
            self.evictable_by_all.insert(key);
        }
    }

    pub(super) fn remove(&mut self, id: i32) {
        let Some(entry) = self.sessions.remove(&id) else {
            return;
        };
        self.by_last_used.remove(&(entry.last_used, id));
        let key = (entry.session.from_follower, entry.size, id);
        self.evictable_by_all.remove(&key);
        self.evictable_by_followers.remove(&key);
    }

    /// Whether there is room for one more, if need be once another is gone. (FetchSessionCacheShard.tryEvict)
    pub(super) fn make_room(&mut self, from_follower: bool, size: usize, now: SteadyTime) -> bool {
        if self.sessions.len() < self.slots {
            return true;
        }
        let Some(&(last_used, id)) = self.by_last_used.first() else {
            return false;
        };
        if now.since(last_used) > self.eviction_ms {
            self.remove(id);
            return true;
        }
        let evictable = if from_follower {
            &self.evictable_by_followers
        } else {
            &self.evictable_by_all
        };
        match evictable.first() {
            Some(&key) if (from_follower, size, 0) >= key => {
                self.remove(key.2);
                true
            }
            _ => false,
        }
    }
}
