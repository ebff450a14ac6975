use std::future::Future;
use std::pin::pin;

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::super::tests::{EPOCH, NOW, append, partition_on, read_from, records};
use super::*;
use std::sync::Arc;

use crate::ids::{Offset, PartitionEpoch};
use crate::log::fs::faulty::{Fault, Faulty};
use crate::log::{LogConfig, Origin, Storage};
use crate::replica::partition::{ACKS_ALL, Error};

struct Led {
    _dir: tempfile::TempDir,
    disk: Arc<Faulty>,
    partition: Arc<Partition>,
}

fn led(config: PartitionConfig) -> Led {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Faulty::default());
    let storage = Storage {
        fs: disk.clone(),
        ..Storage::default()
    };
    let partition = partition_on(dir.path(), config, storage);
    partition.lead(EPOCH, PartitionEpoch(0), 1, 1).unwrap();
    Led {
        _dir: dir,
        disk,
        partition,
    }
}

fn with(flush_before: FlushBefore) -> PartitionConfig {
    PartitionConfig {
        flush_before,
        ..PartitionConfig::default()
    }
}

fn with_log(log: LogConfig) -> PartitionConfig {
    PartitionConfig {
        log: log.into(),
        ..PartitionConfig::default()
    }
}

fn every_ms(flush_ms: i64) -> PartitionConfig {
    with_log(LogConfig {
        flush_ms,
        ..LogConfig::default()
    })
}

fn visible(partition: &Partition) -> usize {
    partition.read(&read_from(0)).unwrap().records.len()
}

impl Led {
    fn flushed(&self, offset: i64) -> impl Future<Output = Result<(), Error>> {
        self.partition.wait_for_flush(Offset(offset), EPOCH)
    }

    fn committed(&self, offset: i64) -> impl Future<Output = Result<(), Error>> {
        self.partition
            .wait_for_high_watermark(Offset(offset), EPOCH)
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_or_seen_before_it_is_on_the_device() {
    let led = led(with(FlushBefore::AcksAll));
    led.disk.hold_syncs(true);
    append(&led.partition, 2);
    led.disk.wait_for_held_sync();
    let mut committed = pin!(led.committed(2));
    assert!(committed.as_mut().now_or_never().is_none());
    assert_eq!(led.partition.high_watermark(), Offset(0));
    assert_eq!(visible(&led.partition), 0);
    led.disk.hold_syncs(false);
    committed.await.unwrap();
    assert_eq!(led.partition.high_watermark(), Offset(2));
    assert!(visible(&led.partition) > 0);
}

#[tokio::test]
async fn appends_made_while_the_device_works_share_the_next_fsync() {
    let led = led(with(FlushBefore::AcksAll));
    append(&led.partition, 1);
    led.committed(1).await.unwrap();
    led.disk.hold_syncs(true);
    let before = led.disk.syncs();
    append(&led.partition, 1);
    led.disk.wait_for_held_sync();
    for _ in 0..100 {
        append(&led.partition, 1);
    }
    led.disk.hold_syncs(false);
    led.committed(102).await.unwrap();
    assert_eq!(led.disk.syncs(), before + 2);
}

#[tokio::test]
async fn a_fetch_is_woken_by_the_flush_and_not_by_the_append() {
    let led = led(with(FlushBefore::AcksAll));
    led.disk.hold_syncs(true);
    let waiter = Arc::new(crate::replica::Waiter::default());
    waiter.count_from_now();
    let _subscription = led.partition.subscribe(&waiter);
    waiter.want(1);
    append(&led.partition, 1);
    led.disk.wait_for_held_sync();
    assert!(waiter.woken().now_or_never().is_none());
    led.disk.hold_syncs(false);
    waiter.woken().await;
    assert!(visible(&led.partition) > 0);
}

#[tokio::test]
async fn after_a_failed_fsync_writers_are_told_at_once() {
    let led = led(with(FlushBefore::AcksAll));
    append(&led.partition, 1);
    led.committed(1).await.unwrap();
    led.disk.fail_syncs(true);
    append(&led.partition, 1);
    assert!(matches!(led.committed(2).await, Err(Error::Offline)));
    led.disk.fail_syncs(false);
    let refused = led
        .partition
        .append_as_leader(&records(1), Origin::Client, ACKS_ALL, None, NOW);
    assert!(matches!(refused, Err(Error::Storage(_))));
    assert_eq!(led.partition.high_watermark(), Offset(1));
}

#[tokio::test]
async fn the_flusher_of_another_directory_does_not_wait_for_that_of_the_former() {
    let led = led(with(FlushBefore::AcksAll));
    let former = Flusher::new(1);
    led.partition.change_flusher(former.clone());
    // A partition of the former directory keeps its only thread busy.
    let busy = self::led(with(FlushBefore::AcksAll));
    busy.partition.change_flusher(former);
    busy.disk.hold_syncs(true);
    append(&busy.partition, 1);
    busy.disk.wait_for_held_sync();
    append(&led.partition, 1);
    let mut committed = pin!(led.committed(1));
    assert!(committed.as_mut().now_or_never().is_none());
    led.partition.change_flusher(Flusher::new(1));
    committed.await.unwrap();
    append(&led.partition, 1);
    led.committed(2).await.unwrap();
    busy.disk.hold_syncs(false);
    busy.committed(1).await.unwrap();
    append(&led.partition, 1);
    led.committed(3).await.unwrap();
}

#[test]
fn another_number_of_threads_acts_on_what_comes() {
    let flusher = Flusher::new(1);
    let all: Vec<Led> = (0..3).map(|_| led(with(FlushBefore::AcksAll))).collect();
    for led in &all {
        led.partition.change_flusher(flusher.clone());
    }
    let is_committed = |led: &Led| matches!(led.committed(1).now_or_never(), Some(Ok(())));
    std::thread::scope(|scope| {
        // Outside of a runtime who appends works off the queue.
        let begin = |led: &'_ Led| {
            led.disk.hold_syncs(true);
            let partition = led.partition.clone();
            let thread = scope.spawn(move || append(&partition, 1));
            led.disk.wait_for_held_sync();
            thread
        };
        let first = begin(&all[0]);
        flusher.limit(2);
        let second = begin(&all[1]);
        flusher.limit(1);
        append(&all[2].partition, 1);
        all[0].disk.hold_syncs(false);
        first.join().unwrap();
        assert!(is_committed(&all[0]));
        assert!(!is_committed(&all[2]), "one thread too many has ended");
        all[1].disk.hold_syncs(false);
        second.join().unwrap();
        assert!(is_committed(&all[1]) && is_committed(&all[2]));
    });
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_lacked_space_is_tried_again() {
    let led = led(with(FlushBefore::AcksAll));
    let begun = Instant::now();
    // The fsync of the segment works, the new leader-epoch-checkpoint finds no space.
    led.disk.hold_syncs(true);
    append(&led.partition, 1);
    led.disk.wait_for_held_sync();
    led.disk.at(led.disk.steps(), Fault::Fail);
    led.disk.hold_syncs(false);
    led.committed(1).await.unwrap();
    assert_eq!(begun.elapsed(), RETRY);
}

#[tokio::test]
async fn with_flush_messages_of_one_an_answer_to_acks_1_waits_too() {
    let led = led(with(FlushBefore::AnyAcks));
    led.disk.hold_syncs(true);
    let appended = led
        .partition
        .append_as_leader(&records(1), Origin::Client, 1, None, NOW)
        .unwrap();
    assert!(appended.flush_first);
    let mut flushed = pin!(led.flushed(1));
    assert!(flushed.as_mut().now_or_never().is_none());
    led.disk.hold_syncs(false);
    flushed.await.unwrap();
}

#[tokio::test]
async fn flush_messages_counts_records() {
    let led = led(with_log(LogConfig {
        flush_messages: 5,
        ..LogConfig::default()
    }));
    append(&led.partition, 4);
    assert_eq!(led.partition.high_watermark(), Offset(4));
    assert!(led.flushed(1).now_or_never().is_none());
    append(&led.partition, 1);
    led.flushed(5).await.unwrap();
    let before = led.disk.syncs();
    append(&led.partition, 4);
    assert_eq!(led.disk.syncs(), before);
}

#[tokio::test]
async fn flush_bytes_counts_bytes() {
    let batch = records(1).size() as i64;
    let led = led(with_log(LogConfig {
        flush_bytes: 3 * batch,
        ..LogConfig::default()
    }));
    let is_due = || {
        let appended = led
            .partition
            .append_as_leader(&records(1), Origin::Client, 1, None, NOW)
            .unwrap();
        appended.info.flush_due
    };
    assert_eq!([is_due(), is_due(), is_due()], [false, false, true]);
    assert_eq!(led.partition.high_watermark(), Offset(3));
    led.flushed(3).await.unwrap();
    assert!(!is_due());
}

#[tokio::test(start_paused = true)]
async fn flush_ms_counts_from_the_first_record_that_is_not_on_the_device() {
    let led = led(every_ms(5_000));
    let begun = Instant::now();
    append(&led.partition, 1);
    tokio::time::advance(Duration::from_secs(3)).await;
    append(&led.partition, 1);
    led.flushed(2).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    append(&led.partition, 1);
    led.flushed(3).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn settings_act_on_what_was_appended_before() {
    let led = led(every_ms(3_600_000));
    let begun = Instant::now();
    append(&led.partition, 1);
    led.partition.update_config(every_ms(2_000));
    led.flushed(1).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    led.disk.hold_syncs(true);
    led.partition.update_config(with(FlushBefore::AcksAll));
    append(&led.partition, 1);
    assert_eq!(led.partition.high_watermark(), Offset(1));
    led.partition.update_config(PartitionConfig::default());
    assert_eq!(led.partition.high_watermark(), Offset(2));
    led.disk.hold_syncs(false);
}

#[tokio::test]
async fn a_leader_brings_to_the_device_what_it_finds() {
    let dir = tempfile::tempdir().unwrap();
    let first = partition_on(dir.path(), PartitionConfig::default(), Storage::default());
    first.lead(EPOCH, PartitionEpoch(0), 1, 1).unwrap();
    append(&first, 3);
    drop(first);
    let partition = partition_on(dir.path(), with(FlushBefore::AcksAll), Storage::default());
    assert_eq!(partition.high_watermark(), Offset(0));
    partition.lead(EPOCH, PartitionEpoch(0), 1, 1).unwrap();
    partition
        .wait_for_high_watermark(Offset(3), EPOCH)
        .await
        .unwrap();
    assert_eq!(partition.log().recovery_point(), Offset(3));
}

#[test]
fn the_broker_and_the_topic_say_what_waits_for_the_device() {
    use crate::config::{Layers, Settings};
    let dir = tempfile::tempdir().unwrap();
    let of = |given: &[(&str, &str)], own: Option<&'static str>| {
        let settings = Settings::on_free_ports(dir.path()).with(given).unwrap();
        let own = move |name: &str| {
            own.filter(|_| name == "flush.messages")
                .map(ToOwned::to_owned)
        };
        let none = |_: &str| None;
        let layers = Layers {
            own: &own,
            broker: &none,
            cluster: &none,
        };
        PartitionConfig::of(&settings.topic(layers)).flush_before
    };
    assert_eq!(of(&[], None), FlushBefore::Nothing);
    assert_eq!(of(&[("log.flush.acks", "all")], None), FlushBefore::AcksAll);
    assert_eq!(
        of(&[("log.flush.acks", "all")], Some("1")),
        FlushBefore::AnyAcks
    );
    assert_eq!(
        of(&[("log.flush.interval.messages", "1")], None),
        FlushBefore::AnyAcks
    );
    assert_eq!(
        of(&[("log.flush.interval.messages", "1")], Some("2")),
        FlushBefore::Nothing
    );
}
