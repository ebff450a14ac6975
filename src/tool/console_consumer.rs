//! `dohle console-consumer`: prints records, with the flags and output of `kafka-console-consumer.sh`
//! (org.apache.kafka.tools.consumer.ConsoleConsumer, DefaultMessageFormatter).

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::Args;
use tokio::time::{Duration, Instant};

use super::client::{Client, EARLIEST, Fetched, Fetcher, LATEST, Member};
use super::print::{complain, end_when_unheard};
use super::properties::{self, Properties};
use super::topic_filter::TopicFilter;
use super::{Connect, Failure};
use crate::ids::TopicPartition;
use crate::record::TimestampType;

/// Between two commits of a group's offsets. (auto.commit.interval.ms)
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);

/// Rest of a member to which no partition fell.
const UNASSIGNED_REST: Duration = Duration::from_millis(200);

#[derive(Args, Debug)]
pub struct ConsoleConsumer {
    #[command(flatten)]
    connect: Connect,
    /// The topic to consume from
    #[arg(long, conflicts_with = "include", required_unless_present = "include")]
    topic: Option<String>,
    /// The topics to consume from, as a regular expression
    #[arg(long, value_name = "REGEX")]
    include: Option<String>,
    /// The partition to consume from
    #[arg(long, requires = "topic", conflicts_with = "group")]
    partition: Option<i32>,
    /// Where to start in the partition: a number, earliest or latest
    #[arg(long, requires = "partition")]
    offset: Option<String>,
    /// Start at the beginning where the group has no offset yet
    #[arg(long)]
    from_beginning: bool,
    /// The group to be a member of; without one, nothing is committed
    #[arg(long)]
    group: Option<String>,
    /// Stop after that many records
    #[arg(long, value_name = "COUNT")]
    max_messages: Option<u64>,
    /// Stop when no record came for that long
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u64>,
    /// read_uncommitted or read_committed
    #[arg(long, default_value = "read_uncommitted")]
    isolation_level: String,
    /// A consumer setting; group.id, auto.offset.reset and isolation.level are acted on
    #[arg(
        long = "command-property",
        alias = "consumer-property",
        value_name = "NAME=VALUE"
    )]
    command_property: Vec<String>,
    /// What is printed: print.timestamp, print.partition, print.offset, print.epoch, print.headers, print.key,
    /// print.value, key.separator, line.separator, headers.separator, null.literal
    #[arg(
        long = "formatter-property",
        alias = "property",
        value_name = "NAME=VALUE"
    )]
    formatter_property: Vec<String>,
    /// A file of such properties
    #[arg(long, value_name = "FILE")]
    formatter_config: Option<std::path::PathBuf>,
    /// Accepted for compatibility: a record that cannot be printed does not exist here
    #[arg(long, hide = true)]
    skip_message_on_error: bool,
}

impl ConsoleConsumer {
    pub async fn run(&self) -> Result<(), Failure> {
        let given = properties::merged(
            self.connect.command_config.as_deref(),
            &self.command_property,
        )?;
        let format = RecordFormat::of(&properties::merged(
            self.formatter_config.as_deref(),
            &self.formatter_property,
        )?);
        let mut client = self.connect.client("console-consumer")?;
        let isolation = given
            .get("isolation.level")
            .unwrap_or(&self.isolation_level);
        let from_beginning = self.from_beginning
            || given
                .get("auto.offset.reset")
                .is_some_and(|to| to == "earliest");
        let reset_to = if from_beginning { EARLIEST } else { LATEST };
        let mut reader = Reader {
            fetcher: Fetcher::new(isolation == "read_committed", reset_to),
            member: None,
            format,
            commit_at: Instant::now() + COMMIT_INTERVAL,
            printed: 0,
        };
        let group = self
            .group
            .as_deref()
            .or_else(|| given.get("group.id").map(String::as_str));
        let outcome = tokio::select! {
            outcome = self.consume(&mut client, &mut reader, group, from_beginning) => outcome,
            _ = tokio::signal::ctrl_c() => Ok(()),
        };
        reader.finish().await?;
        complain!("Processed a total of {} messages", reader.printed);
        outcome
    }

    async fn consume(
        &self,
        client: &mut Client,
        reader: &mut Reader,
        group: Option<&str>,
        from_beginning: bool,
    ) -> Result<(), Failure> {
        let topics = self.topics(client).await?;
        let offsets = match group {
            Some(group) => {
                let (member, offsets) = Member::join(client, group, topics, from_beginning).await?;
                reader.member = Some(member);
                offsets
            }
            None => self.starts(client, &topics, from_beginning).await?,
        };
        reader.fetcher.assign(client, offsets).await?;
        let idle_max = self.timeout_ms.map(Duration::from_millis);
        let mut last_record_at = Instant::now();
        while self.max_messages.is_none_or(|max| reader.printed < max) {
            let left = self.max_messages.map(|max| max - reader.printed);
            if reader.poll(client, left).await? > 0 {
                last_record_at = Instant::now();
            } else if idle_max.is_some_and(|max| last_record_at.elapsed() >= max) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The topics to read; one that does not exist may be created by the broker, as for any consumer.
    async fn topics(&self, client: &mut Client) -> Result<Vec<String>, Failure> {
        if let Some(topic) = &self.topic {
            client.metadata(Some(&[topic.as_str()]), true).await?;
            return Ok(vec![topic.clone()]);
        }
        let filter = TopicFilter::of(self.include.as_deref(), false)?;
        let metadata = client.metadata(None, false).await?;
        let names = metadata
            .topics
            .iter()
            .filter_map(|topic| topic.name.as_ref());
        Ok(names
            .filter(|name| filter.admits(name, false))
            .map(|name| name.to_string())
            .collect())
    }

    /// Where each partition starts without a group.
    async fn starts(
        &self,
        client: &mut Client,
        topics: &[String],
        from_beginning: bool,
    ) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
        let start = match self.offset.as_deref() {
            Some("earliest") => EARLIEST,
            Some("latest") => LATEST,
            Some(number) => number.parse().ok().filter(|offset: &i64| *offset >= 0).ok_or_else(|| {
                Failure::new(format!(
                    "The provided offset value '{number}' is incorrect. Valid values are 'earliest', 'latest', or a \
                     non-negative long."
                ))
            })?,
            None if from_beginning => EARLIEST,
            None => LATEST,
        };
        if let Some(partition) = self.partition {
            return Ok(topics
                .iter()
                .map(|topic| (TopicPartition::new(topic.as_str(), partition), start))
                .collect());
        }
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let mut starts = BTreeMap::new();
        let mut backoff = super::client::Backoff::default();
        while starts.is_empty() {
            for topic in client.metadata(Some(&names), true).await?.topics {
                let name = topic.name.map(|name| name.to_string()).unwrap_or_default();
                for partition in topic.partitions {
                    starts.insert(
                        TopicPartition::new(name.as_str(), partition.partition_index),
                        start,
                    );
                }
            }
            if starts.is_empty() && !backoff.wait().await {
                return Err(Failure::new(format!(
                    "there is no topic {}",
                    names.join(",")
                )));
            }
        }
        Ok(starts)
    }
}

/// Reads and prints, as a member of a group or by itself.
struct Reader {
    fetcher: Fetcher,
    member: Option<Member>,
    format: RecordFormat,
    commit_at: Instant,
    printed: u64,
}

impl Reader {
    /// Prints what comes, `left` records at most; says how many.
    async fn poll(&mut self, client: &mut Client, left: Option<u64>) -> Result<u64, Failure> {
        if let Some(member) = &mut self.member
            && !member.heartbeat().await?
        {
            let offsets = member.rejoin(client).await?;
            self.fetcher.assign(client, offsets).await?;
        }
        let idle = self.fetcher.positions().next().is_none();
        if idle {
            tokio::time::sleep(UNASSIGNED_REST).await;
        }
        let fetched = self.fetcher.poll(client).await?;
        let mut printed = 0;
        let mut out = io::stdout().lock();
        for record in &fetched {
            if left == Some(printed) {
                break;
            }
            end_when_unheard(self.format.write(&mut out, record));
            printed += 1;
        }
        end_when_unheard(out.flush());
        drop(out);
        // What was read beyond the last record that was printed is given back.
        for record in fetched
            .iter()
            .skip(usize::try_from(printed).unwrap_or(usize::MAX))
            .rev()
        {
            self.fetcher.seek(&record.partition, record.record.offset.0);
        }
        self.printed += printed;
        if Instant::now() >= self.commit_at {
            self.commit().await?;
        }
        Ok(printed)
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        self.commit_at = Instant::now() + COMMIT_INTERVAL;
        if let Some(member) = &mut self.member {
            let known = self.fetcher.positions().filter(|(_, offset)| *offset >= 0);
            let offsets = known
                .map(|(partition, offset)| (partition.clone(), offset))
                .collect();
            member.commit(&offsets).await?;
        }
        Ok(())
    }

    /// Commits and leaves the group.
    async fn finish(&mut self) -> Result<(), Failure> {
        self.commit().await?;
        match self.member.take() {
            Some(member) => Ok(member.leave().await?),
            None => Ok(()),
        }
    }
}

/// How a record is printed.
struct RecordFormat {
    timestamp: bool,
    partition: bool,
    offset: bool,
    epoch: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: String,
    line_separator: String,
    headers_separator: String,
    null_literal: String,
}

impl RecordFormat {
    fn of(properties: &Properties) -> RecordFormat {
        let flag = |name: &str, default: bool| {
            properties
                .get(name)
                .map_or(default, |value| value.trim().eq_ignore_ascii_case("true"))
        };
        let text = |name: &str, default: &str| {
            properties
                .get(name)
                .map_or(default, String::as_str)
                .to_owned()
        };
        RecordFormat {
            timestamp: flag("print.timestamp", false),
            partition: flag("print.partition", false),
            offset: flag("print.offset", false),
            epoch: flag("print.epoch", false),
            headers: flag("print.headers", false),
            key: flag("print.key", false),
            value: flag("print.value", true),
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            headers_separator: text("headers.separator", ","),
            null_literal: text("null.literal", "null"),
        }
    }

    fn write(&self, out: &mut impl Write, fetched: &Fetched) -> io::Result<()> {
        let record = &fetched.record;
        let mut parts: Vec<Vec<u8>> = Vec::new();
        if self.timestamp {
            let kind = match fetched.timestamp_type {
                TimestampType::CreateTime => "CreateTime",
                TimestampType::LogAppendTime => "LogAppendTime",
            };
            parts.push(format!("{kind}:{}", record.timestamp).into_bytes());
        }
        if self.partition {
            parts.push(format!("Partition:{}", fetched.partition.partition).into_bytes());
        }
        if self.offset {
            parts.push(format!("Offset:{}", record.offset).into_bytes());
        }
        if self.epoch {
            // The formatter of Kafka 4.3 is handed records without their epoch.
            parts.push(b"Epoch:NOT_PRESENT".to_vec());
        }
        if self.headers {
            parts.push(self.headers(fetched));
        }
        if self.key {
            parts.push(self.bytes(record.key.as_deref()));
        }
        if self.value {
            parts.push(self.bytes(record.value.as_deref()));
        }
        out.write_all(&parts.join(self.key_separator.as_bytes()))?;
        out.write_all(self.line_separator.as_bytes())
    }

    fn headers(&self, fetched: &Fetched) -> Vec<u8> {
        let header = |header: &crate::record::Header| {
            let mut text = header.key.to_vec();
            text.push(b':');
            text.extend(self.bytes(header.value.as_deref()));
            text
        };
        match fetched.record.headers.as_slice() {
            [] => b"NO_HEADERS".to_vec(),
            headers => headers
                .iter()
                .map(header)
                .collect::<Vec<_>>()
                .join(self.headers_separator.as_bytes()),
        }
    }

    fn bytes(&self, bytes: Option<&[u8]>) -> Vec<u8> {
        bytes.unwrap_or(self.null_literal.as_bytes()).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Offset, Timestamp};
    use crate::record::{Header, Record};

    #[test]
    fn parts_are_printed_in_kafkas_order() {
        let names = [
            "timestamp",
            "partition",
            "offset",
            "epoch",
            "headers",
            "key",
        ];
        let properties = names
            .iter()
            .map(|name| (format!("print.{name}"), "true".to_owned()))
            .collect();
        let record = Record {
            offset: Offset(5),
            timestamp: Timestamp(1_700_000_000_000),
            key: Some("key".into()),
            value: None,
            headers: vec![
                Header {
                    key: "h1".into(),
                    value: Some("one".into()),
                },
                Header {
                    key: "h2".into(),
                    value: None,
                },
            ],
        };
        let fetched = Fetched {
            partition: TopicPartition::new("t", 3),
            timestamp_type: TimestampType::CreateTime,
            record,
        };
        let mut out = Vec::new();
        RecordFormat::of(&properties)
            .write(&mut out, &fetched)
            .unwrap();
        let expected = "CreateTime:1700000000000\tPartition:3\tOffset:5\tEpoch:NOT_PRESENT\th1:one,h2:null\tkey\tnull\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
