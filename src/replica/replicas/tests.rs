use std::path::Path;
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::ids::{KafkaUuid, LeaderEpoch, Offset, Timestamp};
use crate::log::checkpoints::{self, HIGH_WATERMARK, LOG_START, RECOVERY_POINT};
use crate::log::directory::LogDirectory;
use crate::log::{Origin, Storage};
use crate::messages::records::frame::MetadataRecord;
use crate::messages::records::metadata::{
    ConfigRecord, PartitionChangeRecord, PartitionRecord, RemoveTopicRecord, TopicRecord,
};
use crate::metadata::Provenance;
use crate::record::BatchBuilder;

const A: TopicId = KafkaUuid(Uuid::from_u128(0xa));
const B: TopicId = KafkaUuid(Uuid::from_u128(0xb));
const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// A broker's replicas over a directory, with the image that they were last told.
struct Node {
    replicas: Replicas,
    image: Arc<Image>,
    clock: Clock,
}

impl Node {
    fn new(dir: &Path, image: Arc<Image>) -> Node {
        let clock = Clock::manual(NOW);
        let directory = LogDirectory::open(dir.to_owned(), Storage::default()).unwrap();
        let settings = Arc::new(Settings::default_for(dir));
        let replicas = Replicas::new(
            settings,
            clock.clone(),
            vec![LogDir {
                id: KafkaUuid(Uuid::from_u128(7)),
                path: dir.to_owned(),
                files: Some(directory),
            }],
        );
        replicas.apply(&image, &Delta::default());
        Node {
            replicas,
            image,
            clock,
        }
    }

    fn apply(&mut self, records: &[MetadataRecord]) {
        let (image, delta) = self.image.apply(records, Provenance::default()).unwrap();
        self.image = Arc::new(image);
        self.replicas.apply(&self.image, &delta);
    }

    fn partition(&self, topic: TopicId, index: i32) -> Arc<Partition> {
        self.replicas.get(topic, PartitionIndex(index)).unwrap()
    }
}

fn node_id(dir: &Path) -> i32 {
    Settings::default_for(dir).node_id().0
}

/// A topic `t` whose partitions this broker leads.
fn topic(id: TopicId, partitions: i32, node: i32) -> Vec<MetadataRecord> {
    let topic = TopicRecord {
        name: "t".to_owned().into(),
        topic_id: id.0,
        ..Default::default()
    };
    let partitions = (0..partitions).map(|index| {
        let record = PartitionRecord {
            partition_id: index,
            topic_id: id.0,
            replicas: vec![node],
            isr: vec![node],
            leader: node,
            leader_epoch: 0,
            directories: vec![Uuid::from_u128(7)],
            ..Default::default()
        };
        record.into()
    });
    std::iter::once(topic.into()).chain(partitions).collect()
}

fn append(partition: &Partition) -> Offset {
    let mut builder = BatchBuilder::new();
    builder.append(NOW, None, Some(b"value"));
    let appended = partition
        .append_as_leader(&builder.build_valid(), Origin::Client, 1, None, NOW)
        .unwrap();
    appended.info.base_offset
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<_> = entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn partitions_come_and_go_with_the_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path(), Arc::default());
    assert!(matches!(
        node.replicas.get(A, PartitionIndex(0)),
        Err(Error::NotLeader)
    ));
    node.apply(&topic(A, 2, node_id(dir.path())));
    assert_eq!(names(dir.path()), ["t-0", "t-1"]);
    let partition = node.partition(A, 1);
    assert_eq!(partition.leader_epoch(), Some(LeaderEpoch(0)));
    append(&partition);
    node.apply(&[RemoveTopicRecord {
        topic_id: A.0,
        ..Default::default()
    }
    .into()]);
    assert!(matches!(
        node.replicas.get(A, PartitionIndex(1)),
        Err(Error::NotLeader)
    ));
    assert_eq!(partition.role(), crate::replica::Role::Gone);
    node.apply(&topic(B, 1, node_id(dir.path())));
    let all = names(dir.path());
    assert_eq!(
        all.iter().filter(|name| name.ends_with("-delete")).count(),
        2
    );
    assert_eq!(node.partition(B, 0).log_end_offset(), Offset(0));
    node.clock.advance(Duration::from_secs(61));
    node.replicas
        .directories
        .remove_deleted(node.clock.steady());
    assert_eq!(names(dir.path()), ["t-0"]);
}

#[test]
fn a_broker_that_does_not_lead_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path(), Arc::default());
    node.apply(&topic(A, 1, node_id(dir.path())));
    let change = PartitionChangeRecord {
        topic_id: A.0,
        partition_id: 0,
        leader: 77,
        ..Default::default()
    };
    node.apply(&[change.into()]);
    let role = node.partition(A, 0).role();
    assert_eq!(
        role,
        crate::replica::Role::NotLeader {
            epoch: LeaderEpoch(1)
        }
    );
}

#[test]
fn a_restart_finds_all_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path(), Arc::default());
    node.apply(&topic(A, 1, node_id(dir.path())));
    for _ in 0..3 {
        append(&node.partition(A, 0));
    }
    node.replicas.shut_down(BrokerEpoch(9));
    assert!(matches!(
        node.replicas.get(A, PartitionIndex(0)).unwrap().role(),
        crate::replica::Role::Gone
    ));
    let image = node.image.clone();
    drop(node);
    let checkpoint =
        std::fs::read_to_string(dir.path().join("replication-offset-checkpoint")).unwrap();
    assert_eq!(checkpoint, "0\n1\nt 0 3\n");
    let checkpoint =
        std::fs::read_to_string(dir.path().join("recovery-point-offset-checkpoint")).unwrap();
    assert_eq!(checkpoint, "0\n1\nt 0 3\n");
    assert!(dir.path().join(".kafka_cleanshutdown").exists());
    let node = Node::new(dir.path(), image);
    let partition = node.partition(A, 0);
    assert_eq!(
        (partition.high_watermark(), partition.log_end_offset()),
        (Offset(3), Offset(3))
    );
    assert_eq!(append(&partition), Offset(3));
}

#[test]
fn a_stop_with_many_logs_that_were_written_is_clean() {
    const PARTITIONS: i32 = 100;
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path(), Arc::default());
    let id = KafkaUuid::random();
    node.apply(&topic(id, PARTITIONS, node_id(dir.path())));
    for index in 0..PARTITIONS {
        append(&node.partition(id, index));
    }
    node.replicas.shut_down(BrokerEpoch(9));
    assert!(dir.path().join(".kafka_cleanshutdown").exists());
    let again = Node::new(dir.path(), node.image.clone());
    for index in 0..PARTITIONS {
        let log = again.partition(id, index).log();
        assert_eq!(log.log_end_offset(), Offset(1));
        assert_eq!(log.recovery_point(), Offset(1));
    }
}

#[test]
fn a_log_that_cannot_be_closed_does_not_keep_the_others_from_being_closed() {
    const PARTITIONS: i32 = 100;
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path(), Arc::default());
    let id = KafkaUuid::random();
    node.apply(&topic(id, PARTITIONS, node_id(dir.path())));
    for index in 0..PARTITIONS {
        append(&node.partition(id, index));
    }
    let damaged = node.partition(id, 7);
    let mut config = PartitionConfig::clone(&damaged.config());
    Arc::make_mut(&mut config.log).verify_on_read = true;
    damaged.update_config(config);
    let segment = dir.path().join("t-7/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    assert!(damaged.log().read(Offset(0), 1, Offset(1), true).is_err());
    assert!(damaged.log().is_offline());
    node.replicas.shut_down(BrokerEpoch(9));
    assert!(!dir.path().join(".kafka_cleanshutdown").exists());
    let checkpoint = checkpoints::read(&dir.path().join(RECOVERY_POINT)).unwrap();
    let flushed = checkpoint.values().filter(|offset| **offset == Offset(1));
    assert_eq!(flushed.count(), PARTITIONS as usize - 1);
}

#[test]
fn a_log_of_another_topic_of_the_name_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path(), Arc::default());
    node.apply(&topic(A, 1, node_id(dir.path())));
    append(&node.partition(A, 0));
    node.replicas.shut_down(BrokerEpoch(9));
    drop(node);
    let (image, _) = Image::empty()
        .apply(&topic(B, 1, node_id(dir.path())), Provenance::default())
        .unwrap();
    let node = Node::new(dir.path(), Arc::new(image));
    assert_eq!(node.partition(B, 0).log_end_offset(), Offset(0));
    let all = names(dir.path());
    assert_eq!(all.len(), 2);
    assert!(all.iter().any(|name| name.ends_with("-stray")));
}

#[test]
fn settings_of_a_topic_reach_its_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path(), Arc::default());
    node.apply(&topic(A, 1, node_id(dir.path())));
    assert_eq!(
        node.partition(A, 0).config().rules.max_message_bytes,
        1_048_588
    );
    let config = |kind: i8, resource: &str, name: &str, value: &str| -> MetadataRecord {
        let record = ConfigRecord {
            resource_type: kind,
            resource_name: resource.to_owned().into(),
            name: name.to_owned().into(),
            value: Some(value.to_owned().into()),
            ..Default::default()
        };
        record.into()
    };
    node.apply(&[
        config(2, "t", "max.message.bytes", "77"),
        config(2, "t", "cleanup.policy", "compact"),
    ]);
    let set = node.partition(A, 0).config();
    assert_eq!(
        (
            set.rules.max_message_bytes,
            set.rules.compacted,
            set.log.compact
        ),
        (77, true, true)
    );
    node.apply(&[
        config(4, "", "message.max.bytes", "99"),
        config(4, "", "log.segment.bytes", "5000000"),
    ]);
    let set = node.partition(A, 0).config();
    assert_eq!(
        (set.rules.max_message_bytes, set.log.segment_bytes),
        (77, 5_000_000)
    );
}

#[test]
fn a_stop_with_an_offline_log_is_not_clean() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path(), Arc::default());
    node.apply(&topic(A, 2, node_id(dir.path())));
    append(&node.partition(A, 0));
    node.replicas.shut_down(BrokerEpoch(1));
    let mark = dir.path().join(".kafka_cleanshutdown");
    assert!(mark.exists());
    let image = node.image.clone();
    drop(node);
    let segment = dir.path().join("t-0/00000000000000000000.log");
    std::fs::remove_file(&segment).unwrap();
    std::fs::create_dir(&segment).unwrap();
    let node = Node::new(dir.path(), image);
    assert!(matches!(
        node.replicas.get(A, PartitionIndex(0)),
        Err(Error::Offline)
    ));
    node.replicas.shut_down(BrokerEpoch(2));
    assert!(!mark.exists());
}

#[test]
fn checkpoints_keep_what_they_say_of_a_log_that_cannot_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path(), Arc::default());
    node.apply(&topic(A, 2, node_id(dir.path())));
    let partition = node.partition(A, 0);
    for _ in 0..3 {
        append(&partition);
    }
    partition.delete_records(Some(Offset(2))).unwrap();
    node.replicas.shut_down(BrokerEpoch(1));
    let read = |name| checkpoints::read(&dir.path().join(name)).unwrap();
    let name = TopicPartition::new("t", 0);
    let told = [RECOVERY_POINT, LOG_START, HIGH_WATERMARK];
    let known = told.map(|checkpoint| read(checkpoint)[&name]);
    assert_eq!(known, [Offset(3), Offset(2), Offset(3)]);
    std::fs::write(dir.path().join("t-0/partition.metadata"), "?").unwrap();
    let image = node.image.clone();
    drop(node);
    let mut node = Node::new(dir.path(), image);
    append(&node.partition(A, 1));
    node.replicas.refresh_checkpoints();
    assert_eq!(told.map(|checkpoint| read(checkpoint)[&name]), known);
    // Nor does another topic get it.
    let removed = RemoveTopicRecord {
        topic_id: A.0,
        ..Default::default()
    };
    node.apply(&[removed.into()]);
    node.apply(&topic(B, 1, node_id(dir.path())));
    assert!(told.map(read).iter().all(|left| !left.contains_key(&name)));
}

#[test]
fn no_upkeep_runs_once_the_logs_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path(), Arc::default());
    node.apply(&topic(A, 1, node_id(dir.path())));
    assert!(!*node.replicas.closed());
    node.replicas.shut_down(BrokerEpoch(1));
    assert!(*node.replicas.closed());
}

#[test]
fn a_recreated_topic_inherits_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path(), Arc::default());
    node.apply(&topic(A, 1, node_id(dir.path())));
    append(&node.partition(A, 0));
    node.replicas.checkpoint(&[HIGH_WATERMARK]);
    let checkpoint =
        || std::fs::read_to_string(dir.path().join("replication-offset-checkpoint")).unwrap();
    assert_eq!(checkpoint(), "0\n1\nt 0 1\n");
    let removed = RemoveTopicRecord {
        topic_id: A.0,
        ..Default::default()
    };
    node.apply(&[removed.into()]);
    assert_eq!(checkpoint(), "0\n1\nt 0 1\n", "not for each deletion");
    node.apply(&topic(B, 1, node_id(dir.path())));
    assert_eq!(checkpoint(), "0\n0\n", "before it is made");
    append(&node.partition(B, 0));
    node.replicas.checkpoint(&[HIGH_WATERMARK]);
    assert_eq!(checkpoint(), "0\n1\nt 0 1\n");
    let removed = RemoveTopicRecord {
        topic_id: B.0,
        ..Default::default()
    };
    node.apply(&[removed.into()]);
    node.replicas.refresh_checkpoints();
    assert_eq!(checkpoint(), "0\n0\n");
}

#[test]
fn stale_checkpoints_are_not_taken_before_they_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path(), Arc::default());
    node.apply(&topic(A, 1, node_id(dir.path())));
    let removed = RemoveTopicRecord {
        topic_id: A.0,
        ..Default::default()
    };
    node.apply(&[removed.into()]);
    let replicas = &node.replicas;
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let writing = replicas.checkpointing.lock().unwrap();
        scope.spawn(move || {
            replicas.refresh_checkpoints();
            ended.send(()).unwrap();
        });
        // It waits: who makes the topic now must not find that nothing is stale.
        let _ = end.recv_timeout(Duration::from_millis(50));
        assert!(!replicas.stale.is_empty());
        drop(writing);
    });
    end.recv().unwrap();
    assert!(replicas.stale.is_empty());
}

#[test]
fn a_topic_inherits_no_checkpoint_of_an_earlier_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("replication-offset-checkpoint");
    std::fs::write(&path, "0\n1\nt 0 7\n").unwrap();
    let mut node = Node::new(dir.path(), Arc::default());
    node.apply(&topic(A, 1, node_id(dir.path())));
    assert_eq!(std::fs::read_to_string(path).unwrap(), "0\n0\n");
}
