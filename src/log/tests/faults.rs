//! Writes and fsyncs that fail, tear or are lost, one at a time.

use super::super::fs::faulty::Fault;
use super::*;

/// Appends with rolls and a flush; the offsets and sizes that were acknowledged.
fn run_script(log: &Log) -> Vec<(i64, i64)> {
    let mut acknowledged = Vec::new();
    let mut sequence = 0;
    for n in 0..40 {
        let batch = produced(7, 0, sequence, 1 + n % 3, false);
        if let Ok(info) =
            log.append_as_leader(&batch, LeaderEpoch(n as i32 / 15), Origin::Client, NOW)
        {
            sequence += batch.record_count();
            acknowledged.push((info.base_offset.0, info.last_offset.0));
        }
        if n == 20 {
            let _ = log.flush();
        }
    }
    acknowledged
}

#[test]
fn no_single_fault_loses_or_doubles_an_acknowledged_batch() {
    let small = LogConfig {
        segment_bytes: 1500,
        index_interval_bytes: 200,
        ..LogConfig::default()
    };
    let run = |fault: Option<(u64, Fault)>| {
        let fixture = Fixture::new(small.clone());
        let (log, fs) = fixture.open_faulty();
        if let Some((step, fault)) = fault {
            fs.at(step, fault);
        }
        let acknowledged = run_script(&log);
        let recovery_point = log.recovery_point().0;
        if matches!(fault, Some((_, Fault::Fail | Fault::Tear))) {
            assert_eq!(read_all(&log), acknowledged, "{fault:?}");
        }
        drop(log);
        let log = fixture.open_unclean(recovery_point);
        let found = read_all(&log);
        assert_eq!(found[..acknowledged.len()], acknowledged, "{fault:?}");
        assert!(
            found.len() <= acknowledged.len() + 1,
            "{fault:?}: {found:?}"
        );
        assert_eq!(
            log.log_end_offset().0,
            found.last().map_or(0, |(_, last)| last + 1)
        );
        fs.steps()
    };
    let steps = run(None);
    assert!(steps > 80);
    for step in 0..steps {
        for fault in [Fault::Fail, Fault::Tear, Fault::Crash, Fault::TornCrash] {
            run(Some((step, fault)));
        }
    }
}

#[test]
fn a_fault_in_a_truncation_leaves_a_prefix() {
    let run = |fault: Option<(u64, Fault)>| {
        let fixture = Fixture::default();
        let (log, fs) = fixture.open_faulty();
        for n in 0..100 {
            let batch = produced(7, 0, n, 1, false);
            log.append_as_leader(&batch, LeaderEpoch(n / 15), Origin::Client, NOW)
                .unwrap();
        }
        let before = fs.steps();
        if let Some((step, fault)) = fault {
            fs.at(before + step, fault);
        }
        let truncated = log.truncate_to(Offset(30)).is_ok();
        let appended = log.append_as_leader(&batch(1, 1), LeaderEpoch(9), Origin::Client, NOW);
        assert!(truncated || appended.is_err(), "{fault:?}");
        drop(log);
        let log = fixture.open_unclean(0);
        let offsets: Vec<i64> = read_all(&log).iter().map(|(base, _)| *base).collect();
        assert!(offsets.len() >= 30, "{fault:?}");
        assert_eq!(
            offsets,
            (0..offsets.len() as i64).collect::<Vec<_>>(),
            "{fault:?}"
        );
        if truncated {
            assert!(offsets.len() <= 31, "{fault:?}");
        }
        fs.steps() - before
    };
    for step in 0..run(None) {
        for fault in [Fault::Fail, Fault::Crash] {
            run(Some((step, fault)));
        }
    }
}

#[test]
fn a_failed_fsync_takes_the_log_offline() {
    let fixture = Fixture::default();
    let (log, fs) = fixture.open_faulty();
    append(&log, &batch(1, 10));
    fs.fail_syncs(true);
    assert!(log.flush().is_err());
    assert_eq!(log.recovery_point(), Offset(0));
    let refused = log.append_as_leader(&batch(1, 10), LeaderEpoch(0), Origin::Client, NOW);
    assert!(matches!(
        refused,
        Err(AppendError::Storage(Error::Offline { .. }))
    ));
    assert_eq!(read(&log, 0, 100).len(), 1);
}
