//! The YAML files of OpenMessaging Benchmark: a workload (io.openmessaging.benchmark.Workload) and the driver of Kafka,
//! whose client settings are properties within it (io.openmessaging.benchmark.driver.kafka.Config).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::Value;

use super::{KeyDistributor, Workload};
use crate::record::batch::Compression;
use crate::record::compress::Codec;

/// What of a workload file acts here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkloadFile {
    name: Option<String>,
    topics: Option<u32>,
    partitions_per_topic: Option<u32>,
    message_size: Option<usize>,
    payload_file: Option<PathBuf>,
    use_randomized_payloads: Option<bool>,
    random_bytes_ratio: Option<f64>,
    key_distributor: Option<String>,
    subscriptions_per_topic: Option<u32>,
    consumer_per_subscription: Option<u32>,
    producers_per_topic: Option<u32>,
    producer_rate: Option<f64>,
    #[serde(rename = "consumerBacklogSizeGB")]
    consumer_backlog_size_gb: Option<f64>,
    test_duration_minutes: Option<f64>,
    warmup_duration_minutes: Option<f64>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DriverFile {
    replication_factor: Option<i16>,
    common_config: Option<String>,
    producer_config: Option<String>,
    consumer_config: Option<String>,
    topic_config: Option<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// Fields that say nothing about the load, or nothing that is different here.
const WITHOUT_EFFECT: &[&str] = &["name", "driverClass", "randomizedPayloadPoolSize", "reset"];

impl Workload {
    /// Takes over what a workload file says; returns the names in it that are of no effect here. Paths in it are relative
    /// to the folder of the file.
    pub fn read_workload(&mut self, yaml: &str, folder: &Path) -> Result<Vec<String>, String> {
        let file: WorkloadFile = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        set(&mut self.name, file.name);
        set(&mut self.topics, file.topics);
        set(&mut self.partitions_per_topic, file.partitions_per_topic);
        set(&mut self.message_size, file.message_size);
        set(&mut self.producers_per_topic, file.producers_per_topic);
        set(&mut self.producer_rate, file.producer_rate);
        let subscriptions = file.subscriptions_per_topic;
        set(&mut self.subscriptions_per_topic, subscriptions);
        let consumers = file.consumer_per_subscription;
        set(&mut self.consumers_per_subscription, consumers);
        let backlog = file
            .consumer_backlog_size_gb
            .map(|size| (size * 1e9) as u64);
        set(&mut self.consumer_backlog_bytes, backlog);
        set(&mut self.duration, minutes(file.test_duration_minutes)?);
        set(&mut self.warm_up, minutes(file.warmup_duration_minutes)?);
        if let Some(name) = file.key_distributor {
            self.key_distributor = KeyDistributor::from_str(&name, true)
                .map_err(|_| format!("keyDistributor {name} is not known"))?;
        }
        if let Some(path) = file.payload_file {
            self.payload = Some(read_payload(&folder.join(path))?);
        }
        if file.use_randomized_payloads == Some(true) {
            self.payload = None;
            set(&mut self.random_bytes_ratio, file.random_bytes_ratio);
        }
        Ok(unused(file.rest))
    }

    /// Takes over what a driver file says, but for its servers; returns the names that are of no effect here.
    pub fn read_driver(&mut self, yaml: &str) -> Result<Vec<String>, String> {
        let file: DriverFile = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        set(&mut self.replication_factor, file.replication_factor);
        let mut ignored = unused(file.rest);
        let common = properties(file.common_config.as_deref())?;
        ignored.extend(
            common
                .into_keys()
                .filter(|name| name != "bootstrap.servers"),
        );
        self.topic_configs
            .extend(properties(file.topic_config.as_deref())?);
        for (name, value) in properties(file.producer_config.as_deref())? {
            if !self.set_producer(&name, &value)? {
                ignored.push(name);
            }
        }
        for (name, value) in properties(file.consumer_config.as_deref())? {
            if !self.set_consumer(&name, &value)? {
                ignored.push(name);
            }
        }
        Ok(ignored)
    }

    /// Sets what a producer's setting of Kafka means; `false` where it is of no effect here.
    fn set_producer(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "acks" => self.acks = parse_acks(value)?,
            "linger.ms" => self.linger = milliseconds(name, value)?,
            "batch.size" => self.batch_size = number(name, value)?,
            "compression.type" => self.codec = parse_codec(value)?,
            "enable.idempotence" => self.idempotent = number(name, value)?,
            "max.in.flight.requests.per.connection" => self.max_in_flight = number(name, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn set_consumer(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "fetch.min.bytes" => self.fetch_min_bytes = number(name, value)?,
            "fetch.max.bytes" => self.fetch_max_bytes = number(name, value)?,
            "fetch.max.wait.ms" => self.fetch_max_wait = milliseconds(name, value)?,
            "max.partition.fetch.bytes" => self.max_partition_fetch_bytes = number(name, value)?,
            // Partitions are shared out by this program, which commits nothing and reads from the backlog on.
            "auto.offset.reset" | "enable.auto.commit" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// `all`, -1, 0 or 1.
pub(crate) fn parse_acks(text: &str) -> Result<i16, String> {
    match text {
        "all" | "-1" => Ok(-1),
        "0" => Ok(0),
        "1" => Ok(1),
        _ => Err(format!("acks={text} is none of all, -1, 0 and 1")),
    }
}

/// A codec by the name that it has in Kafka's settings, at its default level.
pub(crate) fn parse_codec(name: &str) -> Result<Codec, String> {
    let compression = match name {
        "none" => Compression::None,
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        _ => return Err(format!("compression.type={name} is not known")),
    };
    Ok(Codec::of(compression))
}

/// A file of bytes that values are made of.
pub(crate) fn read_payload(path: &Path) -> Result<Vec<u8>, String> {
    match std::fs::read(path) {
        Ok(bytes) if bytes.is_empty() => Err(format!("{}: empty", path.display())),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn set<T>(to: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *to = value;
    }
}

fn minutes(value: Option<f64>) -> Result<Option<Duration>, String> {
    let seconds = value.map(|minutes| Duration::try_from_secs_f64(minutes * 60.0));
    seconds
        .transpose()
        .map_err(|error| format!("a duration: {error}"))
}

fn milliseconds(name: &str, value: &str) -> Result<Duration, String> {
    Ok(Duration::from_millis(number(name, value)?))
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value
        .trim()
        .parse()
        .map_err(|_| format!("{name}={value} cannot be read"))
}

fn unused(rest: BTreeMap<String, Value>) -> Vec<String> {
    rest.into_keys()
        .filter(|name| !WITHOUT_EFFECT.contains(&name.as_str()))
        .collect()
}

fn properties(text: Option<&str>) -> Result<BTreeMap<String, String>, String> {
    let Some(text) = text else {
        return Ok(BTreeMap::new());
    };
    let read = java_properties::read(text.as_bytes()).map_err(|error| error.to_string())?;
    Ok(read.into_iter().collect())
}
