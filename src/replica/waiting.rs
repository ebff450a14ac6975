//! Who waits for a partition: fetches that want more bytes than there are, and writers that want their records below
//! the high watermark. An advance wakes those whom it satisfies and touches no others; nothing polls.
//!
//! The order that loses no wake-up: a waiter subscribes, looks once more, then waits; a partition moves its offsets
//! first and then calls [`Waiting::advanced`]. Fetch sessions, which wait for much longer than a request, are in `watching`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::watching::Watches;
use crate::ids::Offset;

/// One that waits, for one partition or for the first of many.
#[derive(Debug)]
pub struct Waiter {
    /// Bytes that have to come before it is woken.
    missing: AtomicI64,
    wake: Notify,
}

/// More bytes than can come.
const UNSAID: i64 = i64::MAX / 2;

impl Default for Waiter {
    fn default() -> Waiter {
        Waiter {
            missing: AtomicI64::new(UNSAID),
            wake: Notify::new(),
        }
    }
}

impl Waiter {
    /// Counts from here on: what comes between this and [`Waiter::want`] is not lost while the caller looks at what
    /// there is.
    pub fn count_from_now(&self) {
        self.missing.store(UNSAID, Ordering::Release);
    }

    /// Wants `bytes`, over all the partitions that it subscribes to, since [`Waiter::count_from_now`].
    pub fn want(&self, bytes: usize) {
        let unsaid = UNSAID - i64::try_from(bytes).unwrap_or(UNSAID);
        if self.missing.fetch_sub(unsaid, Ordering::AcqRel) <= unsaid {
            self.wake();
        }
    }

    /// Resolves once it was woken; at once when that was since the last call.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Counts bytes that have come; returns whether there are as many as it wants.
    fn add(&self, bytes: usize) -> bool {
        let bytes = i64::try_from(bytes).unwrap_or(UNSAID).min(UNSAID);
        let is_enough = self.missing.fetch_sub(bytes, Ordering::AcqRel) <= bytes;
        if is_enough {
            self.wake();
        }
        is_enough
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }
}

/// The waiters of one partition.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    /// Fetches, by the number of their subscription; a number that is free holds none.
    fetches: Vec<Option<Arc<Waiter>>>,
    free: Vec<usize>,
    watches: Watches,
    /// By [`Goal`].
    writers: [Writers; 2],
    next_writer: u64,
}

/// Writers by the offset that they want to be reached, and a number that tells them apart.
type Writers = BTreeMap<(Offset, u64), Arc<Waiter>>;

/// What a writer wants to reach an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    HighWatermark,
    /// All that is on the device.
    Flush,
}

impl Waiting {
    /// Adds a fetch; the number takes it off again.
    pub(super) fn subscribe(&self, waiter: Arc<Waiter>) -> usize {
        let mut lists = self.lock();
        match lists.free.pop() {
            Some(number) => {
                lists.fetches[number] = Some(waiter);
                number
            }
            None => {
                lists.fetches.push(Some(waiter));
                lists.fetches.len() - 1
            }
        }
    }

    pub(super) fn unsubscribe(&self, number: usize) {
        let mut lists = self.lock();
        lists.fetches[number] = None;
        lists.free.push(number);
        if lists.free.len() == lists.fetches.len() {
            lists.free.clear();
            lists.fetches.clear();
        }
    }

    /// Adds one that wants `goal` to reach `offset`.
    pub(super) fn expect(&self, goal: Goal, offset: Offset, waiter: Arc<Waiter>) -> (Offset, u64) {
        let mut lists = self.lock();
        let key = (offset, lists.next_writer);
        lists.next_writer += 1;
        lists.writers[goal as usize].insert(key, waiter);
        key
    }

    pub(super) fn forget(&self, goal: Goal, key: (Offset, u64)) {
        self.lock().writers[goal as usize].remove(&key);
    }

    /// Tells that `bytes` more can be read and where the high watermark is.
    pub(super) fn advanced(&self, bytes: usize, high_watermark: Offset) {
        let mut lists = self.lock();
        for waiter in lists.fetches.iter().flatten() {
            waiter.add(bytes);
        }
        lists.watches.tell(|waiter| waiter.add(bytes));
        lists.reached(Goal::HighWatermark, high_watermark);
    }

    /// Tells fetch sessions of a change that wakes nobody.
    pub(super) fn changed(&self) {
        self.lock().watches.tell(|waiter| waiter.add(0));
    }

    pub(super) fn with_watches<T>(&self, act: impl FnOnce(&mut Watches) -> T) -> T {
        act(&mut self.lock().watches)
    }

    /// Tells up to where all is on the device.
    pub(super) fn flushed(&self, end: Offset) {
        self.lock().reached(Goal::Flush, end);
    }

    /// Wakes all, since the replica is no longer what they took it for.
    pub(super) fn wake_all(&self) {
        let mut lists = self.lock();
        for waiter in lists.fetches.iter().flatten() {
            waiter.wake();
        }
        lists.watches.tell(|waiter| {
            waiter.wake();
            true
        });
        for (_, waiter) in lists.writers.iter_mut().flat_map(std::mem::take) {
            waiter.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lists {
    fn reached(&mut self, goal: Goal, offset: Offset) {
        while let Some(first) = self.writers[goal as usize].first_entry() {
            if first.key().0 > offset {
                break;
            }
            first.remove().wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn is_woken(waiter: &Waiter) -> bool {
        waiter.woken().now_or_never().is_some()
    }

    #[test]
    fn a_fetch_is_woken_by_the_bytes_of_all_its_partitions_together() {
        let (one, other) = (Waiting::default(), Waiting::default());
        let waiter = Arc::new(Waiter::default());
        waiter.want(100);
        let numbers = (
            one.subscribe(waiter.clone()),
            other.subscribe(waiter.clone()),
        );
        one.advanced(60, Offset(1));
        assert!(!is_woken(&waiter));
        other.advanced(40, Offset(1));
        assert!(is_woken(&waiter));
        waiter.count_from_now();
        one.advanced(5, Offset(2));
        waiter.want(10);
        one.advanced(4, Offset(2));
        assert!(!is_woken(&waiter));
        other.unsubscribe(numbers.1);
        other.advanced(9, Offset(2));
        assert!(!is_woken(&waiter));
        one.wake_all();
        assert!(is_woken(&waiter));
        one.unsubscribe(numbers.0);
        assert!(one.lock().fetches.is_empty());
    }

    #[test]
    fn writers_are_woken_by_the_high_watermark_that_they_want() {
        let waiting = Waiting::default();
        let waiters: Vec<_> = [3, 5, 5, 9]
            .map(|offset| (offset, Arc::new(Waiter::default())))
            .into_iter()
            .collect();
        let keys: Vec<_> = waiters
            .iter()
            .map(|(at, waiter)| waiting.expect(Goal::HighWatermark, Offset(*at), waiter.clone()))
            .collect();
        waiting.forget(Goal::HighWatermark, keys[1]);
        waiting.advanced(1, Offset(5));
        assert_eq!(
            waiters
                .iter()
                .map(|(_, waiter)| is_woken(waiter))
                .collect::<Vec<_>>(),
            [true, false, true, false]
        );
        waiting.wake_all();
        assert!(is_woken(&waiters[3].1));
    }
}
