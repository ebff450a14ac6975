//! Which fetch sessions a change of a partition concerns, so that a request of a session looks at the partitions that have
//! changed and at no others.
//!
//! A session watches its partitions also between its requests. The first change after a look is noted in the session's
//! [`Changes`] and ends the watch until the session looks again: a partition pays for a session once for each look, not for
//! each append. While a request waits its partitions stay watched, since the bytes that come are counted.
//!
//! The order that loses no change: a session watches, then looks; a partition moves its offsets, then tells.
//! (Kafka looks at every partition of a session in each request: IncrementalFetchContext, DelayedFetch)

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::waiting::{Waiter, Waiting};

const NONE: u32 = u32::MAX;

/// The partitions of one session that have changed since it last asked, and its request that waits.
#[derive(Debug, Default)]
pub(super) struct Changes {
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    /// Of partitions in the session. No more than it has, and those that left it since it last asked.
    slots: Vec<u32>,
    waiter: Option<Arc<Waiter>>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.lock().slots.is_empty()
    }

    /// The slots of the partitions that have changed since the last call.
    pub(super) fn take(&self) -> Vec<u32> {
        std::mem::take(&mut self.lock().slots)
    }

    /// The session's request that waits from now on.
    pub(super) fn set_waiter(&self, waiter: &Arc<Waiter>) {
        self.lock().waiter = Some(waiter.clone());
    }

    /// That request waits no more.
    pub(super) fn clear_waiter(&self, waiter: &Arc<Waiter>) {
        let mut noted = self.lock();
        if noted
            .waiter
            .as_ref()
            .is_some_and(|present| Arc::ptr_eq(present, waiter))
        {
            noted.waiter = None;
        }
    }

    /// Wakes the request that waits: it is no longer the session's last.
    pub(super) fn supersede(&self) {
        if let Some(waiter) = self.lock().waiter.take() {
            waiter.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sessions that watch one partition. Numbers stay where they are.
#[derive(Debug, Default)]
pub(super) struct Watches {
    entries: Vec<Option<Watch>>,
    free: Vec<u32>,
    /// Numbers of those that are to be told of the next change.
    armed: Vec<u32>,
}

#[derive(Debug)]
struct Watch {
    changes: Arc<Changes>,
    /// The partition's place in the session.
    slot: u32,
    /// Place in `armed`, or [`NONE`].
    armed_at: u32,
    /// Whether a change was noted since the last look.
    is_noted: bool,
}

impl Watches {
    /// Watches for a session, whose slot this partition is; the number ends it again.
    pub(super) fn begin(&mut self, changes: Arc<Changes>, slot: u32) -> u32 {
        let watch = Watch {
            changes,
            slot,
            armed_at: NONE,
            is_noted: false,
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.entries[number as usize] = Some(watch);
                number
            }
            None => {
                self.entries.push(Some(watch));
                u32::try_from(self.entries.len() - 1).expect("there are fewer sessions")
            }
        };
        self.arm(number);
        number
    }

    /// Tells of the next change, also when one was told.
    pub(super) fn arm(&mut self, number: u32) {
        let Some(watch) = &mut self.entries[number as usize] else {
            return;
        };
        watch.is_noted = false;
        if watch.armed_at == NONE {
            watch.armed_at = self.armed.len() as u32;
            self.armed.push(number);
        }
    }

    pub(super) fn end(&mut self, number: u32) {
        let Some(watch) = self.entries[number as usize].take() else {
            return;
        };
        if watch.armed_at != NONE {
            self.armed.swap_remove(watch.armed_at as usize);
            if let Some(&moved) = self.armed.get(watch.armed_at as usize)
                && let Some(moved) = &mut self.entries[moved as usize]
            {
                moved.armed_at = watch.armed_at;
            }
        }
        self.free.push(number);
        if self.free.len() == self.entries.len() {
            *self = Watches::default();
        }
    }

    /// Notes a change. `wake` tells a request that waits, and returns whether it needs to hear no more.
    pub(super) fn tell(&mut self, wake: impl Fn(&Waiter) -> bool) {
        let mut kept = 0;
        for at in 0..self.armed.len() {
            let number = self.armed[at];
            let Some(watch) = &mut self.entries[number as usize] else {
                continue;
            };
            if watch.note(&wake) {
                watch.armed_at = kept as u32;
                self.armed[kept] = number;
                kept += 1;
            } else {
                watch.armed_at = NONE;
            }
        }
        self.armed.truncate(kept);
    }
}

impl Watch {
    /// Returns whether to tell of the next change, too.
    fn note(&mut self, wake: impl Fn(&Waiter) -> bool) -> bool {
        let mut noted = self.changes.lock();
        if !self.is_noted {
            self.is_noted = true;
            noted.slots.push(self.slot);
        }
        noted.waiter.as_deref().is_some_and(|waiter| !wake(waiter))
    }
}

/// A session's watch over one partition; dropping it ends it.
#[derive(Debug)]
pub(super) struct Watching {
    waiting: Arc<Waiting>,
    number: u32,
}

impl Watching {
    pub(super) fn begin(waiting: &Arc<Waiting>, changes: &Arc<Changes>, slot: u32) -> Watching {
        Watching {
            waiting: waiting.clone(),
            number: waiting.with_watches(|watches| watches.begin(changes.clone(), slot)),
        }
    }

    /// Watches for the next change. Called before each look.
    pub(super) fn again(&self) {
        self.waiting
            .with_watches(|watches| watches.arm(self.number));
    }

    pub(super) fn is_of(&self, waiting: &Arc<Waiting>) -> bool {
        Arc::ptr_eq(&self.waiting, waiting)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.waiting
            .with_watches(|watches| watches.end(self.number));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::ids::Offset;

    fn armed(waiting: &Waiting) -> usize {
        waiting.with_watches(|watches| watches.armed.len())
    }

    #[test]
    fn a_change_is_told_once_until_the_next_look() {
        let waiting = Arc::new(Waiting::default());
        let sessions: Vec<Arc<Changes>> = (0..1000).map(|_| Arc::default()).collect();
        let watching: Vec<_> = sessions
            .iter()
            .map(|changes| Watching::begin(&waiting, changes, 7))
            .collect();
        waiting.advanced(10, Offset(1));
        assert_eq!(armed(&waiting), 0, "further appends cost nothing");
        waiting.advanced(10, Offset(2));
        assert_eq!(sessions[3].take(), [7]);
        assert!(sessions[3].is_empty());
        watching[3].again();
        watching[3].again();
        assert_eq!(armed(&waiting), 1);
        waiting.changed();
        assert_eq!(sessions[3].take(), [7]);
        assert_eq!(sessions[4].take(), [7]);
    }

    #[test]
    fn a_request_that_waits_has_all_bytes_counted() {
        let (one, other) = (Arc::new(Waiting::default()), Arc::new(Waiting::default()));
        let changes = Arc::new(Changes::default());
        let _watching = [(&one, 0), (&other, 1)]
            .map(|(waiting, slot)| Watching::begin(waiting, &changes, slot));
        let waiter = Arc::new(Waiter::default());
        changes.set_waiter(&waiter);
        waiter.want(100);
        one.advanced(60, Offset(1));
        one.advanced(30, Offset(2));
        one.changed();
        assert!(waiter.woken().now_or_never().is_none());
        other.advanced(10, Offset(1));
        assert!(waiter.woken().now_or_never().is_some());
        assert_eq!(changes.take(), [0, 1]);
        assert_eq!((armed(&one), armed(&other)), (1, 0));
        one.wake_all();
        assert!(waiter.woken().now_or_never().is_some());
        changes.clear_waiter(&Arc::default());
        changes.supersede();
        assert!(waiter.woken().now_or_never().is_some());
        changes.supersede();
        assert!(waiter.woken().now_or_never().is_none());
    }

    #[test]
    fn what_ends_leaves_nothing_behind() {
        let waiting = Arc::new(Waiting::default());
        let changes = Arc::new(Changes::default());
        let mut watching: Vec<_> = (0..5)
            .map(|slot| Watching::begin(&waiting, &changes, slot))
            .collect();
        watching.remove(1);
        watching.remove(2);
        watching.push(Watching::begin(&waiting, &changes, 8));
        waiting.changed();
        let mut changed = changes.take();
        changed.sort_unstable();
        assert_eq!(changed, [0, 2, 4, 8]);
        drop(watching);
        waiting.with_watches(|watches| {
            assert!(watches.entries.is_empty() && watches.free.is_empty());
        });
    }
}
