use std::path::Path;

use futures_util::FutureExt;
use uuid::Uuid;

use super::*;
use crate::clock::Clock;
use crate::config::Settings;
use crate::ids::{KafkaUuid, LeaderEpoch, NodeId, Offset, PartitionIndex, Timestamp, TopicId};
use crate::log::directory::LogDirectory;
use crate::log::{Origin, Storage};
use crate::messages::records::frame::MetadataRecord;
use crate::messages::records::metadata::{PartitionRecord, RegisterBrokerRecord, TopicRecord};
use crate::metadata::{Delta, MetadataListener, Provenance};
use crate::record::BatchBuilder;
use crate::replica::{ACKS_ALL, Assignment, Error, LogDir};

pub(in crate::replica) const TOPIC: TopicId = KafkaUuid(Uuid::from_u128(0xa));
pub(in crate::replica) const NOW: Timestamp = Timestamp(1_700_000_000_000);
const NODE: NodeId = NodeId(1);

/// A broker's replicas over the directories 0 to 2 of a folder.
pub(in crate::replica) struct Node {
    pub(in crate::replica) replicas: Arc<Replicas>,
    pub(in crate::replica) image: Arc<Image>,
}

pub(in crate::replica) fn directory_id(at: usize) -> DirectoryId {
    KafkaUuid(Uuid::from_u128(1000 + at as u128))
}

impl Node {
    pub(in crate::replica) fn open(dir: &Path, image: Arc<Image>, cordoned: &str) -> Node {
        let paths: Vec<_> = (0..3).map(|at| dir.join(at.to_string())).collect();
        let list = |paths: &[std::path::PathBuf]| {
            let paths: Vec<_> = paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            paths.join(",")
        };
        let log_dirs = list(&paths);
        let given = [("log.dirs", &*log_dirs), ("cordoned.log.dirs", cordoned)];
        let settings = Arc::new(Settings::default_for(dir).with(&given).unwrap());
        let open = |(at, path): (usize, &std::path::PathBuf)| LogDir {
            id: directory_id(at),
            path: path.clone(),
            files: LogDirectory::open(path.clone(), Storage::default()).ok(),
        };
        let directories = paths.iter().enumerate().map(open).collect();
        let replicas = Arc::new(Replicas::new(settings, Clock::manual(NOW), directories));
        replicas.apply(&image, &Delta::default());
        Node { replicas, image }
    }

    pub(in crate::replica) fn apply(&mut self, records: &[MetadataRecord]) {
        let (image, delta) = self.image.apply(records, Provenance::default()).unwrap();
        self.image = Arc::new(image);
        self.replicas.apply(&self.image, &delta);
    }

    pub(in crate::replica) fn partition(&self, index: i32) -> Result<Arc<Partition>, Error> {
        self.replicas.get(TOPIC, PartitionIndex(index))
    }

    /// The directory of each partition of the topic that is online.
    pub(in crate::replica) fn places(&self) -> Vec<(i32, String)> {
        let mut places = Vec::new();
        for directory in self.replicas.describe_directories(|_| true) {
            let name = directory
                .path
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let here = directory.replicas.iter();
            places.extend(here.map(|replica| (replica.name.partition.0, name.clone())));
        }
        places.sort_unstable();
        places
    }

    pub(in crate::replica) fn append(&self, index: i32) {
        let mut batch = BatchBuilder::new();
        batch.append(NOW, None, Some(b"value"));
        self.partition(index)
            .unwrap()
            .append_as_leader(&batch.build_valid(), Origin::Client, ACKS_ALL, None, NOW)
            .unwrap();
    }
}

/// The broker with its directories, and the topic.
pub(in crate::replica) fn cluster() -> Arc<Image> {
    let broker = RegisterBrokerRecord {
        broker_id: NODE.0,
        log_dirs: (0..3).map(|at| directory_id(at).0).collect(),
        ..Default::default()
    };
    let topic = TopicRecord {
        name: "t".to_owned().into(),
        topic_id: TOPIC.0,
        ..Default::default()
    };
    let mut records = crate::controller::default_bootstrap();
    records.extend([broker.into(), topic.into()]);
    let (image, _) = Image::empty()
        .apply(&records, Provenance::default())
        .unwrap();
    Arc::new(image)
}

pub(in crate::replica) fn partition(index: i32, directory: DirectoryId) -> MetadataRecord {
    PartitionRecord {
        partition_id: index,
        topic_id: TOPIC.0,
        replicas: vec![NODE.0],
        isr: vec![NODE.0],
        leader: NODE.0,
        leader_epoch: 0,
        directories: vec![directory.0],
        ..Default::default()
    }
    .into()
}

fn at(places: &[(i32, &str)]) -> Vec<(i32, String)> {
    places
        .iter()
        .map(|(index, name)| (*index, (*name).to_owned()))
        .collect()
}

#[test]
fn partitions_go_where_the_fewest_are_and_the_controller_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path(), cluster(), "");
    for index in 0..4 {
        node.apply(&[partition(index, DirectoryId::ONE)]);
    }
    node.apply(&[partition(4, directory_id(2))]);
    assert_eq!(
        node.places(),
        at(&[(0, "0"), (1, "1"), (2, "2"), (3, "0"), (4, "2")])
    );
    let told = node.replicas.next_assignments().now_or_never().unwrap();
    let assignment = |index, at| Assignment {
        directory: directory_id(at),
        topic: TOPIC,
        partition: PartitionIndex(index),
    };
    assert_eq!(
        told,
        [
            assignment(0, 0),
            assignment(1, 1),
            assignment(2, 2),
            assignment(3, 0)
        ]
    );
    node.replicas.drop_assignments(&told);
    assert!(node.replicas.next_assignments().now_or_never().is_none());
}

#[test]
fn cordoned_directories_take_no_new_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let cordoned = dir.path().join("1").display().to_string();
    let mut node = Node::open(dir.path(), cluster(), &cordoned);
    assert_eq!(
        node.replicas.directory_state().borrow().cordoned,
        [directory_id(1)]
    );
    for index in 0..3 {
        node.apply(&[partition(index, DirectoryId::ONE)]);
    }
    // Where the metadata says so they go all the same.
    node.apply(&[partition(3, directory_id(1))]);
    assert_eq!(node.places(), at(&[(0, "0"), (1, "2"), (2, "0"), (3, "1")]));
}

#[tokio::test]
async fn a_failed_directory_takes_its_partitions_offline_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path(), cluster(), "");
    let watching = tokio::spawn(node.replicas.clone().watch_directories());
    for index in 0..3 {
        node.apply(&[partition(index, directory_id(index as usize))]);
        node.append(index);
    }
    let kept = node.partition(1).unwrap();
    let mut state = node.replicas.directory_state();
    state.mark_unchanged();
    let failure = log::Error::Offline {
        path: dir.path().join("1"),
    };
    node.replicas.directories.health(1).unwrap().fail(&failure);
    state.changed().await.unwrap();
    assert_eq!(state.borrow().offline, [directory_id(1)]);
    assert_eq!(state.borrow().online, [directory_id(0), directory_id(2)]);
    assert!(matches!(node.partition(1), Err(Error::Offline)));
    assert!(matches!(kept.delete_records(None), Err(Error::Offline)));
    node.append(0);
    // What may lie in the failed directory is not made anew elsewhere; what is new is.
    node.apply(&[
        partition(3, directory_id(1)),
        partition(4, DirectoryId::ONE),
    ]);
    assert!(matches!(node.partition(3), Err(Error::Offline)));
    assert_eq!(node.places(), at(&[(0, "0"), (2, "2"), (4, "0")]));
    watching.abort();
    let Node { replicas, image } = node;
    replicas.shut_down(crate::ids::BrokerEpoch(1));
    drop((replicas, kept));
    let node = Node::open(dir.path(), image, "");
    assert_eq!(
        node.partition(1).unwrap().log_end_offset(),
        Offset(1),
        "the next start has it again"
    );
}

#[test]
fn a_directory_that_cannot_be_opened_leaves_the_others_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path(), cluster(), "");
    node.apply(&[partition(0, directory_id(0)), partition(1, directory_id(1))]);
    node.append(1);
    let Node { replicas, image } = node;
    replicas.shut_down(crate::ids::BrokerEpoch(1));
    drop(replicas);
    std::fs::rename(dir.path().join("1"), dir.path().join("away")).unwrap();
    std::fs::write(dir.path().join("1"), "").unwrap();
    let node = Node::open(dir.path(), image.clone(), "");
    assert!(matches!(node.partition(1), Err(Error::Offline)));
    assert_eq!(
        node.partition(0).unwrap().leader_epoch(),
        Some(LeaderEpoch(0))
    );
    // The controller never heard of it in this run.
    assert!(node.replicas.directory_state().borrow().offline.is_empty());
    drop(node);
    std::fs::remove_file(dir.path().join("1")).unwrap();
    std::fs::rename(dir.path().join("away"), dir.path().join("1")).unwrap();
    let node = Node::open(dir.path(), image, "");
    assert_eq!(node.partition(1).unwrap().log_end_offset(), Offset(1));
}

#[tokio::test]
async fn an_error_of_the_device_while_records_are_sent_takes_its_directory_offline() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path(), cluster(), "");
    node.apply(&[partition(0, directory_id(0)), partition(1, directory_id(1))]);
    node.append(1);
    let log = node.partition(1).unwrap().log();
    let file = File::open(log.dir().join("00000000000000000000.log")).unwrap();
    let sent = |error: Errno| node.replicas.judge_sent(&file, &error.into());
    sent(Errno::CONNRESET);
    let cut = io::ErrorKind::UnexpectedEof;
    node.replicas.judge_sent(&file, &cut.into());
    let failed = |at| node.replicas.directories.health(at).unwrap().is_failed();
    assert!(!failed(1));
    sent(Errno::IO);
    assert_eq!([0, 1, 2].map(failed), [false, true, false]);
}
