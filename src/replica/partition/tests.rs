use std::path::Path;

use futures_util::FutureExt;

use super::*;
use crate::ids::{ProducerEpoch, ProducerId};
use crate::log::{LogOptions, Source, Storage};
use crate::record::{BatchBuilder, Producer};

pub(super) const NOW: Timestamp = Timestamp(1_700_000_000_000);
pub(super) const EPOCH: LeaderEpoch = LeaderEpoch(3);

pub(super) fn partition_in(dir: &Path, config: PartitionConfig) -> Arc<Partition> {
    partition_on(dir, config, Storage::default())
}

pub(super) fn partition_on(
    dir: &Path,
    config: PartitionConfig,
    storage: Storage,
) -> Arc<Partition> {
    let dir = dir.join("t-0");
    std::fs::create_dir_all(&dir).unwrap();
    let log = Log::open(dir, config.log.clone(), LogOptions::default(), storage).unwrap();
    let name = TopicPartition::new("t", 0);
    let flusher = Flusher::new(2);
    Partition::new(
        name,
        TopicId::ONE,
        Arc::new(log),
        config,
        Offset::ZERO,
        flusher,
    )
}

/// A partition that this broker leads alone.
pub(super) fn leader(dir: &Path) -> Arc<Partition> {
    let partition = partition_in(dir, PartitionConfig::default());
    partition.lead(EPOCH, PartitionEpoch(0), 1, 1).unwrap();
    partition
}

pub(super) fn records(count: usize) -> ValidBatch {
    let mut builder = BatchBuilder::new();
    for _ in 0..count {
        builder.append(NOW, None, Some(b"value"));
    }
    builder.build_valid()
}

pub(super) fn append(partition: &Partition, count: usize) -> AppendInfo {
    partition
        .append_as_leader(&records(count), Origin::Client, ACKS_ALL, None, NOW)
        .unwrap()
        .info
}

pub(super) fn read_from(from: i64) -> Read {
    Read {
        from: Offset(from),
        max_bytes: 1 << 20,
        min_one_batch: true,
        isolation: Isolation::ReadUncommitted,
        current_leader_epoch: None,
        last_fetched_epoch: None,
        source: Source::Disk,
    }
}

#[test]
fn an_append_alone_in_the_isr_is_at_once_below_the_high_watermark() {
    let dir = tempfile::tempdir().unwrap();
    let partition = leader(dir.path());
    let info = append(&partition, 3);
    assert_eq!(
        (info.base_offset, partition.high_watermark()),
        (Offset(0), Offset(3))
    );
    let read = partition.read(&read_from(0)).unwrap();
    assert_eq!(
        (
            read.records.len(),
            read.high_watermark,
            read.last_stable_offset
        ),
        (records(3).size(), Offset(3), Offset(3))
    );
    assert!(partition.read(&read_from(3)).unwrap().records.is_empty());
    assert!(matches!(
        partition.read(&read_from(4)),
        Err(Error::OffsetOutOfRange { .. })
    ));
}

#[test]
fn only_a_leader_of_the_expected_epoch_appends() {
    let dir = tempfile::tempdir().unwrap();
    let partition = leader(dir.path());
    let append =
        |expected| partition.append_as_leader(&records(1), Origin::Client, 1, expected, NOW);
    assert!(append(Some(EPOCH)).is_ok());
    assert!(matches!(
        append(Some(LeaderEpoch(2))),
        Err(Error::NotLeader)
    ));
    partition.stop_leading(LeaderEpoch(4));
    assert!(matches!(append(None), Err(Error::NotLeader)));
    assert!(matches!(
        partition.read(&read_from(0)),
        Err(Error::NotLeader)
    ));
    partition.retire();
    assert!(matches!(append(None), Err(Error::Gone)));
    assert!(matches!(
        partition.lead(LeaderEpoch(5), PartitionEpoch(0), 1, 1),
        Err(Error::Gone)
    ));
}

#[test]
fn readers_with_another_leader_epoch_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let partition = leader(dir.path());
    let read = |epoch| {
        partition.read(&Read {
            current_leader_epoch: Some(LeaderEpoch(epoch)),
            ..read_from(0)
        })
    };
    assert!(matches!(read(2), Err(Error::FencedLeaderEpoch { .. })));
    assert!(read(3).is_ok());
    assert!(matches!(read(4), Err(Error::UnknownLeaderEpoch { .. })));
}

#[test]
fn a_reader_whose_log_left_the_leaders_learns_where() {
    let dir = tempfile::tempdir().unwrap();
    let partition = leader(dir.path());
    append(&partition, 5);
    partition
        .lead(LeaderEpoch(7), PartitionEpoch(1), 1, 1)
        .unwrap();
    append(&partition, 5);
    let read = |from, epoch| {
        partition.read(&Read {
            last_fetched_epoch: Some(LeaderEpoch(epoch)),
            ..read_from(from)
        })
    };
    assert_eq!(read(5, 3).unwrap().diverging, None);
    assert_eq!(read(8, 3).unwrap().diverging, Some((EPOCH, Offset(5))));
    assert_eq!(read(8, 5).unwrap().diverging, Some((EPOCH, Offset(5))));
    assert_eq!(
        read(12, 7).unwrap().diverging,
        Some((LeaderEpoch(7), Offset(10)))
    );
    assert!(matches!(read(5, 9), Err(Error::NoSuchEpoch(_))));
}

#[test]
fn acks_all_wants_min_insync_replicas_as_far_as_there_are_replicas() {
    let dir = tempfile::tempdir().unwrap();
    let config = PartitionConfig {
        min_insync_replicas: 2,
        ..PartitionConfig::default()
    };
    let partition = partition_in(dir.path(), config);
    let append = |acks| partition.append_as_leader(&records(1), Origin::Client, acks, None, NOW);
    partition.lead(EPOCH, PartitionEpoch(0), 1, 1).unwrap();
    assert!(append(ACKS_ALL).is_ok());
    partition.lead(EPOCH, PartitionEpoch(1), 1, 3).unwrap();
    assert!(matches!(
        append(ACKS_ALL),
        Err(Error::NotEnoughReplicas { isr: 1, min: 2 })
    ));
    assert!(append(1).is_ok());
    partition.lead(EPOCH, PartitionEpoch(2), 2, 3).unwrap();
    assert!(append(ACKS_ALL).is_ok());
    assert_eq!(
        (partition.high_watermark(), partition.log_end_offset()),
        (Offset(2), Offset(3))
    );
}

#[test]
fn a_repeated_batch_is_answered_from_memory() {
    let dir = tempfile::tempdir().unwrap();
    let partition = leader(dir.path());
    let batch = || {
        let producer = Producer {
            id: ProducerId(5),
            epoch: ProducerEpoch(0),
            base_sequence: 0,
        };
        let mut builder = BatchBuilder::new().producer(producer);
        builder.append(NOW, None, Some(b"value"));
        builder.build_valid()
    };
    let first = partition
        .append_as_leader(&batch(), Origin::Client, 1, None, NOW)
        .unwrap()
        .info;
    let second = partition
        .append_as_leader(&batch(), Origin::Client, 1, None, NOW)
        .unwrap()
        .info;
    assert!(!first.duplicate && second.duplicate);
    assert_eq!(
        (first.base_offset, second.base_offset),
        (Offset(0), Offset(0))
    );
    assert_eq!(partition.log_end_offset(), Offset(1));
}

#[test]
fn offsets_are_found_by_time_and_at_the_ends() {
    let dir = tempfile::tempdir().unwrap();
    let partition = leader(dir.path());
    let find = |query| {
        partition
            .find_offset(query, Isolation::ReadUncommitted, None)
            .unwrap()
    };
    let found = |offset, timestamp| {
        Some(FoundOffset {
            offset: Offset(offset),
            timestamp,
            leader_epoch: Some(EPOCH),
        })
    };
    assert_eq!(find(OffsetQuery::Earliest), found(0, Timestamp::NONE));
    assert_eq!(find(OffsetQuery::Latest), found(0, Timestamp::NONE));
    assert_eq!(find(OffsetQuery::MaxTimestamp), None);
    let mut builder = BatchBuilder::new();
    for after in [0, 20, 10] {
        builder.append(NOW.plus_ms(after), None, Some(b"value"));
    }
    partition
        .append_as_leader(&builder.build_valid(), Origin::Client, 1, None, NOW)
        .unwrap();
    assert_eq!(find(OffsetQuery::Latest), found(3, Timestamp::NONE));
    assert_eq!(find(OffsetQuery::MaxTimestamp), found(1, NOW.plus_ms(20)));
    assert_eq!(
        find(OffsetQuery::At(NOW.plus_ms(5))),
        found(1, NOW.plus_ms(20))
    );
    assert_eq!(find(OffsetQuery::At(NOW.plus_ms(21))), None);
}

#[test]
fn a_fetch_is_woken_by_an_append_and_by_the_end_of_leadership() {
    let dir = tempfile::tempdir().unwrap();
    let partition = leader(dir.path());
    let waiter = Arc::new(Waiter::default());
    waiter.want(1);
    let subscription = partition.subscribe(&waiter);
    assert!(waiter.woken().now_or_never().is_none());
    append(&partition, 1);
    assert!(waiter.woken().now_or_never().is_some());
    partition.stop_leading(LeaderEpoch(4));
    assert!(waiter.woken().now_or_never().is_some());
    drop(subscription);
    partition.retire();
    assert!(waiter.woken().now_or_never().is_none());
}

#[tokio::test]
async fn a_writer_waits_for_the_in_sync_replicas() {
    let dir = tempfile::tempdir().unwrap();
    let partition = leader(dir.path());
    partition.lead(EPOCH, PartitionEpoch(1), 2, 2).unwrap();
    append(&partition, 2);
    let mut waiting = Box::pin(partition.wait_for_high_watermark(Offset(2), EPOCH));
    assert!(waiting.as_mut().now_or_never().is_none());
    partition.lead(EPOCH, PartitionEpoch(2), 1, 2).unwrap();
    waiting.await.unwrap();
    partition.lead(EPOCH, PartitionEpoch(3), 2, 2).unwrap();
    append(&partition, 1);
    let mut waiting = Box::pin(partition.wait_for_high_watermark(Offset(3), EPOCH));
    assert!(waiting.as_mut().now_or_never().is_none());
    partition.stop_leading(LeaderEpoch(4));
    assert!(matches!(waiting.await, Err(Error::NotLeader)));
}
