//! A run in which one step goes wrong, for every step: the log is the old one, the new one, or either group by group.

use super::*;
use crate::ids::SteadyTime;
use crate::log::fs::faulty::Fault;
use crate::log::{AbortedTransaction, LogOptions};

/// Keys with tombstones, transactions, an idempotent producer, over several segments.
fn fill(log: &Log) {
    let mut sequences = [0; 4];
    for n in 0..60_usize {
        let key = format!("{}", n * 7 % 13);
        let value = format!("value {n}");
        let value = (n % 5 != 0).then_some(value.as_str());
        let producer = n / 9 % 4;
        let batch = match producer {
            0 => keyed(&[(&key, value), ("always", Some("0123456789"))]),
            1 => keyed_with(by(1, sequences[1]), NOW, &[(&key, value)]),
            id => {
                let builder = by(id as i64, sequences[id]).transactional(true);
                keyed_with(builder, NOW, &[(&key, value), ("always", value)])
            }
        };
        let batch = batch.build_valid();
        sequences[producer] += batch.record_count();
        write(log, &batch);
        if producer > 1 && n % 9 == 8 {
            write(log, &marker(producer as i64, n % 2 == 0));
        }
    }
    log.roll(NOW).unwrap();
    log.flush().unwrap();
}

struct Before {
    table: BTreeMap<String, String>,
    rows: HashSet<Row>,
    spans: HashSet<(i64, i64)>,
    aborted: Vec<AbortedTransaction>,
}

fn check(log: &Log, before: &Before, what: &str) {
    assert_eq!(table(committed(log)), before.table, "{what}");
    let mut next = 0;
    for batch in all_batches(log) {
        let header = &batch.header;
        assert!(
            header.base_offset.0 >= next,
            "{what}: {next} is behind {header:?}"
        );
        assert!(
            before
                .spans
                .contains(&(header.base_offset.0, header.last_offset().0)),
            "{what}"
        );
        assert!(
            rows(&batch).iter().all(|row| before.rows.contains(row)),
            "{what}"
        );
        next = header.next_offset().0;
    }
    for aborted in log
        .aborted_transactions(Offset(0), log.log_end_offset())
        .unwrap()
    {
        assert!(before.aborted.contains(&aborted), "{what}: {aborted:?}");
    }
}

/// A log to be compacted, once or again, which each run below gets a copy of.
struct Filled {
    fixture: Fixture,
    before: Before,
    end: Offset,
}

impl Filled {
    fn new(compacted_before: bool) -> Filled {
        let fixture = Fixture::new(LogConfig {
            segment_bytes: 2000,
            ..compacted()
        });
        let log = fixture.open();
        fill(&log);
        let end = log.log_end_offset();
        let before = Before {
            table: table(committed(&log)),
            rows: all_batches(&log).iter().flat_map(rows).collect(),
            spans: all_batches(&log)
                .iter()
                .map(|batch| (batch.header.base_offset.0, batch.header.last_offset().0))
                .collect(),
            aborted: log.aborted_transactions(Offset(0), end).unwrap(),
        };
        if compacted_before {
            clean_at(&log, NOW).unwrap();
            log.remove_deleted(SteadyTime(i64::MAX)).unwrap();
        }
        log.close().unwrap();
        Filled {
            fixture,
            before,
            end,
        }
    }

    /// A run in which this step goes wrong; returns how many steps there are.
    fn run(&self, fault: Option<(u64, Fault)>) -> u64 {
        let what = format!("{fault:?}");
        let fixture = Fixture::new(self.fixture.config.clone());
        for name in self.fixture.names() {
            std::fs::copy(self.fixture.file(&name), fixture.file(&name)).unwrap();
        }
        let (log, fs) = fixture.open_faulty_with(LogOptions {
            recovery_point: self.end,
            ..LogOptions::default()
        });
        let first = fs.steps();
        if let Some((step, fault)) = fault {
            fs.at(first + step, fault);
        }
        let now = NOW.plus_ms(2 * HOUR);
        let outcome = clean_at(&log, now);
        assert_eq!(outcome.is_err(), fault.is_some(), "{what}: {outcome:?}");
        let steps = fs.steps() - first;
        // A fault that passes either leaves the log as it was or takes it offline.
        let passes = matches!(fault, Some((_, Fault::Fail | Fault::Tear)));
        if passes && log.lock_for_append().is_ok() {
            check(&log, &self.before, &what);
            assert!(!has_leftovers(&fixture), "{what}");
        }
        drop(log);
        let log = fixture.open_unclean(self.end.0);
        assert_eq!(log.log_end_offset(), self.end, "{what}");
        check(&log, &self.before, &what);
        assert!(!has_leftovers(&fixture), "{what}");
        steps
    }
}

fn has_leftovers(fixture: &Fixture) -> bool {
    let is_left = |name: &String| name.ends_with("swap") || name.ends_with("cleaned");
    fixture.names().iter().any(is_left)
}

#[test]
fn a_fault_at_any_step_leaves_a_sound_log() {
    for compacted_before in [false, true] {
        let filled = Filled::new(compacted_before);
        let steps = filled.run(None);
        assert!(steps > 20, "{steps}");
        for step in 0..steps {
            for fault in [Fault::Fail, Fault::Tear, Fault::Crash, Fault::TornCrash] {
                filled.run(Some((step, fault)));
            }
        }
    }
}
