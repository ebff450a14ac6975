//! `log.verify.on.read`, and what an opening checks.

use super::*;

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_is_not_given_to_a_reader() {
    for verify_on_read in [false, true] {
        let fixture = Fixture::new(LogConfig {
            verify_on_read,
            ..config()
        });
        let log = fixture.filled(60);
        let segment = log.segments.load()[0].clone();
        let size = segment.size() as usize / segment_batches(&log);
        // In the records of the third batch.
        flip(&segment.path(), 2 * size + 100);
        let found = log.read(Offset(2), 1, Offset(i64::MAX), true);
        if !verify_on_read {
            assert!(found.is_ok(), "nobody has looked");
            append(&log, &batch(1, 10));
            continue;
        }
        let error = found.unwrap_err().to_string();
        let place = format!("{:020}.log: wrong CRC at byte {}", 0, 2 * size);
        assert!(error.ends_with(&place), "{error}");
        assert_eq!(read(&log, 1, 1), [(1, 1)]);
        assert_eq!(read(&log, 3, 1), [(3, 3)]);
        let refused = log.append_as_leader(&batch(1, 10), LeaderEpoch(0), Origin::Client, NOW);
        assert!(matches!(
            refused,
            Err(AppendError::Storage(Error::Offline { .. }))
        ));
    }
}

fn segment_batches(log: &Log) -> usize {
    log.segments.load()[1].base_offset().0 as usize
}

#[test]
fn an_unclean_start_checks_what_lies_behind_the_recovery_point() {
    let fixture = Fixture::default();
    let log = fixture.filled(60);
    let segments = log.segments.load_full();
    let last = segments.last().unwrap().clone();
    drop(log);
    let checked = |options: LogOptions| {
        let progress = options.progress.clone();
        drop(fixture.open_with(options));
        progress.done().checked_bytes
    };
    assert_eq!(checked(LogOptions::default()), 0);
    assert_eq!(checked(unclean(60)), 0);
    assert_eq!(checked(unclean(last.base_offset().0)), last.size());
    let all: u64 = segments.iter().map(|segment| segment.size()).sum();
    assert_eq!(checked(unclean(0)), all);
}
