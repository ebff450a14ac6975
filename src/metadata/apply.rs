//! Applies records to an image: the single writer of everything in it. Topics that a batch names are opened for the
//! length of the batch, so that ten thousand partitions of one topic are not ten thousand copies of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ids::{
    BrokerEpoch, DirectoryId, KafkaUuid, NodeId, PartitionIndex, ProducerId, TopicId,
};
use crate::messages::records::frame::MetadataRecord;
use crate::messages::records::metadata::{
    BrokerRegistrationChangeRecord, ConfigRecord, PartitionChangeRecord, PartitionRecord,
    RegisterBrokerRecord, RegisterControllerRecord, TopicRecord,
};

use super::kept::QuotaKey;
use super::topics::index_of;
use super::{
    Broker, Controller, Delta, Endpoint, FeatureRange, Image, KRAFT_VERSION, Partition, Resource,
    ResourceKind, Topic, TopicDelta,
};

/// Why a record cannot follow on those before it: the log is not one that a controller wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a record names the topic id {0:?}, which no topic has")]
    UnknownTopicId(TopicId),
    #[error("a record names the topic {0}, which is not there")]
    UnknownTopic(String),
    #[error("a record names partition {partition} of the topic {topic}, which has {partitions}")]
    UnknownPartition {
        topic: Arc<str>,
        partition: i32,
        partitions: usize,
    },
    #[error("a record names the broker {id} with epoch {epoch}, which is not registered so")]
    UnknownBroker { id: NodeId, epoch: BrokerEpoch },
    #[error("a partition record has the leader recovery state {0}")]
    LeaderRecoveryState(i8),
    #[error("a registration change of broker {id} has the value {value} for {field}")]
    RegistrationChange {
        id: NodeId,
        field: &'static str,
        value: i8,
    },
}

/// An image that is being changed.
pub(super) struct Editor {
    image: Image,
    delta: Delta,
    open: BTreeMap<TopicId, Topic>,
}

impl Editor {
    pub(super) fn of(image: &Image) -> Editor {
        Editor {
            image: image.clone(),
            delta: Delta::default(),
            open: BTreeMap::new(),
        }
    }

    pub(super) fn finish(mut self) -> (Image, Delta) {
        for (_, topic) in std::mem::take(&mut self.open) {
            self.image.topics.insert(topic);
        }
        (self.image, self.delta)
    }

    pub(super) fn apply(&mut self, record: &MetadataRecord) -> Result<(), Error> {
        match record {
            MetadataRecord::RegisterBroker(record) => self.register_broker(record),
            MetadataRecord::UnregisterBroker(record) => {
                let id = self.broker(record.broker_id, record.broker_epoch)?.id;
                self.image.brokers.remove(id);
                self.delta.brokers.insert(id);
            }
            MetadataRecord::FenceBroker(record) => {
                let broker = self.broker(record.id, record.epoch)?;
                self.put_broker(Broker {
                    fenced: true,
                    ..broker
                });
            }
            MetadataRecord::UnfenceBroker(record) => {
                let broker = self.broker(record.id, record.epoch)?;
                self.put_broker(Broker {
                    fenced: false,
                    ..broker
                });
            }
            MetadataRecord::BrokerRegistrationChange(record) => self.change_registration(record)?,
            MetadataRecord::RegisterController(record) => self.register_controller(record),
            MetadataRecord::Topic(record) => self.create_topic(record),
            MetadataRecord::Partition(record) => self.put_partition(record)?,
            MetadataRecord::PartitionChange(record) => self.change_partition(record)?,
            MetadataRecord::RemoveTopic(record) => self.remove_topic(KafkaUuid(record.topic_id))?,
            MetadataRecord::ClearElr(record) => self.clear_elr(&record.topic_name)?,
            MetadataRecord::Config(record) => self.configure(record),
            MetadataRecord::FeatureLevel(record) => {
                // kraft.version is a control record's; a log that names it here says nothing new.
                if &*record.name != KRAFT_VERSION {
                    self.image.features.set(&record.name, record.feature_level);
                    self.delta.features.insert(Arc::from(&*record.name));
                }
            }
            MetadataRecord::ProducerIds(record) => {
                self.image.next_producer_id = Some(ProducerId(record.next_producer_id));
                self.delta.producer_ids = true;
            }
            MetadataRecord::BeginTransaction(_)
            | MetadataRecord::EndTransaction(_)
            | MetadataRecord::AbortTransaction(_)
            | MetadataRecord::NoOp(_) => {}
            MetadataRecord::DelegationToken(_)
            | MetadataRecord::RemoveDelegationToken(_)
            | MetadataRecord::UserScramCredential(_)
            | MetadataRecord::RemoveUserScramCredential(_)
            | MetadataRecord::ClientQuota(_)
            | MetadataRecord::AccessControlEntry(_)
            | MetadataRecord::RemoveAccessControlEntry(_)
            | MetadataRecord::ZkMigrationState(_)
            | MetadataRecord::Unknown(_) => self.keep(record),
        }
        Ok(())
    }

    fn register_broker(&mut self, record: &RegisterBrokerRecord) {
        let endpoint = |endpoint: &crate::messages::records::metadata::BrokerEndpoint| Endpoint {
            name: Arc::from(&*endpoint.name),
            host: Arc::from(&*endpoint.host),
            port: endpoint.port,
            security_protocol: endpoint.security_protocol,
        };
        let feature = |feature: &crate::messages::records::metadata::BrokerFeature| FeatureRange {
            name: Arc::from(&*feature.name),
            min: feature.min_supported_version,
            max: feature.max_supported_version,
        };
        self.put_broker(Broker {
            id: NodeId(record.broker_id),
            epoch: BrokerEpoch(record.broker_epoch),
            incarnation_id: KafkaUuid(record.incarnation_id),
            endpoints: record.end_points.iter().map(endpoint).collect(),
            features: record.features.iter().map(feature).collect(),
            rack: record.rack.as_deref().map(Arc::from),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            log_dirs: directories(&record.log_dirs),
            cordoned_log_dirs: record.cordoned_log_dirs.as_deref().map(directories),
        });
    }

    fn register_controller(&mut self, record: &RegisterControllerRecord) {
        let endpoint =
            |endpoint: &crate::messages::records::metadata::ControllerEndpoint| Endpoint {
                name: Arc::from(&*endpoint.name),
                host: Arc::from(&*endpoint.host),
                port: endpoint.port,
                security_protocol: endpoint.security_protocol,
            };
        let feature =
            |feature: &crate::messages::records::metadata::ControllerFeature| FeatureRange {
                name: Arc::from(&*feature.name),
                min: feature.min_supported_version,
                max: feature.max_supported_version,
            };
        let id = NodeId(record.controller_id);
        self.image.brokers.insert_controller(Controller {
            id,
            incarnation_id: KafkaUuid(record.incarnation_id),
            zk_migration_ready: record.zk_migration_ready,
            endpoints: record.end_points.iter().map(endpoint).collect(),
            features: record.features.iter().map(feature).collect(),
        });
        self.delta.controllers.insert(id);
    }

    /// The registration that a record means: of this id and epoch.
    fn broker(&self, id: i32, epoch: i64) -> Result<Broker, Error> {
        let (id, epoch) = (NodeId(id), BrokerEpoch(epoch));
        match self.image.brokers.get(id) {
            Some(broker) if broker.epoch == epoch => Ok(Broker::clone(broker)),
            _ => Err(Error::UnknownBroker { id, epoch }),
        }
    }

    fn put_broker(&mut self, broker: Broker) {
        self.delta.brokers.insert(broker.id);
        self.image.brokers.insert(broker);
    }

    fn change_registration(
        &mut self,
        record: &BrokerRegistrationChangeRecord,
    ) -> Result<(), Error> {
        let mut broker = self.broker(record.broker_id, record.broker_epoch)?;
        let wrong = |field, value| {
            Err(Error::RegistrationChange {
                id: broker.id,
                field,
                value,
            })
        };
        match record.fenced {
            0 => {}
            1 => broker.fenced = true,
            -1 => broker.fenced = false,
            value => return wrong("fenced", value),
        }
        match record.in_controlled_shutdown {
            0 => {}
            1 => broker.in_controlled_shutdown = true,
            value => return wrong("inControlledShutdown", value),
        }
        if !record.log_dirs.is_empty() {
            broker.log_dirs = directories(&record.log_dirs);
        }
        if let Some(cordoned) = &record.cordoned_log_dirs {
            broker.cordoned_log_dirs = Some(directories(cordoned));
        }
        self.put_broker(broker);
        Ok(())
    }

    fn create_topic(&mut self, record: &TopicRecord) {
        let (name, id) = (Arc::<str>::from(&*record.name), KafkaUuid(record.topic_id));
        self.delta.topics.insert(
            id,
            TopicDelta {
                name: name.clone(),
                created: true,
                partitions: BTreeSet::new(),
            },
        );
        self.open.insert(
            id,
            Topic {
                name,
                id,
                partitions: Vec::new(),
            },
        );
    }

    /// The topic, opened for change, and its place in the delta.
    fn open(&mut self, id: TopicId) -> Result<(&mut Topic, &mut TopicDelta), Error> {
        if !self.open.contains_key(&id) {
            let topic = self
                .image
                .topics
                .by_id(id)
                .ok_or(Error::UnknownTopicId(id))?;
            self.open.insert(id, Topic::clone(topic));
        }
        let topic = self
            .open
            .get_mut(&id)
            .expect("it was put there if it was not there");
        let delta = self.delta.topics.entry(id).or_insert_with(|| TopicDelta {
            name: topic.name.clone(),
            created: false,
            partitions: BTreeSet::new(),
        });
        Ok((topic, delta))
    }

    fn put_partition(&mut self, record: &PartitionRecord) -> Result<(), Error> {
        let partition = Arc::new(Partition::of(record)?);
        let (topic, delta) = self.open(KafkaUuid(record.topic_id))?;
        match usize::try_from(record.partition_id) {
            Ok(at) if at < topic.partitions.len() => topic.partitions[at] = partition,
            Ok(at) if at == topic.partitions.len() => topic.partitions.push(partition),
            _ => return Err(unknown_partition(topic, record.partition_id)),
        }
        delta.partitions.insert(PartitionIndex(record.partition_id));
        Ok(())
    }

    fn change_partition(&mut self, record: &PartitionChangeRecord) -> Result<(), Error> {
        let (topic, delta) = self.open(KafkaUuid(record.topic_id))?;
        let index = PartitionIndex(record.partition_id);
        let at = usize::try_from(index.0)
            .ok()
            .filter(|&at| at < topic.partitions.len());
        let at = at.ok_or_else(|| unknown_partition(topic, index.0))?;
        topic.partitions[at] = Arc::new(topic.partitions[at].changed(record)?);
        delta.partitions.insert(index);
        Ok(())
    }

    fn remove_topic(&mut self, id: TopicId) -> Result<(), Error> {
        let opened = self.open.remove(&id);
        // The topic as it was before this batch, if it was.
        let before = self.image.topics.remove(id);
        let name = match (&before, &opened) {
            (Some(topic), _) => topic.name.clone(),
            (None, Some(topic)) => topic.name.clone(),
            (None, None) => return Err(Error::UnknownTopicId(id)),
        };
        self.delta.topics.remove(&id);
        if let Some(topic) = before {
            self.delta.deleted.insert(id, topic);
        }
        let resource = Resource {
            kind: ResourceKind::Topic,
            name,
        };
        if self.image.configs.of(&resource).is_some() {
            self.image.configs.remove(&resource);
            self.delta.configs.insert(resource);
        }
        Ok(())
    }

    /// Forgets the eligible leader replicas of one topic, or of all when the name is empty.
    /// (TopicsDelta.replay(ClearElrRecord))
    fn clear_elr(&mut self, name: &str) -> Result<(), Error> {
        let opened = self
            .open
            .values()
            .filter(|topic| name.is_empty() || &*topic.name == name);
        let mut ids: BTreeSet<TopicId> = opened.map(|topic| topic.id).collect();
        match name.is_empty() {
            true => ids.extend(self.image.topics.iter().map(|topic| topic.id)),
            false => ids.extend(self.image.topics.by_name(name).map(|topic| topic.id)),
        }
        if ids.is_empty() && !name.is_empty() {
            return Err(Error::UnknownTopic(name.to_owned()));
        }
        let has_elr = |partition: &Arc<Partition>| {
            !partition.elr.is_empty() || !partition.last_known_elr.is_empty()
        };
        for id in ids {
            let topic = self
                .open
                .get(&id)
                .or_else(|| self.image.topics.by_id(id).map(|topic| &**topic));
            if !topic.is_some_and(|topic| topic.partitions.iter().any(has_elr)) {
                continue;
            }
            let (topic, delta) = self.open(id)?;
            for (at, partition) in topic.partitions.iter_mut().enumerate() {
                if has_elr(partition) {
                    let cleared = Arc::make_mut(partition);
                    cleared.elr.clear();
                    cleared.last_known_elr.clear();
                    delta.partitions.insert(index_of(at));
                }
            }
        }
        Ok(())
    }

    fn configure(&mut self, record: &ConfigRecord) {
        let resource = Resource {
            kind: ResourceKind::of(record.resource_type),
            name: Arc::from(&*record.resource_name),
        };
        self.image
            .configs
            .set(&resource, &record.name, record.value.as_deref());
        self.delta.configs.insert(resource);
    }

    fn keep(&mut self, record: &MetadataRecord) {
        let kept = &mut self.image.kept;
        match record {
            MetadataRecord::DelegationToken(record) => {
                kept.delegation_tokens
                    .insert_mut(Arc::from(&*record.token_id), Arc::new(record.clone()));
                self.delta.delegation_tokens = true;
            }
            MetadataRecord::RemoveDelegationToken(record) => {
                kept.delegation_tokens.remove_mut(&*record.token_id);
                self.delta.delegation_tokens = true;
            }
            MetadataRecord::UserScramCredential(record) => {
                kept.scram.insert_mut(
                    (record.mechanism, Arc::from(&*record.name)),
                    Arc::new(record.clone()),
                );
                self.delta.scram = true;
            }
            MetadataRecord::RemoveUserScramCredential(record) => {
                kept.scram
                    .remove_mut(&(record.mechanism, Arc::from(&*record.name)));
                self.delta.scram = true;
            }
            MetadataRecord::ClientQuota(record) => {
                let key = QuotaKey::of(record);
                match record.remove {
                    true => {
                        kept.client_quotas.remove_mut(&key);
                    }
                    false => kept.client_quotas.insert_mut(key, Arc::new(record.clone())),
                }
                self.delta.client_quotas = true;
            }
            MetadataRecord::AccessControlEntry(record) => {
                kept.acls
                    .insert_mut(KafkaUuid(record.id), Arc::new(record.clone()));
                self.delta.acls = true;
            }
            MetadataRecord::RemoveAccessControlEntry(record) => {
                kept.acls.remove_mut(&KafkaUuid(record.id));
                self.delta.acls = true;
            }
            MetadataRecord::ZkMigrationState(record) => {
                kept.zk_migration_state = Some(record.zk_migration_state)
            }
            unknown => kept.unknown.push_back_mut(unknown.clone()),
        }
    }
}

fn unknown_partition(topic: &Topic, partition: i32) -> Error {
    Error::UnknownPartition {
        topic: topic.name.clone(),
        partition,
        partitions: topic.partitions.len(),
    }
}

fn directories(ids: impl AsRef<[uuid::Uuid]>) -> Vec<DirectoryId> {
    ids.as_ref().iter().copied().map(KafkaUuid).collect()
}
