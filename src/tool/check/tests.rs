use std::path::Path;

use super::*;
use crate::ids::{KafkaUuid, NodeId, Timestamp};
use crate::metadata::storage::{MetaProperties, lock_if_there};

/// A log directory with a log that Kafka wrote.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let recorded = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/log/testdata/fx-0"
    ));
    let partition = dir.path().join("fx-0");
    std::fs::create_dir(&partition).unwrap();
    for entry in std::fs::read_dir(recorded).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, partition.join(path.file_name().unwrap())).unwrap();
    }
    let meta = MetaProperties {
        cluster_id: "c".to_owned(),
        node_id: NodeId(1),
        directory_id: Some(KafkaUuid::random()),
    };
    meta.write(dir.path(), Timestamp(0)).unwrap();
    std::fs::write(dir.path().join(".lock"), "").unwrap();
    std::fs::write(dir.path().join(".kafka_cleanshutdown"), "").unwrap();
    let checkpoint = dir.path().join("recovery-point-offset-checkpoint");
    std::fs::write(checkpoint, "0\n1\nfx 0 29\n").unwrap();
    dir
}

fn check(path: &Path) -> Result<(), Failure> {
    let check = Check {
        directories: vec![path.to_owned()],
        deep: true,
        json: true,
        threads: Some(2),
    };
    check.run()
}

#[test]
fn a_sound_directory_and_a_partition_of_it_pass() {
    let dir = directory();
    check(dir.path()).unwrap();
    check(&dir.path().join("fx-0")).unwrap();
}

#[test]
fn damage_fails() {
    for (name, text) in [
        ("meta.properties", "version=1\n"),
        ("recovery-point-offset-checkpoint", "0\n1\nfx 0 30\n"),
        ("replication-offset-checkpoint", "what"),
        ("bootstrap.checkpoint", "what"),
        ("fx-0/leader-epoch-checkpoint", "what"),
        (
            "fx-0/00000000000000000000.log",
            "what is no batch and longer than the header of one, which has 61",
        ),
    ] {
        let dir = directory();
        std::fs::write(dir.path().join(name), text).unwrap();
        assert!(check(dir.path()).is_err(), "{name}");
    }
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = directory();
    let _lock = lock_if_there(dir.path()).unwrap().unwrap();
    for path in [dir.path().to_owned(), dir.path().join("fx-0")] {
        assert!(check(&path).unwrap_err().to_string().contains("is in use"));
    }
    assert!(check(&dir.path().join("nothing")).is_err());
}

#[test]
fn findings_name_file_place_and_offset() {
    let finding = Finding {
        path: "/d/t-0/00000000000000000000.log".into(),
        position: Some(12),
        offset: Some(crate::ids::Offset(3)),
        what: "wrong CRC".to_owned(),
        severity: Severity::Damage,
    };
    assert_eq!(
        as_text(&finding),
        "damage: /d/t-0/00000000000000000000.log: wrong CRC at byte 12 (offset 3)"
    );
    assert_eq!(
        as_json(&finding).to_string(),
        r#"{"severity":"damage","file":"/d/t-0/00000000000000000000.log","what":"wrong CRC","position":12,"offset":3}"#
    );
}
