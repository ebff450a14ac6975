//! An image written out as the records that make it.

use std::sync::Arc;

use crate::messages::StrBytes;
use crate::messages::records::frame::MetadataRecord;
use crate::messages::records::metadata::{
    BrokerEndpoint, BrokerFeature, ConfigRecord, ControllerEndpoint, ControllerFeature,
    FeatureLevelRecord, ProducerIdsRecord, RegisterBrokerRecord, RegisterControllerRecord,
    TopicRecord, ZkMigrationStateRecord,
};

use super::topics::Topic;
use super::{Broker, Controller, Image, METADATA_VERSION, MetadataVersion, Resource, Values};

/// See [`Image::records`].
pub(super) fn records(image: &Image) -> impl Iterator<Item = MetadataRecord> {
    let kept = &image.kept;
    let scram = kept
        .scram
        .values()
        .map(|record| MetadataRecord::UserScramCredential((**record).clone()));
    let tokens = kept
        .delegation_tokens
        .values()
        .map(|record| MetadataRecord::DelegationToken((**record).clone()));
    let quotas = kept
        .client_quotas
        .values()
        .map(|record| MetadataRecord::ClientQuota((**record).clone()));
    let acls = kept
        .acls
        .values()
        .map(|record| MetadataRecord::AccessControlEntry((**record).clone()));
    let zk_migration = kept.zk_migration_state.map(|zk_migration_state| {
        MetadataRecord::from(ZkMigrationStateRecord {
            zk_migration_state,
            ..Default::default()
        })
    });
    features(image)
        .chain(zk_migration)
        .chain(
            image
                .brokers
                .iter()
                .map(|broker| broker_record(broker).into()),
        )
        .chain(
            image
                .brokers
                .controllers()
                .map(|controller| controller_record(controller).into()),
        )
        .chain(image.topics.iter().flat_map(topic_records))
        .chain(
            image
                .configs
                .iter()
                .flat_map(|(resource, values)| config_records(resource, values)),
        )
        .chain(quotas)
        .chain(producer_ids(image))
        .chain(acls)
        .chain(scram)
        .chain(tokens)
        .chain(kept.unknown.iter().cloned())
}

/// `metadata.version` first: it says how to read the rest.
fn features(image: &Image) -> impl Iterator<Item = MetadataRecord> {
    let is_first = |name: &str| name == METADATA_VERSION;
    let features = &image.features;
    let first = features.iter().filter(move |(name, _)| is_first(name));
    let rest = features.iter().filter(move |(name, _)| !is_first(name));
    first
        .chain(rest)
        .map(|(name, feature_level)| feature_record(name, feature_level).into())
}

pub(crate) fn feature_record(name: &str, feature_level: i16) -> FeatureLevelRecord {
    FeatureLevelRecord {
        name: text(name),
        feature_level,
        ..Default::default()
    }
}

pub(crate) fn broker_record(broker: &Broker) -> RegisterBrokerRecord {
    let endpoints = broker.endpoints.iter().map(|endpoint| BrokerEndpoint {
        name: text(&endpoint.name),
        host: text(&endpoint.host),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
        ..Default::default()
    });
    let features = broker.features.iter().map(|feature| BrokerFeature {
        name: text(&feature.name),
        min_supported_version: feature.min,
        max_supported_version: feature.max,
        ..Default::default()
    });
    RegisterBrokerRecord {
        broker_id: broker.id.0,
        incarnation_id: broker.incarnation_id.0,
        broker_epoch: broker.epoch.0,
        end_points: endpoints.collect(),
        features: features.collect(),
        rack: broker.rack.as_deref().map(text),
        fenced: broker.fenced,
        in_controlled_shutdown: broker.in_controlled_shutdown,
        log_dirs: broker.log_dirs.iter().map(|id| id.0).collect(),
        cordoned_log_dirs: broker
            .cordoned_log_dirs
            .as_ref()
            .map(|ids| ids.iter().map(|id| id.0).collect()),
        ..Default::default()
    }
}

pub(crate) fn controller_record(controller: &Controller) -> RegisterControllerRecord {
    let endpoints = controller
        .endpoints
        .iter()
        .map(|endpoint| ControllerEndpoint {
            name: text(&endpoint.name),
            host: text(&endpoint.host),
            port: endpoint.port,
            security_protocol: endpoint.security_protocol,
            ..Default::default()
        });
    let features = controller.features.iter().map(|feature| ControllerFeature {
        name: text(&feature.name),
        min_supported_version: feature.min,
        max_supported_version: feature.max,
        ..Default::default()
    });
    RegisterControllerRecord {
        controller_id: controller.id.0,
        incarnation_id: controller.incarnation_id.0,
        zk_migration_ready: controller.zk_migration_ready,
        end_points: endpoints.collect(),
        features: features.collect(),
        ..Default::default()
    }
}

fn topic_records(topic: &Arc<Topic>) -> impl Iterator<Item = MetadataRecord> {
    let record = TopicRecord {
        name: text(&topic.name),
        topic_id: topic.id.0,
        ..Default::default()
    };
    let partitions = topic
        .indexed()
        .map(|(index, partition)| partition.to_record(topic.id, index.0).into());
    std::iter::once(record.into()).chain(partitions)
}

fn config_records(resource: &Resource, values: &Values) -> impl Iterator<Item = MetadataRecord> {
    values
        .iter()
        .map(|(name, value)| config_record(resource, name, Some(value)).into())
}

pub(crate) fn config_record(resource: &Resource, name: &str, value: Option<&str>) -> ConfigRecord {
    ConfigRecord {
        resource_type: resource.kind.code(),
        resource_name: text(&resource.name),
        name: text(name),
        value: value.map(text),
        ..Default::default()
    }
}

fn producer_ids(image: &Image) -> impl Iterator<Item = MetadataRecord> {
    image.next_producer_id.into_iter().map(|next| {
        let record = ProducerIdsRecord {
            broker_id: -1,
            broker_epoch: -1,
            next_producer_id: next.0,
            ..Default::default()
        };
        record.into()
    })
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl MetadataVersion {
    /// The version in which a record is to be written.
    pub fn record_version(self, record: &MetadataRecord) -> i16 {
        match record {
            MetadataRecord::RegisterBroker(_) => self.register_broker_record(),
            MetadataRecord::Partition(_) => self.partition_record(),
            MetadataRecord::PartitionChange(_) => self.partition_change_record(),
            // The lowest that has a place for what changes.
            MetadataRecord::BrokerRegistrationChange(record)
                if record.cordoned_log_dirs.is_some() =>
            {
                3
            }
            MetadataRecord::BrokerRegistrationChange(record) if !record.log_dirs.is_empty() => 2,
            MetadataRecord::BrokerRegistrationChange(record)
                if record.in_controlled_shutdown != 0 =>
            {
                1
            }
            MetadataRecord::BrokerRegistrationChange(_) => 0,
            record => record.latest_version(),
        }
    }
}
