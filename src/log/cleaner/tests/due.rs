//! Which logs are due, and from where on.

use super::*;
use crate::log::directory::LogDirectory;
use crate::log::{LogOptions, Storage};

#[test]
fn lags_and_the_ratio_decide_on_a_run() {
    let (_fixture, log) = fixture();
    let with = |change: &dyn Fn(&mut LogConfig)| {
        let mut config = compacted();
        change(&mut config);
        log.update_config(config);
    };
    let later = |hours: i64| NOW.plus_ms(hours * HOUR);
    for hours in 0..4 {
        let batch = keyed_with(
            BatchBuilder::new(),
            later(hours),
            &[("a", Some("0123456789"))],
        );
        write(&log, &batch.build_valid());
        log.roll(NOW).unwrap();
    }
    with(&|config| config.min_compaction_lag_ms = 2 * HOUR);
    let young = |now| log.cleanable(Offset(4), now).unwrap().first_uncleanable.0;
    assert_eq!(
        (young(later(1)), young(later(4)), young(later(9))),
        (0, 3, 4)
    );
    with(&|config| config.min_cleanable_dirty_ratio = 0.8);
    clean_at(&log, later(9)).unwrap();
    for _ in 0..2 {
        put(&log, &[("a", Some("0123456789"))]);
    }
    log.roll(NOW).unwrap();
    let cleanable = log.cleanable(Offset(6), later(1)).unwrap();
    assert!(
        (cleanable.ratio() - 2.0 / 3.0).abs() < 0.01,
        "{cleanable:?}"
    );
    assert!(!cleanable.is_due());
    with(&|config| config.min_cleanable_dirty_ratio = 0.6);
    assert!(log.cleanable(Offset(6), later(1)).unwrap().is_due());
    with(&|config| {
        config.min_cleanable_dirty_ratio = 1.0;
        config.max_compaction_lag_ms = 2 * HOUR;
    });
    assert!(!log.cleanable(Offset(6), later(2)).unwrap().is_due());
    let overdue = log.cleanable(Offset(6), later(3)).unwrap();
    assert!(overdue.is_due());
    assert_eq!(overdue.overdue_ms, HOUR);
}

#[test]
fn a_checkpoint_outside_the_log_is_not_believed() {
    let (fixture, log) = fixture();
    put(&log, &[("a", Some("1")), ("a", Some("2"))]);
    log.roll(NOW).unwrap();
    log.set_cleaned_to(Some(Offset(99)));
    assert_eq!(
        log.cleanable(Offset(2), NOW).unwrap().first_dirty,
        Offset(0)
    );
    assert_eq!(log.cleaned_to(), Some(Offset(0)));
    log.advance_log_start_offset(Offset(1)).unwrap();
    assert_eq!(
        log.cleanable(Offset(2), NOW).unwrap().first_dirty,
        Offset(1)
    );
    clean_at(&log, NOW).unwrap();
    assert_eq!(log.cleaned_to(), Some(Offset(2)));
    log.truncate_to(Offset(1)).unwrap();
    assert!(log.cleaned_to() <= Some(Offset(1)));
    drop(log);
    // What is appended behind the end of a log that has lost records was never compacted.
    let log = fixture.open_with(LogOptions {
        cleaned_to: Some(Offset(3)),
        ..LogOptions::default()
    });
    put(
        &log,
        &[("a", Some("3")), ("a", Some("4")), ("a", Some("5"))],
    );
    log.roll(NOW).unwrap();
    clean_at(&log, NOW).unwrap();
    let last = log.log_end_offset().0 - 1;
    assert_eq!(keys(&log), pairs(&[(last, "a")]));
}

#[test]
fn the_checkpoint_is_read_with_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("t-0")).unwrap();
    for name in ["cleaner-offset-checkpoint", "log-start-offset-checkpoint"] {
        std::fs::write(dir.path().join(name), "0\n1\nt 0 7\n").unwrap();
    }
    let directory = LogDirectory::open(dir.path().to_owned(), Storage::default()).unwrap();
    let found = directory.partitions().unwrap();
    let log = directory
        .open_log(&found[0], compacted(), NOW, i64::MAX)
        .unwrap();
    assert_eq!(log.cleaned_to(), Some(Offset(7)));
}
