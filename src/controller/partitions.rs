//! New partitions: where their replicas are put or asked to be, and those that a topic gets beyond the ones that it has.
//! (ReplicationControlManager.createPartitions, validateManualPartitionAssignment)

use std::collections::BTreeSet;

use crate::error_code::ErrorCode;
use crate::ids::{DirectoryId, LeaderEpoch, NodeId, PartitionEpoch};
use crate::messages::create_partitions_request::CreatePartitionsTopic;
use crate::messages::create_partitions_response::CreatePartitionsTopicResult;
use crate::messages::create_topics_request::CreatableTopic;
use crate::messages::records::frame::MetadataRecord;
use crate::messages::{
    BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, StrBytes, TopicName,
};
use crate::metadata::{Image, LeaderRecoveryState, Partition, Topic};

use super::machine::{Answer, Decision, RECORDS_PER_REQUEST_MAX, Random, Refusal};
use super::placement::{place, usable_brokers};
use super::topics::counts;

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

/// One request makes one batch, which has to stay small enough to be written and fetched.
/// (QuorumController.validateTotalNumberOfPartitions)
pub(super) fn check_count(partitions: i64) -> Result<(), Refusal> {
    match usize::try_from(partitions) {
        Ok(count) if count <= RECORDS_PER_REQUEST_MAX => Ok(()),
        _ => {
            let message = "Excessively large number of partitions per request.";
            Err(Refusal::new(ErrorCode::PolicyViolation, message))
        }
    }
}

/// ReplicationControlManager.validateManualPartitionAssignment
pub(super) fn checked_assignment(
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
pub(super) struct NobodyActive {
    replicas: usize,
}

impl NobodyActive {
    pub(super) fn of_new_topic(self, topic: &CreatableTopic, index: usize) -> Refusal {
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

    pub(super) fn of_assignment(self, index: i32) -> Refusal {
        let message = format!(
            "All brokers specified in the manual partition assignment for partition {index} are fenced or in controlled \
             shutdown."
        );
        Refusal::new(ErrorCode::InvalidReplicaAssignment, message)
    }
}

/// A partition that begins with every active replica in its ISR.
pub(super) fn new_partition(
    image: &Image,
    replicas: Vec<NodeId>,
) -> Result<Partition, NobodyActive> {
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
