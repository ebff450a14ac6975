//! Files that Kafka wrote.

use super::*;

#[test]
fn kafkas_log_is_opened() {
    let fixture = Fixture::new(LogConfig {
        index_interval_bytes: 1024,
        ..LogConfig::default()
    });
    let recorded = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/log/testdata/fx-0"
    ));
    for name in names(recorded) {
        std::fs::copy(recorded.join(&name), fixture.file(&name)).unwrap();
    }
    for options in [
        LogOptions::default(),
        unclean(29),
        unclean(20),
        unclean(15),
        unclean(3),
        unclean(0),
    ] {
        let log = fixture.open_with(options.clone());
        assert_eq!(
            (log.log_start_offset(), log.log_end_offset()),
            (Offset(0), Offset(29)),
            "{options:?}"
        );
        assert_eq!(read_all(&log).len(), 29);
        assert_eq!(
            log.latest_epoch(),
            Some(EpochEntry {
                epoch: LeaderEpoch(0),
                start_offset: Offset(0)
            })
        );
        let aborted = log.aborted_transactions(Offset(0), Offset(29)).unwrap();
        let aborted: Vec<_> = aborted
            .iter()
            .map(|entry| (entry.first_offset.0, entry.last_offset.0))
            .collect();
        assert_eq!(aborted, [(16, 19), (24, 27)], "{options:?}");
        assert_eq!(log.last_stable_offset(Offset(29)), Offset(28));
        let found = log
            .offset_for_timestamp(Timestamp(1_700_000_000_051))
            .unwrap()
            .unwrap();
        assert_eq!(
            (found.offset, found.timestamp),
            (Offset(6), Timestamp(1_700_000_000_060))
        );
        let mut producers = log.producers();
        producers.sort_by_key(|state| state.producer_id);
        assert_eq!(producers.len(), 2, "{options:?}");
        assert_eq!(producers[0].last_sequence(), 11);
        assert_eq!(producers[1].current_txn_first_offset, Some(Offset(28)));
        log.close().unwrap();
        assert_eq!(fixture.names(), names(recorded), "{options:?}");
        for name in fixture.names() {
            let same = std::fs::read(fixture.file(&name)).unwrap()
                == std::fs::read(recorded.join(&name)).unwrap();
            assert!(same, "{name:?} after {options:?}");
        }
    }
}
