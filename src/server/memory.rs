//! The memory for requests that are being received, all connections together: `queued.max.request.bytes`.
//!
//! A request longer than what a connection reads at a time takes its length from here before the rest of it is read, and
//! gives it back when it is whole: a handler is done with the bytes when it returns. While there is not enough, what has
//! begun goes on, and the connections whose request has just begun wait, in the order in which they came. Short requests
//! (heartbeats, commits, most of Metadata and Fetch) need nothing from here and are served all the while.
//! (org.apache.kafka.common.memory.SimpleMemoryPool, Selector.poll)

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::config::Settings;

/// See the module.
#[derive(Clone)]
pub(super) struct RequestMemory {
    bytes: Arc<Semaphore>,
}

/// Memory for one request, until this is dropped.
#[derive(Debug)]
pub(super) struct Granted(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl RequestMemory {
    /// `queued.max.request.bytes`; where that is not set there is no bound but what each connection has.
    pub(super) fn of(settings: &Settings) -> RequestMemory {
        let set = u64::try_from(settings.queued_max_request_bytes()).ok();
        let bytes = set.filter(|bytes| *bytes > 0);
        let longest = u64::try_from(settings.socket_request_max_bytes()).unwrap_or(0);
        RequestMemory::new(bytes.map_or(u64::MAX, |bytes| bytes.max(longest)))
    }

    pub(super) fn new(bytes: u64) -> RequestMemory {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        RequestMemory {
            bytes: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// `None` while there is not as much, or others wait for it.
    pub(super) fn try_take(&self, bytes: u32) -> Option<Granted> {
        match self.bytes.clone().try_acquire_many_owned(bytes) {
            Ok(granted) => Some(Granted(granted)),
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => None,
        }
    }

    /// Waits until there is as much.
    pub(super) async fn take(self, bytes: u32) -> Granted {
        let granted = self.bytes.acquire_many_owned(bytes).await;
        Granted(granted.expect("the semaphore is never closed"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn what_is_not_there_is_waited_for_in_order() {
        let memory = RequestMemory::new(100);
        let first = memory.try_take(80).unwrap();
        assert!(memory.try_take(30).is_none());
        let mut second = Box::pin(memory.clone().take(30));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(
            memory.try_take(10).is_none(),
            "who came later does not overtake"
        );
        drop(first);
        let second = second.now_or_never().unwrap();
        assert!(memory.try_take(80).is_none());
        drop(second);
        assert!(memory.try_take(100).is_some());
    }

    #[test]
    fn the_longest_request_always_fits() {
        for (setting, longest) in [("-1", 104_857_600), ("0", 104_857_600), ("2000", 1000)] {
            let settings = Settings::default_for(Path::new("data"))
                .with(&[
                    ("queued.max.request.bytes", setting),
                    ("socket.request.max.bytes", &longest.to_string()),
                ])
                .unwrap();
            assert!(RequestMemory::of(&settings).try_take(longest).is_some());
        }
    }
}
