//! The flags of `dohle bench`: each is a field of the workload, and overrides what a preset or a file says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::workload::{
    KeyDistributor, Preset, Spread, Workload, parse_acks, parse_codec, read_payload,
};
use crate::record::compress::Codec;
use crate::tool::Failure;

/// What a load is made of.
#[derive(Args, Debug)]
#[command(next_help_heading = "Workload")]
pub(super) struct Load {
    /// Begin with a load that is known by its name
    #[arg(long, value_name = "NAME")]
    preset: Option<Preset>,
    /// A workload file of OpenMessaging Benchmark
    #[arg(long, value_name = "FILE")]
    workload: Option<PathBuf>,
    /// A driver file for Kafka of OpenMessaging Benchmark
    #[arg(long, value_name = "FILE")]
    driver: Option<PathBuf>,
    #[arg(long, value_name = "COUNT")]
    topics: Option<u32>,
    #[arg(long, value_name = "COUNT")]
    partitions_per_topic: Option<u32>,
    /// -1: the broker's default
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    replication_factor: Option<i16>,
    /// A setting of the topics; may be given several times
    #[arg(long = "topic-config", value_name = "KEY=VALUE", value_parser = key_value)]
    topic_configs: Vec<(String, String)>,
    /// Connections beside those of producers and consumers, which are open and say nothing
    #[arg(long, value_name = "COUNT")]
    idle_connections: Option<u32>,
    /// Seconds that are not measured
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    warm_up: Option<Duration>,
    /// Seconds that are measured
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
    #[command(flatten)]
    producing: Producing,
    #[command(flatten)]
    consuming: Consuming,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Producers")]
struct Producing {
    /// Bytes of a record's value
    #[arg(long, value_name = "BYTES")]
    message_size: Option<usize>,
    /// What values hold
    #[arg(long, value_name = "FILE")]
    payload_file: Option<PathBuf>,
    /// The part of each value that does not compress, from 0 to 1
    #[arg(long, value_name = "RATIO")]
    random_bytes_ratio: Option<f64>,
    /// Keys of records
    #[arg(long, value_name = "KEYS")]
    key_distributor: Option<KeyDistributor>,
    #[arg(long, value_name = "COUNT")]
    producers_per_topic: Option<u32>,
    /// Records a second of all producers, each with its time, however slow the answers are; 0: as fast as it goes
    #[arg(long, value_name = "RATE")]
    producer_rate: Option<f64>,
    /// Records that fall due together
    #[arg(long, value_name = "COUNT")]
    burst: Option<u32>,
    /// The partitions that each producer writes to
    #[arg(long, value_name = "WHICH")]
    spread: Option<Spread>,
    /// Bytes of a full batch
    #[arg(long, value_name = "BYTES")]
    batch_size: Option<usize>,
    /// Records in a full batch, in place of its bytes
    #[arg(long, value_name = "COUNT")]
    batch_records: Option<u32>,
    /// Milliseconds that a batch waits to become full
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    linger_ms: Option<Duration>,
    /// all, 1 or 0
    #[arg(long, value_parser = parse_acks, allow_negative_numbers = true)]
    acks: Option<i16>,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long, value_name = "CODEC", value_parser = parse_codec)]
    compression_type: Option<Codec>,
    #[arg(long, value_name = "BOOL")]
    enable_idempotence: Option<bool>,
    /// Requests of a connection that wait for answers
    #[arg(long, value_name = "COUNT")]
    max_in_flight: Option<usize>,
    /// Batches for different partitions in a request
    #[arg(long, value_name = "COUNT")]
    partitions_per_request: Option<u32>,
    /// Write in transactions, and commit after so many records
    #[arg(long, value_name = "COUNT")]
    records_per_transaction: Option<u32>,
    /// The partitions that each transaction writes to; without it all of the producer's
    #[arg(long, value_name = "COUNT")]
    partitions_per_transaction: Option<u32>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Consumers")]
struct Consuming {
    #[arg(long, value_name = "COUNT")]
    subscriptions_per_topic: Option<u32>,
    #[arg(long, value_name = "COUNT")]
    consumers_per_subscription: Option<u32>,
    #[arg(long, value_name = "BYTES")]
    fetch_min_bytes: Option<i32>,
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    fetch_max_wait_ms: Option<Duration>,
    #[arg(long, value_name = "BYTES")]
    fetch_max_bytes: Option<i32>,
    #[arg(long, value_name = "BYTES")]
    max_partition_fetch_bytes: Option<i32>,
    /// Begin again at the beginning of each partition when all is read
    #[arg(long, value_name = "BOOL")]
    read_repeatedly: Option<bool>,
    /// GB of values that are written before consumers begin
    #[arg(long = "consumer-backlog-size-gb", value_name = "GB")]
    consumer_backlog_size_gb: Option<f64>,
    /// Have producers write the backlog only
    #[arg(long, value_name = "BOOL")]
    pause_producers: Option<bool>,
}

impl Load {
    /// The workload, and the names in the files that are of no effect.
    pub(super) fn resolve(&self) -> Result<(Workload, Vec<String>), Failure> {
        let preset = self.preset.map(Preset::workload);
        let mut workload = preset.unwrap_or_default();
        let mut ignored = Vec::new();
        if let Some(path) = &self.workload {
            let folder = path.parent().unwrap_or(Path::new("."));
            let read = read(path)?;
            ignored = workload.read_workload(&read, folder).map_err(of(path))?;
        }
        if let Some(path) = &self.driver {
            let more = workload.read_driver(&read(path)?).map_err(of(path))?;
            ignored.extend(more);
        }
        self.set(&mut workload)?;
        workload.check().map_err(Failure::new)?;
        Ok((workload, ignored))
    }

    fn set(&self, workload: &mut Workload) -> Result<(), Failure> {
        set(&mut workload.topics, self.topics);
        set(
            &mut workload.partitions_per_topic,
            self.partitions_per_topic,
        );
        set(&mut workload.replication_factor, self.replication_factor);
        workload.topic_configs.extend(self.topic_configs.clone());
        set(&mut workload.idle_connections, self.idle_connections);
        set(&mut workload.warm_up, self.warm_up);
        set(&mut workload.duration, self.duration);
        self.producing.set(workload)?;
        self.consuming.set(workload);
        Ok(())
    }
}

impl Producing {
    fn set(&self, workload: &mut Workload) -> Result<(), Failure> {
        if let Some(path) = &self.payload_file {
            workload.payload = Some(read_payload(path).map_err(Failure::new)?);
        }
        set(&mut workload.message_size, self.message_size);
        set(&mut workload.random_bytes_ratio, self.random_bytes_ratio);
        set(&mut workload.key_distributor, self.key_distributor);
        set(&mut workload.producers_per_topic, self.producers_per_topic);
        set(&mut workload.producer_rate, self.producer_rate);
        set(&mut workload.burst, self.burst);
        set(&mut workload.spread, self.spread);
        if let Some(size) = self.batch_size {
            workload.batch_size = size;
            workload.batch_records = None;
        }
        if self.batch_records.is_some() {
            workload.batch_records = self.batch_records;
        }
        set(&mut workload.linger, self.linger_ms);
        set(&mut workload.acks, self.acks);
        set(&mut workload.codec, self.compression_type);
        set(&mut workload.idempotent, self.enable_idempotence);
        set(&mut workload.max_in_flight, self.max_in_flight);
        set(
            &mut workload.partitions_per_request,
            self.partitions_per_request,
        );
        if self.records_per_transaction.is_some() {
            workload.records_per_transaction = self.records_per_transaction;
        }
        if self.partitions_per_transaction.is_some() {
            workload.partitions_per_transaction = self.partitions_per_transaction;
        }
        Ok(())
    }
}

impl Consuming {
    fn set(&self, workload: &mut Workload) {
        set(
            &mut workload.subscriptions_per_topic,
            self.subscriptions_per_topic,
        );
        set(
            &mut workload.consumers_per_subscription,
            self.consumers_per_subscription,
        );
        set(&mut workload.fetch_min_bytes, self.fetch_min_bytes);
        set(&mut workload.fetch_max_wait, self.fetch_max_wait_ms);
        set(&mut workload.fetch_max_bytes, self.fetch_max_bytes);
        set(
            &mut workload.max_partition_fetch_bytes,
            self.max_partition_fetch_bytes,
        );
        set(&mut workload.read_repeatedly, self.read_repeatedly);
        let backlog = self
            .consumer_backlog_size_gb
            .map(|size| (size * 1e9) as u64);
        set(&mut workload.consumer_backlog_bytes, backlog);
        set(&mut workload.pause_producers, self.pause_producers);
    }
}

fn set<T: Clone>(to: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *to = value;
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

fn of(path: &Path) -> impl Fn(String) -> Failure + '_ {
    move |error| Failure::new(format!("{}: {error}", path.display()))
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("no `=` in it")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    duration(text, 1.0)
}

/// As [`seconds`], but more than none.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let interval = seconds(text)?;
    match interval.is_zero() {
        true => Err("no time at all".to_owned()),
        false => Ok(interval),
    }
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    duration(text, 1e-3)
}

fn duration(text: &str, unit: f64) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "no number".to_owned())?;
    Duration::try_from_secs_f64(number * unit).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: Load,
    }

    fn resolve(line: &str) -> Result<Workload, String> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let resolved = line.load.resolve().map_err(|error| error.to_string())?;
        Ok(resolved.0)
    }

    #[test]
    fn flags_override_a_preset() {
        let workload = resolve(
            "--preset acks_all --message-size 10 --linger-ms 0.5 --compression-type zstd --duration 2.5 \
             --key-distributor RANDOM_NANO --topic-config retention.ms=1000 --acks 1",
        );
        let mut expected = Preset::AcksAll.workload();
        expected.message_size = 10;
        expected.linger = Duration::from_micros(500);
        expected.codec = parse_codec("zstd").unwrap();
        expected.duration = Duration::from_millis(2500);
        expected.key_distributor = KeyDistributor::Random;
        expected.topic_configs = vec![("retention.ms".to_owned(), "1000".to_owned())];
        expected.acks = 1;
        assert_eq!(workload, Ok(expected));
    }

    #[test]
    fn a_file_is_overridden_by_flags() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("load.yaml");
        std::fs::write(&file, "topics: 3\npayloadFile: payload\nmessageSize: 20\n").unwrap();
        std::fs::write(folder.path().join("payload"), "abc").unwrap();
        let workload = resolve(&format!("--workload {} --topics 4", file.display())).unwrap();
        assert_eq!((workload.topics, workload.message_size), (4, 20));
        assert_eq!(workload.payload.as_deref(), Some(&b"abc"[..]));
    }

    #[test]
    fn bytes_of_a_batch_replace_its_records() {
        let workload = resolve("--preset b16k --batch-size 100000").unwrap();
        assert_eq!(workload.records_per_batch(), 99_939 / 1016);
    }

    #[test]
    fn an_interval_is_some_time() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        assert!(interval("0").is_err());
        assert!(interval("1e-12").is_err());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(resolve("--acks 2").unwrap_err().contains("acks=2"));
        assert!(resolve("--duration -1").is_err());
        let error = resolve("--enable-idempotence true --acks 0").unwrap_err();
        assert!(error.contains("idempotence needs acks=all"), "{error}");
    }
}
