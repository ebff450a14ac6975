//! Sequences, transactions and the last stable offset.

use super::*;

#[test]
fn a_repeated_batch_is_answered_and_a_gap_refused() {
    let fixture = Fixture::default();
    let mut log = fixture.open();
    for reopen in [None, Some(LogOptions::default()), Some(unclean(0))] {
        if let Some(options) = reopen {
            log.close().unwrap();
            log = fixture.open_with(options);
        }
        let first = log.log_end_offset();
        let sequence = i32::try_from(first.0).unwrap();
        append(&log, &produced(7, 0, sequence, 3, false));
        let again = append(&log, &produced(7, 0, sequence, 3, false));
        assert!(again.duplicate);
        assert_eq!((again.base_offset, again.last_offset), (first, first + 2));
        let gap = log.append_as_leader(
            &produced(7, 0, sequence + 5, 1, false),
            LeaderEpoch(0),
            Origin::Client,
            NOW,
        );
        let expected = sequence + 3;
        assert!(
            matches!(gap, Err(AppendError::OutOfOrderSequence { expected: e, got, .. }) if e == expected && got == expected + 2)
        );
        assert_eq!(log.log_end_offset(), first + 3);
    }
}

#[test]
fn aborted_transactions_and_the_last_stable_offset() {
    let fixture = Fixture::default();
    let log = fixture.open();
    append(&log, &produced(1, 0, 0, 2, true));
    append(&log, &produced(2, 0, 0, 1, true));
    append(&log, &batch(1, 10));
    assert_eq!(log.last_stable_offset(Offset(4)), Offset(0));
    end_transaction(&log, 1, false);
    assert_eq!(
        log.last_stable_offset(Offset(4)),
        Offset(0),
        "the marker is above the high watermark"
    );
    assert_eq!(log.last_stable_offset(Offset(5)), Offset(2));
    end_transaction(&log, 2, true);
    assert_eq!(log.last_stable_offset(Offset(6)), Offset(6));
    let aborted = log.aborted_transactions(Offset(0), Offset(6)).unwrap();
    assert_eq!(aborted.len(), 1);
    assert_eq!(
        (aborted[0].first_offset, aborted[0].last_offset),
        (Offset(0), Offset(4))
    );
    assert_eq!(aborted[0].last_stable_offset, Offset(2));
    assert!(
        log.aborted_transactions(Offset(5), Offset(6))
            .unwrap()
            .is_empty()
    );
    drop(log);
    let log = fixture.open_unclean(0);
    assert_eq!(
        log.aborted_transactions(Offset(0), Offset(6)).unwrap(),
        aborted
    );
    log.close().unwrap();
    drop(log);
    let index = fixture.file("00000000000000000000.txnindex");
    let whole = std::fs::read(&index).unwrap();
    std::fs::write(&index, &whole[..20]).unwrap();
    let log = fixture.open_unclean(3);
    assert_eq!(
        log.aborted_transactions(Offset(0), Offset(6)).unwrap(),
        aborted,
        "a torn entry is made again"
    );
    log.close().unwrap();
    drop(log);
    assert_eq!(std::fs::read(&index).unwrap(), whole);
    let log = fixture.open();
    assert_eq!(
        log.aborted_transactions(Offset(0), Offset(6)).unwrap(),
        aborted
    );
}
