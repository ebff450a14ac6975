//! `dohle get-offsets`: where partitions begin, end, or were at a time, with the flags and output of
//! `kafka-get-offsets.sh` (org.apache.kafka.tools.GetOffsetShell).

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use regex::Regex;

use super::client::list_offsets;
use super::print::say;
use super::topic_filter::TopicFilter;
use super::{Connect, Failure};
use crate::ids::TopicPartition;

#[derive(Args, Debug)]
pub struct GetOffsets {
    #[command(flatten)]
    connect: Connect,
    /// Topics, as a regular expression; all when it is not given
    #[arg(long, conflicts_with = "topic_partitions")]
    topic: Option<String>,
    /// Partitions, separated by commas; all when it is not given
    #[arg(long, value_name = "LIST", conflicts_with = "topic_partitions")]
    partitions: Option<String>,
    /// Patterns separated by commas: topic:3, topic:0-3 (without 3), topic:5-, topic:-3, topic
    #[arg(long, value_name = "PATTERNS")]
    topic_partitions: Option<String>,
    /// latest (-1), earliest (-2), max-timestamp (-3), earliest-local (-4), latest-tiered (-5),
    /// earliest-pending-upload (-6), or milliseconds since 1970
    #[arg(long, default_value = "latest", allow_hyphen_values = true)]
    time: String,
    /// Leave internal topics out
    #[arg(long)]
    exclude_internal_topics: bool,
}

/// Topics and the partitions of them that are asked for.
struct Pattern {
    topics: TopicFilter,
    from: i32,
    /// One past the last.
    to: i32,
    listed: Option<BTreeSet<i32>>,
}

impl Pattern {
    fn admits(&self, topic: &str, internal: bool, partition: i32) -> bool {
        self.topics.admits(topic, internal)
            && (self.from..self.to).contains(&partition)
            && self
                .listed
                .as_ref()
                .is_none_or(|listed| listed.contains(&partition))
    }
}

impl GetOffsets {
    pub async fn run(&self) -> Result<(), Failure> {
        self.execute()
            .await
            .map_err(|failure| failure.context("Error occurred: "))
    }

    async fn execute(&self) -> Result<(), Failure> {
        let time = parse_time(&self.time)?;
        let patterns = self.patterns()?;
        let mut client = self.connect.client("dohle-get-offsets")?;
        let metadata = client.metadata(None, false).await?;
        let mut asked = BTreeMap::new();
        for topic in &metadata.topics {
            let name = topic
                .name
                .as_ref()
                .map(|name| name.as_str())
                .unwrap_or_default();
            for partition in topic
                .partitions
                .iter()
                .map(|partition| partition.partition_index)
            {
                if patterns
                    .iter()
                    .any(|pattern| pattern.admits(name, topic.is_internal, partition))
                {
                    asked.insert(TopicPartition::new(name, partition), time);
                }
            }
        }
        if asked.is_empty() {
            return Err(Failure::new(
                "Could not match any topic-partitions with the specified filters",
            ));
        }
        for (partition, offset) in list_offsets(&mut client, asked, false).await? {
            if let Some(offset) = offset {
                say!("{}:{}:{offset}", partition.topic, partition.partition);
            }
        }
        Ok(())
    }

    fn patterns(&self) -> Result<Vec<Pattern>, Failure> {
        if let Some(patterns) = &self.topic_partitions {
            return patterns
                .split(',')
                .map(|pattern| parse_pattern(pattern, self.exclude_internal_topics))
                .collect();
        }
        let topics = TopicFilter::of(self.topic.as_deref(), self.exclude_internal_topics)?;
        let listed = self.partitions.as_deref().map(|list| {
            let parse = |id: &str| {
                id.trim().parse::<i32>().map_err(|_| {
                    Failure::new(format!(
                        "--partitions expects a comma separated list of numeric partition ids, but received: {list}"
                    ))
                })
            };
            list.split(',').map(parse).collect::<Result<BTreeSet<_>, _>>()
        });
        Ok(vec![Pattern {
            topics,
            from: 0,
            to: i32::MAX,
            listed: listed.transpose()?,
        }])
    }
}

/// (GetOffsetShell.parseOffsetSpec)
fn parse_time(time: &str) -> Result<i64, Failure> {
    match time {
        "latest" => Ok(-1),
        "earliest" => Ok(-2),
        "max-timestamp" => Ok(-3),
        "earliest-local" => Ok(-4),
        "latest-tiered" => Ok(-5),
        "earliest-pending-upload" => Ok(-6),
        number => number.parse().map_err(|_| {
            Failure::new(format!(
                "Malformed time argument {time}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or \
                 earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format \
                 timestamp"
            ))
        }),
    }
}

/// (GetOffsetShell.createTopicPartitionFilterWithPatternList)
fn parse_pattern(pattern: &str, exclude_internal: bool) -> Result<Pattern, Failure> {
    let format =
        Regex::new(r"^([^:,]*)(?::(?:([0-9]*)|(?:([0-9]*)-([0-9]*))))?$").expect("a constant");
    let parts = format
        .captures(pattern)
        .ok_or_else(|| Failure::new(format!("Invalid topic-partition pattern: {pattern}")))?;
    let part = |at: usize| {
        parts
            .get(at)
            .map(|part| part.as_str())
            .filter(|part| !part.is_empty())
    };
    let number = |at: usize| {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| Failure::new(format!("'{text}' is no partition")))
        };
        part(at).map(parse).transpose()
    };
    let topics = TopicFilter::of(part(1), exclude_internal)?;
    let (from, to) = match number(2)? {
        Some(one) => (one, one + 1),
        None => (number(3)?.unwrap_or(0), number(4)?.unwrap_or(i32::MAX)),
    };
    Ok(Pattern {
        topics,
        from,
        to,
        listed: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_topics_and_partitions() {
        let cases = [
            ("t:2", "t", 2, true),
            ("t:2", "t", 3, false),
            ("t:1-3", "t", 3, false),
            ("t:1-3", "t", 2, true),
            ("t:5-", "t", 9, true),
            ("t:-3", "t", 2, true),
            ("t", "t", 100, true),
            (":1", "anything", 1, true),
            ("a.*", "abc", 0, true),
            ("a.*", "b", 0, false),
        ];
        for (pattern, topic, partition, expected) in cases {
            let admits = parse_pattern(pattern, false)
                .unwrap()
                .admits(topic, false, partition);
            assert_eq!(admits, expected, "{pattern} {topic}-{partition}");
        }
        assert!(parse_pattern("t:x", false).is_err());
    }

    #[test]
    fn times_have_names() {
        assert_eq!(parse_time("earliest").unwrap(), -2);
        assert_eq!(parse_time("1700000000000").unwrap(), 1_700_000_000_000);
        assert!(parse_time("yesterday").is_err());
    }
}
