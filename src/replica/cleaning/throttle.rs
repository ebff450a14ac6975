//! Keeps all runs together to `log.cleaner.io.max.bytes.per.second`. (org.apache.kafka.storage.internals.utils.Throttler)

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::ids::SteadyTime;

/// The rate is looked at so often.
const PERIOD_MS: i64 = 300;
/// Who waits looks so often whether it still has to.
pub(super) const PAUSE_MAX: Duration = Duration::from_millis(500);

/// What was read and written in the period under way.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<Option<Period>>);

#[derive(Debug)]
struct Period {
    began: SteadyTime,
    bytes: u64,
}

impl Throttle {
    /// Counts `bytes`; returns for how long to wait so that there are no more than `rate` of them in a second.
    pub(super) fn moved(&self, bytes: u64, rate: f64, now: SteadyTime) -> Duration {
        let mut period = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let current = period.get_or_insert(Period {
            began: now,
            bytes: 0,
        });
        current.bytes += bytes;
        let elapsed_ms = now.0 - current.began.0;
        if elapsed_ms < PERIOD_MS {
            return Duration::ZERO;
        }
        let due_ms = current.bytes as f64 * 1000.0 / rate.max(1.0);
        *period = None;
        Duration::from_millis((due_ms - elapsed_ms as f64).max(0.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_above_the_rate_is_waited_for() {
        let throttle = Throttle::default();
        let moved = |bytes, ms| throttle.moved(bytes, 1000.0, SteadyTime(ms)).as_millis();
        assert_eq!(moved(500, 0), 0);
        assert_eq!(moved(500, 100), 0, "within the period");
        assert_eq!(moved(200, 300), 900, "1200 bytes take 1200 ms");
        assert_eq!(moved(100, 2000), 0);
        assert_eq!(moved(100, 2400), 0, "below the rate");
        let free = throttle.moved(u64::MAX / 2, f64::MAX, SteadyTime(9000));
        assert_eq!(
            free + throttle.moved(1, f64::MAX, SteadyTime(9999)),
            Duration::ZERO
        );
    }
}
