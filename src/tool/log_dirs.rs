//! `dohle log-dirs`: the log directories of brokers and the sizes of the logs in them, with the flags and output of
//! `kafka-log-dirs.sh` (org.apache.kafka.tools.LogDirsCommand).

use std::collections::BTreeSet;

use clap::Args;
use serde::Serialize;

use super::client::check;
use super::print::say;
use super::{Connect, Failure};
use crate::error_code::ErrorCode;
use crate::messages::describe_log_dirs_response::DescribeLogDirsResult;
use crate::messages::{DescribeClusterRequest, DescribeLogDirsRequest};

#[derive(Args, Debug)]
pub struct LogDirs {
    #[command(flatten)]
    connect: Connect,
    /// Describe the log directories
    #[arg(long, required = true)]
    describe: bool,
    /// Topics, separated by commas; all when it is not given
    #[arg(long, value_name = "LIST", default_value = "")]
    topic_list: String,
    /// Brokers, separated by commas; all when it is not given
    #[arg(long, value_name = "LIST")]
    broker_list: Option<String>,
}

#[derive(Serialize)]
struct Report {
    brokers: Vec<Broker>,
    version: i32,
}

#[derive(Serialize)]
struct Broker {
    broker: i32,
    #[serde(rename = "logDirs")]
    log_dirs: Vec<LogDir>,
}

#[derive(Serialize)]
struct LogDir {
    partitions: Vec<Replica>,
    error: Option<String>,
    #[serde(rename = "logDir")]
    log_dir: String,
}

#[derive(Serialize)]
struct Replica {
    partition: String,
    size: i64,
    #[serde(rename = "offsetLag")]
    offset_lag: i64,
    #[serde(rename = "isFuture")]
    is_future: bool,
}

impl LogDirs {
    pub async fn run(&self) -> Result<(), Failure> {
        let mut client = self.connect.client("dohle-log-dirs")?;
        let cluster = client.call(&DescribeClusterRequest::default()).await?;
        check(cluster.error_code, || "the cluster".to_owned())?;
        let existing: BTreeSet<i32> = cluster
            .brokers
            .iter()
            .map(|broker| broker.broker_id.0)
            .collect();
        let asked = self.brokers(&existing)?;
        let topics: BTreeSet<&str> = self
            .topic_list
            .split(',')
            .filter(|name| !name.is_empty())
            .collect();
        // Where the brokers are.
        client.metadata(Some(&[]), false).await?;
        say!("Querying brokers for log directories information");
        let mut brokers = Vec::new();
        for &broker in &asked {
            let request = DescribeLogDirsRequest::default();
            let response = client.call_broker(broker, &request).await?;
            check(response.error_code, || format!("broker {broker}"))?;
            let log_dirs = response.results.iter();
            let log_dirs = log_dirs.map(|result| log_dir(result, &topics));
            brokers.push(Broker {
                broker,
                log_dirs: log_dirs.collect(),
            });
        }
        let ids: Vec<String> = asked.iter().map(i32::to_string).collect();
        say!(
            "Received log directory information from brokers {}",
            ids.join(",")
        );
        let report = Report {
            brokers,
            version: 1,
        };
        say!(
            "{}",
            serde_json::to_string(&report).expect("text and numbers can be written")
        );
        Ok(())
    }

    fn brokers(&self, existing: &BTreeSet<i32>) -> Result<BTreeSet<i32>, Failure> {
        let Some(list) = self.broker_list.as_deref().filter(|list| !list.is_empty()) else {
            return Ok(existing.clone());
        };
        let parse = |id: &str| {
            id.trim()
                .parse::<i32>()
                .map_err(|_| Failure::new(format!("For input string: \"{id}\"")))
        };
        let asked = list
            .split(',')
            .filter(|id| !id.is_empty())
            .map(parse)
            .collect::<Result<BTreeSet<_>, _>>()?;
        let list = |ids: &mut dyn Iterator<Item = &i32>| {
            ids.map(i32::to_string).collect::<Vec<_>>().join(",")
        };
        match asked.is_subset(existing) {
            true => Ok(asked),
            false => Err(Failure::new(format!(
                "ERROR: The given brokers do not exist from --broker-list: {}. Current existent brokers: {}",
                list(&mut asked.difference(existing)),
                list(&mut existing.iter())
            ))),
        }
    }
}

fn log_dir(result: &DescribeLogDirsResult, topics: &BTreeSet<&str>) -> LogDir {
    let wanted = |name: &str| topics.is_empty() || topics.contains(name);
    let partitions = result
        .topics
        .iter()
        .filter(|topic| wanted(&topic.name))
        .flat_map(|topic| {
            topic.partitions.iter().map(|partition| Replica {
                partition: format!("{}-{}", topic.name, partition.partition_index),
                size: partition.partition_size,
                offset_lag: partition.offset_lag,
                is_future: partition.is_future_key,
            })
        });
    let error = match ErrorCode::from_code(result.error_code) {
        ErrorCode::None => None,
        ErrorCode::KafkaStorageError => {
            Some("org.apache.kafka.common.errors.KafkaStorageException".to_owned())
        }
        code => Some(code.name().to_owned()),
    };
    LogDir {
        partitions: partitions.collect(),
        error,
        log_dir: result.log_dir.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::describe_log_dirs_response::{
        DescribeLogDirsPartition, DescribeLogDirsTopic,
    };
    use crate::messages::text;

    #[test]
    fn a_report_is_written_as_kafkas() {
        let partition = DescribeLogDirsPartition {
            partition_index: 0,
            partition_size: 657,
            ..Default::default()
        };
        let topic = |name| DescribeLogDirsTopic {
            name: text(name),
            partitions: vec![partition.clone()],
            ..Default::default()
        };
        let result = DescribeLogDirsResult {
            log_dir: text("/data/b3/d2"),
            topics: vec![topic("tc"), topic("tx")],
            ..Default::default()
        };
        let offline = DescribeLogDirsResult {
            error_code: 56,
            log_dir: text("/d"),
            ..Default::default()
        };
        let report = Report {
            brokers: vec![Broker {
                broker: 1,
                log_dirs: vec![
                    log_dir(&result, &BTreeSet::from(["tx"])),
                    log_dir(&offline, &BTreeSet::new()),
                ],
            }],
            version: 1,
        };
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"brokers":[{"broker":1,"logDirs":[{"partitions":[{"partition":"tx-0","size":657,"offsetLag":0,"isFuture":false}],"error":null,"logDir":"/data/b3/d2"},{"partitions":[],"error":"org.apache.kafka.common.errors.KafkaStorageException","logDir":"/d"}]}],"version":1}"#
        );
    }
}
