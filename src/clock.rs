//! The only reader of the system's time. Everything else gets a [`Timestamp`] as an argument or holds a [`Clock`],
//! which a test can set by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::ids::Timestamp;

/// Tells the time: the system's, or one that a test advances.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    pub fn system() -> Clock {
        Clock(None)
    }

    /// A clock that stands still until [`Clock::advance`].
    pub fn manual(now: Timestamp) -> Clock {
        Clock(Some(Arc::new(AtomicI64::new(now.0))))
    }

    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Some(manual) => Timestamp(manual.load(Ordering::Acquire)),
            None => system_now(),
        }
    }

    /// Moves a manual clock on.
    ///
    /// # Panics
    /// When this is the system's clock.
    pub fn advance(&self, by: Duration) {
        let manual = self.0.as_ref().expect("only a manual clock is advanced");
        manual.fetch_add(
            i64::try_from(by.as_millis()).unwrap_or(i64::MAX),
            Ordering::AcqRel,
        );
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that asks the system"
)]
fn system_now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
