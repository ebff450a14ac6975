use super::*;

#[test]
fn an_openmessaging_workload_is_read() {
    let yaml = r#"
# A file as the benchmark ships them.
name: 1 topic / 16 partitions / 1kb
topics: 1
partitionsPerTopic: 16
keyDistributor: "KEY_ROUND_ROBIN"
messageSize: 1024
useRandomizedPayloads: true
randomBytesRatio: 0.25
randomizedPayloadPoolSize: 1000
subscriptionsPerTopic: 2
consumerPerSubscription: 3
producersPerTopic: 4
producerRate: 100000
consumerBacklogSizeGB: 0.5
testDurationMinutes: 15
producerStartRate: 7
"#;
    let mut workload = Workload::default();
    let ignored = workload.read_workload(yaml, ".".as_ref()).unwrap();
    assert_eq!(ignored, ["producerStartRate"]);
    let expected = Workload {
        name: "1 topic / 16 partitions / 1kb".to_owned(),
        partitions_per_topic: 16,
        key_distributor: KeyDistributor::RoundRobin,
        random_bytes_ratio: 0.25,
        subscriptions_per_topic: 2,
        consumers_per_subscription: 3,
        producers_per_topic: 4,
        producer_rate: 100_000.0,
        consumer_backlog_bytes: 500_000_000,
        duration: Duration::from_secs(900),
        ..Workload::default()
    };
    assert_eq!(workload, expected);
    assert_eq!(workload.check(), Ok(()));
}

#[test]
fn an_openmessaging_driver_is_read() {
    let yaml = r"
name: Kafka
driverClass: io.openmessaging.benchmark.driver.kafka.KafkaBenchmarkDriver
replicationFactor: 3
topicConfig: |
  min.insync.replicas=2
commonConfig: |
  bootstrap.servers=localhost:9092
producerConfig: |
  acks=all
  linger.ms=1
  batch.size=1048576
  compression.type=lz4
  enable.idempotence=true
  send.buffer.bytes=1
consumerConfig: |
  auto.offset.reset=earliest
  max.partition.fetch.bytes=10485760
";
    let mut workload = Workload::default();
    let ignored = workload.read_driver(yaml).unwrap();
    assert_eq!(ignored, ["send.buffer.bytes"]);
    assert_eq!(workload.replication_factor, 3);
    let configs = [("min.insync.replicas".to_owned(), "2".to_owned())];
    assert_eq!(workload.topic_configs, configs);
    assert_eq!((workload.acks, workload.idempotent), (-1, true));
    assert_eq!(workload.linger, Duration::from_millis(1));
    assert_eq!(workload.batch_size, 1 << 20);
    assert_eq!(workload.codec, parse_codec("lz4").unwrap());
    assert_eq!(workload.max_partition_fetch_bytes, 10 << 20);
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let mut workload = Workload::default();
    let folder = ".".as_ref();
    let error = workload.read_workload("keyDistributor: MANY", folder);
    assert_eq!(error.unwrap_err(), "keyDistributor MANY is not known");
    assert!(workload.read_workload("topics: many", folder).is_err());
    let error = workload.read_driver("producerConfig: acks=2");
    assert_eq!(error.unwrap_err(), "acks=2 is none of all, -1, 0 and 1");
}

#[test]
fn presets_can_be_run() {
    for preset in Preset::value_variants() {
        assert_eq!(preset.workload().check(), Ok(()), "{}", preset.name());
    }
    assert_eq!(Preset::AcksAll.name(), "acks_all");
}

#[test]
fn what_cannot_be_run_is_said() {
    let without = |change: fn(&mut Workload)| {
        let mut workload = Workload::default();
        change(&mut workload);
        workload.check().unwrap_err()
    };
    assert_eq!(
        without(|workload| workload.topics = 0),
        "there must be some topics"
    );
    let error = without(|workload| (workload.idempotent, workload.acks) = (true, 1));
    assert_eq!(
        error,
        "idempotence needs acks=all and at most 5 requests in flight"
    );
    let error = without(|workload| workload.read_repeatedly = true);
    assert_eq!(error, "reading repeatedly needs a backlog to read");
}

#[test]
fn a_batch_holds_what_fits() {
    let small = Workload {
        message_size: 100,
        ..Workload::default()
    };
    assert_eq!(small.records_per_batch(), (16384 - 61) / 116);
    let large = Workload {
        message_size: 1 << 20,
        ..Workload::default()
    };
    assert_eq!(large.records_per_batch(), 1);
}
