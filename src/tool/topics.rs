//! `dohle topics`: create, list, describe, alter and delete topics, with the flags and output of `kafka-topics.sh`
//! (org.apache.kafka.tools.TopicCommand).

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;

use super::client::{self, Client, check};
use super::print::say;
use super::topic_filter::TopicFilter;
use super::{Connect, Failure};
use crate::error_code::ErrorCode;
use crate::ids::KafkaUuid;
use crate::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use crate::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use crate::messages::delete_topics_request::DeleteTopicState;
use crate::messages::describe_configs_request::DescribeConfigsResource;
use crate::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use crate::messages::describe_topic_partitions_response::{
    DescribeTopicPartitionsResponsePartition as Partition,
    DescribeTopicPartitionsResponseTopic as Topic,
};
use crate::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    DescribeTopicPartitionsRequest, text,
};

/// Milliseconds that the cluster may take for a change.
const TIMEOUT_MS: i32 = 30_000;

/// ConfigResource type of a topic.
const TOPIC_RESOURCE: i8 = 2;

/// The source of a config that nobody has set. (DescribeConfigsResponse.ConfigSource)
const DEFAULT_CONFIG_SOURCE: i8 = 5;

#[derive(Args, Debug)]
pub struct Topics {
    #[command(flatten)]
    connect: Connect,
    #[command(flatten)]
    action: Action,
    /// The topic to create, alter, describe or delete; a regular expression except for --create
    #[arg(long)]
    topic: Option<String>,
    /// The id of the topic to describe
    #[arg(long, value_name = "ID")]
    topic_id: Option<String>,
    /// Number of partitions of the topic that is created or altered
    #[arg(long)]
    partitions: Option<i32>,
    /// Replicas of each partition; the cluster's default when it is not given
    #[arg(long)]
    replication_factor: Option<i16>,
    /// Brokers of each partition: partitions separated by commas, their replicas by colons
    #[arg(long, value_name = "LIST")]
    replica_assignment: Option<String>,
    /// A setting of the topic that is created
    #[arg(long, value_name = "NAME=VALUE")]
    config: Vec<String>,
    /// Do nothing when the topic does not exist
    #[arg(long)]
    if_exists: bool,
    /// Do nothing when the topic exists
    #[arg(long)]
    if_not_exists: bool,
    /// Leave internal topics out
    #[arg(long)]
    exclude_internal: bool,
    /// Describe only topics with settings of their own
    #[arg(long)]
    topics_with_overrides: bool,
    /// Describe only partitions without a leader
    #[arg(long)]
    unavailable_partitions: bool,
    /// Describe only partitions whose ISR is smaller than their replicas
    #[arg(long)]
    under_replicated_partitions: bool,
    /// Describe only partitions whose ISR is smaller than min.insync.replicas
    #[arg(long)]
    under_min_isr_partitions: bool,
    /// Describe only partitions whose ISR is as large as min.insync.replicas
    #[arg(long)]
    at_min_isr_partitions: bool,
    /// Partitions in one answer of the broker
    #[arg(long, value_name = "COUNT", default_value_t = 2000)]
    partition_size_limit_per_response: i32,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Action {
    /// Create a topic
    #[arg(long)]
    create: bool,
    /// List the topics
    #[arg(long)]
    list: bool,
    /// Describe topics
    #[arg(long)]
    describe: bool,
    /// Change the number of partitions
    #[arg(long)]
    alter: bool,
    /// Delete topics
    #[arg(long)]
    delete: bool,
}

impl Topics {
    pub async fn run(&self) -> Result<(), Failure> {
        self.execute()
            .await
            .map_err(|failure| failure.context("Error while executing topic command : "))
    }

    async fn execute(&self) -> Result<(), Failure> {
        let mut client = self.connect.client("dohle-topics")?;
        match &self.action {
            Action { create: true, .. } => self.create(&mut client).await,
            Action { list: true, .. } => self.list(&mut client).await,
            Action { describe: true, .. } => self.describe(&mut client).await,
            Action { alter: true, .. } => self.alter(&mut client).await,
            _ => self.delete(&mut client).await,
        }
    }

    fn required_topic(&self) -> Result<&str, Failure> {
        self.topic
            .as_deref()
            .ok_or_else(|| Failure::new("Missing required argument \"[topic]\""))
    }

    async fn create(&self, client: &mut Client) -> Result<(), Failure> {
        let name = self.required_topic()?;
        if name.contains(['.', '_']) {
            say!(
                "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could \
                 collide. To avoid issues it is best to use either, but not both."
            );
        }
        let mut topic = CreatableTopic::default()
            .with_name(text(name).into())
            .with_num_partitions(self.partitions.unwrap_or(-1))
            .with_replication_factor(self.replication_factor.unwrap_or(-1))
            .with_configs(self.configs()?);
        if let Some(assignment) = &self.replica_assignment {
            topic = topic.with_num_partitions(-1).with_replication_factor(-1);
            topic.assignments = parse_assignment(assignment)?
                .into_iter()
                .enumerate()
                .map(|(partition, brokers)| {
                    CreatableReplicaAssignment::default()
                        .with_partition_index(i32::try_from(partition).unwrap_or(i32::MAX))
                        .with_broker_ids(brokers.into_iter().map(Into::into).collect())
                })
                .collect();
        }
        let request = CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(TIMEOUT_MS);
        let response = client.call(&request).await?;
        for result in &response.topics {
            let exists = result.error_code == ErrorCode::TopicAlreadyExists.code();
            if !(exists && self.if_not_exists) {
                Failure::check(result.error_code, result.error_message.as_deref())?;
            }
        }
        say!("Created topic {name}.");
        Ok(())
    }

    fn configs(&self) -> Result<Vec<CreatableTopicConfig>, Failure> {
        let parse = |config: &String| {
            let (name, value) = config.split_once('=').ok_or_else(|| {
                Failure::new("requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".")
            })?;
            Ok(CreatableTopicConfig::default()
                .with_name(text(name.trim()))
                .with_value(Some(text(value.trim()))))
        };
        self.config.iter().map(parse).collect()
    }

    async fn list(&self, client: &mut Client) -> Result<(), Failure> {
        for name in self.names(client).await? {
            say!("{name}");
        }
        Ok(())
    }

    /// The names that the filter lets through, sorted.
    async fn names(&self, client: &mut Client) -> Result<BTreeSet<String>, Failure> {
        let filter = TopicFilter::of(self.topic.as_deref(), self.exclude_internal)?;
        let metadata = client.metadata(None, false).await?;
        let topics = metadata
            .topics
            .iter()
            .filter_map(|topic| Some((topic.name.as_ref()?.as_str(), topic.is_internal)));
        Ok(topics
            .filter(|(name, internal)| filter.admits(name, *internal))
            .map(|(name, _)| name.to_owned())
            .collect())
    }

    /// The names that the filter lets through; that there are some is asked for unless --if-exists is given.
    async fn existing(&self, client: &mut Client) -> Result<BTreeSet<String>, Failure> {
        let names = self.names(client).await?;
        match &self.topic {
            Some(topic) if names.is_empty() && !self.if_exists => Err(Failure::new(format!(
                "Topic '{topic}' does not exist as expected"
            ))),
            _ => Ok(names),
        }
    }

    async fn alter(&self, client: &mut Client) -> Result<(), Failure> {
        self.required_topic()?;
        let count = self
            .partitions
            .ok_or_else(|| Failure::new("Missing required argument \"[partitions]\""))?;
        let assignments = self
            .replica_assignment
            .as_deref()
            .map(parse_assignment)
            .transpose()?;
        let names = self.existing(client).await?;
        let mut topics = Vec::new();
        for topic in describe(client, names, self.partition_size_limit_per_response).await? {
            let existing = topic.partitions.len();
            let assignments = assignments.as_ref().map(|all| {
                let new = all.iter().skip(existing);
                new.map(|brokers| {
                    let brokers = brokers.iter().map(|broker| (*broker).into()).collect();
                    CreatePartitionsAssignment::default().with_broker_ids(brokers)
                })
                .collect()
            });
            let name = topic.name.clone().unwrap_or_default();
            topics.push(
                CreatePartitionsTopic::default()
                    .with_name(name)
                    .with_count(count)
                    .with_assignments(assignments),
            );
        }
        if topics.is_empty() {
            return Ok(());
        }
        let request = CreatePartitionsRequest::default()
            .with_topics(topics)
            .with_timeout_ms(TIMEOUT_MS);
        for result in &client.call(&request).await?.results {
            Failure::check(result.error_code, result.error_message.as_deref())?;
        }
        Ok(())
    }

    async fn delete(&self, client: &mut Client) -> Result<(), Failure> {
        self.required_topic()?;
        let names = self.existing(client).await?;
        if names.is_empty() {
            return Ok(());
        }
        let topic = |name: &String| DeleteTopicState::default().with_name(Some(text(name).into()));
        let request = DeleteTopicsRequest::default()
            .with_topics(names.iter().map(topic).collect())
            .with_timeout_ms(TIMEOUT_MS);
        for result in &client.call(&request).await?.responses {
            Failure::check(result.error_code, result.error_message.as_deref())?;
        }
        Ok(())
    }

    async fn describe(&self, client: &mut Client) -> Result<(), Failure> {
        let names = match &self.topic_id {
            Some(id) => self.name_of(client, id).await?.into_iter().collect(),
            None => self.existing(client).await?,
        };
        let configs = overrides(client, &names).await?;
        let none = BTreeMap::new();
        for topic in describe(client, names, self.partition_size_limit_per_response).await? {
            let name = topic
                .name
                .as_ref()
                .map(|name| name.as_str())
                .unwrap_or_default();
            let configs = configs.get(name).unwrap_or(&none);
            self.describe_topic(name, &topic, configs);
        }
        Ok(())
    }

    async fn name_of(&self, client: &mut Client, id: &str) -> Result<Option<String>, Failure> {
        let wanted =
            KafkaUuid::parse(id).ok_or_else(|| Failure::new(format!("'{id}' is no topic id")))?;
        let metadata = client.metadata(None, false).await?;
        let found = metadata
            .topics
            .iter()
            .find(|topic| topic.topic_id == wanted.0);
        match found.and_then(|topic| topic.name.as_ref()) {
            Some(name) => Ok(Some(name.to_string())),
            None if self.if_exists => Ok(None),
            None => Err(Failure::new(format!(
                "TopicId '{id}' does not exist as expected"
            ))),
        }
    }

    fn describe_topic(&self, name: &str, topic: &Topic, configs: &BTreeMap<String, Config>) {
        let overridden: Vec<String> = configs
            .iter()
            .filter(|(_, config)| config.overridden)
            .map(|(name, config)| format!("{name}={}", config.value))
            .collect();
        let partitions_only = self.unavailable_partitions
            || self.under_replicated_partitions
            || self.under_min_isr_partitions
            || self.at_min_isr_partitions;
        if self.topics_with_overrides && overridden.is_empty() {
            return;
        }
        if !partitions_only {
            say!(
                "Topic: {name}\tTopicId: {}\tPartitionCount: {}\tReplicationFactor: {}\tConfigs: {}",
                KafkaUuid(topic.topic_id),
                topic.partitions.len(),
                topic
                    .partitions
                    .first()
                    .map_or(0, |partition| partition.replica_nodes.len()),
                overridden.join(","),
            );
        }
        if self.topics_with_overrides {
            return;
        }
        let min_isr = configs
            .get("min.insync.replicas")
            .and_then(|config| config.value.parse().ok())
            .unwrap_or(1);
        let mut partitions: Vec<&Partition> = topic.partitions.iter().collect();
        partitions.sort_by_key(|partition| partition.partition_index);
        for partition in partitions
            .into_iter()
            .filter(|partition| self.shows(partition, min_isr))
        {
            say!("{}", partition_line(name, partition));
        }
    }

    fn shows(&self, partition: &Partition, min_isr: usize) -> bool {
        let isr = partition.isr_nodes.len();
        (!self.unavailable_partitions || partition.leader_id.0 < 0)
            && (!self.under_replicated_partitions || isr < partition.replica_nodes.len())
            && (!self.under_min_isr_partitions || isr < min_isr)
            && (!self.at_min_isr_partitions || isr == min_isr)
    }
}

fn partition_line(name: &str, partition: &Partition) -> String {
    let nodes = |nodes: &[crate::messages::BrokerId]| {
        nodes
            .iter()
            .map(|node| node.0.to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    let optional = |list: &Option<Vec<crate::messages::BrokerId>>| {
        list.as_deref().map(nodes).unwrap_or_default()
    };
    let leader = match partition.leader_id.0 {
        none if none < 0 => "none".to_owned(),
        leader => leader.to_string(),
    };
    format!(
        "\tTopic: {name}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}\tElr: {}\tLastKnownElr: {}",
        partition.partition_index,
        nodes(&partition.replica_nodes),
        nodes(&partition.isr_nodes),
        optional(&partition.eligible_leader_replicas),
        optional(&partition.last_known_elr),
    )
}

/// All partitions of the topics, page by page.
async fn describe(
    client: &mut Client,
    names: BTreeSet<String>,
    page: i32,
) -> Result<Vec<Topic>, Failure> {
    let mut described: Vec<Topic> = Vec::new();
    if names.is_empty() {
        return Ok(described);
    }
    let topics: Vec<_> = names
        .iter()
        .map(|name| TopicRequest::default().with_name(text(name).into()))
        .collect();
    let mut cursor: Option<Cursor> = None;
    loop {
        let request = DescribeTopicPartitionsRequest::default()
            .with_topics(topics.clone())
            .with_response_partition_limit(page)
            .with_cursor(cursor);
        let response = client.call(&request).await?;
        for topic in response.topics {
            let name = topic
                .name
                .as_ref()
                .map(|name| name.to_string())
                .unwrap_or_default();
            check(topic.error_code, || format!("topic {name}"))?;
            match described.last_mut().filter(|last| last.name == topic.name) {
                Some(last) => last.partitions.extend(topic.partitions),
                None => described.push(topic),
            }
        }
        let Some(next) = response.next_cursor else {
            return Ok(described);
        };
        let from = Cursor::default()
            .with_topic_name(next.topic_name)
            .with_partition_index(next.partition_index);
        cursor = Some(from);
    }
}

/// A setting of a topic.
struct Config {
    value: String,
    /// Set at the topic itself.
    overridden: bool,
}

async fn overrides(
    client: &mut Client,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, BTreeMap<String, Config>>, client::Error> {
    let resource = |name: &String| {
        DescribeConfigsResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(text(name))
            .with_configuration_keys(None)
    };
    let request =
        DescribeConfigsRequest::default().with_resources(names.iter().map(resource).collect());
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let response = client.call(&request).await?;
    let mut described = BTreeMap::new();
    for result in response.results {
        check(result.error_code, || {
            format!("the settings of topic {}", result.resource_name)
        })?;
        let configs = result.configs.into_iter().map(|config| {
            let value = config
                .value
                .map(|value| value.to_string())
                .unwrap_or_default();
            let overridden = config.config_source != DEFAULT_CONFIG_SOURCE;
            (config.name.to_string(), Config { value, overridden })
        });
        described.insert(result.resource_name.to_string(), configs.collect());
    }
    Ok(described)
}

/// `1:2,2:1`: the brokers of each partition.
fn parse_assignment(list: &str) -> Result<Vec<Vec<i32>>, Failure> {
    let mut partitions: Vec<Vec<i32>> = Vec::new();
    for partition in list.split(',') {
        let brokers = partition
            .split(':')
            .map(|broker| broker.trim().parse::<i32>())
            .collect::<Result<Vec<_>, _>>();
        let brokers = brokers.map_err(|_| {
            Failure::new(format!(
                "--replica-assignment: '{partition}' is no list of brokers"
            ))
        })?;
        if brokers.iter().collect::<BTreeSet<_>>().len() < brokers.len() {
            return Err(Failure::new(format!(
                "Partition replica lists may not contain duplicate entries: {partition}"
            )));
        }
        if partitions
            .first()
            .is_some_and(|first| first.len() != brokers.len())
        {
            return Err(Failure::new(format!(
                "Partition {} has different replication factor: {brokers:?}",
                partitions.len()
            )));
        }
        partitions.push(brokers);
    }
    Ok(partitions)
}
