use std::path::Path;

use super::*;
use crate::ids::{BrokerEpoch, DirectoryId, LeaderEpoch, Offset, PartitionIndex};
use crate::log::{Origin, Source};
use crate::messages::records::metadata::PartitionChangeRecord;
use crate::record::BatchBuilder;
use crate::replica::failure::tests::{NOW, Node, TOPIC, cluster, directory_id, partition};
use crate::replica::{ACKS_ALL, Isolation, Read};

fn path(dir: &Path, at: usize) -> String {
    dir.join(at.to_string()).display().to_string()
}

/// A node that moves `t-0` to the directory 1, with two batches of three records in it.
fn moving(dir: &Path) -> Node {
    let mut node = Node::open(dir, cluster(), "");
    node.apply(&[partition(0, directory_id(0))]);
    (0..2).for_each(|_| append(&node, 3));
    begin(&node, dir, 1).unwrap();
    node
}

fn begin(node: &Node, dir: &Path, to: usize) -> Result<(), Unmovable> {
    let name = TopicPartition::new("t", 0);
    node.replicas
        .move_replica(&node.image, &name, &path(dir, to))
}

fn append(node: &Node, records: usize) {
    let mut batch = BatchBuilder::new();
    (0..records).for_each(|_| batch.append(NOW, None, Some(b"value")));
    let partition = node.partition(0).unwrap();
    partition
        .append_as_leader(&batch.build_valid(), Origin::Client, ACKS_ALL, None, NOW)
        .unwrap();
}

/// Plays the controller: what it is told comes back as metadata.
async fn assign_as_told(node: &mut Node) {
    let told = node.replicas.next_assignments().await;
    for assignment in &told {
        let change = PartitionChangeRecord {
            topic_id: TOPIC.0,
            partition_id: assignment.partition.0,
            directories: Some(vec![assignment.directory.0]),
            ..Default::default()
        };
        node.apply(&[change.into()]);
    }
    node.replicas.drop_assignments(&told);
}

async fn until_none_is_under_way(node: &Node) {
    let mut under_way = node.replicas.moves_under_way();
    under_way.wait_for(|count| *count == 0).await.unwrap();
}

fn directory_of(node: &Node) -> DirectoryId {
    node.replicas.online()[0].1
}

#[tokio::test]
async fn a_log_moves_with_what_is_appended_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = moving(dir.path());
    assert!(
        begin(&node, dir.path(), 1).is_ok(),
        "asked again, it goes on"
    );
    let described = node.replicas.describe_directories(|_| true);
    let future = &described[1].replicas[0];
    assert_eq!((future.is_future, future.lag), (true, 6));
    // It begins within a batch.
    let kept = node.partition(0).unwrap();
    let deletion = kept.delete_records(Some(Offset(2))).unwrap();
    assert_eq!(
        deletion.low_watermark,
        Offset(0),
        "the copy has the records still"
    );
    let moves = tokio::spawn(node.replicas.clone().run_moves());
    let reached = kept.wait_for_low_watermark(Offset(2), LeaderEpoch(0)).await;
    assert_eq!(reached.unwrap(), Offset(2));
    append(&node, 1);
    assign_as_told(&mut node).await;
    append(&node, 1);
    until_none_is_under_way(&node).await;
    assert_eq!(directory_of(&node), directory_id(1));
    append(&node, 1);
    let log = kept.log();
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset()),
        (Offset(2), Offset(9))
    );
    assert_eq!(log.dir(), dir.path().join("1/t-0"));
    assert_eq!(log.latest_epoch().unwrap().epoch, LeaderEpoch(0));
    let read = Read {
        from: Offset(2),
        max_bytes: 1 << 20,
        min_one_batch: true,
        isolation: Isolation::ReadUncommitted,
        current_leader_epoch: None,
        last_fetched_epoch: None,
        source: Source::Disk,
    };
    assert_eq!(kept.read(&read).unwrap().high_watermark, Offset(9));
    assert!(!dir.path().join("0/t-0").exists());
    moves.abort();
    let Node { replicas, image } = node;
    replicas.shut_down(BrokerEpoch(1));
    drop((replicas, kept));
    let node = Node::open(dir.path(), image, "");
    assert_eq!(directory_of(&node), directory_id(1));
    let log = node.partition(0).unwrap().log();
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset()),
        (Offset(2), Offset(9))
    );
}

#[tokio::test]
async fn a_move_goes_on_after_a_restart_in_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let node = moving(dir.path());
    let partition = node.partition(0).unwrap();
    // One of the two batches.
    let future = partition.future().unwrap();
    partition.copy(&future, 1, NOW).unwrap();
    assert_eq!(future.log.log_end_offset(), Offset(3));
    let Node { replicas, image } = node;
    replicas.shut_down(BrokerEpoch(1));
    drop((replicas, partition, future));
    let mut node = Node::open(dir.path(), image, "");
    let future = node.partition(0).unwrap().future().unwrap();
    assert_eq!(future.log.log_end_offset(), Offset(3));
    let moves = tokio::spawn(node.replicas.clone().run_moves());
    assign_as_told(&mut node).await;
    until_none_is_under_way(&node).await;
    assert_eq!(directory_of(&node), directory_id(1));
    assert_eq!(node.partition(0).unwrap().log_end_offset(), Offset(6));
    moves.abort();
}

#[tokio::test]
async fn a_move_ends_when_another_is_asked_for_or_its_directory_fails() {
    let dir = tempfile::tempdir().unwrap();
    let node = moving(dir.path());
    let partition = node.partition(0).unwrap();
    begin(&node, dir.path(), 2).unwrap();
    assert_eq!(partition.future().unwrap().directory, 2);
    begin(&node, dir.path(), 0).unwrap();
    assert!(partition.future().is_none(), "it is where it is to be");
    begin(&node, dir.path(), 1).unwrap();
    let failure = log::Error::Offline {
        path: dir.path().join("1"),
    };
    node.replicas.directories.health(1).unwrap().fail(&failure);
    node.replicas.take_offline(1);
    assert!(partition.future().is_none());
    append(&node, 1);
    assert!(matches!(
        begin(&node, dir.path(), 1),
        Err(Unmovable::DirectoryOffline)
    ));
    assert!(matches!(
        begin(&node, dir.path(), 2),
        Err(Unmovable::DirectoryOffline)
    ));
    assert!(matches!(
        begin(&node, dir.path(), 3),
        Err(Unmovable::NoSuchDirectory)
    ));
}

#[tokio::test]
async fn a_future_log_outlives_the_directory_that_it_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    let node = moving(dir.path());
    let kept = node.partition(0).unwrap();
    while kept.copy(&kept.future().unwrap(), 1, NOW).unwrap() != Copied::All {}
    let failure = log::Error::Offline {
        path: dir.path().join("0"),
    };
    node.replicas.directories.health(0).unwrap().fail(&failure);
    node.replicas.take_offline(0);
    assert!(kept.future().is_none());
    let Node { replicas, image } = node;
    replicas.shut_down(BrokerEpoch(1));
    drop((replicas, kept));
    let node = Node::open(dir.path(), image, "");
    let future = node.partition(0).unwrap().future().unwrap();
    assert_eq!(future.log.log_end_offset(), Offset(6));
}

#[tokio::test]
async fn what_the_current_log_loses_the_future_log_loses_too() {
    let dir = tempfile::tempdir().unwrap();
    let node = moving(dir.path());
    let partition = node.partition(0).unwrap();
    let future = partition.future().unwrap();
    while partition.copy(&future, 1, NOW).unwrap() != Copied::All {}
    partition.log().truncate_to(Offset(3)).unwrap();
    assert_eq!(partition.copy(&future, 1, NOW).unwrap(), Copied::All);
    assert_eq!(future.log.log_end_offset(), Offset(3));
    partition
        .log()
        .truncate_fully_and_start_at(Offset(20))
        .unwrap();
    assert_eq!(partition.copy(&future, 1, NOW).unwrap(), Copied::All);
    assert_eq!(future.log.log_start_offset(), Offset(20));
}

#[test]
fn a_partition_goes_where_it_was_wanted_before_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path(), cluster(), "");
    let asked = begin(&node, dir.path(), 2);
    assert!(matches!(asked, Err(Unmovable::NoSuchPartition)));
    node.apply(&[partition(0, DirectoryId::ONE)]);
    assert_eq!(directory_of(&node), directory_id(2));
    let there = node.replicas.get(TOPIC, PartitionIndex(0)).unwrap();
    assert!(there.future().is_none());
}

#[test]
fn a_deleted_partition_takes_its_future_log_along() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = moving(dir.path());
    let deleted = crate::messages::records::metadata::RemoveTopicRecord {
        topic_id: TOPIC.0,
        ..Default::default()
    };
    node.apply(&[deleted.into()]);
    for at in 0..2 {
        let left = std::fs::read_dir(dir.path().join(at.to_string())).unwrap();
        let left: Vec<_> = left
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("t-0"))
            .collect();
        assert!(left.len() == 1 && left[0].ends_with("-delete"), "{left:?}");
    }
}

#[tokio::test]
async fn a_future_log_whose_log_is_missing_takes_its_place_where_it_is_assigned() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = moving(dir.path());
    let kept = node.partition(0).unwrap();
    while kept.copy(&kept.future().unwrap(), 1, NOW).unwrap() != Copied::All {}
    let change = PartitionChangeRecord {
        topic_id: TOPIC.0,
        partition_id: 0,
        directories: Some(vec![directory_id(1).0]),
        ..Default::default()
    };
    node.apply(&[change.into()]);
    let Node { replicas, image } = node;
    replicas.shut_down(BrokerEpoch(1));
    drop((replicas, kept));
    // Not while the directory of the other one is offline.
    std::fs::rename(dir.path().join("0"), dir.path().join("away")).unwrap();
    std::fs::write(dir.path().join("0"), "").unwrap();
    let node = Node::open(dir.path(), image.clone(), "");
    assert!(matches!(node.partition(0), Err(Error::Offline)));
    assert!(!dir.path().join("1/t-0").exists());
    drop(node);
    std::fs::remove_file(dir.path().join("0")).unwrap();
    std::fs::rename(dir.path().join("away"), dir.path().join("0")).unwrap();
    std::fs::remove_dir_all(dir.path().join("0/t-0")).unwrap();
    let node = Node::open(dir.path(), image, "");
    assert_eq!(directory_of(&node), directory_id(1));
    let log = node.partition(0).unwrap().log();
    assert_eq!(log.log_end_offset(), Offset(6));
    assert_eq!(log.dir(), dir.path().join("1/t-0"));
}

#[tokio::test(start_paused = true)]
async fn a_limit_slows_all_moves_together_until_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path(), cluster(), "");
    let limit = |value: &str| {
        let record = crate::messages::records::metadata::ConfigRecord {
            resource_type: 4,
            name: "replica.alter.log.dirs.io.max.bytes.per.second"
                .to_owned()
                .into(),
            value: Some(value.to_owned().into()),
            ..Default::default()
        };
        record.into()
    };
    node.apply(&[limit("1000")]);
    let begun = Instant::now();
    tokio::join!(node.replicas.throttle(2000), node.replicas.throttle(3000));
    assert_eq!(begun.elapsed().as_secs(), 5);
    let replicas = node.replicas.clone();
    let waiting = tokio::spawn(async move { replicas.throttle(1_000_000_000).await });
    tokio::task::yield_now().await;
    node.apply(&[limit("100000")]);
    waiting.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 5);
}
