//! In which directories brokers keep their replicas, as they tell it.
//! (ReplicationControlManager.handleAssignReplicasToDirs; KIP-858)

use crate::error_code::ErrorCode;
use crate::ids::{DirectoryId, KafkaUuid, NodeId, PartitionIndex};
use crate::messages::assign_replicas_to_dirs_request::TopicData;
use crate::messages::assign_replicas_to_dirs_response as response;
use crate::messages::records::frame::MetadataRecord;
use crate::messages::records::metadata::PartitionChangeRecord;
use crate::messages::{AssignReplicasToDirsRequest, AssignReplicasToDirsResponse};
use crate::metadata::{Image, Partition, Topic};

use super::brokers::check_epoch;
use super::isr::{self, Event};
use super::machine::{Answer, Decision, Machine};

impl Machine {
    pub(super) fn assign_replicas_to_dirs(
        &self,
        image: &Image,
        request: &AssignReplicasToDirsRequest,
    ) -> Decision {
        let answer = AssignReplicasToDirsResponse::default();
        let node = NodeId(request.broker_id.0);
        let metadata_version = image.features().metadata_version();
        let checked = match metadata_version.directory_assignment() {
            true => check_epoch(image, node.0, request.broker_epoch),
            false => Err(ErrorCode::UnsupportedVersion),
        };
        if let Err(code) = checked {
            let answer = answer.with_error_code(code.code());
            return Decision::of(Vec::new(), Answer::AssignReplicasToDirs(answer));
        }
        let mut records = Vec::new();
        // What is said to lie in a directory that is not online does not lead there, and the other way round. These
        // changes follow the assignments, since they build on them.
        let mut led = Vec::new();
        let directories = request.directories.iter().map(|asked| {
            let target = Target {
                node,
                directory: KafkaUuid(asked.id),
            };
            let topics = asked
                .topics
                .iter()
                .map(|topic| self.assign_topic(image, target, topic, &mut records, &mut led));
            response::DirectoryData::default()
                .with_id(asked.id)
                .with_topics(topics.collect())
        });
        let answer = answer.with_directories(directories.collect());
        records.append(&mut led);
        Decision::of(records, Answer::AssignReplicasToDirs(answer))
    }

    fn assign_topic(
        &self,
        image: &Image,
        target: Target,
        asked: &TopicData,
        records: &mut Vec<MetadataRecord>,
        led: &mut Vec<MetadataRecord>,
    ) -> response::TopicData {
        let topic = image.topics().by_id(KafkaUuid(asked.topic_id));
        let partitions = asked.partitions.iter().map(|asked| {
            let index = PartitionIndex(asked.partition_index);
            let assigned = match topic {
                Some(topic) => assigned(topic, index, target),
                None => Err(ErrorCode::UnknownTopicId),
            };
            let code = match (topic, assigned) {
                (Some(topic), Ok(partition)) => {
                    if topic.partition(index).map(|before| &before.directories)
                        != Some(&partition.directories)
                    {
                        records.push(change(topic, index, &partition).into());
                    }
                    let event = match target.is_online(image) {
                        false => Some(Event::DirectoryLost(target.node, target.directory)),
                        // It may lead again, but for a broker that is about to go: it would lead until it is gone.
                        true if partition.leader.is_none()
                            && image.brokers().is_active(target.node) =>
                        {
                            Some(Event::Added(target.node))
                        }
                        true => None,
                    };
                    if let Some(event) = event {
                        led.extend(isr::change_of_one(
                            image,
                            &self.settings,
                            topic,
                            (index, &partition),
                            event,
                        ));
                    }
                    ErrorCode::None
                }
                (_, Err(code)) => code,
                (None, Ok(_)) => unreachable!("a topic that is not there has no partitions"),
            };
            response::PartitionData::default()
                .with_partition_index(index.0)
                .with_error_code(code.code())
        });
        response::TopicData::default()
            .with_topic_id(asked.topic_id)
            .with_partitions(partitions.collect())
    }
}

/// A broker and one of its directories.
#[derive(Clone, Copy)]
struct Target {
    node: NodeId,
    directory: DirectoryId,
}

impl Target {
    fn is_online(self, image: &Image) -> bool {
        let broker = image.brokers().get(self.node);
        broker.is_some_and(|broker| broker.log_dirs.contains(&self.directory))
    }
}

/// The partition with the broker's replica in that directory.
fn assigned(topic: &Topic, index: PartitionIndex, target: Target) -> Result<Partition, ErrorCode> {
    let partition = topic
        .partition(index)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let at = partition
        .replicas
        .iter()
        .position(|&replica| replica == target.node)
        .ok_or(ErrorCode::NotLeaderOrFollower)?;
    let mut partition = Partition::clone(partition);
    partition.directories[at] = target.directory;
    Ok(partition)
}

fn change(topic: &Topic, index: PartitionIndex, partition: &Partition) -> PartitionChangeRecord {
    let directories = partition.directories.iter().map(|directory| directory.0);
    PartitionChangeRecord {
        topic_id: topic.id.0,
        partition_id: index.0,
        directories: Some(directories.collect()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::config::Settings;
    use crate::controller::{Command, Seeded};
    use crate::ids::{LeaderEpoch, SteadyTime};
    use crate::messages::BrokerId;
    use crate::messages::assign_replicas_to_dirs_request::{DirectoryData, PartitionData};
    use crate::messages::records::metadata::{
        BrokerRegistrationChangeRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord,
    };
    use crate::metadata::Provenance;

    const TOPIC: Uuid = Uuid::from_u128(0xa);
    const ONLINE: Uuid = Uuid::from_u128(1000);
    const LOST: Uuid = Uuid::from_u128(1001);

    fn image() -> Image {
        let broker = RegisterBrokerRecord {
            broker_id: 1,
            broker_epoch: 5,
            log_dirs: vec![ONLINE],
            fenced: false,
            ..Default::default()
        };
        let topic = TopicRecord {
            name: "t".to_owned().into(),
            topic_id: TOPIC,
            ..Default::default()
        };
        let partition = |index: i32, node: i32| {
            MetadataRecord::from(PartitionRecord {
                partition_id: index,
                topic_id: TOPIC,
                replicas: vec![node],
                isr: vec![node],
                leader: node,
                leader_epoch: 0,
                directories: vec![DirectoryId::ONE.0],
                ..Default::default()
            })
        };
        let mut records = crate::controller::default_bootstrap();
        records.extend([
            broker.into(),
            topic.into(),
            partition(0, 1),
            partition(1, 2),
        ]);
        Image::empty()
            .apply(&records, Provenance::default())
            .unwrap()
            .0
    }

    /// The image after a request for these partitions of the topic, and each one's code.
    fn assign(
        image: &Image,
        epoch: i64,
        directory: Uuid,
        topic: Uuid,
        partitions: &[i32],
    ) -> (Image, i16, Vec<i16>) {
        let settings = Arc::new(Settings::default_for(Path::new("data")));
        let mut machine = Machine::new("cluster", settings);
        let partitions = partitions
            .iter()
            .map(|index| PartitionData::default().with_partition_index(*index));
        let topic = TopicData::default()
            .with_topic_id(topic)
            .with_partitions(partitions.collect());
        let directory = DirectoryData::default()
            .with_id(directory)
            .with_topics(vec![topic]);
        let request = AssignReplicasToDirsRequest::default()
            .with_broker_id(BrokerId(1))
            .with_broker_epoch(epoch)
            .with_directories(vec![directory]);
        let command = Command::AssignReplicasToDirs(request);
        let decision = machine.decide(image, &command, SteadyTime(0), &mut Seeded::new(1));
        let Answer::AssignReplicasToDirs(response) = decision.answer else {
            panic!("another answer")
        };
        let topics = response
            .directories
            .iter()
            .flat_map(|directory| &directory.topics);
        let codes = topics
            .flat_map(|topic| &topic.partitions)
            .map(|one| one.error_code);
        let image = image
            .apply(&decision.records, Provenance::default())
            .unwrap()
            .0;
        (image, response.error_code, codes.collect())
    }

    fn partition(image: &Image) -> Partition {
        let topic = image.topics().by_id(KafkaUuid(TOPIC)).unwrap();
        Partition::clone(topic.partition(PartitionIndex(0)).unwrap())
    }

    #[test]
    fn a_replica_lies_where_its_broker_says() {
        let (after, code, codes) = assign(&image(), 5, ONLINE, TOPIC, &[0, 1, 2]);
        assert_eq!(code, 0);
        let expected = [
            ErrorCode::None,
            ErrorCode::NotLeaderOrFollower,
            ErrorCode::UnknownTopicOrPartition,
        ];
        assert_eq!(codes, expected.map(ErrorCode::code));
        let moved = partition(&after);
        assert_eq!(moved.directories, [KafkaUuid(ONLINE)]);
        assert_eq!(
            (moved.leader, moved.leader_epoch),
            (Some(NodeId(1)), LeaderEpoch(0))
        );
        let (again, ..) = assign(&after, 5, ONLINE, TOPIC, &[0]);
        assert_eq!(partition(&again), moved, "nothing is written twice");
    }

    #[test]
    fn a_replica_in_a_directory_that_is_offline_does_not_lead() {
        let (after, _, codes) = assign(&image(), 5, LOST, TOPIC, &[0]);
        assert_eq!(codes, [0]);
        let lost = partition(&after);
        assert_eq!(
            (lost.directories, lost.leader),
            (vec![KafkaUuid(LOST)], None)
        );
    }

    #[test]
    fn a_broker_that_shuts_down_leads_nothing_again() {
        let (lost, ..) = assign(&image(), 5, LOST, TOPIC, &[0]);
        let going = BrokerRegistrationChangeRecord {
            broker_id: 1,
            broker_epoch: 5,
            in_controlled_shutdown: 1,
            ..Default::default()
        };
        let going = lost.apply(&[going.into()], Provenance::default());
        let (after, _, codes) = assign(&going.unwrap().0, 5, ONLINE, TOPIC, &[0]);
        assert_eq!((codes, partition(&after).leader), (vec![0], None));
        let (after, ..) = assign(&lost, 5, ONLINE, TOPIC, &[0]);
        assert_eq!(partition(&after).leader, Some(NodeId(1)));
    }

    #[test]
    fn an_earlier_broker_and_an_unknown_topic_are_refused() {
        let (_, code, codes) = assign(&image(), 4, ONLINE, TOPIC, &[0]);
        assert_eq!(
            (code, codes),
            (ErrorCode::StaleBrokerEpoch.code(), Vec::new())
        );
        let (_, _, codes) = assign(&image(), 5, ONLINE, Uuid::from_u128(0xb), &[0]);
        assert_eq!(codes, [ErrorCode::UnknownTopicId.code()]);
    }
}
