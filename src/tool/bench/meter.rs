//! What a run measures while it goes on: counts, and HDR histograms that are emptied once a second into the whole. Written
//! by the tasks, each to one of a few slots, so that they do not wait for one another and memory does not follow their
//! number.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hdrhistogram::Histogram;

use super::schedule::{Pace, Window};

/// Latencies are kept from a microsecond to ten minutes, to three digits.
const NANOS_MIN: u64 = 1_000;
const NANOS_MAX: u64 = 600_000_000_000;
const DIGITS: u8 = 3;
const SLOTS: usize = 16;

/// An empty histogram of nanoseconds.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(NANOS_MIN, NANOS_MAX, DIGITS).expect("the bounds are in order")
}

/// Adds up `from` into `to` and empties it.
pub(super) fn drain(from: &mut Histogram<u64>, to: &mut Histogram<u64>) {
    to.add(&*from).expect("both have the same bounds");
    from.reset();
}

/// Shared by all tasks of a run.
pub(super) struct Meter {
    pub window: Window,
    slots: Vec<Slot>,
    errors: Mutex<BTreeMap<String, u64>>,
    end_latency: Mutex<Histogram<u64>>,
    /// All producers have ended.
    pub produced: AtomicBool,
}

/// What one task, or a few, count.
pub(super) struct Slot {
    pub produce_requests: AtomicU64,
    /// Records that were acknowledged (acks=0: sent).
    pub records: AtomicU64,
    /// Records that were refused, or not answered in time.
    pub failed: AtomicU64,
    /// Transactions that were ended.
    pub transactions: AtomicU64,
    /// Partitions of transactions, each of which has a marker at its end.
    pub markers: AtomicU64,
    pub fetch_requests: AtomicU64,
    pub consumed: AtomicU64,
    /// Bytes of record batches in Fetch answers.
    pub fetched_bytes: AtomicU64,
    produce_latency: Mutex<Histogram<u64>>,
    end_to_end_latency: Mutex<Histogram<u64>>,
}

impl Slot {
    fn new() -> Slot {
        Slot {
            produce_requests: AtomicU64::new(0),
            records: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            transactions: AtomicU64::new(0),
            markers: AtomicU64::new(0),
            fetch_requests: AtomicU64::new(0),
            consumed: AtomicU64::new(0),
            fetched_bytes: AtomicU64::new(0),
            produce_latency: Mutex::new(histogram()),
            end_to_end_latency: Mutex::new(histogram()),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// The counts of all slots together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub produce_requests: u64,
    pub records: u64,
    pub failed: u64,
    pub transactions: u64,
    pub markers: u64,
    pub fetch_requests: u64,
    pub consumed: u64,
    pub fetched_bytes: u64,
}

impl Counts {
    pub fn requests(&self) -> u64 {
        self.produce_requests + self.fetch_requests
    }

    pub fn since(&self, earlier: &Counts) -> Counts {
        Counts {
            produce_requests: self.produce_requests - earlier.produce_requests,
            records: self.records - earlier.records,
            failed: self.failed - earlier.failed,
            transactions: self.transactions - earlier.transactions,
            markers: self.markers - earlier.markers,
            fetch_requests: self.fetch_requests - earlier.fetch_requests,
            consumed: self.consumed - earlier.consumed,
            fetched_bytes: self.fetched_bytes - earlier.fetched_bytes,
        }
    }
}

impl Meter {
    pub(super) fn new(window: Window) -> Meter {
        Meter {
            window,
            slots: (0..SLOTS).map(|_| Slot::new()).collect(),
            errors: Mutex::default(),
            end_latency: Mutex::new(histogram()),
            produced: AtomicBool::new(false),
        }
    }

    /// The slot of the task with that number.
    pub(super) fn slot(&self, task: usize) -> &Slot {
        &self.slots[task % SLOTS]
    }

    /// Records the latency of records that were answered at `now`: `count` from number `first` of their pace on. Only
    /// those count that were meant for the window.
    pub(super) fn answered(&self, slot: &Slot, pace: &Pace, sent: &Sent, now: u64) {
        add(&slot.records, u64::from(sent.count));
        let mut latency = slot.produce_latency.lock().expect("no holder panics");
        let mut record = |intended: u64, count: u64| {
            if self.window.holds(intended) {
                let _ = latency.record_n(now.saturating_sub(intended).min(NANOS_MAX), count);
            }
        };
        // Records of one burst have one time.
        let (mut run, mut intended) = (0, pace.intended(sent.first, sent.at));
        for number in sent.first..sent.first + u64::from(sent.count) {
            let next = pace.intended(number, sent.at);
            if next != intended {
                record(intended, run);
                (run, intended) = (0, next);
            }
            run += 1;
        }
        record(intended, run);
    }

    /// Records one record that was answered by itself, by the time that it was to be sent.
    #[cfg(feature = "rdkafka")]
    pub(super) fn delivered(&self, slot: &Slot, intended: u64, now: u64) {
        add(&slot.records, 1);
        if self.window.holds(intended) {
            let mut latency = slot.produce_latency.lock().expect("no holder panics");
            let _ = latency.record(now.saturating_sub(intended).min(NANOS_MAX));
        }
    }

    /// Records when records arrived at a consumer, by the times that they were to be sent.
    pub(super) fn arrived(&self, slot: &Slot, intended: &[u64], now: u64) {
        let mut latency = slot.end_to_end_latency.lock().expect("no holder panics");
        for &intended in intended {
            if self.window.holds(intended) {
                let _ = latency.record(now.saturating_sub(intended).min(NANOS_MAX));
            }
        }
    }

    /// Counts a transaction whose commit was asked for at `begun` and answered at `now`.
    pub(super) fn committed(&self, slot: &Slot, begun: u64, now: u64) {
        add(&slot.transactions, 1);
        if self.window.holds(begun) {
            let mut latency = self.end_latency.lock().expect("no holder panics");
            let _ = latency.record(now.saturating_sub(begun).min(NANOS_MAX));
        }
    }

    /// How long the ends of transactions took.
    pub(super) fn end_latency(&self) -> Histogram<u64> {
        self.end_latency.lock().expect("no holder panics").clone()
    }

    /// Counts records that failed, by the name of the error.
    pub(super) fn failed(&self, slot: &Slot, error: &str, count: u64) {
        add(&slot.failed, count);
        let mut errors = self.errors.lock().expect("no holder panics");
        match errors.get_mut(error) {
            Some(total) => *total += count,
            None => drop(errors.insert(error.to_owned(), count)),
        }
    }

    pub(super) fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.lock().expect("no holder panics").clone()
    }

    pub(super) fn counts(&self) -> Counts {
        let sum = |field: fn(&Slot) -> &AtomicU64| {
            let values = self.slots.iter().map(field);
            values.map(|value| value.load(Ordering::Relaxed)).sum()
        };
        Counts {
            produce_requests: sum(|slot| &slot.produce_requests),
            records: sum(|slot| &slot.records),
            failed: sum(|slot| &slot.failed),
            transactions: sum(|slot| &slot.transactions),
            markers: sum(|slot| &slot.markers),
            fetch_requests: sum(|slot| &slot.fetch_requests),
            consumed: sum(|slot| &slot.consumed),
            fetched_bytes: sum(|slot| &slot.fetched_bytes),
        }
    }

    /// The latencies since this was last asked, and no longer here: produce, end to end.
    pub(super) fn take_latencies(&self) -> (Histogram<u64>, Histogram<u64>) {
        let (mut produce, mut end_to_end) = (histogram(), histogram());
        for slot in &self.slots {
            let mut latency = slot.produce_latency.lock().expect("no holder panics");
            drain(&mut latency, &mut produce);
            drop(latency);
            let mut latency = slot.end_to_end_latency.lock().expect("no holder panics");
            drain(&mut latency, &mut end_to_end);
        }
        (produce, end_to_end)
    }
}

/// Records that are on their way together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// The number of the first by the pace, from 0.
    pub first: u64,
    pub count: u32,
    pub at: u64,
}

#[cfg(test)]
mod tests {
    use super::super::schedule::Schedule;
    use super::*;

    const MS: u64 = 1_000_000;

    fn meter() -> Meter {
        Meter::new(Window {
            from: 10 * MS,
            until: 20 * MS,
        })
    }

    #[test]
    fn latencies_of_all_slots_are_one_histogram() {
        let meter = meter();
        for task in 0..40 {
            let sent = Sent {
                first: 0,
                count: 5,
                at: 12 * MS,
            };
            let slot = meter.slot(task);
            meter.answered(slot, &Pace::Unlimited, &sent, (13 + task as u64) * MS);
            meter.arrived(slot, &[11 * MS, 12 * MS], 15 * MS);
        }
        let (produce, end_to_end) = meter.take_latencies();
        assert_eq!((produce.len(), end_to_end.len()), (200, 80));
        assert!(produce.equivalent(produce.max(), 40 * MS));
        assert!(produce.equivalent(produce.value_at_quantile(0.5), 20 * MS));
        assert!(end_to_end.equivalent(end_to_end.min(), 3 * MS));
        assert_eq!(meter.counts().records, 200);
        let (produce, end_to_end) = meter.take_latencies();
        assert!(produce.is_empty() && end_to_end.is_empty());
    }

    #[test]
    fn latency_counts_from_the_intended_time_and_only_within_the_window() {
        let meter = meter();
        let pace = Pace::Open(Schedule::new(5 * MS, 1000.0, 1));
        // Meant for 5, 6, ... 24 ms, all answered at 30 ms: those of 10 to 19 ms are measured.
        let sent = Sent {
            first: 0,
            count: 20,
            at: 29 * MS,
        };
        meter.answered(meter.slot(0), &pace, &sent, 30 * MS);
        let (produce, _) = meter.take_latencies();
        assert_eq!(produce.len(), 10);
        assert!(produce.equivalent(produce.max(), 20 * MS));
        assert!(produce.equivalent(produce.min(), 11 * MS));
        assert_eq!(meter.counts().records, 20);
    }

    #[test]
    fn failures_are_counted_by_name() {
        let meter = meter();
        for _ in 0..2 {
            meter.failed(meter.slot(1), "NOT_LEADER_OR_FOLLOWER", 3);
        }
        let errors = BTreeMap::from([("NOT_LEADER_OR_FOLLOWER".to_owned(), 6)]);
        assert_eq!(meter.errors(), errors);
        assert_eq!(meter.counts().failed, 6);
    }
}
