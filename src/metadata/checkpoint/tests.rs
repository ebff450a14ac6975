use super::*;
use crate::ids::{KafkaUuid, NodeId};
use crate::metadata::control::{Voter, VoterEndpoint, Voters};

/// Written by `kafka-storage format --standalone` of Kafka 4.3.0.
const STANDALONE: &[u8] = include_bytes!("testdata/standalone.checkpoint");
const BOOTSTRAP_FILE: &[u8] = include_bytes!("testdata/bootstrap.checkpoint");

fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = SnapshotId::EMPTY.path(directory.path());
    fs::write(&path, bytes).unwrap();
    (directory, path)
}

#[test]
fn kafkas_voters_are_read() {
    let (_directory, path) = written(STANDALONE);
    let checkpoint = read(&path).unwrap();
    let voter = Voter {
        directory_id: KafkaUuid::parse("ZClNhrzHTf2uVYyDylrM8w").unwrap(),
        endpoints: vec![VoterEndpoint {
            name: "CONTROLLER".into(),
            host: "127.0.0.1".into(),
            port: 23511,
        }],
        kraft_versions: (0, 1),
    };
    let voters = Voters::from([(NodeId(1), voter)]);
    assert_eq!(
        checkpoint.quorum,
        Some(Quorum {
            kraft_version: 1,
            voters,
            recorded: true
        })
    );
    assert!(checkpoint.records.is_empty());
    assert_eq!(
        last_contained_log_timestamp(&path).unwrap(),
        checkpoint.last_contained_log_timestamp
    );
}

#[test]
fn kafkas_bootstrap_records_are_read() {
    let (_directory, path) = written(BOOTSTRAP_FILE);
    let checkpoint = read(&path).unwrap();
    assert_eq!(checkpoint.last_contained_log_timestamp, Timestamp(0));
    assert_eq!((checkpoint.quorum, checkpoint.records.len()), (None, 6));
}

#[test]
fn what_is_written_comes_back_but_for_times_with_kafkas_bytes() {
    for bytes in [STANDALONE, BOOTSTRAP_FILE] {
        let (directory, path) = written(bytes);
        let checkpoint = read(&path).unwrap();
        let ours = directory.path().join("ours.checkpoint");
        let contents = Contents {
            last_contained_log_timestamp: checkpoint.last_contained_log_timestamp,
            quorum: checkpoint.quorum.as_ref(),
            records: checkpoint.records.iter().cloned(),
            metadata_version: MetadataVersion::LATEST,
            now: Timestamp(1),
        };
        write(&ours, contents).unwrap();
        assert_eq!(read(&ours).unwrap(), checkpoint);
        let sizes = |bytes: &[u8]| {
            batches(Bytes::copy_from_slice(bytes))
                .map(|batch| batch.unwrap().header.size())
                .collect::<Vec<_>>()
        };
        assert_eq!(sizes(&fs::read(&ours).unwrap()), sizes(bytes));
        assert!(write_again_fails_nowhere(&ours));
    }
}

/// A snapshot that is there already is replaced, read-only as it is.
fn write_again_fails_nowhere(path: &Path) -> bool {
    let contents = Contents {
        last_contained_log_timestamp: Timestamp(0),
        quorum: None,
        records: std::iter::empty(),
        metadata_version: MetadataVersion::LATEST,
        now: Timestamp(1),
    };
    write(path, contents).is_ok() && read(path).unwrap().records.is_empty()
}

#[test]
fn a_cut_file_is_refused() {
    let (_directory, path) = written(&STANDALONE[..STANDALONE.len() - 1]);
    assert!(matches!(read(&path), Err(Error::Cut { .. })));
    let (_directory, path) = written(&STANDALONE[..40]);
    assert!(matches!(read(&path), Err(Error::Cut { .. })));
}

#[test]
fn a_flipped_byte_is_found() {
    let mut bytes = BOOTSTRAP_FILE.to_vec();
    bytes[200] ^= 1;
    let (_directory, path) = written(&bytes);
    assert!(matches!(read(&path), Err(Error::Corrupt { .. })));
}

#[test]
fn unfinished_snapshots_are_removed_and_whole_ones_sorted() {
    let directory = tempfile::tempdir().unwrap();
    let names = [
        "00000000000000000200-0000000002.checkpoint",
        "00000000000000000030-0000000001.checkpoint",
        "00000000000000000300-0000000002.checkpoint.part",
        "00000000000000000010-0000000001.checkpoint.deleted",
        "bootstrap.checkpoint",
        "00000000000000000000.log",
    ];
    for name in names {
        fs::write(directory.path().join(name), b"").unwrap();
    }
    let found = list(directory.path()).unwrap();
    let ids: Vec<_> = found
        .iter()
        .map(|id| (id.end_offset.0, id.epoch.0))
        .collect();
    assert_eq!(ids, [(30, 1), (200, 2)]);
    assert_eq!(found[1].to_string(), "00000000000000000200-0000000002");
    let count = || fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(count(), 6, "one may be being written");
    remove_leftovers(directory.path()).unwrap();
    assert_eq!(count(), 4);
    assert_eq!(list(directory.path()).unwrap(), found);
}
