use std::path::Path;

use uuid::Uuid;

use super::*;
use crate::clock::Clock;
use crate::ids::{KafkaUuid, Offset, PartitionIndex, Timestamp, TopicId};
use crate::log::directory::LogDirectory;
use crate::log::{LogConfig, Origin, Storage};
use crate::messages::records::frame::MetadataRecord;
use crate::messages::records::metadata::{
    ConfigRecord, PartitionRecord, RemoveTopicRecord, TopicRecord,
};
use crate::metadata::{Delta, Image, MetadataListener, Provenance};
use crate::record::BatchBuilder;
use crate::replica::LogDir;
use crate::replica::partition::Future;

const DIRECTORY: Uuid = Uuid::from_u128(7);
const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// A broker with compacted topics of one partition each.
struct Node {
    replicas: Arc<Replicas>,
    image: Arc<Image>,
    dir: tempfile::TempDir,
}

impl Node {
    fn new(topics: &[&str], file: &[(&str, &str)]) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(NOW);
        let settings = Settings::default_for(dir.path()).with(file).unwrap();
        let directory = LogDirectory::open(dir.path().to_owned(), Storage::default()).unwrap();
        let directory = LogDir {
            id: KafkaUuid(DIRECTORY),
            path: dir.path().to_owned(),
            files: Some(directory),
        };
        let replicas = Arc::new(Replicas::new(Arc::new(settings), clock, vec![directory]));
        let image = Arc::default();
        replicas.apply(&image, &Delta::default());
        let mut node = Node {
            replicas,
            image,
            dir,
        };
        for topic in topics {
            node.create(topic);
        }
        node
    }

    fn apply(&mut self, records: &[MetadataRecord]) {
        let (image, delta) = self.image.apply(records, Provenance::default()).unwrap();
        self.image = Arc::new(image);
        self.replicas.apply(&self.image, &delta);
    }

    fn create(&mut self, topic: &str) {
        let node = self.replicas.node().0;
        self.apply(&[
            TopicRecord {
                name: topic.to_owned().into(),
                topic_id: id(topic).0,
                ..Default::default()
            }
            .into(),
            PartitionRecord {
                partition_id: 0,
                topic_id: id(topic).0,
                replicas: vec![node],
                isr: vec![node],
                leader: node,
                leader_epoch: 0,
                directories: vec![DIRECTORY],
                ..Default::default()
            }
            .into(),
        ]);
        self.configure(topic, "cleanup.policy", "compact");
    }

    fn configure(&mut self, topic: &str, name: &str, value: &str) {
        self.apply(&[ConfigRecord {
            resource_type: 2,
            resource_name: topic.to_owned().into(),
            name: name.to_owned().into(),
            value: Some(value.to_owned().into()),
            ..Default::default()
        }
        .into()]);
    }

    fn partition(&self, topic: &str) -> Arc<Partition> {
        self.replicas.get(id(topic), PartitionIndex(0)).unwrap()
    }

    /// Writes a key so often, and seals that.
    fn write(&self, topic: &str, times: usize) {
        let partition = self.partition(topic);
        for _ in 0..times {
            let mut builder = BatchBuilder::new();
            builder.append(NOW, Some(b"key"), Some(b"value"));
            let batch = builder.build_valid();
            partition
                .append_as_leader(&batch, Origin::Client, 1, None, NOW)
                .unwrap();
        }
        partition.log().roll(NOW).unwrap();
    }

    fn size(&self, topic: &str) -> u64 {
        self.partition(topic).log().size()
    }

    fn checkpoint(&self) -> String {
        self.replicas.refresh_checkpoints();
        let path = self.dir.path().join("cleaner-offset-checkpoint");
        std::fs::read_to_string(path).unwrap_or_default()
    }

    fn choose(&self) -> Option<Run> {
        self.replicas.clone().choose()
    }

    /// Compacts for an hour of the timers' time.
    async fn compact(&self) {
        let hour = Duration::from_secs(3600);
        let _ = tokio::time::timeout(hour, self.replicas.compact()).await;
    }
}

fn id(topic: &str) -> TopicId {
    KafkaUuid(Uuid::from_u128(u128::from(topic.as_bytes()[0])))
}

fn name(run: &Run) -> String {
    run.partition.topic_partition().to_string()
}

#[test]
fn the_dirtiest_log_is_next_and_no_two_runs_share_one() {
    let mut node = Node::new(&["a", "b", "c", "d"], &[]);
    node.configure("d", "cleanup.policy", "delete");
    for topic in ["a", "b", "d"] {
        node.write(topic, 10);
    }
    assert!(node.choose().unwrap().run());
    assert!(node.choose().unwrap().run());
    assert!(
        node.choose().is_none(),
        "clean, empty, or not to be compacted"
    );
    let one_batch = node.size("a");
    assert_eq!(node.size("b"), one_batch);
    assert_eq!(node.size("d"), 10 * one_batch);
    node.write("a", 2);
    node.write("b", 3);
    let first = node.choose().unwrap();
    assert_eq!(name(&first), "b-0");
    let second = node.choose().unwrap();
    assert_eq!(name(&second), "a-0");
    assert!(node.choose().is_none());
    assert_eq!(node.replicas.cleaning_status().running.len(), 2);
    drop(first);
    assert_eq!(name(&node.choose().unwrap()), "b-0");
    // The topic's settings count as they are now.
    node.configure("d", "cleanup.policy", "compact,delete");
    drop(second);
    node.configure("a", "min.cleanable.dirty.ratio", "0.9");
    node.configure("b", "cleanup.policy", "delete");
    assert_eq!(name(&node.choose().unwrap()), "d-0");
}

#[test]
fn a_log_on_its_way_to_another_directory_is_not_compacted() {
    let node = Node::new(&["a"], &[]);
    node.write("a", 10);
    let (partition, size) = (node.partition("a"), node.size("a"));
    let run = node.choose().unwrap();
    let dir = node.dir.path().join("future");
    let log = Log::create(
        dir,
        LogConfig::default(),
        Offset::ZERO,
        Storage::default(),
        NOW,
    );
    partition.set_future(Some(Future::new(log.unwrap(), 0)));
    assert!(!run.run(), "it ends before anything is copied");
    assert!(node.choose().is_none());
    assert_eq!(node.size("a"), size);
    partition.set_future(None);
    assert!(node.choose().unwrap().run());
    assert!(node.size("a") < size);
}

#[tokio::test(start_paused = true)]
async fn logs_are_compacted_as_they_become_dirty() {
    let node = Node::new(&["a", "b"], &[("log.cleaner.threads", "2")]);
    node.write("a", 10);
    node.write("b", 10);
    node.compact().await;
    assert_eq!(node.checkpoint(), "0\n2\na 0 10\nb 0 10\n");
    assert_eq!(node.replicas.cleaning_status(), CleaningStatus::default());
    node.write("b", 30);
    node.compact().await;
    assert_eq!(node.checkpoint(), "0\n2\na 0 10\nb 0 40\n");
    assert_eq!(node.size("a"), node.size("b"));
}

#[test]
fn a_run_waits_where_it_is_faster_than_the_limit_and_tells_how_far_it_is() {
    let node = Node::new(&["a"], &[("log.cleaner.io.max.bytes.per.second", "1000")]);
    node.write("a", 10);
    let run = node.choose().unwrap();
    let stage = Stage::Cleaning { bytes: 5000 };
    run.begins(stage);
    run.moved(50);
    node.replicas.clock().advance(Duration::from_millis(300));
    let watch = Clock::system();
    let from = watch.steady();
    run.moved(300);
    let waited = watch.steady().0 - from.0;
    assert!(waited >= 50, "350 bytes take 350 ms: {waited}");
    let status = RunStatus {
        partition: run.partition.topic_partition().clone(),
        stage: Some(stage),
        moved_bytes: 350,
    };
    assert_eq!(node.replicas.cleaning_status().running, [status]);
    // Who stops the broker does not wait for hours.
    run.moved(1 << 30);
    node.replicas.clock().advance(Duration::from_millis(300));
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| run.moved(1 << 30));
        node.replicas
            .cleaning
            .stopping
            .store(true, Ordering::Release);
        node.replicas.cleaning.changed.notify_all();
        moving.join().unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn nothing_is_compacted_where_that_is_switched_off() {
    let node = Node::new(&["a"], &[("log.cleaner.enable", "false")]);
    node.write("a", 10);
    node.compact().await;
    assert_eq!(node.partition("a").log().cleaned_to(), None);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_compacted_is_left_alone_and_the_others_go_on() {
    let mut node = Node::new(&["a", "b"], &[]);
    node.write("a", 10);
    node.write("b", 5);
    node.partition("a").log().flush().unwrap();
    damage(&node.dir.path().join("a-0/00000000000000000000.log"));
    node.compact().await;
    let status = node.replicas.cleaning_status();
    assert_eq!(status.uncleanable.len(), 1);
    assert_eq!(status.uncleanable[0].0.to_string(), "a-0");
    assert!(status.uncleanable[0].1.contains("wrong CRC"), "{status:?}");
    assert_eq!(node.checkpoint(), "0\n1\nb 0 5\n");
    assert!(
        node.partition("a").leader_epoch().is_some(),
        "it is served on"
    );
    node.apply(&[RemoveTopicRecord {
        topic_id: id("a").0,
        ..Default::default()
    }
    .into()]);
    assert!(node.replicas.cleaning_status().uncleanable.is_empty());
}

fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_deleted_topic_is_forgotten_and_its_run_ends() {
    let mut node = Node::new(&["a", "b"], &[]);
    for topic in ["a", "b"] {
        node.write(topic, 10);
        assert!(node.choose().unwrap().run());
        node.write(topic, 20);
    }
    let run = node.choose().unwrap();
    let topic = if name(&run) == "a-0" { "a" } else { "b" };
    node.apply(&[RemoveTopicRecord {
        topic_id: id(topic).0,
        ..Default::default()
    }
    .into()]);
    assert!(!run.go_on());
    assert!(!run.run());
    assert!(node.replicas.cleaning_status().uncleanable.is_empty());
    let other = if topic == "a" { "b" } else { "a" };
    assert_eq!(node.checkpoint(), format!("0\n1\n{other} 0 10\n"));
}

#[test]
fn a_stop_ends_runs_and_waits_for_them() {
    let node = Node::new(&["a", "b"], &[]);
    node.write("a", 10);
    node.write("b", 10);
    let run = node.choose().unwrap();
    let topic = run.partition.topic_partition().topic.clone();
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| node.replicas.cleaning.stop());
        while run.go_on() {
            std::thread::yield_now();
        }
        assert!(!stopped.is_finished());
        assert!(!run.run());
    });
    assert_eq!(node.partition(&topic).log().cleaned_to(), None);
    assert!(node.choose().is_none(), "none begins afterwards");
}

#[test]
fn limits_are_shared_by_the_threads() {
    let node = Node::new(&[], &[("log.cleaner.threads", "4")]);
    let limits = limits(&node.replicas.settings());
    assert_eq!(limits.map_bytes, 32 << 20);
    assert_eq!(limits.io_buffer_bytes, 64 << 10);
}
