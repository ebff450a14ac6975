//! The only reader of the system's times. Everything else gets them as arguments or holds a [`Clock`], which a test can
//! set by hand.
//!
//! There are two. The wall clock's [`Timestamp`] is for what is written down and outlives the process: records, commits,
//! their retention. It may be set, and then jumps. The [`SteadyTime`] only goes on, and is for what lives in memory:
//! sessions, deadlines, delays.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::ids::{Now, SteadyTime, Timestamp};

/// Tells the times: the system's, or those that a test sets.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Manual>>);

#[derive(Debug)]
struct Manual {
    wall: AtomicI64,
    steady: AtomicI64,
}

impl Clock {
    pub fn system() -> Clock {
        Clock(None)
    }

    /// A clock that stands still until [`Clock::advance`].
    pub fn manual(now: Timestamp) -> Clock {
        Clock(Some(Arc::new(Manual {
            wall: AtomicI64::new(now.0),
            steady: AtomicI64::new(0),
        })))
    }

    /// The wall clock's time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Some(manual) => Timestamp(manual.wall.load(Ordering::Acquire)),
            None => system_now(),
        }
    }

    pub fn steady(&self) -> SteadyTime {
        match &self.0 {
            Some(manual) => SteadyTime(manual.steady.load(Ordering::Acquire)),
            None => SteadyTime(ms(START.elapsed())),
        }
    }

    pub fn both(&self) -> Now {
        Now {
            wall: self.now(),
            steady: self.steady(),
        }
    }

    /// Lets time pass on a manual clock.
    ///
    /// # Panics
    /// When this is the system's clock.
    pub fn advance(&self, by: Duration) {
        let manual = self.of_hand();
        manual.wall.fetch_add(ms(by), Ordering::AcqRel);
        manual.steady.fetch_add(ms(by), Ordering::AcqRel);
    }

    /// Sets the wall clock of a manual clock forward or back, while no time passes.
    ///
    /// # Panics
    /// When this is the system's clock.
    pub fn step(&self, by_ms: i64) {
        self.of_hand().wall.fetch_add(by_ms, Ordering::AcqRel);
    }

    fn of_hand(&self) -> &Manual {
        self.0.as_ref().expect("only a manual clock is set by hand")
    }
}

/// When the steady time of this process began.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that asks the system"
)]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that asks the system"
)]
fn system_now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(ms(since))
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
