//! Topics are created. The texts are Kafka's: its tools print them. (ReplicationControlManager, ControllerApis;
//! protocol-tests/fixtures/topics holds its answers.)

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::config::TOPIC_KEYS;
use crate::error_code::ErrorCode;
use crate::ids::{NodeId, TopicId};
use crate::messages::create_topics_request::CreatableTopic;
use crate::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use crate::messages::records::frame::MetadataRecord;
use crate::messages::records::metadata::{ClearElrRecord, TopicRecord};
use crate::messages::{CreateTopicsRequest, CreateTopicsResponse, StrBytes, TopicName};
use crate::metadata::record::{config_record, text};
use crate::metadata::{
    BrokerValues, CLUSTER_METADATA, Image, Partition, Resource, Values, effective_topic_value,
    validate_name,
};

use super::configs::topic_values;
use super::machine::{Answer, Decision, Machine, Random, Refusal};
use super::partitions::{check_count, checked_assignment, new_partition};
use super::placement::{place, usable_brokers};

/// A topic that can be created.
struct NewTopic {
    id: TopicId,
    partitions: Vec<Partition>,
    values: Values,
}

impl Machine {
    pub(super) fn create_topics(
        &self,
        image: &Image,
        request: &CreateTopicsRequest,
        random: &mut impl Random,
    ) -> Decision {
        let counts = counts(request.topics.iter().map(|topic| &topic.name));
        let is_forbidden = |name: &TopicName| &**name == CLUSTER_METADATA;
        let wanted = request
            .topics
            .iter()
            .filter(|topic| counts[&topic.name] == 1 && !is_forbidden(&topic.name));
        let wanted: Vec<&CreatableTopic> = wanted.collect();
        let too_many = self.check_total(&wanted).err();
        let (mut records, mut results) = (Vec::new(), Vec::new());
        for topic in wanted {
            let created = match &too_many {
                Some(refusal) => Err(refusal.clone()),
                None => self.create_topic(image, topic, random),
            };
            results.push(match created {
                Ok(new) => {
                    records.extend(new.records(image, &topic.name));
                    self.created(image, topic, &new)
                }
                Err(refusal) => not_created(&topic.name, refusal),
            });
        }
        let duplicates: BTreeSet<_> = counts
            .iter()
            .filter(|(_, count)| **count > 1)
            .map(|(name, _)| *name)
            .collect();
        for name in duplicates {
            let refusal = Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
            results.push(not_created(name, refusal));
        }
        for (name, _) in counts
            .iter()
            .filter(|(name, count)| is_forbidden(name) && **count == 1)
        {
            let message = format!("Creation of internal topic {CLUSTER_METADATA} is prohibited.");
            results.push(not_created(
                name,
                Refusal::new(ErrorCode::InvalidRequest, message),
            ));
        }
        if request.validate_only {
            records.clear();
        }
        Decision::of(
            records,
            Answer::CreateTopics(CreateTopicsResponse::default().with_topics(results)),
        )
    }

    /// One request makes one batch, which has to stay small enough to be written and fetched.
    /// (QuorumController.validateTotalNumberOfPartitions)
    fn check_total(&self, topics: &[&CreatableTopic]) -> Result<(), Refusal> {
        let partitions =
            |topic: &&CreatableTopic| match (topic.assignments.len(), topic.num_partitions) {
                (0, -1) => self.settings.int("num.partitions").into(),
                (0, count) => i64::from(count.max(0)),
                (assigned, _) => i64::try_from(assigned).unwrap_or(i64::MAX),
            };
        check_count(topics.iter().map(partitions).sum())
    }

    fn create_topic(
        &self,
        image: &Image,
        topic: &CreatableTopic,
        random: &mut impl Random,
    ) -> Result<NewTopic, Refusal> {
        let name: &str = &topic.name;
        if image.topics().by_name(name).is_some() {
            return Err(Refusal::new(
                ErrorCode::TopicAlreadyExists,
                format!("Topic '{name}' already exists."),
            ));
        }
        validate_name(name)
            .map_err(|reason| Refusal::new(ErrorCode::InvalidTopicException, reason))?;
        if let Some(other) = image.topics().colliding(name) {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            return Err(Refusal::new(ErrorCode::InvalidTopicException, message));
        }
        let given = topic
            .configs
            .iter()
            .map(|config| (&*config.name, config.value.as_deref()));
        let values = topic_values(image, &self.settings, given)?;
        let replicas = match topic.assignments.is_empty() {
            true => self.placed(image, topic, random)?,
            false => assigned(image, topic)?,
        };
        let isr_of = |(index, replicas)| {
            new_partition(image, replicas).map_err(|reason| reason.of_new_topic(topic, index))
        };
        let partitions = replicas.into_iter().enumerate().map(isr_of);
        Ok(NewTopic {
            id: random.uuid(),
            partitions: partitions.collect::<Result<_, _>>()?,
            values,
        })
    }

    fn placed(
        &self,
        image: &Image,
        topic: &CreatableTopic,
        random: &mut impl Random,
    ) -> Result<Vec<Vec<NodeId>>, Refusal> {
        let (count, factor) = (topic.num_partitions, topic.replication_factor);
        if factor < -1 || factor == 0 {
            let message =
                "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
        }
        if count < -1 || count == 0 {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
        }
        let count = if count == -1 {
            self.settings.int("num.partitions")
        } else {
            count
        };
        let factor = self.replication_factor(factor);
        let count = usize::try_from(count).unwrap_or(0);
        place(&usable_brokers(image), count, factor, random).map_err(|reason| {
            let message = format!("Unable to replicate the partition {factor} time(s): {reason}");
            Refusal::new(ErrorCode::InvalidReplicationFactor, message)
        })
    }

    fn replication_factor(&self, asked: i16) -> i16 {
        match asked {
            -1 => {
                i16::try_from(self.settings.int("default.replication.factor")).unwrap_or(i16::MAX)
            }
            asked => asked,
        }
    }

    fn created(
        &self,
        image: &Image,
        topic: &CreatableTopic,
        new: &NewTopic,
    ) -> CreatableTopicResult {
        let brokers = BrokerValues::new(image.configs(), &self.settings, self.settings.node_id());
        let configs = TOPIC_KEYS.iter().filter(|key| !key.internal).map(|key| {
            let effective = effective_topic_value(brokers, Some(&new.values), key);
            // As it was written in the request.
            let given = new.values.get(key.name).map(|value| &**value);
            CreatableTopicConfigs::default()
                .with_name(StrBytes::from_static_str(key.name))
                .with_value(given.or(effective.value.as_deref()).map(text))
                .with_config_source(effective.source.code())
                .with_is_sensitive(key.is_sensitive())
        });
        let replicas = new
            .partitions
            .first()
            .map_or(0, |partition| partition.replicas.len());
        CreatableTopicResult::default()
            .with_name(topic.name.clone())
            .with_topic_id(new.id.0)
            .with_error_message(None)
            .with_num_partitions(i32::try_from(new.partitions.len()).unwrap_or(i32::MAX))
            .with_replication_factor(i16::try_from(replicas).unwrap_or(i16::MAX))
            .with_configs(Some(configs.collect()))
    }
}

impl NewTopic {
    /// The topic, its settings, its partitions: in this order, so that whoever makes the logs knows the settings.
    fn records(&self, image: &Image, name: &TopicName) -> Vec<MetadataRecord> {
        let topic = TopicRecord {
            name: name.0.clone(),
            topic_id: self.id.0,
            ..Default::default()
        };
        let mut records = vec![topic.into()];
        let resource = Resource::topic(&*name.0);
        records.extend(
            self.values
                .iter()
                .map(|(key, value)| config_record(&resource, key, Some(value)).into()),
        );
        // The bound decides who is eligible: KIP-966 starts afresh whenever it changes.
        if self.values.contains_key("min.insync.replicas")
            && image.features().eligible_leader_replicas()
        {
            records.push(
                ClearElrRecord {
                    topic_name: name.0.clone(),
                    ..Default::default()
                }
                .into(),
            );
        }
        let partitions = (0..).zip(&self.partitions);
        records.extend(
            partitions.map(|(index, partition)| partition.to_record(self.id, index).into()),
        );
        records
    }
}

fn not_created(name: &TopicName, refusal: Refusal) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(name.clone())
        .with_error_code(refusal.code as i16)
        .with_error_message(refusal.message.map(StrBytes::from_string))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_configs(Some(Vec::new()))
}

/// The replicas of a manual assignment, by partition.
fn assigned(image: &Image, topic: &CreatableTopic) -> Result<Vec<Vec<NodeId>>, Refusal> {
    let refuse = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    if topic.replication_factor != -1 {
        return refuse(
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        );
    }
    if topic.num_partitions != -1 {
        return refuse(
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        );
    }
    let mut by_index = BTreeMap::new();
    let mut factor = None;
    for assignment in &topic.assignments {
        let index = assignment.partition_index;
        if by_index.contains_key(&index) {
            let message =
                format!("Found multiple manual partition assignments for partition {index}");
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        let replicas = checked_assignment(image, &assignment.broker_ids, factor)?;
        factor = Some(replicas.len());
        new_partition(image, replicas.clone()).map_err(|reason| reason.of_assignment(index))?;
        by_index.insert(index, replicas);
    }
    if by_index.keys().copied().ne((0..).take(by_index.len())) {
        let message = "partitions should be a consecutive 0-based integer sequence";
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    Ok(by_index.into_values().collect())
}

/// How often each occurs.
pub(super) fn counts<T: std::hash::Hash + Eq + Copy>(
    items: impl Iterator<Item = T>,
) -> HashMap<T, usize> {
    let mut counts = HashMap::new();
    for item in items {
        *counts.entry(item).or_insert(0) += 1;
    }
    counts
}
