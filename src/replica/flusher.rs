//! Brings the logs of one log directory to the device: a queue of partitions and a few threads that work it off.
//!
//! A partition stands in the queue once, or is being worked on once, whatever is appended meanwhile: so the appends of
//! many connections share an fsync, and partitions whose turns come together share the device's commit. Nothing waits
//! for company: an idle device begins at once. (`kafka-log-flusher` of kafka.log.LogManager, which looks at all logs
//! from time to time)

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;

use super::partition::Partition;

/// See the module.
#[derive(Debug)]
pub(super) struct Flusher {
    threads_max: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Arc<Partition>>,
    threads: usize,
}

impl Flusher {
    /// With at most so many fsyncs at a time.
    pub(super) fn new(threads_max: usize) -> Arc<Flusher> {
        Arc::new(Flusher {
            threads_max: AtomicUsize::new(threads_max.max(1)),
            queue: Mutex::default(),
        })
    }

    /// Takes another number of fsyncs at a time; threads beyond it end after what they are doing.
    pub(super) fn limit(&self, threads_max: usize) {
        self.threads_max
            .store(threads_max.max(1), Ordering::Release);
    }

    /// Has a partition flushed, which is not in the queue yet. Outside of a runtime that is done here and now.
    pub(super) fn submit(self: &Arc<Self>, partition: Arc<Partition>) {
        {
            let mut queue = self.lock();
            queue.waiting.push_back(partition);
            if queue.threads >= self.threads_max.load(Ordering::Acquire) {
                return;
            }
            queue.threads += 1;
        }
        let flusher = self.clone();
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || flusher.work())),
            Err(_) => self.work(),
        }
    }

    fn work(self: &Arc<Self>) {
        while let Some(partition) = self.next() {
            if partition.flush_now() {
                partition.flush_further(self);
            }
        }
    }

    /// Takes in a partition that one of its threads has just worked on.
    pub(super) fn put_back(&self, partition: Arc<Partition>) {
        self.lock().waiting.push_back(partition);
    }

    /// The next one, or the end of this thread.
    fn next(&self) -> Option<Arc<Partition>> {
        let mut queue = self.lock();
        let is_needed = queue.threads <= self.threads_max.load(Ordering::Acquire);
        let next = queue.waiting.pop_front_if(|_| is_needed);
        if next.is_none() {
            queue.threads -= 1;
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
