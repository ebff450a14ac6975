//! Whether a resource may have these settings, in Kafka's words. (ControllerConfigurationValidator,
//! LogConfig.validate, GroupConfig.validate, ClientMetricsConfigs.validate)

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;

use crate::config::{CLIENT_METRICS_KEYS, GROUP_KEYS, Key, Settings, TOPIC_KEYS, Value, find};
use crate::error_code::ErrorCode;
use crate::metadata::{
    BrokerValues, Image, Resource, ResourceKind, Values, effective_topic_value, validate_name,
};

use super::super::machine::Refusal;
use super::{VALUE_LEN_MAX, too_long};

/// Between two pushes of a client's metrics. (KIP-714)
const INTERVAL_MS: std::ops::RangeInclusive<i64> = 100..=3_600_000;

/// What a subscription may select clients by. (ClientMetricsConfigs.isValidParam)
const MATCH_PARAMETERS: [&str; 6] = [
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// Judges all the settings that a resource would have.
pub(super) fn resource(
    image: &Image,
    settings: &Settings,
    resource: &Resource,
    values: &Values,
) -> Result<(), Refusal> {
    let name = &*resource.name;
    match resource.kind {
        ResourceKind::Topic if name.is_empty() => {
            invalid_request("Default topic resources are not allowed.")
        }
        ResourceKind::Topic => {
            validate_name(name)
                .map_err(|reason| Refusal::new(ErrorCode::InvalidTopicException, reason))?;
            topic(image, settings, values)
        }
        ResourceKind::Broker => match name.parse::<i32>() {
            _ if name.is_empty() => Ok(()),
            Ok(0..) => Ok(()),
            Ok(_) => invalid_request("Invalid negative broker ID."),
            Err(_) => invalid_request("Unable to parse broker name as a base 10 number."),
        },
        ResourceKind::ClientMetrics if name.is_empty() => {
            invalid_request("Subscription name can't be empty")
        }
        ResourceKind::ClientMetrics => client_metrics(values),
        ResourceKind::Group if name.is_empty() => {
            invalid_request("Default group resources are not allowed.")
        }
        ResourceKind::Group => group(image, settings, values),
        ResourceKind::BrokerLogger | ResourceKind::Other(_) => {
            invalid_request(format!("Unknown resource type {}", resource.kind.code()))
        }
    }
}

/// The values of a new topic; where a name comes twice the later one counts.
pub(in super::super) fn topic_values<'a>(
    image: &Image,
    settings: &Settings,
    given: impl Iterator<Item = (&'a str, Option<&'a str>)> + Clone,
) -> Result<Values, Refusal> {
    let nulls: Vec<&str> = given
        .clone()
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| name)
        .collect();
    if !nulls.is_empty() {
        return invalid(format!(
            "Null value not supported for topic configs: {}",
            nulls.join(",")
        ));
    }
    let values = given.filter_map(|(name, value)| Some((Arc::from(name), Arc::from(value?))));
    let values: Values = values.collect::<BTreeMap<_, _>>();
    if values
        .values()
        .any(|value: &Arc<str>| value.len() > VALUE_LEN_MAX)
    {
        return Err(too_long());
    }
    topic(image, settings, &values)?;
    Ok(values)
}

fn topic(image: &Image, settings: &Settings, values: &Values) -> Result<(), Refusal> {
    check_names(values, TOPIC_KEYS, ErrorCode::InvalidConfig, |name| {
        format!("Unknown topic config name: {name}")
    })?;
    check_values(values, TOPIC_KEYS)?;
    let brokers = BrokerValues::new(image.configs(), settings, settings.node_id());
    let value = |name| {
        let key = &TOPIC_KEYS[find(TOPIC_KEYS, name)?];
        let effective = effective_topic_value(brokers, Some(values), key);
        Value::parse(key, &effective.value?).ok()
    };
    let number = |name| value(name).and_then(|value| value.as_whole_number());
    let (least, most) = (
        number("min.compaction.lag.ms"),
        number("max.compaction.lag.ms"),
    );
    if let (Some(least), Some(most)) = (least, most)
        && least > most
    {
        return invalid(format!(
            "conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({most})"
        ));
    }
    if value("remote.storage.enable") == Some(Value::Boolean(true)) {
        return invalid(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
        );
    }
    Ok(())
}

/// A setting of groups with what bounds it at the broker: the least and the most, where there are such.
/// (GroupConfig.validateValues)
const GROUP_BOUNDS: &[(&str, Option<&str>, Option<&str>)] = &[
    (
        "consumer.heartbeat.interval.ms",
        Some("group.consumer.min.heartbeat.interval.ms"),
        Some("group.consumer.max.heartbeat.interval.ms"),
    ),
    (
        "consumer.session.timeout.ms",
        Some("group.consumer.min.session.timeout.ms"),
        Some("group.consumer.max.session.timeout.ms"),
    ),
    (
        "consumer.assignment.interval.ms",
        Some("group.consumer.min.assignment.interval.ms"),
        Some("group.consumer.max.assignment.interval.ms"),
    ),
    (
        "share.heartbeat.interval.ms",
        Some("group.share.min.heartbeat.interval.ms"),
        Some("group.share.max.heartbeat.interval.ms"),
    ),
    (
        "share.session.timeout.ms",
        Some("group.share.min.session.timeout.ms"),
        Some("group.share.max.session.timeout.ms"),
    ),
    (
        "share.assignment.interval.ms",
        Some("group.share.min.assignment.interval.ms"),
        Some("group.share.max.assignment.interval.ms"),
    ),
    (
        "share.record.lock.duration.ms",
        Some("group.share.min.record.lock.duration.ms"),
        Some("group.share.max.record.lock.duration.ms"),
    ),
    (
        "share.delivery.count.limit",
        Some("group.share.min.delivery.count.limit"),
        Some("group.share.max.delivery.count.limit"),
    ),
    (
        "share.partition.max.record.locks",
        Some("group.share.min.partition.max.record.locks"),
        Some("group.share.max.partition.max.record.locks"),
    ),
    (
        "streams.heartbeat.interval.ms",
        Some("group.streams.min.heartbeat.interval.ms"),
        Some("group.streams.max.heartbeat.interval.ms"),
    ),
    (
        "streams.session.timeout.ms",
        Some("group.streams.min.session.timeout.ms"),
        Some("group.streams.max.session.timeout.ms"),
    ),
    (
        "streams.assignment.interval.ms",
        Some("group.streams.min.assignment.interval.ms"),
        Some("group.streams.max.assignment.interval.ms"),
    ),
    (
        "streams.num.standby.replicas",
        None,
        Some("group.streams.max.standby.replicas"),
    ),
];

fn group(image: &Image, settings: &Settings, values: &Values) -> Result<(), Refusal> {
    check_names(values, GROUP_KEYS, ErrorCode::InvalidConfig, |name| {
        format!("Unknown group config name: {name}")
    })?;
    check_values(values, GROUP_KEYS)?;
    let brokers = BrokerValues::new(image.configs(), settings, settings.node_id());
    let number = |name: &str| -> Option<i64> {
        let key = &GROUP_KEYS[find(GROUP_KEYS, name)?];
        let inherited = || brokers.synonyms(key.broker.iter().map(|(name, _)| *name));
        let text = match values.get(name) {
            Some(own) => own.clone(),
            None => inherited().into_iter().next()?.value,
        };
        Value::parse(key, &text).ok()?.as_whole_number()
    };
    for (name, least, most) in GROUP_BOUNDS {
        let Some(value) = number(name) else { continue };
        let bound = |name: &str| i64::from(settings.int(name));
        if let Some(least) = least.filter(|least| value < bound(least)) {
            return invalid(format!("{name} must be greater than or equal to {least}"));
        }
        if let Some(most) = most.filter(|most| value > bound(most)) {
            return invalid(format!("{name} must be less than or equal to {most}"));
        }
    }
    for protocol in ["consumer", "share", "streams"] {
        let [heartbeat, session] = ["heartbeat.interval.ms", "session.timeout.ms"]
            .map(|name| format!("{protocol}.{name}"));
        if number(&heartbeat) >= number(&session) {
            return invalid(format!("{heartbeat} must be less than {session}"));
        }
    }
    Ok(())
}

fn client_metrics(values: &Values) -> Result<(), Refusal> {
    check_names(
        values,
        CLIENT_METRICS_KEYS,
        ErrorCode::InvalidRequest,
        |name| format!("Unknown client metrics configuration: {name}"),
    )?;
    check_values(values, CLIENT_METRICS_KEYS)?;
    let value = |name| {
        let key = &CLIENT_METRICS_KEYS[find(CLIENT_METRICS_KEYS, name)?];
        Value::parse(key, values.get(name)?).ok()
    };
    if let Some(interval) = value("interval.ms").and_then(|value| value.as_whole_number())
        && !INTERVAL_MS.contains(&interval)
    {
        let (least, most) = (INTERVAL_MS.start(), INTERVAL_MS.end());
        return invalid_request(format!(
            "Invalid value {interval} for interval.ms, interval must be between {least} and {most} (1 hour)"
        ));
    }
    if let Some(Value::List(patterns)) = value("match")
        && let Some(wrong) = patterns.iter().find(|pattern| !is_match(pattern))
    {
        return invalid(format!("Illegal client matching pattern: {wrong}"));
    }
    Ok(())
}

/// `parameter=regex`, as Java's `split("=")` cuts it: what is empty at the end does not count.
fn is_match(pattern: &str) -> bool {
    let mut parts = pattern.trim_end_matches('=').split('=');
    let (Some(parameter), Some(expression), None) = (parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    MATCH_PARAMETERS.contains(&parameter.trim()) && Regex::new(expression.trim()).is_ok()
}

fn check_names(
    values: &Values,
    keys: &'static [Key],
    code: ErrorCode,
    message: impl Fn(&str) -> String,
) -> Result<(), Refusal> {
    match values.keys().find(|name| find(keys, name).is_none()) {
        Some(name) => Err(Refusal::new(code, message(name))),
        None => Ok(()),
    }
}

/// Each value by itself; names that nobody knows are passed over.
fn check_values(values: &Values, keys: &'static [Key]) -> Result<(), Refusal> {
    let known = values
        .iter()
        .filter_map(|(name, value)| Some((&keys[find(keys, name)?], value)));
    for (key, value) in known {
        Value::parse(key, value).or_else(|exception| invalid(exception.0))?;
    }
    Ok(())
}

fn invalid<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(ErrorCode::InvalidConfig, message))
}

fn invalid_request<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(ErrorCode::InvalidRequest, message))
}
