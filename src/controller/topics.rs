//! Topics are created, grown and deleted. The texts are Kafka's: its tools print them. (ReplicationControlManager,
//! ControllerApis; protocol-tests/fixtures/create_topics and its neighbours hold its answers.)

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::config::TOPIC_KEYS;
use crate::error_code::ErrorCode;
use crate::ids::{DirectoryId, KafkaUuid, LeaderEpoch, NodeId, PartitionEpoch, TopicId};
use crate::messages::create_partitions_request::CreatePartitionsTopic;
use crate::messages::create_partitions_response::CreatePartitionsTopicResult;
use crate::messages::create_topics_request::CreatableTopic;
use crate::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use crate::messages::delete_topics_response::DeletableTopicResult;
use crate::messages::records::frame::MetadataRecord;
use crate::messages::records::metadata::{ClearElrRecord, RemoveTopicRecord, TopicRecord};
use crate::messages::{
    BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
    CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, StrBytes, TopicName,
};
use crate::metadata::record::{config_record, text};
use crate::metadata::{
    BrokerValues, CLUSTER_METADATA, Image, LeaderRecoveryState, Partition, Resource, Topic, Values,
    effective_topic_value, validate_name,
};

use super::configs::topic_values;
use super::machine::{Answer, Decision, Machine, RECORDS_PER_REQUEST_MAX, Random, Refusal};
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

fn check_count(partitions: i64) -> Result<(), Refusal> {
    match usize::try_from(partitions) {
        Ok(count) if count <= RECORDS_PER_REQUEST_MAX => Ok(()),
        _ => {
            let message = "Excessively large number of partitions per request.";
            Err(Refusal::new(ErrorCode::PolicyViolation, message))
        }
    }
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

/// ReplicationControlManager.validateManualPartitionAssignment
fn checked_assignment(
    image: &Image,
    brokers: &[BrokerId],
    factor: Option<usize>,
) -> Result<Vec<NodeId>, Refusal> {
    let refuse = |message: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    if brokers.is_empty() {
        return refuse(
            "The manual partition assignment includes an empty replica list.".to_owned(),
        );
    }
    let mut sorted: Vec<i32> = brokers.iter().map(|broker| broker.0).collect();
    sorted.sort_unstable();
    for (at, &id) in sorted.iter().enumerate() {
        if !image.brokers().is_registered(NodeId(id)) {
            return refuse(format!(
                "The manual partition assignment includes broker {id}, but no such broker is registered."
            ));
        }
        if at > 0 && sorted[at - 1] == id {
            return refuse(format!(
                "The manual partition assignment includes the broker {id} more than once."
            ));
        }
    }
    if let Some(factor) = factor.filter(|&factor| factor != sorted.len()) {
        return refuse(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
             previous partitions, which have {factor} replica(s).",
            sorted.len()
        ));
    }
    Ok(brokers.iter().map(|broker| NodeId(broker.0)).collect())
}

/// Why a partition cannot begin: none of its replicas is on an active broker.
struct NobodyActive {
    replicas: usize,
}

impl NobodyActive {
    fn of_new_topic(self, topic: &CreatableTopic, index: usize) -> Refusal {
        match topic.assignments.is_empty() {
            true => self.of_placement(),
            false => self.of_assignment(i32::try_from(index).unwrap_or(i32::MAX)),
        }
    }

    fn of_placement(self) -> Refusal {
        let message = format!(
            "Unable to replicate the partition {} time(s): All brokers are currently fenced or in controlled shutdown.",
            self.replicas
        );
        Refusal::new(ErrorCode::InvalidReplicationFactor, message)
    }

    fn of_assignment(self, index: i32) -> Refusal {
        let message = format!(
            "All brokers specified in the manual partition assignment for partition {index} are fenced or in controlled \
             shutdown."
        );
        Refusal::new(ErrorCode::InvalidReplicaAssignment, message)
    }
}

/// A partition that begins with every active replica in its ISR.
fn new_partition(image: &Image, replicas: Vec<NodeId>) -> Result<Partition, NobodyActive> {
    let isr: Vec<NodeId> = replicas
        .iter()
        .copied()
        .filter(|&node| image.brokers().is_active(node))
        .collect();
    let Some(&leader) = isr.first() else {
        return Err(NobodyActive {
            replicas: replicas.len(),
        });
    };
    Ok(Partition {
        directories: replicas
            .iter()
            .map(|&node| default_directory(image, node))
            .collect(),
        replicas,
        isr,
        removing: Vec::new(),
        adding: Vec::new(),
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader: Some(leader),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        leader_recovery_state: LeaderRecoveryState::Recovered,
    })
}

/// The directory of a broker that has only one; a broker with several chooses for itself, and tells.
/// (ClusterControlManager.defaultDir)
fn default_directory(image: &Image, node: NodeId) -> DirectoryId {
    let directories = image
        .brokers()
        .get(node)
        .map_or(&[][..], |broker| &broker.log_dirs);
    match directories {
        [] => DirectoryId::ZERO,
        [only] => *only,
        _ => DirectoryId::ONE,
    }
}

pub(super) fn create_partitions(
    image: &Image,
    request: &CreatePartitionsRequest,
    random: &mut impl Random,
) -> Decision {
    let counts = counts(request.topics.iter().map(|topic| &topic.name));
    let duplicates: BTreeSet<_> = counts
        .iter()
        .filter(|(_, count)| **count > 1)
        .map(|(name, _)| *name)
        .collect();
    let refused = duplicates.iter().map(|name| {
        let refusal = Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
        partitions_result(name, Err(&refusal))
    });
    let mut results: Vec<_> = refused.collect();
    let mut records = Vec::new();
    for topic in request
        .topics
        .iter()
        .filter(|topic| counts[&topic.name] == 1)
    {
        let grown = more_partitions(image, topic, records.len(), random);
        results.push(partitions_result(&topic.name, grown.as_ref().map(|_| ())));
        records.extend(grown.into_iter().flatten());
    }
    if request.validate_only {
        records.clear();
    }
    Decision::of(
        records,
        Answer::CreatePartitions(CreatePartitionsResponse::default().with_results(results)),
    )
}

fn partitions_result(
    name: &TopicName,
    result: Result<(), &Refusal>,
) -> CreatePartitionsTopicResult {
    let answer = CreatePartitionsTopicResult::default().with_name(name.clone());
    match result {
        Ok(()) => answer,
        Err(refusal) => answer
            .with_error_code(refusal.code as i16)
            .with_error_message(refusal.message.clone().map(StrBytes::from_string)),
    }
}

/// The records of the partitions that a topic is to get beyond those that it has. Kafka 4.3.0 makes the first 10,000
/// of a greater number and answers UNKNOWN_SERVER_ERROR; here nothing is made, and the answer says why.
fn more_partitions(
    image: &Image,
    request: &CreatePartitionsTopic,
    records: usize,
    random: &mut impl Random,
) -> Result<Vec<MetadataRecord>, Refusal> {
    let Some(topic) = image.topics().by_name(&request.name) else {
        return Err(Refusal::silent(ErrorCode::UnknownTopicOrPartition));
    };
    let have = topic.partitions.len();
    let additional = additional(topic, request.count)?;
    let assignments = request.assignments.as_deref();
    if let Some(assignments) = assignments.filter(|assignments| assignments.len() != additional) {
        let message = format!(
            "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
            assignments.len()
        );
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    check_count(i64::try_from(records + additional).unwrap_or(i64::MAX))?;
    let factor = topic
        .partitions
        .first()
        .map_or(0, |partition| partition.replicas.len());
    let replicas = match assignments {
        Some(assignments) => {
            let checked = assignments
                .iter()
                .map(|one| checked_assignment(image, &one.broker_ids, Some(factor)));
            checked.collect::<Result<Vec<_>, _>>()?
        }
        None => {
            let factor = i16::try_from(factor).unwrap_or(i16::MAX);
            let placed = place(&usable_brokers(image), additional, factor, random);
            placed.map_err(|reason| Refusal::new(ErrorCode::InvalidReplicationFactor, reason))?
        }
    };
    let partitions = (have..).zip(replicas).map(|(index, replicas)| {
        let index = i32::try_from(index).unwrap_or(i32::MAX);
        let partition = new_partition(image, replicas).map_err(|reason| match assignments {
            Some(_) => reason.of_assignment(index),
            None => reason.of_placement(),
        });
        partition.map(|partition| partition.to_record(topic.id, index).into())
    });
    partitions.collect()
}

fn additional(topic: &Topic, count: i32) -> Result<usize, Refusal> {
    let have = topic.partitions.len();
    match usize::try_from(count) {
        Ok(count) if count > have => Ok(count - have),
        Ok(count) if count == have => Err(Refusal::new(
            ErrorCode::InvalidPartitions,
            format!("Topic already has {have} partition(s)."),
        )),
        _ => {
            let message = format!(
                "The topic {} currently has {have} partition(s); {count} would not be an increase.",
                topic.name
            );
            Err(Refusal::new(ErrorCode::InvalidPartitions, message))
        }
    }
}

/// Deletes topics named or identified, each once. (ControllerApis.deleteTopics)
pub(super) fn delete_topics(image: &Image, request: &DeleteTopicsRequest) -> Decision {
    let by_name = request
        .topic_names
        .iter()
        .map(|name| (Some(name), KafkaUuid::ZERO));
    let by_state = request
        .topics
        .iter()
        .map(|topic| (topic.name.as_ref(), KafkaUuid(topic.topic_id)));
    let asked: Vec<(Option<&TopicName>, TopicId)> = by_name.chain(by_state).collect();
    let names = counts(
        asked
            .iter()
            .filter(|(_, id)| *id == KafkaUuid::ZERO)
            .filter_map(|(name, _)| *name),
    );
    let ids = counts(
        asked
            .iter()
            .filter(|(name, id)| name.is_none() && *id != KafkaUuid::ZERO)
            .map(|(_, id)| *id),
    );
    let mut answered = BTreeSet::new();
    let (mut records, mut results) = (Vec::new(), Vec::new());
    for (name, id) in asked {
        let invalid = |message| Err(Refusal::new(ErrorCode::InvalidRequest, message));
        let found = match (name, id) {
            (Some(_), id) if id != KafkaUuid::ZERO => {
                invalid("You may not specify both topic name and topic id.")
            }
            (None, KafkaUuid::ZERO) => invalid("Neither topic name nor id were specified."),
            asked if !answered.insert(asked) => continue,
            (Some(name), _) if names[name] > 1 => invalid("Duplicate topic name."),
            (None, id) if ids[&id] > 1 => invalid("Duplicate topic id."),
            (Some(name), _) => match image.topics().by_name(name) {
                Some(topic) if ids.contains_key(&topic.id) => {
                    invalid("The provided topic name maps to an ID that was already supplied.")
                }
                Some(topic) => Ok(topic),
                None => Err(unknown(ErrorCode::UnknownTopicOrPartition)),
            },
            (None, id) => image
                .topics()
                .by_id(id)
                .ok_or_else(|| unknown(ErrorCode::UnknownTopicId)),
        };
        let result = DeletableTopicResult::default();
        results.push(match found {
            Ok(topic) => {
                records.push(
                    RemoveTopicRecord {
                        topic_id: topic.id.0,
                        ..Default::default()
                    }
                    .into(),
                );
                result
                    .with_name(Some(TopicName(text(&topic.name))))
                    .with_topic_id(topic.id.0)
            }
            Err(refusal) => result
                .with_name(name.cloned())
                .with_topic_id(id.0)
                .with_error_code(refusal.code as i16)
                .with_error_message(refusal.message.map(StrBytes::from_string)),
        });
    }
    Decision::of(
        records,
        Answer::DeleteTopics(DeleteTopicsResponse::default().with_responses(results)),
    )
}

fn unknown(code: ErrorCode) -> Refusal {
    let message = match code {
        ErrorCode::UnknownTopicId => "This server does not host this topic ID.",
        _ => "This server does not host this topic-partition.",
    };
    Refusal::new(code, message)
}

/// How often each occurs.
fn counts<T: std::hash::Hash + Eq + Copy>(items: impl Iterator<Item = T>) -> HashMap<T, usize> {
    let mut counts = HashMap::new();
    for item in items {
        *counts.entry(item).or_insert(0) += 1;
    }
    counts
}
