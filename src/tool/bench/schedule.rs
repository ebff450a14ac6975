//! When records are sent. An open loop has a time for each record before the run begins, and keeps to it however slow the
//! answers are: latency counts from that time, so that a broker that stalls is charged for all that had to wait.

use std::time::Duration;

use tokio::time::Instant;

/// The run's own time: nanoseconds since it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch(Instant);

impl Epoch {
    pub(super) fn begin() -> Epoch {
        Epoch(Instant::now())
    }

    pub(super) fn now(self) -> u64 {
        nanos(self.0.elapsed())
    }

    /// When it will be that time.
    pub(super) fn at(self, nanos: u64) -> Instant {
        self.0 + Duration::from_nanos(nanos)
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The part of a run that counts. Records are in it by their intended times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub from: u64,
    pub until: u64,
}

impl Window {
    pub(super) fn holds(self, at: u64) -> bool {
        (self.from..self.until).contains(&at)
    }
}

/// What to do about the next records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Send(u32),
    /// Nothing before this time.
    WaitUntil(u64),
}

/// How a producer's records follow one another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// As fast as there is room for requests.
    Unlimited,
    Open(Schedule),
}

impl Pace {
    /// What follows after `sent` records, when a request holds `capacity` and an incomplete one waits for `linger`.
    pub(super) fn next(&self, sent: u64, capacity: u32, linger: u64, now: u64) -> Next {
        let schedule = match self {
            Pace::Unlimited => return Next::Send(capacity),
            Pace::Open(schedule) => schedule,
        };
        let due = schedule.due(now).saturating_sub(sent);
        if due >= u64::from(capacity) {
            return Next::Send(capacity);
        }
        let lingered = schedule.intended(sent).saturating_add(linger);
        if due > 0 && now >= lingered {
            return Next::Send(u32::try_from(due).expect("less than the capacity"));
        }
        let full = schedule.intended(sent + u64::from(capacity) - 1);
        Next::WaitUntil(lingered.min(full))
    }

    /// When record number `number` was to be sent; one of no schedule is meant for when it is sent.
    pub(super) fn intended(&self, number: u64, sent_at: u64) -> u64 {
        match self {
            Pace::Unlimited => sent_at,
            Pace::Open(schedule) => schedule.intended(number),
        }
    }
}

/// Bursts of records at equal distances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Schedule {
    start: u64,
    burst: u64,
    /// Nanoseconds from one burst to the next.
    interval: f64,
}

impl Schedule {
    /// `rate`: records a second, more than 0. `burst`: at least 1.
    pub(super) fn new(start: u64, rate: f64, burst: u32) -> Schedule {
        Schedule {
            start,
            burst: u64::from(burst),
            interval: 1e9 / rate * f64::from(burst),
        }
    }

    /// The time of a record, by its number from 0.
    pub(super) fn intended(&self, number: u64) -> u64 {
        let burst = number / self.burst;
        self.start
            .saturating_add((burst as f64 * self.interval) as u64)
    }

    /// How many records were to be sent by `now`.
    pub(super) fn due(&self, now: u64) -> u64 {
        let Some(passed) = now.checked_sub(self.start) else {
            return 0;
        };
        let mut bursts = (passed as f64 / self.interval) as u64 + 1;
        // What rounding made of it has to agree with `intended`.
        while self.intended(bursts * self.burst) <= now {
            bursts += 1;
        }
        while bursts > 0 && self.intended((bursts - 1) * self.burst) > now {
            bursts -= 1;
        }
        bursts * self.burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn records_fall_due_at_equal_distances() {
        let schedule = Schedule::new(10 * MS, 1000.0, 1);
        assert_eq!(schedule.due(10 * MS - 1), 0);
        assert_eq!(schedule.due(10 * MS), 1);
        assert_eq!(schedule.due(11 * MS - 1), 1);
        assert_eq!(schedule.due(12 * MS), 3);
        assert_eq!(schedule.intended(2), 12 * MS);
    }

    #[test]
    fn due_agrees_with_the_intended_times_at_any_rate() {
        for rate in [0.3, 7.0, 333.0, 999_999.7, 12_345_678.9] {
            let schedule = Schedule::new(5, rate, 3);
            for number in [0, 1, 2, 3, 10, 999, 1_000_000] {
                let at = schedule.intended(number);
                assert!(schedule.due(at) > number, "{rate} {number}");
                assert!(schedule.due(at - 1) <= number, "{rate} {number}");
            }
        }
    }

    #[test]
    fn bursts_fall_due_together() {
        let schedule = Schedule::new(0, 1000.0, 10);
        assert_eq!(schedule.due(0), 10);
        assert_eq!(schedule.due(10 * MS - 1), 10);
        assert_eq!(schedule.due(10 * MS), 20);
        assert_eq!(schedule.intended(19), 10 * MS);
    }

    #[test]
    fn an_incomplete_request_lingers() {
        let pace = Pace::Open(Schedule::new(0, 1000.0, 1));
        // 4 a request, linger 2 ms: after the first record's time, 2 ms pass before the fourth is due.
        assert_eq!(pace.next(0, 4, 2 * MS, 0), Next::WaitUntil(2 * MS));
        assert_eq!(pace.next(0, 4, 2 * MS, 2 * MS), Next::Send(3));
        assert_eq!(pace.next(0, 4, 5 * MS, 2 * MS), Next::WaitUntil(3 * MS));
        assert_eq!(pace.next(0, 4, 5 * MS, 3 * MS), Next::Send(4));
        assert_eq!(pace.next(3, 4, 0, 2 * MS), Next::WaitUntil(3 * MS));
    }

    /// What could not be sent in time is still counted from its own time. (coordinated omission)
    #[test]
    fn a_stall_does_not_move_the_schedule() {
        let pace = Pace::Open(Schedule::new(0, 1000.0, 1));
        assert_eq!(pace.next(1, 10, 0, 500 * MS), Next::Send(10));
        assert_eq!(pace.intended(1, 500 * MS), MS);
        assert_eq!(Pace::Unlimited.intended(1, 500 * MS), 500 * MS);
    }
}
