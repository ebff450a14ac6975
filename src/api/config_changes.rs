//! What a broker judges of changes to settings before the controller decides: the form of the request, the settings of
//! brokers, of which only the one asked knows what it can take. (kafka.server.ConfigAdminManager)

use std::collections::{HashMap, HashSet};
use std::iter;
use std::sync::Arc;

use super::{Context, Reply, controlled, log_levels};
use crate::config::{BROKER_KEYS, DynamicValues, Kind, Settings, find};
use crate::controller::{AlteredConfigs, Command, ConfigChanges, Edit, Operation, ResourceChange};
use crate::error_code::ErrorCode;
use crate::loggers;
use crate::messages::StrBytes;
use crate::metadata::{Image, Resource, ResourceKind};
use crate::security::check_ssl;

/// What is answered for a resource: [`ErrorCode::None`] for one that needs no controller.
pub(super) type Told = (ErrorCode, Option<StrBytes>);

/// Whether there is nothing left to decide, or why nothing is done.
type Judged = Result<bool, Wrong>;
type Wrong = (ErrorCode, String);

/// By what a request is judged.
struct Judge<'a> {
    image: &'a Image,
    settings: &'a Settings,
    validate_only: bool,
}

/// Judges what is asked of brokers, has the controller decide on the rest, and answers for each resource in its turn.
pub(super) fn alter<R: Send + 'static>(
    ctx: &Context<'_>,
    mut changes: ConfigChanges,
    respond: impl FnOnce(Vec<Told>) -> R + Send + 'static,
) -> Reply<R> {
    let image = ctx.broker.image();
    let judge = Judge {
        image: &image,
        settings: ctx.broker.settings(),
        validate_only: changes.validate_only,
    };
    let judged = judge.each(&changes);
    let mut told = judged.iter();
    changes
        .resources
        .retain(|_| told.next().is_some_and(Option::is_none));
    let assemble = |decided: &mut dyn Iterator<Item = Told>| {
        let told = judged
            .into_iter()
            .filter_map(|told| told.or_else(|| decided.next()));
        respond(told.collect())
    };
    if changes.resources.is_empty() {
        return Reply::Now(assemble(&mut iter::empty()));
    }
    let timeout_ms = ctx.broker.settings().int("request.timeout.ms");
    let finish = |decided: Result<AlteredConfigs, ErrorCode>| match decided {
        Ok(AlteredConfigs(told)) => assemble(&mut told.into_iter()),
        Err(code) => assemble(&mut iter::repeat((code, None))),
    };
    controlled::reply_with(ctx, Command::AlterConfigs(changes), timeout_ms, finish)
}

impl Judge<'_> {
    /// `None` for what the controller decides.
    fn each(&self, changes: &ConfigChanges) -> Vec<Option<Told>> {
        let mut counts: HashMap<(i8, &str), usize> = HashMap::new();
        for change in &changes.resources {
            *counts.entry((change.kind, &change.name)).or_default() += 1;
        }
        let judged = changes.resources.iter().map(|change| {
            if counts[&(change.kind, &*change.name)] > 1 {
                return invalid_request("Each resource must appear at most once.");
            }
            check_form(change)?;
            match changes.replace {
                true => self.replacement(change),
                false => self.change(change),
            }
        });
        let told = judged.map(|judged| {
            match judged {
                Ok(false) => None,
                Ok(true) => Some((ErrorCode::None, None)),
                // Kafka trips over an operation that it does not know.
                Err((ErrorCode::UnknownServerError, _)) => {
                    Some((ErrorCode::UnknownServerError, None))
                }
                Err((code, message)) => Some((code, Some(StrBytes::from_string(message)))),
            }
        });
        told.collect()
    }

    fn change(&self, change: &ResourceChange) -> Judged {
        match ResourceKind::of(change.kind) {
            ResourceKind::Broker => {
                self.check_node(&change.name)?;
                let proposed = edited(self.values(&change.name), change)?;
                self.check_broker(&change.name, &proposed)
            }
            ResourceKind::BrokerLogger => self.change_levels(change),
            ResourceKind::Topic | ResourceKind::ClientMetrics | ResourceKind::Group => Ok(false),
            ResourceKind::Other(_) => unknown(change.kind),
        }
    }

    fn replacement(&self, change: &ResourceChange) -> Judged {
        match ResourceKind::of(change.kind) {
            ResourceKind::Broker => {
                self.check_node(&change.name)?;
                let given = change.edits.iter().map(|edit| {
                    let value = edit.value.as_deref().unwrap_or_default();
                    (Arc::from(&*edit.name), Arc::from(value))
                });
                let proposed = given.collect();
                self.check_broker(&change.name, &proposed)
            }
            ResourceKind::Topic | ResourceKind::ClientMetrics | ResourceKind::Group => Ok(false),
            // The levels of loggers are not replaced as a whole.
            ResourceKind::BrokerLogger | ResourceKind::Other(_) => unknown(change.kind),
        }
    }

    /// A request for a broker has to come to that broker.
    fn check_node(&self, name: &str) -> Result<(), Wrong> {
        let own = self.settings.node_id();
        match name.parse::<i32>() {
            _ if name.is_empty() => Ok(()),
            Ok(id) if id == own.0 => Ok(()),
            Ok(id) => invalid_request(format!(
                "Unexpected broker id, expected {own}, but received {id}"
            )),
            Err(_) => invalid_request(format!("Node id must be an integer, but it is: {name}")),
        }
    }

    fn values(&self, broker: &str) -> DynamicValues {
        let resource = Resource {
            kind: ResourceKind::Broker,
            name: broker.into(),
        };
        let own = self.image.configs().of(&resource);
        own.map(|values| DynamicValues::clone(values))
            .unwrap_or_default()
    }

    fn check_broker(&self, name: &str, proposed: &DynamicValues) -> Judged {
        let own = self.settings.node_id().to_string();
        let (broker, all) = (self.values(&own), self.values(""));
        self.settings
            .check_dynamic(!name.is_empty(), proposed, &broker, &all)
            .or_else(|exception| invalid_request(exception.0))?;
        let now = self.settings.with_dynamic(&all, &broker);
        let new = match name.is_empty() {
            true => self.settings.with_dynamic(proposed, &broker),
            false => self.settings.with_dynamic(&all, proposed),
        };
        check_stores(&now, &new)?;
        Ok(false)
    }

    /// The levels of loggers are this process's own, and not in the metadata log.
    fn change_levels(&self, change: &ResourceChange) -> Judged {
        let own = self.settings.node_id();
        match change.name.parse::<i32>() {
            Ok(id) if id == own.0 => {}
            Ok(id) => {
                return invalid_request(format!(
                    "Unexpected node id. Expected {own}, but received {id}"
                ));
            }
            Err(_) => {
                let name = &change.name;
                return invalid_request(format!("Node id must be an integer, but it is: {name}"));
            }
        }
        let levels = change.edits.iter().map(|edit| {
            let level = log_levels::check(&edit.name, edit.operation, edit.value.as_deref())?;
            Ok((&*edit.name, level))
        });
        let levels = levels.collect::<Result<Vec<_>, Wrong>>()?;
        if !self.validate_only {
            loggers::set(levels.into_iter());
        }
        Ok(true)
    }
}

/// Stores that cannot be used are refused, as long as they can be put right. They are a few small files, and looked at only
/// when settings of their listener change. (SslFactory.validateReconfiguration)
fn check_stores(now: &Settings, new: &Settings) -> Result<(), Wrong> {
    check_ssl(now, new).or_else(|(listener, error)| {
        invalid_request(format!(
            "Invalid value org.apache.kafka.common.config.ConfigException: Validation of dynamic config update of SSLFactory \
             failed: listener {listener}: {error} for configuration Invalid dynamic configuration"
        ))
    })
}

fn check_form(change: &ResourceChange) -> Result<(), Wrong> {
    let mut seen = HashSet::new();
    if !change.edits.iter().all(|edit| seen.insert(&edit.name)) {
        return invalid_request("Error due to duplicate config keys");
    }
    let delete = Operation::Delete as i8;
    let nulls: Vec<&str> = change
        .edits
        .iter()
        .filter(|edit| edit.operation != delete && edit.value.is_none())
        .map(|edit| &*edit.name)
        .collect();
    match nulls.is_empty() {
        true => Ok(()),
        false => invalid_request(format!(
            "Null value not supported for : {}",
            nulls.join(", ")
        )),
    }
}

/// A broker's settings with the changes made. (ConfigAdminManager.prepareIncrementalConfigs)
fn edited(mut values: DynamicValues, change: &ResourceChange) -> Result<DynamicValues, Wrong> {
    for Edit { operation, .. } in &change.edits {
        if Operation::of(*operation).is_none() {
            return invalid_request(format!("Unknown operations type {operation}"));
        }
    }
    for edit in &change.edits {
        let (name, value) = (&*edit.name, edit.value.as_deref().unwrap_or_default());
        let new = match Operation::of(edit.operation) {
            Some(Operation::Set) => value.to_owned(),
            Some(Operation::Append) => {
                let mut list = list(&values, name, "append")?;
                for entry in value.split(',') {
                    if !list.iter().any(|one| one == entry) {
                        list.push(entry.to_owned());
                    }
                }
                list.join(",")
            }
            Some(Operation::Subtract) => {
                let mut list = list(&values, name, "subtract")?;
                list.retain(|one| !value.split(',').any(|entry| entry == one));
                list.join(",")
            }
            Some(Operation::Delete) | None => {
                values.remove(name);
                continue;
            }
        };
        values.insert(Arc::from(name), new.into());
    }
    Ok(values)
}

/// The entries of a setting that is a list, or of its default.
fn list(values: &DynamicValues, name: &str, what: &str) -> Result<Vec<String>, Wrong> {
    let invalid = |message| Err((ErrorCode::InvalidConfig, message));
    let Some(at) = find(BROKER_KEYS, name) else {
        return invalid(format!("Unknown config name: {name}"));
    };
    let key = &BROKER_KEYS[at];
    if key.kind != Kind::List {
        return invalid(format!(
            "Config value {what} is not allowed for config key: {name}"
        ));
    }
    let text = values
        .get(name)
        .map_or(key.default.unwrap_or_default(), |own| own);
    Ok(text
        .split(',')
        .filter(|entry| !entry.is_empty())
        .map(str::to_owned)
        .collect())
}

fn unknown<T>(kind: i8) -> Result<T, Wrong> {
    invalid_request(format!("Unknown resource type {kind}"))
}

fn invalid_request<T>(message: impl Into<String>) -> Result<T, Wrong> {
    Err((ErrorCode::InvalidRequest, message.into()))
}

#[cfg(test)]
mod tests;
