//! A script of 500 operations, run once for each step that it makes on the disk, which goes wrong: refused for want of
//! space, torn, broken, or the last one of the process, with the power or without.
//!
//! Each step goes wrong in one way of those, in turn; with `EVERY_FAULT` set, in all of them.

use std::path::PathBuf;
use std::sync::Arc;

use super::fs::Fs as _;
use super::fs::faulty::{Fault, Faulty};
use super::fs::power_loss::{self, PowerLoss};
use super::tests::{NOW, config, moment, produced, read_all, unclean};
use super::*;
use crate::ids::{LeaderEpoch, Offset};

const OPERATIONS: usize = 500;

/// A step that goes wrong, and whether the power fails with it.
#[derive(Clone, Copy, Debug)]
struct Bad {
    step: u64,
    fault: Fault,
    power: bool,
}

const WAYS: [(Fault, bool); 6] = [
    (Fault::Fail, false),
    (Fault::Tear, false),
    (Fault::Broken, false),
    (Fault::Crash, false),
    (Fault::TornCrash, false),
    (Fault::TornCrash, true),
];

#[derive(Clone, Copy, Debug)]
enum Operation {
    Append(usize),
    Flush,
    Truncate(i64),
    Retain(i64),
    Roll,
    Reopen,
}

/// What the script does at its n-th place.
fn operation(n: usize) -> Operation {
    match n {
        _ if n % 50 == 49 => Operation::Flush,
        _ if n % 120 == 119 => Operation::Truncate(4),
        _ if n % 150 == 100 => Operation::Retain(30),
        _ if n % 90 == 80 => Operation::Roll,
        _ if n % 200 == 199 || n == 333 => Operation::Reopen,
        _ => Operation::Append(1 + n % 3),
    }
}

struct Script {
    root: tempfile::TempDir,
    power: Arc<PowerLoss>,
    disk: Arc<Faulty>,
    log: Log,
    /// Base and last offsets of what was acknowledged.
    acknowledged: Vec<(i64, i64)>,
    flushed: i64,
    epoch: i32,
    sequence: i32,
    /// Below it all that was acknowledged has to be there.
    sure: i64,
}

impl Script {
    fn new() -> Script {
        let root = power_loss::directory();
        let power = Arc::new(PowerLoss::new(root.path()));
        let disk = Arc::new(Faulty::over(power.clone()));
        let storage = storage(&disk);
        let dir = root.path().join("t-0");
        Script {
            log: Log::create(dir, config(), Offset::ZERO, storage, NOW).unwrap(),
            root,
            power,
            disk,
            acknowledged: Vec::new(),
            flushed: 0,
            epoch: 0,
            sequence: 0,
            sure: i64::MAX,
        }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("t-0")
    }

    /// Whether the log goes on.
    fn run(&mut self, operation: Operation) -> bool {
        match operation {
            Operation::Append(records) => self.append(records),
            Operation::Flush => {
                if let Ok(end) = self.log.flush() {
                    self.flushed = end.0;
                }
            }
            Operation::Truncate(records) => {
                let end = self.log.log_end_offset().0 - records;
                let truncated = self.log.truncate_to(Offset(end)).is_ok();
                self.flushed = self.flushed.min(end);
                self.epoch += 1;
                if truncated {
                    self.acknowledged.retain(|(_, last)| *last < end);
                    // What was cut is not repeated: the producer is another then.
                    self.sequence = 0;
                } else {
                    self.sure = end;
                }
                return truncated;
            }
            Operation::Retain(records) => {
                let start = self.log.log_start_offset() + records;
                let _ = self.log.advance_log_start_offset(start);
                let end = self.log.log_end_offset();
                let _ = self.log.delete_old_segments(end, moment(0));
                let _ = self.log.remove_deleted(moment(60_000).steady);
            }
            Operation::Roll => drop(self.log.roll(NOW)),
            Operation::Reopen => return self.reopen(),
        }
        !self.log.is_offline()
    }

    fn append(&mut self, records: usize) {
        let producer = 7 + i64::from(self.epoch);
        let batch = produced(producer, 0, self.sequence, records, false);
        let appended =
            self.log
                .append_as_leader(&batch, LeaderEpoch(self.epoch), Origin::Client, NOW);
        if let Ok(info) = appended {
            self.sequence += batch.record_count();
            self.acknowledged
                .push((info.base_offset.0, info.last_offset.0));
        }
    }

    fn reopen(&mut self) -> bool {
        let clean = self.log.close().is_ok();
        let options = LogOptions {
            clean,
            log_start_offset: self.log.log_start_offset(),
            ..unclean(self.log.recovery_point().0)
        };
        match Log::open(self.dir(), config(), options, storage(&self.disk)) {
            Ok(log) => {
                self.flushed = log.recovery_point().0;
                self.log = log;
                true
            }
            Err(_) => false,
        }
    }

    /// What is there after the next start, against what has to be.
    fn check(mut self, bad: Option<Bad>) {
        let start = self.log.log_start_offset();
        let end = self.log.log_end_offset();
        if bad.is_some_and(|bad| bad.power) {
            self.power.lose(bad.map_or(0, |bad| bad.step));
            self.sure = self.sure.min(self.flushed);
        }
        let options = LogOptions {
            log_start_offset: start,
            ..unclean(self.flushed)
        };
        let dir = self.dir();
        self.power.create_directory(&dir).unwrap();
        let good = Storage {
            fs: self.power.clone(),
            ..Storage::default()
        };
        let log = Log::open(dir, config(), options, good).unwrap();
        let found = read_all(&log);
        let readable = |(_, last): &&(i64, i64)| *last >= start.0;
        for batch in self.acknowledged.iter().filter(readable) {
            assert!(
                found.contains(batch) || batch.1 >= self.sure,
                "{bad:?}: {batch:?} is lost"
            );
        }
        // One that was refused may be there, at the end.
        let known = |batch: &(i64, i64)| self.acknowledged.contains(batch) || batch.0 >= end.0;
        assert!(found.iter().all(known), "{bad:?}: {found:?}");
        assert!(found.is_sorted(), "{bad:?}: {found:?}");
        assert!(found.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }
}

fn storage(disk: &Arc<Faulty>) -> Storage {
    Storage {
        fs: disk.clone(),
        ..Storage::default()
    }
}

/// Returns how many steps it made on the disk.
fn run(bad: Option<Bad>) -> u64 {
    let mut script = Script::new();
    let before = script.disk.steps();
    if let Some(bad) = bad {
        script.disk.at(before + bad.step, bad.fault);
    }
    for n in 0..OPERATIONS {
        if n % 97 == 96 {
            script.epoch += 1;
            script.sequence = 0;
        }
        if !script.run(operation(n)) {
            break;
        }
    }
    let steps = script.disk.steps() - before;
    script.disk.heal();
    script.check(bad);
    steps
}

#[test]
fn no_fault_of_any_step_loses_what_was_acknowledged() {
    let steps = run(None);
    assert!(steps > 700, "{steps}");
    let all = std::env::var_os("EVERY_FAULT").is_some();
    for step in 0..steps {
        for (way, (fault, power)) in (0..).zip(WAYS) {
            if all || step % WAYS.len() as u64 == way {
                run(Some(Bad { step, fault, power }));
            }
        }
    }
}
