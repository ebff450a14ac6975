//! `dohle delete-records`: records before given offsets are deleted, with the flags, the file and the output of
//! `kafka-delete-records.sh` (org.apache.kafka.tools.DeleteRecordsCommand).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::client::{Backoff, Client};
use super::print::say;
use super::{Connect, Failure};
use crate::error_code::ErrorCode;
use crate::ids::{PartitionIndex, TopicPartition};
use crate::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use crate::messages::{DeleteRecordsRequest, TopicName, text};

/// How long brokers wait for the replicas. (AdminClientConfig.REQUEST_TIMEOUT_MS_CONFIG)
const TIMEOUT_MS: i32 = 30_000;

#[derive(Args, Debug)]
pub struct DeleteRecords {
    #[command(flatten)]
    connect: Connect,
    /// A JSON file: {"partitions": [{"topic": "foo", "partition": 1, "offset": 1}], "version": 1}; the records of each
    /// partition before the offset are deleted, all of them with -1
    #[arg(long, value_name = "FILE")]
    offset_json_file: PathBuf,
}

/// What came of one partition: where it begins now.
type Deleted = Result<i64, ErrorCode>;

impl DeleteRecords {
    pub async fn run(&self) -> Result<(), Failure> {
        let path = self.offset_json_file.display();
        let json = std::fs::read_to_string(&self.offset_json_file)
            .map_err(|error| Failure::new(format!("Unable to read file {path}: {error}")))?;
        let asked = parse(&json)?;
        let mut client = self.connect.client("dohle-delete-records")?;
        say!("Executing records delete operation");
        let deleted = delete(&mut client, asked).await?;
        say!("Records delete operation completed:");
        let mut failed = false;
        for (partition, result) in deleted {
            match result {
                Ok(low_watermark) => say!("partition: {partition}\tlow_watermark: {low_watermark}"),
                Err(code) => {
                    failed = true;
                    say!("partition: {partition}\terror: {}", words(code));
                }
            }
        }
        match failed {
            true => Err(Failure::new("not all records were deleted")),
            false => Ok(()),
        }
    }
}

/// What Kafka's tool prints of the errors that are not tried again.
fn words(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::OffsetOutOfRange => {
            "org.apache.kafka.common.errors.OffsetOutOfRangeException: The requested offset is not within the range of \
             offsets maintained by the server."
        }
        ErrorCode::PolicyViolation => {
            "org.apache.kafka.common.errors.PolicyViolationException: Request parameters do not satisfy the configured \
             policy."
        }
        code => code.name(),
    }
}

/// (DeleteRecordsCommand.parseOffsetJsonStringWithoutDedup)
fn parse(json: &str) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let json: Value = serde_json::from_str(json)
        .map_err(|_| Failure::new("The input string is not a valid JSON"))?;
    match json.get("version").map_or(Some(1), Value::as_i64) {
        Some(1) => {}
        Some(version) => {
            return Err(Failure::new(format!(
                "Not supported version field value {version}"
            )));
        }
        None => return Err(Failure::new("the version is no number")),
    }
    let partitions = json
        .get("partitions")
        .ok_or_else(|| Failure::new("Missing partitions field"))?
        .as_array()
        .ok_or_else(|| Failure::new("partitions is no array"))?;
    let mut asked = BTreeMap::new();
    let mut duplicates = BTreeSet::new();
    for entry in partitions {
        let is_missing = |field: &&&str| entry.get(field).is_none();
        if let Some(field) = ["topic", "partition", "offset"].iter().find(is_missing) {
            return Err(Failure::new(format!("No such field exists: `{field}`")));
        }
        let (partition, offset) = parse_entry(entry)
            .ok_or_else(|| Failure::new("topic is no text, or partition or offset no number"))?;
        if asked.insert(partition.clone(), offset).is_some() {
            duplicates.insert(partition.to_string());
        }
    }
    match duplicates.is_empty() {
        true => Ok(asked),
        false => {
            let names: Vec<String> = duplicates.into_iter().collect();
            Err(Failure::new(format!(
                "Offset json file contains duplicate topic partitions: {}",
                names.join(",")
            )))
        }
    }
}

fn parse_entry(entry: &Value) -> Option<(TopicPartition, i64)> {
    let topic = entry.get("topic")?.as_str()?;
    let partition = entry.get("partition")?.as_i64()?;
    let partition = TopicPartition::new(topic, i32::try_from(partition).ok()?);
    Some((partition, entry.get("offset")?.as_i64()?))
}

/// Asks the leader of each partition, again while there is none.
async fn delete(
    client: &mut Client,
    mut asked: BTreeMap<TopicPartition, i64>,
) -> Result<BTreeMap<TopicPartition, Deleted>, Failure> {
    let mut deleted = BTreeMap::new();
    let mut backoff = Backoff::default();
    loop {
        for (broker, partitions) in by_leader(client, &asked, &mut deleted).await? {
            let response = client.call_broker(broker, &request(&partitions)).await?;
            for topic in &response.topics {
                for result in &topic.partitions {
                    let name = TopicPartition::new(&*topic.name.0, result.partition_index);
                    let result = match ErrorCode::from_code(result.error_code) {
                        ErrorCode::None => Ok(result.low_watermark),
                        code => Err(code),
                    };
                    deleted.insert(name, result);
                }
            }
        }
        asked.retain(
            |partition, _| matches!(deleted.get(partition), Some(Err(code)) if is_retriable(*code)),
        );
        if asked.is_empty() || !backoff.wait().await {
            return Ok(deleted);
        }
    }
}

fn is_retriable(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UnknownTopicOrPartition
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::KafkaStorageError
    )
}

type Offsets = Vec<(TopicPartition, i64)>;

/// What each leader is asked. Partitions without a leader are answered here.
async fn by_leader(
    client: &mut Client,
    asked: &BTreeMap<TopicPartition, i64>,
    deleted: &mut BTreeMap<TopicPartition, Deleted>,
) -> Result<BTreeMap<i32, Offsets>, Failure> {
    let topics: BTreeSet<&str> = asked.keys().map(|partition| &*partition.topic).collect();
    let names: Vec<&str> = topics.into_iter().collect();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let metadata = client.metadata(Some(&names), false).await?;
    let mut leaders: BTreeMap<TopicPartition, Result<i32, ErrorCode>> = BTreeMap::new();
    for topic in &metadata.topics {
        let name = topic.name.as_ref().map_or("", |name| name.as_str());
        for partition in &topic.partitions {
            let leader = match ErrorCode::from_code(partition.error_code) {
                ErrorCode::None => Ok(partition.leader_id.0),
                code => Err(code),
            };
            leaders.insert(TopicPartition::new(name, partition.partition_index), leader);
        }
    }
    let mut by_leader: BTreeMap<i32, Offsets> = BTreeMap::new();
    for (partition, offset) in asked {
        match leaders.get(partition).copied() {
            Some(Ok(leader)) => by_leader
                .entry(leader)
                .or_default()
                .push((partition.clone(), *offset)),
            Some(Err(code)) => drop(deleted.insert(partition.clone(), Err(code))),
            None => {
                let code = ErrorCode::UnknownTopicOrPartition;
                deleted.insert(partition.clone(), Err(code));
            }
        }
    }
    Ok(by_leader)
}

fn request(partitions: &[(TopicPartition, i64)]) -> DeleteRecordsRequest {
    let mut topics: BTreeMap<&str, Vec<DeleteRecordsPartition>> = BTreeMap::new();
    for (partition, offset) in partitions {
        let PartitionIndex(index) = partition.partition;
        topics.entry(&partition.topic).or_default().push(
            DeleteRecordsPartition::default()
                .with_partition_index(index)
                .with_offset(*offset),
        );
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        DeleteRecordsTopic::default()
            .with_name(TopicName(text(name)))
            .with_partitions(partitions)
    });
    DeleteRecordsRequest::default()
        .with_topics(topics.collect())
        .with_timeout_ms(TIMEOUT_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_partitions_and_offsets() {
        let asked = parse(
            r#"{"partitions":[{"topic":"t","partition":1,"offset":7},{"topic":"t","partition":0,"offset":-1}]}"#,
        )
        .unwrap();
        let expected = [
            (TopicPartition::new("t", 0), -1),
            (TopicPartition::new("t", 1), 7),
        ];
        assert_eq!(asked, BTreeMap::from(expected));
    }

    #[test]
    fn what_is_wrong_with_the_file_is_said() {
        let one = r#"{"topic":"t","partition":0,"offset":1}"#;
        let cases = [
            ("?".to_owned(), "The input string is not a valid JSON"),
            (r#"{"version":1}"#.to_owned(), "Missing partitions field"),
            (
                format!(r#"{{"partitions":[{one}],"version":2}}"#),
                "Not supported version field value 2",
            ),
            (
                format!(r#"{{"partitions":[{one},{one}],"version":1}}"#),
                "Offset json file contains duplicate topic partitions: t-0",
            ),
            (
                r#"{"partitions":[{"topic":"t","partition":0}]}"#.to_owned(),
                "No such field exists: `offset`",
            ),
            (
                r#"{"partitions":[{"topic":"t","partition":0,"offset":"5"}]}"#.to_owned(),
                "topic is no text, or partition or offset no number",
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(parse(&json).unwrap_err().to_string(), expected);
        }
    }
}
