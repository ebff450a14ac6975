//! Opening what an unclean stop, a bad device or a compaction left.

use super::*;

#[test]
fn a_torn_tail_is_cut_at_every_byte() {
    let fixture = Fixture::default();
    let log = fixture.open();
    for _ in 0..3 {
        append(&log, &batch(1, 50));
    }
    drop(log);
    let path = fixture.file("00000000000000000000.log");
    let whole = std::fs::read(&path).unwrap();
    let size = whole.len() / 3;
    for len in 0..whole.len() {
        for index in ["index", "timeindex"] {
            let _ = std::fs::remove_file(fixture.file(&format!("00000000000000000000.{index}")));
        }
        std::fs::write(&path, &whole[..len]).unwrap();
        let log = fixture.open_unclean(0);
        assert_eq!(log.log_end_offset().0, (len / size) as i64, "{len} bytes");
        assert_eq!(
            std::fs::metadata(&path).unwrap().len(),
            (len / size * size) as u64
        );
        let info = append(&log, &batch(1, 1));
        assert_eq!(info.base_offset.0, (len / size) as i64);
    }
}

#[test]
fn a_flipped_bit_cuts_behind_and_refuses_below_the_recovery_point() {
    let fixture = Fixture::default();
    let log = fixture.filled(100);
    let sealed = log.segments.load()[1].clone();
    drop(log);
    let mut bytes = std::fs::read(sealed.path()).unwrap();
    let second = bytes.len() / 24 + 70;
    bytes[second] ^= 4;
    std::fs::write(sealed.path(), &bytes).unwrap();
    let log = fixture.open_unclean(sealed.base_offset().0);
    assert_eq!(log.log_end_offset(), sealed.base_offset() + 1);
    assert_eq!(log.segments.load().len(), 2);
    drop(log);
    bytes[16] = 1;
    std::fs::write(sealed.path(), &bytes).unwrap();
    let options = unclean(sealed.base_offset().0 + 1);
    let error = fixture.try_open(options).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("{:020}.log", sealed.base_offset())),
        "{error}"
    );
}

#[test]
fn a_base_offset_out_of_reach_is_bad() {
    let fixture = Fixture::default();
    let log = fixture.filled(10);
    let segment = log.segments.load()[0].clone();
    let position = segment.position_of(Offset(6), segment.size()).unwrap() as usize;
    drop(log);
    let mut bytes = std::fs::read(segment.path()).unwrap();
    for (at, bit) in [(3, 1), (4, 0x80), (0, 0x40)] {
        bytes[position + at] ^= bit;
        std::fs::write(segment.path(), &bytes).unwrap();
        let error = segment.rebuild_indexes().unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert_eq!(fixture.open_unclean(0).log_end_offset(), Offset(6));
        bytes[position + at] ^= bit;
    }
}

#[test]
fn wrong_or_missing_indexes_are_made_anew() {
    let fixture = Fixture::default();
    let log = fixture.filled(100);
    let expected = read_all(&log);
    let base = log.segments.load()[1].base_offset();
    log.close().unwrap();
    let index = fixture.file(&format!("{base:020}.index"));
    let good = std::fs::read(&index).unwrap();
    for wrong in [
        None,
        Some(good[..good.len() - 3].to_vec()),
        Some(shifted(&good)),
        Some(vec![0xff; 16]),
    ] {
        match wrong {
            None => std::fs::remove_file(&index).unwrap(),
            Some(bytes) => std::fs::write(&index, bytes).unwrap(),
        }
        let log = fixture.open();
        for (base, last) in &expected {
            assert_eq!(read(&log, *base, 1)[..], [(*base, *last)]);
        }
    }
}

/// Each entry with the position of the next one: sorted and within the segment, but wrong.
fn shifted(index: &[u8]) -> Vec<u8> {
    let mut wrong = index.to_vec();
    for at in (0..wrong.len() - 8).step_by(8) {
        wrong.copy_within(at + 12..at + 16, at + 4);
    }
    wrong
}

#[test]
fn an_interrupted_compaction_is_completed_or_undone() {
    let fixture = Fixture::default();
    let log = fixture.filled(100);
    log.close().unwrap();
    let expected = read_all(&log);
    drop(log);
    let at = |name: &str| fixture.file(name);
    let first = "00000000000000000000.log";
    std::fs::write(at("00000000000000000000.log.cleaned"), "half").unwrap();
    std::fs::write(at("00000000000000000000.index.cleaned"), "half").unwrap();
    std::fs::write(at("00000000000000000000.timeindex.deleted"), "old").unwrap();
    assert_eq!(read_all(&fixture.open()), expected);
    assert!(!at("00000000000000000000.log.cleaned").exists());
    assert!(!at("00000000000000000000.timeindex.deleted").exists());
    // Both of the first two segments were compacted into one, which was not renamed yet.
    let second = "00000000000000000024.log";
    let mut both = std::fs::read(at(first)).unwrap();
    both.extend(std::fs::read(at(second)).unwrap());
    std::fs::write(at("00000000000000000000.log.swap"), both).unwrap();
    assert_eq!(read_all(&fixture.open()), expected);
    assert!(!at(second).exists() && !at("00000000000000000000.log.swap").exists());
}

#[test]
fn a_transaction_is_aborted_from_the_batch_on_in_which_the_log_starts() {
    let fixture = Fixture::default();
    let log = fixture.open();
    append(&log, &produced(1, 0, 0, 4, true));
    end_transaction(&log, 1, false);
    let visible = || LogOptions {
        log_start_offset: Offset(2),
        ..unclean(0)
    };
    let expected = log.aborted_transactions(Offset(2), Offset(5)).unwrap();
    assert_eq!(expected[0].first_offset, Offset(0));
    drop(log);
    let log = fixture.open_with(visible());
    assert_eq!(log.log_start_offset(), Offset(2));
    assert_eq!(
        log.aborted_transactions(Offset(2), Offset(5)).unwrap(),
        expected
    );
    assert_eq!(log.producers()[0].last_sequence(), 3);
}
