use super::*;
use crate::log::tests::{Fixture, append, batch, end_transaction, produced};
use crate::log::{LogConfig, LogOptions};

/// A closed log of several segments, with transactions in the first.
fn closed() -> Fixture {
    let fixture = Fixture::new(LogConfig {
        segment_bytes: 4096,
        index_interval_bytes: 200,
        ..LogConfig::default()
    });
    let log = fixture.open_with(LogOptions::default());
    append(&log, &produced(7, 0, 0, 2, true));
    end_transaction(&log, 7, false);
    for _ in 0..60 {
        append(&log, &batch(1, 100));
    }
    assert!(log.segments.load().len() > 2);
    log.close().unwrap();
    fixture
}

const CLEAN: Expected = Expected {
    clean: true,
    recovery_point: Offset(63),
};

fn check(fixture: &Fixture, expected: Expected) -> Vec<(Severity, String)> {
    let checked = log(fixture.path(), expected, None, &|_| {});
    assert_eq!(checked.extent.map(|(first, _)| first), Some(Offset(0)));
    let text = |finding: Finding| {
        let name = finding
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let place = finding
            .position
            .map_or(String::new(), |at| format!(" at {at}"));
        (finding.severity, format!("{name}{place}: {}", finding.what))
    };
    checked.findings.into_iter().map(text).collect()
}

/// What is found after a change of one file.
fn after(
    name: &str,
    change: impl FnOnce(&mut Vec<u8>),
    expected: Expected,
) -> Vec<(Severity, String)> {
    let fixture = closed();
    let mut bytes = fs::read(fixture.file(name)).unwrap();
    change(&mut bytes);
    fs::write(fixture.file(name), bytes).unwrap();
    check(&fixture, expected)
}

fn second(fixture: &Fixture, suffix: &str) -> String {
    let names = fixture.names();
    let mut of_kind = names.iter().filter(|name| name.ends_with(suffix));
    of_kind.nth(1).unwrap().clone()
}

#[test]
fn a_sound_log_has_no_findings() {
    let fixture = closed();
    let before = fixture.names();
    assert_eq!(check(&fixture, CLEAN), []);
    let checked = log(fixture.path(), CLEAN, Some(&|_| Ok(())), &|_| {});
    assert_eq!(
        (checked.batches, checked.extent),
        (62, Some((Offset(0), Offset(63))))
    );
    assert_eq!(fixture.names(), before, "nothing is changed");
}

#[test]
fn kafkas_log_has_no_findings() {
    let recorded = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/log/testdata/fx-0"
    ));
    let checked = log(recorded, CLEAN, None, &|_| {});
    assert_eq!(checked.findings, []);
    assert_eq!(checked.extent, Some((Offset(0), Offset(29))));
}

#[test]
fn every_flipped_bit_of_a_segment_is_found() {
    let fixture = closed();
    let name = second(&fixture, ".log");
    let whole = fs::read(fixture.file(&name)).unwrap();
    for at in (0..500).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(fixture.file(&name), bytes).unwrap();
        let found = check(&fixture, CLEAN);
        let damage = |(severity, what): &(Severity, String)| {
            *severity == Severity::Damage && what.starts_with(&name)
        };
        assert!(found.iter().any(damage), "byte {at}: {found:?}");
    }
}

#[test]
fn a_torn_tail_is_a_note_only_where_it_may_be() {
    let fixture = closed();
    let last = fixture
        .names()
        .into_iter()
        .rfind(|name| name.ends_with(".log"))
        .unwrap();
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 10);
    let unclean = |recovery_point| Expected {
        clean: false,
        recovery_point: Offset(recovery_point),
    };
    let found = |expected| after(&last, cut, expected);
    let of_log = |found: Vec<(Severity, String)>| {
        let (severity, what) = found
            .into_iter()
            .find(|(_, what)| what.starts_with(&last))
            .unwrap();
        assert!(what.contains("the file ends within a batch"), "{what}");
        severity
    };
    assert_eq!(of_log(found(unclean(62))), Severity::Note);
    assert_eq!(of_log(found(unclean(63))), Severity::Damage);
    assert_eq!(of_log(found(CLEAN)), Severity::Damage);
}

#[test]
fn wrong_indexes_are_found() {
    let fixture = closed();
    let (index, times) = (second(&fixture, ".index"), second(&fixture, ".timeindex"));
    let only = |found: Vec<(Severity, String)>, start: String| {
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].1.starts_with(&start), "{found:?}");
        found[0].0
    };
    let found = after(&index, |bytes| bytes[15] += 1, CLEAN);
    assert_eq!(
        only(found, format!("{index}: entry for offset")),
        Severity::Damage
    );
    let found = after(&index, |bytes| bytes.truncate(9), CLEAN);
    assert_eq!(
        only(found, format!("{index}: it ends within an entry")),
        Severity::Damage
    );
    let found = after(&index, |bytes| bytes.extend([0; 16]), CLEAN);
    assert_eq!(
        only(found, format!("{index}: it ends in zeros")),
        Severity::Damage
    );
    let found = after(&times, |bytes| bytes[7] += 1, CLEAN);
    assert_eq!(
        only(found, format!("{times}: entry for offset")),
        Severity::Damage
    );
    let found = after(&times, Vec::clear, CLEAN);
    assert_eq!(
        only(found, format!("{times}: it ends with timestamp -1")),
        Severity::Damage
    );
    fs::remove_file(fixture.file(&index)).unwrap();
    assert_eq!(
        only(check(&fixture, CLEAN), format!("{index}: missing")),
        Severity::Note
    );
}

#[test]
fn what_is_derived_is_held_against_the_batches() {
    let damaged = |name: &str, change: fn(&mut Vec<u8>)| {
        let found = after(name, change, CLEAN);
        assert!(
            found
                .iter()
                .all(|(severity, what)| *severity == Severity::Damage && what.contains(name)),
            "{found:?}"
        );
        assert!(!found.is_empty(), "{name}");
    };
    let fixture = closed();
    damaged("00000000000000000000.txnindex", |bytes| bytes[25] += 1);
    damaged("00000000000000000000.txnindex", |bytes| bytes.truncate(33));
    damaged("00000000000000000000.txnindex", Vec::clear);
    damaged(&second(&fixture, ".snapshot"), |bytes| bytes[20] ^= 1);
    let found = after(
        epochs::FILE,
        |bytes| *bytes = b"0\n2\n0 0\n1 30\n".to_vec(),
        CLEAN,
    );
    assert_eq!(found.len(), 33, "each batch from offset 30 on: {found:?}");
    assert!(
        found[0]
            .1
            .contains("leader epoch 0, where leader-epoch-checkpoint has 1"),
        "{found:?}"
    );
    damaged(epochs::FILE, |bytes| *bytes = b"0\n2\n1 0\n0 30\n".to_vec());
    let fixture = closed();
    fs::write(fixture.file(directory::PARTITION_METADATA), "version: 0\n").unwrap();
    assert_eq!(check(&fixture, CLEAN).len(), 1);
}

#[test]
fn segments_that_overlap_and_odd_files_are_told() {
    let fixture = closed();
    let name = second(&fixture, ".log");
    let base: i64 = name[..20].parse().unwrap();
    fs::copy(
        fixture.file(&name),
        fixture.file(&format!("{:020}.log", base + 1)),
    )
    .unwrap();
    let found = check(&fixture, CLEAN);
    assert!(
        found
            .iter()
            .any(|(severity, what)| *severity == Severity::Damage
                && what.contains("begins below offset")),
        "{found:?}"
    );
    let fixture = closed();
    fs::write(fixture.file("00000000000000000000.log.deleted"), "x").unwrap();
    fs::write(fixture.file("notes.txt"), "x").unwrap();
    let found = check(&fixture, CLEAN);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found
            .iter()
            .all(|(severity, _)| *severity == Severity::Note)
    );
}
