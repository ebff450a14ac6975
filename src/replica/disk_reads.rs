//! Reads that wait for the device. They run on threads that may wait, at most `num.io.threads` at a time and in the order in
//! which they came, so that neither a slow disk nor who reads much keeps connections from being served. A connection has one
//! of them at a time. (Kafka reads, and waits, on the threads that serve all: KafkaRequestHandler, SocketServer.Processor)

use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// See the module.
#[derive(Clone, Debug)]
pub struct DiskReads {
    permits: Arc<Semaphore>,
}

impl DiskReads {
    pub(super) fn new(threads: i32) -> DiskReads {
        let threads = usize::try_from(threads).unwrap_or(1).max(1);
        DiskReads {
            permits: Arc::new(Semaphore::new(threads.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Does `work` once there is a thread for it. It is done to its end also when nobody waits for it any more.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let permit = self.permits.clone().acquire_owned().await;
        let done = spawn_blocking(move || {
            let _permit = permit.expect("they are never closed");
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
