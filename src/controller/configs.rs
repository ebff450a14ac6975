//! Settings that are given through the Admin API: what is asked for becomes ConfigRecords, resource by resource, each
//! for itself. The texts are Kafka's. (ConfigurationControlManager; protocol-tests/fixtures/configs holds its answers.)

mod validate;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{BROKER_KEYS, Key, Kind, TOPIC_KEYS, find};
use crate::error_code::ErrorCode;
use crate::ids::NodeId;
use crate::messages::StrBytes;
use crate::messages::records::frame::MetadataRecord;
use crate::messages::records::metadata::ClearElrRecord;
use crate::metadata::record::{config_record, text};
use crate::metadata::{Image, Resource, ResourceKind, Values};

use super::machine::{Answer, Decision, Machine, RECORDS_PER_REQUEST_MAX, Refusal};
pub(super) use validate::topic_values;

/// Bytes of a value at most.
const VALUE_LEN_MAX: usize = i16::MAX as usize;
const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

/// What is done to one setting. (AlterConfigOp.OpType)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Set,
    Delete,
    Append,
    Subtract,
}

impl Operation {
    /// `None` for a number that Kafka does not know.
    pub fn of(code: i8) -> Option<Operation> {
        match code {
            0 => Some(Operation::Set),
            1 => Some(Operation::Delete),
            2 => Some(Operation::Append),
            3 => Some(Operation::Subtract),
            _ => None,
        }
    }
}

/// A setting and what it is to be; `None` takes it away.
type Altered = (Arc<str>, Option<Arc<str>>);

/// What is asked of the settings of resources: that they have these and no others (AlterConfigs), or that these change
/// (IncrementalAlterConfigs, KIP-339).
#[derive(Clone, Debug, Default)]
pub struct ConfigChanges {
    pub resources: Vec<ResourceChange>,
    /// Whether what is not named goes.
    pub replace: bool,
    pub validate_only: bool,
}

#[derive(Clone, Debug, Default)]
pub struct ResourceChange {
    pub kind: i8,
    pub name: StrBytes,
    pub edits: Vec<Edit>,
}

/// What is to become of one setting.
#[derive(Clone, Debug)]
pub struct Edit {
    pub name: StrBytes,
    /// An [`Operation`], as far as it is one.
    pub operation: i8,
    pub value: Option<StrBytes>,
}

/// For each resource in its turn [`ErrorCode::None`], or why nothing is done.
#[derive(Clone, Debug, PartialEq)]
pub struct AlteredConfigs(pub Vec<(ErrorCode, Option<StrBytes>)>);

impl Machine {
    pub(super) fn alter_configs(&self, image: &Image, asked: &ConfigChanges) -> Decision {
        let mut records = Vec::new();
        let mut edits = asked.resources.iter().flat_map(|resource| &resource.edits);
        let results = if edits.all(|edit| Operation::of(edit.operation).is_some()) {
            let results = asked.resources.iter().map(|change| {
                let resource = resource(change.kind, &change.name);
                let altered = match asked.replace {
                    true => replaced(image, &resource, &change.edits),
                    false => changed(image, &resource, &change.edits)?,
                };
                self.altered(image, &resource, altered)
                    .map(|altered| records.extend(altered))
            });
            bounded(results.collect(), &mut records)
        } else {
            // Kafka's controller trips over an operation that it does not know.
            let refusal = Refusal::silent(ErrorCode::UnknownServerError);
            vec![Err(refusal); asked.resources.len()]
        };
        clear_elr(image, &mut records);
        if asked.validate_only {
            records.clear();
        }
        let outcomes = AlteredConfigs(results.into_iter().map(told).collect());
        Decision::of(records, Answer::AlterConfigs(outcomes))
    }

    /// The records of one resource, where the settings that it would then have are possible.
    fn altered(
        &self,
        image: &Image,
        resource: &Resource,
        altered: Vec<Altered>,
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        let mut values = image
            .configs()
            .of(resource)
            .map(|values| Values::clone(values))
            .unwrap_or_default();
        for (name, value) in &altered {
            check_min_isr(image, resource, name, value.is_none())?;
            match value {
                Some(value) => values.insert(name.clone(), value.clone()),
                None => values.remove(name),
            };
        }
        validate::resource(image, &self.settings, resource, &values)?;
        check_existence(image, resource)?;
        let records = altered.iter().map(|(name, value)| {
            MetadataRecord::from(config_record(resource, name, value.as_deref()))
        });
        Ok(records.collect())
    }
}

fn resource(kind: i8, name: &str) -> Resource {
    Resource {
        kind: ResourceKind::of(kind),
        name: name.into(),
    }
}

/// What has to change for a resource to have these settings and no others. A broker is told of unchanged ones too, so
/// that it reads again what they refer to (KAFKA-14136).
fn replaced(image: &Image, resource: &Resource, edits: &[Edit]) -> Vec<Altered> {
    let given = edits
        .iter()
        .filter_map(|edit| Some((Arc::from(&*edit.name), Arc::from(edit.value.as_deref()?))));
    let given: Values = given.collect();
    let none = Arc::new(BTreeMap::new());
    let own = image.configs().of(resource).unwrap_or(&none);
    let is_broker = resource.kind == ResourceKind::Broker;
    let set = given
        .iter()
        .filter(|(name, value)| is_broker || own.get(*name) != Some(*value))
        .map(|(name, value)| (name.clone(), Some(value.clone())));
    let gone = own.keys().filter(|name| !given.contains_key(*name));
    set.chain(gone.map(|name| (name.clone(), None))).collect()
}

/// What has to change for a resource to have its settings edited.
fn changed(image: &Image, resource: &Resource, edits: &[Edit]) -> Result<Vec<Altered>, Refusal> {
    let own = image.configs().of(resource).map(|values| &**values);
    let altered = edits
        .iter()
        .filter_map(|edit| edited(own, resource.kind, edit).transpose());
    altered.collect()
}

/// What one edit comes to; `None` when the setting is that already.
fn edited(
    own: Option<&Values>,
    kind: ResourceKind,
    edit: &Edit,
) -> Result<Option<Altered>, Refusal> {
    let name = &*edit.name;
    let own = own.and_then(|values| values.get(name));
    let value = edit.value.as_deref().unwrap_or_default();
    let new: Option<Arc<str>> = match Operation::of(edit.operation) {
        Some(Operation::Set) => Some(value.into()),
        Some(Operation::Delete) | None => None,
        Some(operation @ (Operation::Append | Operation::Subtract)) => {
            let Some(key) = list_key(kind, name) else {
                let what = match operation {
                    Operation::Append => "APPEND",
                    _ => "SUBTRACT",
                };
                return Err(Refusal::new(
                    ErrorCode::InvalidConfig,
                    format!("Can't {what} to key {name} because its type is not LIST."),
                ));
            };
            let list = own.map_or(key.default.unwrap_or_default(), |own| own);
            Some(edited_list(list, operation, value).into())
        }
    };
    if new
        .as_ref()
        .is_some_and(|value| value.len() > VALUE_LEN_MAX)
    {
        return Err(too_long());
    }
    Ok((new.as_ref() != own || kind == ResourceKind::Broker)
        .then(|| (Arc::from(name), new.clone())))
}

/// A list with entries added at its end or taken out; they are compared as they are written.
fn edited_list(list: &str, operation: Operation, value: &str) -> String {
    let mut list: Vec<&str> = list.split(',').filter(|entry| !entry.is_empty()).collect();
    for entry in value.split(',') {
        let at = list.iter().position(|one| *one == entry);
        match (operation, at) {
            (Operation::Append, None) => list.push(entry),
            (Operation::Subtract, Some(at)) => drop(list.remove(at)),
            _ => {}
        }
    }
    list.join(",")
}

/// The setting, where it is a list; those of groups and subscriptions cannot be edited.
fn list_key(kind: ResourceKind, name: &str) -> Option<&'static Key> {
    let keys = match kind {
        ResourceKind::Topic => TOPIC_KEYS,
        ResourceKind::Broker => BROKER_KEYS,
        _ => return None,
    };
    let key = &keys[find(keys, name)?];
    (key.kind == Kind::List).then_some(key)
}

fn too_long() -> Refusal {
    Refusal::new(
        ErrorCode::InvalidConfig,
        format!(
            "The configuration value cannot be added because it exceeds the maximum value size of {VALUE_LEN_MAX} bytes."
        ),
    )
}

/// While eligible leader replicas are kept the bound is one for all brokers, and there is one. (KIP-966)
fn check_min_isr(
    image: &Image,
    resource: &Resource,
    name: &str,
    removed: bool,
) -> Result<(), Refusal> {
    let bound = name == MIN_INSYNC_REPLICAS
        && resource.kind == ResourceKind::Broker
        && image.features().eligible_leader_replicas();
    let message = match (bound, resource.name.is_empty(), removed) {
        (true, false, _) => {
            "Broker-level min.insync.replicas cannot be altered while ELR is enabled."
        }
        (true, true, true) => {
            "Cluster-level min.insync.replicas cannot be removed while ELR is enabled."
        }
        _ => return Ok(()),
    };
    Err(Refusal::new(ErrorCode::InvalidConfig, message))
}

/// Groups and subscriptions need not be there to have settings. (QuorumController.ConfigResourceExistenceChecker)
fn check_existence(image: &Image, resource: &Resource) -> Result<(), Refusal> {
    let name = &*resource.name;
    match resource.kind {
        ResourceKind::Topic if image.topics().by_name(name).is_none() => Err(Refusal::new(
            ErrorCode::UnknownTopicOrPartition,
            format!("The topic '{name}' does not exist."),
        )),
        ResourceKind::Broker if !name.is_empty() => {
            let id = name.parse().map(NodeId);
            let brokers = image.brokers();
            let is_known =
                |id: &NodeId| brokers.is_registered(*id) || brokers.controller(*id).is_some();
            match id {
                Ok(id) if is_known(&id) => Ok(()),
                _ => Err(Refusal::new(
                    ErrorCode::BrokerIdNotRegistered,
                    format!("No node with id {name} found."),
                )),
            }
        }
        _ => Ok(()),
    }
}

/// The bound decides who is eligible: KIP-966 starts afresh whenever it changes.
fn clear_elr(image: &Image, records: &mut Vec<MetadataRecord>) {
    if !image.features().eligible_leader_replicas() {
        return;
    }
    let cleared = records.iter().filter_map(|record| match record {
        MetadataRecord::Config(config) if &*config.name == MIN_INSYNC_REPLICAS => {
            let is_topic = ResourceKind::of(config.resource_type) == ResourceKind::Topic;
            let topic_name = if is_topic {
                config.resource_name.clone()
            } else {
                text("")
            };
            let record = ClearElrRecord {
                topic_name,
                ..Default::default()
            };
            Some(record.into())
        }
        _ => None,
    });
    let cleared: Vec<MetadataRecord> = cleared.collect();
    records.extend(cleared);
}

/// One request makes one batch, which has to stay small enough to be written and fetched.
fn bounded(
    results: Vec<Result<(), Refusal>>,
    records: &mut Vec<MetadataRecord>,
) -> Vec<Result<(), Refusal>> {
    if records.len() <= RECORDS_PER_REQUEST_MAX {
        return results;
    }
    records.clear();
    let message = "Unable to perform excessively large batch operation.";
    vec![Err(Refusal::new(ErrorCode::PolicyViolation, message)); results.len()]
}

fn told(result: Result<(), Refusal>) -> (ErrorCode, Option<StrBytes>) {
    match result {
        Ok(()) => (ErrorCode::None, None),
        Err(refusal) => (refusal.code, refusal.message.map(StrBytes::from_string)),
    }
}
