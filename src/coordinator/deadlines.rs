//! Deadlines by key, with the earliest at hand. Putting one off, which each heartbeat does, costs a look-up: the
//! order keeps the old time until that comes, and then takes the later one.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use crate::ids::SteadyTime;

#[derive(Clone, Copy, Debug)]
struct Due {
    /// When it is due.
    at: SteadyTime,
    /// Where it stands in the order; never later than `at`.
    queued: SteadyTime,
}

/// What is due when.
#[derive(Debug)]
pub struct Deadlines<K> {
    due: HashMap<K, Due>,
    order: BTreeSet<(SteadyTime, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Deadlines {
            due: HashMap::new(),
            order: BTreeSet::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Deadlines<K> {
    /// Sets the deadline of `key`, in place of the one it had.
    pub fn schedule(&mut self, key: K, at: SteadyTime) {
        match self.due.get_mut(&key) {
            Some(due) if due.queued <= at => due.at = at,
            Some(due) => {
                self.order.remove(&(due.queued, key.clone()));
                *due = Due { at, queued: at };
                self.order.insert((at, key));
            }
            None => {
                self.due.insert(key.clone(), Due { at, queued: at });
                self.order.insert((at, key));
            }
        }
    }

    /// Sets the deadline of `key` unless it has an earlier one.
    pub fn schedule_by(&mut self, key: K, at: SteadyTime) {
        if self.due.get(&key).is_none_or(|due| due.at > at) {
            self.schedule(key, at);
        }
    }

    pub fn cancel(&mut self, key: &K) {
        if let Some(due) = self.due.remove(key) {
            self.order.remove(&(due.queued, key.clone()));
        }
    }

    /// No deadline comes before this.
    pub fn earliest(&self) -> Option<SteadyTime> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out one that is due.
    pub fn pop(&mut self, now: SteadyTime) -> Option<K> {
        while self.earliest()? <= now {
            let (_, key) = self.order.pop_first()?;
            let due = self
                .due
                .get_mut(&key)
                .expect("what is in the order has a deadline");
            if due.at <= now {
                self.due.remove(&key);
                return Some(key);
            }
            due.queued = due.at;
            let at = due.at;
            self.order.insert((at, key));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_put_off_comes_once() {
        let mut deadlines = Deadlines::default();
        deadlines.schedule("a", SteadyTime(10));
        deadlines.schedule("b", SteadyTime(15));
        deadlines.schedule("a", SteadyTime(20));
        assert_eq!(deadlines.pop(SteadyTime(10)), None);
        assert_eq!(deadlines.earliest(), Some(SteadyTime(15)));
        assert_eq!(deadlines.pop(SteadyTime(30)), Some("b"));
        assert_eq!(deadlines.pop(SteadyTime(30)), Some("a"));
        assert_eq!(deadlines.pop(SteadyTime(30)), None);
        assert_eq!(deadlines.earliest(), None);
    }

    #[test]
    fn an_earlier_deadline_takes_the_place_of_a_later_one() {
        let mut deadlines = Deadlines::default();
        deadlines.schedule("a", SteadyTime(20));
        deadlines.schedule("a", SteadyTime(10));
        deadlines.schedule_by("a", SteadyTime(30));
        assert_eq!(deadlines.pop(SteadyTime(10)), Some("a"));
        deadlines.schedule("a", SteadyTime(20));
        deadlines.cancel(&"a");
        assert_eq!(deadlines.pop(SteadyTime(99)), None);
    }
}
