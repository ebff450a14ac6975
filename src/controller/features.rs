//! Feature levels: what an empty log begins with, and whether a node that registers can work with what is finalized.
//! (ActivationRecordsGenerator, ClusterControlManager)

use crate::config::features::{FEATURES, KRAFT_VERSION, METADATA_VERSION};
use crate::error_code::ErrorCode;
use crate::ids::{KafkaUuid, NodeId};
use crate::messages::records::frame::MetadataRecord;
use crate::messages::records::metadata::{
    AbortTransactionRecord, BeginTransactionRecord, EndTransactionRecord, FeatureLevelRecord,
};
use crate::messages::{ControllerRegistrationRequest, ControllerRegistrationResponse, StrBytes};
use crate::metadata::record::{config_record, controller_record, feature_record};
use crate::metadata::{
    Controller, ELIGIBLE_LEADER_REPLICAS_VERSION, Endpoint, FeatureRange, Features, Image,
    MetadataVersion, Resource,
};

use super::machine::{Answer, Decision, Refusal};

/// The feature levels of a new cluster, as `storage format` writes them into `bootstrap.checkpoint`: `metadata.version`
/// first, the others by name.
pub fn default_bootstrap() -> Vec<MetadataRecord> {
    let is_first = |name| name == METADATA_VERSION;
    let first = FEATURES.iter().filter(|feature| is_first(feature.name));
    let rest = FEATURES
        .iter()
        .filter(|feature| !is_first(feature.name) && feature.name != KRAFT_VERSION);
    let features = first.chain(rest).filter(|feature| feature.default != 0);
    features
        .map(|feature| feature_record(feature.name, feature.default).into())
        .collect()
}

/// What a new leader writes before anything else.
pub(super) fn activation(
    image: &Image,
    bootstrap: &[MetadataRecord],
    min_isr: i32,
    in_transaction: bool,
) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    if in_transaction {
        let reason = Some(StrBytes::from_static_str("Controller failover"));
        records.push(
            AbortTransactionRecord {
                reason,
                ..Default::default()
            }
            .into(),
        );
    }
    if !image.features().is_bootstrapped() {
        records.extend(bootstrapped(bootstrap, min_isr));
    }
    records
}

fn bootstrapped(bootstrap: &[MetadataRecord], min_isr: i32) -> Vec<MetadataRecord> {
    let level = |of: &str| {
        let levels = bootstrap.iter().filter_map(|record| match record {
            MetadataRecord::FeatureLevel(FeatureLevelRecord {
                name,
                feature_level,
                ..
            }) if &**name == of => Some(*feature_level),
            _ => None,
        });
        levels.last()
    };
    let mut records = bootstrap.to_vec();
    if level(ELIGIBLE_LEADER_REPLICAS_VERSION).unwrap_or(0) > 0 {
        // With eligible leader replicas the bound has to be the same on all brokers: it moves into the log (KIP-966).
        let min_isr = min_isr.to_string();
        records.push(
            config_record(
                &Resource::all_brokers(),
                "min.insync.replicas",
                Some(&min_isr),
            )
            .into(),
        );
    }
    let version = level(METADATA_VERSION).map_or(MetadataVersion::OLDEST, MetadataVersion);
    if version.metadata_transactions() {
        let name = Some(StrBytes::from_static_str("Bootstrap records"));
        records.insert(
            0,
            BeginTransactionRecord {
                name,
                ..Default::default()
            }
            .into(),
        );
        records.push(EndTransactionRecord::default().into());
    }
    records
}

/// Whether a node with these ranges can take part: each finalized level has to lie in its range. A feature that it
/// does not name it has at level 0 only.
pub(super) fn check_supported(
    finalized: &Features,
    supported: &[FeatureRange],
) -> Result<(), Refusal> {
    if !supported
        .iter()
        .any(|feature| &*feature.name == METADATA_VERSION)
    {
        return Err(Refusal::new(
            ErrorCode::InvalidRegistration,
            "Request features do not contain 'metadata.version'",
        ));
    }
    for (name, level) in finalized.iter() {
        let range = supported.iter().find(|feature| feature.name == *name);
        let (min, max) = range.map_or((0, 0), |range| (range.min, range.max));
        if !(min..=max).contains(&level) {
            let message = format!(
                "Unable to register because the broker does not support finalized version {level} of {name}. The broker \
                 wants a version between {min} and {max}, inclusive."
            );
            return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
        }
    }
    Ok(())
}

/// Takes note of a controller's endpoints and features. (ClusterControlManager.registerController)
pub(super) fn register_controller(
    image: &Image,
    request: &ControllerRegistrationRequest,
) -> Decision {
    let response = ControllerRegistrationResponse::default();
    let answer = |response| Answer::RegisterController(response);
    if !image
        .features()
        .metadata_version()
        .controller_registrations()
    {
        let message = "The current MetadataVersion is too old to support controller registrations.";
        let response = response
            .with_error_code(ErrorCode::UnsupportedVersion as i16)
            .with_error_message(Some(StrBytes::from_static_str(message)));
        return Decision::of(Vec::new(), answer(response));
    }
    let endpoints = request.listeners.iter().map(|listener| Endpoint {
        name: (*listener.name).into(),
        host: (*listener.host).into(),
        port: listener.port,
        security_protocol: listener.security_protocol,
    });
    let features = request.features.iter().map(|feature| FeatureRange {
        name: (*feature.name).into(),
        min: feature.min_supported_version,
        max: feature.max_supported_version,
    });
    let controller = Controller {
        id: NodeId(request.controller_id),
        incarnation_id: KafkaUuid(request.incarnation_id),
        zk_migration_ready: request.zk_migration_ready,
        endpoints: endpoints.collect(),
        features: features.collect(),
    };
    Decision::of(
        vec![controller_record(&controller).into()],
        answer(response),
    )
}
