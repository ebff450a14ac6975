//! What followers append and truncate.

use super::*;

#[test]
fn truncation_takes_records_epochs_and_producers_back() {
    let fixture = Fixture::default();
    let log = fixture.open();
    for n in 0..100 {
        log.append_as_leader(
            &produced(7, 0, n, 1, false),
            LeaderEpoch(n / 30),
            Origin::Client,
            NOW,
        )
        .unwrap();
    }
    log.truncate_to(Offset(45)).unwrap();
    assert_eq!(log.log_end_offset(), Offset(45));
    assert_eq!(read_all(&log).len(), 45);
    assert_eq!(
        log.latest_epoch().unwrap(),
        EpochEntry {
            epoch: LeaderEpoch(1),
            start_offset: Offset(30)
        }
    );
    assert_eq!(log.producers()[0].last_sequence(), 44);
    append(&log, &produced(7, 0, 45, 1, false));
    let expected = read_all(&log);
    log.close().unwrap();
    let log = fixture.open();
    assert_eq!(read_all(&log), expected);
    log.truncate_fully_and_start_at(Offset(1000)).unwrap();
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset()),
        (Offset(1000), Offset(1000))
    );
    drop(log);
    assert_eq!(fixture.open_unclean(0).log_end_offset(), Offset(1000));
}

#[test]
fn a_follower_keeps_offsets_and_epochs() {
    let fixtures = [Fixture::default(), Fixture::default()];
    let [leader, follower] = [fixtures[0].open(), fixtures[1].open()];
    for n in 0..100 {
        leader
            .append_as_leader(
                &produced(7, 0, n, 1, false),
                LeaderEpoch(n / 40),
                Origin::Client,
                NOW,
            )
            .unwrap();
    }
    while follower.log_end_offset() < leader.log_end_offset() {
        let found = leader
            .read(follower.log_end_offset(), 5000, Offset(i64::MAX), true)
            .unwrap();
        follower.append_as_follower(&bytes(&found), NOW).unwrap();
    }
    assert_eq!(read_all(&follower), read_all(&leader));
    assert_eq!(follower.epoch_entries(), leader.epoch_entries());
    assert_eq!(follower.producers(), leader.producers());
    let again = bytes(&leader.read(Offset(0), 1, Offset(i64::MAX), true).unwrap());
    let error = follower.append_as_follower(&again, NOW).unwrap_err();
    assert!(matches!(
        error,
        AppendError::UnexpectedOffset {
            expected: Offset(100),
            got: Offset(0)
        }
    ));
    assert!(matches!(
        follower.append_as_follower(&again.slice(1..), NOW),
        Err(AppendError::Malformed)
    ));
}
