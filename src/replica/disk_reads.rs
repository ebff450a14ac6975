//! Reads that wait for the device. They run on threads that may wait, at most `num.io.threads` at a time and in the order in
//! which they came, so that neither a slow disk nor who reads much keeps connections from being served. A connection has one
//! of them at a time. The setting may change while they run; fewer threads are then reached as reads end.
//! (Kafka reads, and waits, on the threads that serve all: KafkaRequestHandler, SocketServer.Processor)

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

/// See the module.
#[derive(Clone, Debug)]
pub struct DiskReads {
    permits: Arc<Semaphore>,
    threads: Arc<Mutex<Threads>>,
}

#[derive(Debug)]
struct Threads {
    wanted: usize,
    /// Permits that there are, taken or not.
    present: usize,
}

impl DiskReads {
    pub(super) fn new(threads: i32) -> DiskReads {
        let wanted = count(threads);
        let present = wanted;
        DiskReads {
            permits: Arc::new(Semaphore::new(present)),
            threads: Arc::new(Mutex::new(Threads { wanted, present })),
        }
    }

    /// Goes on with so many.
    pub(super) fn resize(&self, threads: i32) {
        let mut now = self.lock();
        now.wanted = count(threads);
        match now.wanted.checked_sub(now.present) {
            Some(more) => {
                self.permits.add_permits(more);
                now.present += more;
            }
            None => now.present -= self.permits.forget_permits(now.present - now.wanted),
        }
    }

    /// Gives a permit back, unless there are more than are wanted.
    fn give_back(&self, permit: OwnedSemaphorePermit) {
        let mut now = self.lock();
        if now.present > now.wanted {
            now.present -= 1;
            permit.forget();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` once there is a thread for it. It is done to its end also when nobody waits for it any more.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let permit = self.permits.clone().acquire_owned().await;
        let place = Place {
            reads: self.clone(),
            permit: Some(permit.expect("they are never closed")),
        };
        let done = spawn_blocking(move || {
            let _place = place;
            work()
        });
        match done.await {
            Ok(value) => value,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The process ends, and whoever waits with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

fn count(threads: i32) -> usize {
    let threads = usize::try_from(threads).unwrap_or(1).max(1);
    threads.min(Semaphore::MAX_PERMITS)
}

/// One of the threads, until this is dropped.
struct Place {
    reads: DiskReads,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.reads.give_back(permit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn so_many_at_a_time_and_in_order() {
        let reads = DiskReads::new(1);
        let (go, wait) = mpsc::channel::<()>();
        let mut first = Box::pin(reads.run(move || wait.recv().is_ok()));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(reads.run(|| 2));
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(reads.permits.available_permits(), 0);
        go.send(()).unwrap();
        assert_eq!((first.await, second.await), (true, 2));
        assert_eq!(reads.permits.available_permits(), 1);
    }

    #[tokio::test]
    async fn there_are_more_at_once_and_fewer_as_they_end() {
        let reads = DiskReads::new(1);
        reads.resize(3);
        assert_eq!(reads.permits.available_permits(), 3);
        let (go, wait) = mpsc::channel::<()>();
        let mut busy = Box::pin(reads.run(move || wait.recv().is_ok()));
        assert!(busy.as_mut().now_or_never().is_none());
        let (go_on, wait) = mpsc::channel::<()>();
        let mut also_busy = Box::pin(reads.run(move || wait.recv().is_ok()));
        assert!(also_busy.as_mut().now_or_never().is_none());
        reads.resize(1);
        assert_eq!(reads.permits.available_permits(), 0);
        go.send(()).unwrap();
        assert!(busy.await);
        assert_eq!(reads.permits.available_permits(), 0);
        go_on.send(()).unwrap();
        assert!(also_busy.await);
        assert_eq!(
            (reads.run(|| 2).await, reads.permits.available_permits()),
            (2, 1)
        );
    }

    #[tokio::test]
    async fn what_nobody_waits_for_gives_its_place_back() {
        let reads = DiskReads::new(1);
        let (go, wait) = mpsc::channel::<()>();
        let mut dropped = Box::pin(reads.run(move || wait.recv().is_ok()));
        assert!(dropped.as_mut().now_or_never().is_none());
        drop(dropped);
        go.send(()).unwrap();
        assert_eq!(reads.run(|| 3).await, 3);
    }
}
