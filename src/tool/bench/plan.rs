//! What the tasks of a run share, and how its topics come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::batches::Template;
use super::schedule::Epoch;
use super::workload::Workload;
use crate::clock::Clock;
use crate::error_code::ErrorCode;
use crate::ids::{PartitionIndex, TopicPartition};
use crate::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use crate::messages::delete_topics_request::DeleteTopicState;
use crate::messages::{CreateTopicsRequest, DeleteTopicsRequest, text};
use crate::tool::Failure;
use crate::tool::client::{self, Backoff, Client, LATEST, list_offsets};

/// How long brokers may take to have a batch replicated.
pub(super) const TIMEOUT_MS: i32 = 30_000;
/// How long they may take until topics of thousands of partitions are there, or gone.
const TOPICS_TIMEOUT: Duration = Duration::from_secs(300);
const REST: Duration = Duration::from_millis(100);
pub(super) const CLIENT_ID: &str = "dohle-bench";

/// Shared by all tasks.
pub(super) struct Plan {
    pub workload: Workload,
    pub template: Template,
    /// Marks the records of this run.
    pub tag: [u8; 4],
    pub epoch: Epoch,
    pub clock: Clock,
}

/// A topic of the run.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub name: String,
    pub id: uuid::Uuid,
    /// The leader of each partition.
    pub leaders: Vec<i32>,
}

impl Topic {
    /// The partitions among `wanted` by their leaders.
    pub(super) fn by_leader(
        &self,
        wanted: impl Fn(usize) -> bool,
    ) -> BTreeMap<i32, Vec<PartitionIndex>> {
        let mut found: BTreeMap<i32, Vec<PartitionIndex>> = BTreeMap::new();
        for (at, leader) in self
            .leaders
            .iter()
            .enumerate()
            .filter(|(at, _)| wanted(*at))
        {
            let index = i32::try_from(at).expect("a count of partitions");
            found
                .entry(*leader)
                .or_default()
                .push(PartitionIndex(index));
        }
        found
    }
}

/// Creates the topics `<prefix>-<n>` and waits until each partition has a leader that answers.
pub(super) async fn create_topics(
    client: &mut Client,
    workload: &Workload,
    prefix: &str,
) -> Result<Vec<Topic>, Failure> {
    let names: Vec<String> = (0..workload.topics)
        .map(|number| format!("{prefix}-{number}"))
        .collect();
    let configs: Vec<_> = workload
        .topic_configs
        .iter()
        .map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(text(name))
                .with_value(Some(text(value)))
        })
        .collect();
    let partitions = i32::try_from(workload.partitions_per_topic).unwrap_or(i32::MAX);
    let topics = names.iter().map(|name| {
        CreatableTopic::default()
            .with_name(text(name).into())
            .with_num_partitions(partitions)
            .with_replication_factor(workload.replication_factor)
            .with_configs(configs.clone())
    });
    let request = CreateTopicsRequest::default()
        .with_topics(topics.collect())
        .with_timeout_ms(TOPICS_TIMEOUT.as_millis() as i32);
    for topic in client.call(&request).await?.topics {
        Failure::check(topic.error_code, topic.error_message.as_deref())
            .map_err(|failure| failure.context(&format!("topic {}: ", topic.name.as_str())))?;
    }
    let until = Instant::now() + TOPICS_TIMEOUT;
    let topics = learn(client, &names, until).await?;
    loop {
        match end_offsets(client, &topics, false).await {
            Ok(_) => return Ok(topics),
            Err(client::Error::Refused { .. }) if Instant::now() < until => sleep(REST).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until metadata names a leader for every partition.
async fn learn(
    client: &mut Client,
    names: &[String],
    until: Instant,
) -> Result<Vec<Topic>, Failure> {
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    loop {
        let metadata = client.metadata(Some(&wanted), false).await?;
        let mut topics = Vec::new();
        for topic in &metadata.topics {
            let mut leaders: BTreeMap<i32, i32> = BTreeMap::new();
            for partition in &topic.partitions {
                leaders.insert(partition.partition_index, partition.leader_id.0);
            }
            let led = !leaders.is_empty() && leaders.values().all(|leader| *leader >= 0);
            if topic.error_code == ErrorCode::None.code() && led {
                topics.push(Topic {
                    name: topic
                        .name
                        .as_ref()
                        .map_or("", |name| name.as_str())
                        .to_owned(),
                    id: topic.topic_id,
                    leaders: leaders.into_values().collect(),
                });
            }
        }
        if topics.len() == names.len() {
            return Ok(topics);
        }
        if Instant::now() >= until {
            return Err(Failure::new("the topics have partitions without a leader"));
        }
        sleep(REST).await;
    }
}

/// The log end offset of every partition of the topics, or its last stable offset.
pub(super) async fn end_offsets(
    client: &mut Client,
    topics: &[Topic],
    read_committed: bool,
) -> Result<BTreeMap<TopicPartition, i64>, client::Error> {
    let mut wanted = BTreeMap::new();
    for topic in topics {
        for index in 0..topic.leaders.len() {
            let index = i32::try_from(index).expect("a count of partitions");
            wanted.insert(TopicPartition::new(topic.name.as_str(), index), LATEST);
        }
    }
    let found = list_offsets(client, wanted, read_committed).await?;
    let known = found.into_iter();
    Ok(known
        .map(|(partition, offset)| (partition, offset.unwrap_or(0)))
        .collect())
}

/// The log end offsets when no transaction is open any more: markers are written behind the answer to its end.
pub(super) async fn settled_offsets(
    client: &mut Client,
    topics: &[Topic],
) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let mut backoff = Backoff::default();
    loop {
        let ends = end_offsets(client, topics, false).await?;
        if ends == end_offsets(client, topics, true).await? {
            return Ok(ends);
        }
        if !backoff.wait().await {
            return Err(Failure::new("transactions stay open"));
        }
    }
}

/// Deletes the topics.
pub(super) async fn delete_topics(client: &mut Client, topics: &[Topic]) -> Result<(), Failure> {
    let named = topics
        .iter()
        .map(|topic| DeleteTopicState::default().with_name(Some(text(&topic.name).into())));
    let request = DeleteTopicsRequest::default()
        .with_topics(named.collect())
        .with_timeout_ms(TOPICS_TIMEOUT.as_millis() as i32);
    for topic in client.call(&request).await?.responses {
        Failure::check(topic.error_code, topic.error_message.as_deref())?;
    }
    Ok(())
}
