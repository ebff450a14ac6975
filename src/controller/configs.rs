//! Checks of settings before they go into the log, in Kafka's words. (ConfigurationControlManager,
//! ControllerConfigurationValidator, LogConfig.validate)

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Settings, TOPIC_KEYS, Value, find};
use crate::error_code::ErrorCode;
use crate::metadata::{BrokerValues, Image, Values, effective_topic_value};

use super::machine::Refusal;

/// Bytes of a value at most.
const VALUE_LEN_MAX: usize = i16::MAX as usize;

/// The values of a new topic; where a name comes twice the later one counts.
pub(super) fn topic_values<'a>(
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
        return refuse(format!(
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
        return refuse(format!(
            "The configuration value cannot be added because it exceeds the maximum value size of {VALUE_LEN_MAX} bytes."
        ));
    }
    for (name, value) in &values {
        let Some(at) = find(TOPIC_KEYS, name) else {
            return refuse(format!("Unknown topic config name: {name}"));
        };
        Value::parse(&TOPIC_KEYS[at], value).or_else(|exception| refuse(exception.0))?;
    }
    check_together(image, settings, &values)?;
    Ok(values)
}

/// Values that contradict each other.
fn check_together(image: &Image, settings: &Settings, values: &Values) -> Result<(), Refusal> {
    let brokers = BrokerValues::new(image.configs(), settings, settings.node_id());
    let value = |name| {
        let key = &TOPIC_KEYS[find(TOPIC_KEYS, name)?];
        Value::parse(
            key,
            &effective_topic_value(brokers, Some(values), key).value?,
        )
        .ok()
    };
    let number = |name| value(name).and_then(|value| value.as_whole_number());
    let (least, most) = (
        number("min.compaction.lag.ms"),
        number("max.compaction.lag.ms"),
    );
    if let (Some(least), Some(most)) = (least, most)
        && least > most
    {
        return refuse(format!(
            "conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({most})"
        ));
    }
    if value("remote.storage.enable") == Some(Value::Boolean(true)) {
        return refuse(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
        );
    }
    Ok(())
}

fn refuse<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(ErrorCode::InvalidConfig, message))
}
