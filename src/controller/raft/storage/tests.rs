use std::fs::{self, OpenOptions};

use openraft::type_config::TypeConfigExt as _;
use tempfile::TempDir;

use super::*;
use crate::controller::raft::journal::JournalConfig;
use crate::controller::raft::{Proposal, log_id};
use crate::ids::{KafkaUuid, Timestamp};
use crate::messages::records::frame::MetadataRecord;
use crate::messages::records::metadata::NoOpRecord;
use crate::metadata::control::{Voter, VoterEndpoint, Voters};
use crate::metadata::{MetadataVersion, records};
use crate::record::batch::HEADER_LEN;
use openraft::entry::RaftPayload as _;

const NODE: NodeId = NodeId(1);

fn voters() -> Voters {
    let endpoint = VoterEndpoint {
        name: "CONTROLLER".into(),
        host: "127.0.0.1".into(),
        port: 9093,
    };
    let voter = Voter {
        directory_id: KafkaUuid::TWO,
        endpoints: vec![endpoint],
        kraft_versions: (0, 1),
    };
    Voters::from([(NODE, voter)])
}

fn config(segment_bytes: u32) -> JournalConfig {
    JournalConfig {
        segment_bytes,
        segment_ms: i64::MAX,
        batch_bytes_max: 8 << 20,
        delete_delay_ms: 0,
        storage: crate::log::Storage::default(),
    }
}

fn open_at(directory: &Path, segment_bytes: u32, start: (Offset, Option<LeaderEpoch>)) -> Storage {
    let clock = Clock::manual(Timestamp(1_000_000));
    let journal = Journal::open(directory, &config(segment_bytes), clock.clone()).unwrap();
    Storage::open(
        NODE,
        directory,
        clock,
        journal,
        Quorum::fixed(voters()),
        start,
    )
    .unwrap()
}

fn open(directory: &Path) -> Storage {
    open_at(directory, 1 << 20, (Offset::ZERO, None))
}

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn blank(epoch: i32, index: u64) -> Entry {
    Entry {
        log_id: log_id(LeaderEpoch(epoch), index),
        payload: super::super::Payload::blank(),
    }
}

/// A batch of `count` records that says nothing, made to stand at `base`.
fn batch(epoch: i32, index: u64, base: i64, count: usize) -> Entry {
    let no_ops = vec![MetadataRecord::from(NoOpRecord::default()); count];
    let epoch = LeaderEpoch(epoch);
    let batch = records::batch(
        no_ops,
        MetadataVersion::LATEST,
        Offset(base),
        epoch,
        Timestamp(7),
    )
    .unwrap();
    Entry {
        log_id: log_id(epoch, index),
        payload: super::super::Payload::normal(Proposal(batch)),
    }
}

async fn append(storage: &mut Storage, entries: Vec<Entry>) {
    let (sender, flushed) = TypeConfig::oneshot();
    storage
        .append(entries, IOFlushed::signal(sender))
        .await
        .unwrap();
    flushed.await.unwrap().unwrap();
}

/// Epoch and index of the last entry, and the end offset.
fn end(storage: &Storage) -> (i32, u64, i64) {
    let state = storage.state();
    let last = state.entries.last().unwrap();
    (epoch_of(&last).0, last.index, state.entries.end_offset().0)
}

async fn shapes(storage: &mut Storage) -> Vec<(u64, i64, i32)> {
    let entries = storage.try_get_log_entries(..).await.unwrap();
    let shape = |entry: &Entry| {
        let header = &entry.payload.batch.as_ref().unwrap().header;
        assert_eq!(header.leader_epoch, epoch_of(&entry.log_id));
        (
            entry.log_id.index,
            header.base_offset.0,
            header.record_count,
        )
    };
    entries.iter().map(shape).collect()
}

async fn sample(directory: &Path) -> Storage {
    let mut storage = open(directory);
    append(&mut storage, vec![blank(1, 0)]).await;
    append(&mut storage, vec![batch(1, 1, 1, 9), batch(1, 2, 10, 1)]).await;
    append(&mut storage, vec![blank(2, 3), batch(2, 4, 12, 3)]).await;
    storage
}

const SAMPLE: [(u64, i64, i32); 5] = [(0, 0, 1), (1, 1, 9), (2, 10, 1), (3, 11, 1), (4, 12, 3)];

#[tokio::test]
async fn an_entry_is_a_batch_now_and_after_a_start() {
    let directory = directory();
    let mut storage = sample(directory.path()).await;
    assert_eq!(end(&storage), (2, 4, 15));
    assert_eq!(shapes(&mut storage).await, SAMPLE);
    drop(storage);

    let mut storage = open(directory.path());
    assert_eq!(end(&storage), (2, 4, 15));
    assert_eq!(shapes(&mut storage).await, SAMPLE);
    let entries = storage.try_get_log_entries(2..4).await.unwrap();
    assert_eq!(
        (entries.len(), &entries[1].payload.kind),
        (2, &Kind::LeaderChange)
    );
    assert_eq!(
        storage.get_log_state().await.unwrap().last_purged_log_id,
        None
    );
}

#[tokio::test]
async fn what_a_crash_tore_off_is_gone_and_the_rest_is_there() {
    let directory = directory();
    drop(sample(directory.path()).await);
    let segment = directory.path().join("00000000000000000000.log");
    let len = fs::metadata(&segment).unwrap().len();
    OpenOptions::new()
        .write(true)
        .open(&segment)
        .unwrap()
        .set_len(len - 1)
        .unwrap();
    let mut storage = open(directory.path());
    assert_eq!(end(&storage), (2, 3, 12));
    append(&mut storage, vec![batch(2, 4, 12, 2)]).await;
    assert_eq!(end(&storage), (2, 4, 14));
}

#[tokio::test]
async fn what_follows_a_hole_that_a_power_loss_left_is_gone() {
    let directory = directory();
    // Each batch gets a segment of its own; the third is lost.
    let mut storage = open_at(directory.path(), 100, (Offset::ZERO, None));
    append(&mut storage, vec![blank(1, 0), batch(1, 1, 1, 2)]).await;
    append(&mut storage, vec![batch(1, 2, 3, 2), batch(1, 3, 5, 2)]).await;
    drop(storage);
    let lost = directory.path().join("00000000000000000003.log");
    OpenOptions::new()
        .write(true)
        .open(lost)
        .unwrap()
        .set_len(0)
        .unwrap();
    let mut storage = open_at(directory.path(), 100, (Offset::ZERO, None));
    assert_eq!(end(&storage), (1, 1, 3));
    append(&mut storage, vec![blank(2, 2)]).await;
    let expected = [(0, 0, 1), (1, 1, 2), (2, 3, 1)];
    assert_eq!(shapes(&mut storage).await, expected);
    drop(storage);
    let mut storage = open_at(directory.path(), 100, (Offset::ZERO, None));
    assert_eq!(shapes(&mut storage).await, expected);
}

#[tokio::test]
async fn what_is_truncated_is_written_anew_and_stays_away() {
    let directory = directory();
    let mut storage = sample(directory.path()).await;
    storage
        .truncate_after(Some(log_id(LeaderEpoch(1), 1)))
        .await
        .unwrap();
    assert_eq!(end(&storage), (1, 1, 10));
    append(&mut storage, vec![blank(3, 2)]).await;
    let expected = [SAMPLE[0], SAMPLE[1], (2, 10, 1)];
    assert_eq!(shapes(&mut storage).await, expected);
    drop(storage);
    let mut storage = open(directory.path());
    assert_eq!(shapes(&mut storage).await, expected);
    assert_eq!(end(&storage), (3, 2, 11));
}

#[tokio::test]
async fn a_purge_drops_segments_and_a_later_start_goes_on_behind_the_snapshot() {
    let directory = directory();
    // Each batch of the sample gets a segment of its own.
    let mut storage = open_at(directory.path(), 100, (Offset::ZERO, None));
    append(&mut storage, vec![blank(1, 0)]).await;
    append(&mut storage, vec![batch(1, 1, 1, 2)]).await;
    append(&mut storage, vec![batch(1, 2, 3, 2)]).await;
    append(&mut storage, vec![batch(1, 3, 5, 2)]).await;
    let upto = log_id(LeaderEpoch(1), 2);
    storage.purge(upto).await.unwrap();
    assert_eq!(
        storage.get_log_state().await.unwrap().last_purged_log_id,
        Some(upto)
    );
    assert_eq!(storage.ending_at(Offset(5), LeaderEpoch(1)), Some(upto));
    assert_eq!(shapes(&mut storage).await, [(3, 5, 2)]);
    assert_eq!(storage.start_offset(), Offset(5));
    drop(storage);

    let mut storage = open_at(directory.path(), 100, (Offset(5), Some(LeaderEpoch(1))));
    assert_eq!(storage.start_offset(), Offset(5));
    // Index 4 is offset 4: above what any entry before had.
    assert_eq!(
        storage.get_log_state().await.unwrap().last_purged_log_id,
        Some(log_id(LeaderEpoch(1), 4))
    );
    assert_eq!(shapes(&mut storage).await, [(5, 5, 2)]);
}

#[tokio::test]
async fn a_purge_beyond_the_end_starts_the_log_anew() {
    let directory = directory();
    let mut storage = sample(directory.path()).await;
    storage.purge(log_id(LeaderEpoch(5), 99)).await.unwrap();
    assert_eq!(end(&storage), (5, 99, 100));
    append(&mut storage, vec![batch(6, 100, 100, 1)]).await;
    assert_eq!(shapes(&mut storage).await, [(100, 100, 1)]);
}

#[tokio::test]
async fn votes_are_kept_in_quorum_state() {
    let directory = directory();
    let mut storage = open(directory.path());
    assert_eq!(storage.read_vote().await.unwrap(), None);
    for vote in [
        Vote::new(LeaderEpoch(3), NODE),
        Vote::new_committed(LeaderEpoch(3), NODE),
    ] {
        storage.save_vote(&vote).await.unwrap();
        assert_eq!(storage.read_vote().await.unwrap(), Some(vote));
        assert_eq!(
            open(directory.path()).read_vote().await.unwrap(),
            Some(vote)
        );
    }
    let text = fs::read_to_string(quorum_state::path(directory.path())).unwrap();
    assert!(text.contains(r#""leaderId":1,"leaderEpoch":3"#), "{text}");
}

/// The log of a node that Kafka 4.3.0 formatted with `--standalone` and ran twice.
#[tokio::test]
async fn kafkas_log_is_read() {
    let directory = directory();
    let bytes = include_bytes!("../testdata/kafka-standalone.log");
    fs::write(directory.path().join("00000000000000000000.log"), bytes).unwrap();
    let mut storage = open(directory.path());
    let quorum = storage.quorum();
    assert_eq!(
        (quorum.kraft_version, quorum.recorded, quorum.voter_ids()),
        (1, true, vec![1])
    );
    assert_eq!(
        quorum.voters[&NODE].directory_id.to_string(),
        "ZClNhrzHTf2uVYyDylrM8w"
    );
    let entries = storage.try_get_log_entries(..).await.unwrap();
    assert!(matches!(entries[0].payload.kind, Kind::Voters(_)));
    let blanks = entries
        .iter()
        .filter(|entry| entry.payload.kind == Kind::LeaderChange);
    assert_eq!(
        blanks
            .map(|entry| epoch_of(&entry.log_id).0)
            .collect::<Vec<_>>(),
        [2]
    );
    // Truncation gives the voters back that stood before.
    storage.truncate_after(None).await.unwrap();
    assert_eq!(storage.quorum(), Quorum::fixed(voters()));
}

/// Kafka's leader writes the voters into the log when only the 0-0 checkpoint has them.
#[tokio::test]
async fn the_first_leader_records_voters_that_only_its_own_checkpoint_has() {
    let directory = directory();
    let clock = Clock::manual(Timestamp(1_795_258_183_155));
    let journal = Journal::open(directory.path(), &config(1 << 20), clock.clone()).unwrap();
    let quorum = Quorum {
        kraft_version: 1,
        voters: voters(),
        recorded: false,
    };
    let mut storage = Storage::open(
        NODE,
        directory.path(),
        clock,
        journal,
        quorum,
        (Offset::ZERO, None),
    )
    .unwrap();
    append(&mut storage, vec![blank(1, 0)]).await;
    assert_eq!(shapes(&mut storage).await, [(0, 0, 3)]);
    assert!(storage.quorum().recorded);
    append(&mut storage, vec![blank(2, 1)]).await;
    assert_eq!(shapes(&mut storage).await, [(0, 0, 3), (1, 3, 1)]);

    // But for the voter's directory and port these are Kafka's bytes.
    let ours = fs::read(directory.path().join("00000000000000000000.log")).unwrap();
    let kafkas = include_bytes!("../testdata/kafka-standalone.log");
    let first = |bytes: &[u8]| {
        batches(Bytes::copy_from_slice(bytes))
            .next()
            .unwrap()
            .unwrap()
    };
    assert_eq!(first(&ours).header.size(), first(kafkas).header.size());
    let differs: Vec<_> = (HEADER_LEN..first(kafkas).header.size())
        .filter(|&at| ours[at] != kafkas[at])
        .collect();
    assert!(differs.len() <= 18, "{differs:?}");
}
