//! Values of settings: text to value and back, and Kafka's checks with Kafka's words, since its tools print them.
//! (org.apache.kafka.common.config.ConfigDef: parseType, convertToString and the validators; `testdata/values.tsv`
//! holds its answers.)

use std::collections::HashSet;

use super::key::{Key, Kind, Valid};

/// A value that its setting accepts.
#[derive(Clone, PartialEq)]
pub enum Value {
    Boolean(bool),
    Short(i16),
    Int(i32),
    Long(i64),
    Double(f64),
    /// STRING and CLASS.
    Text(String),
    List(Vec<String>),
    Password(String),
}

/// A value that its setting refuses, in the words of Kafka's ConfigException.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigException(pub String);

impl ConfigException {
    pub(super) fn value(name: &str, value: &str, reason: &str) -> ConfigException {
        ConfigException(format!(
            "Invalid value {value} for configuration {name}: {reason}"
        ))
    }
}

impl Value {
    /// Reads `text` as a value of `key` and checks it against the bounds. Entries that repeat in a list that takes
    /// none twice are left out. (ConfigDef.parseValue)
    pub fn parse(key: &Key, text: &str) -> Result<Value, ConfigException> {
        let mut value = Value::parse_kind(key, text)?;
        if let (Valid::Distinct { .. }, Value::List(list)) = (key.valid, &mut value) {
            let mut seen = HashSet::new();
            list.retain(|entry| seen.insert(entry.clone()));
        }
        value.check(key, text.trim())?;
        Ok(value)
    }

    fn parse_kind(key: &Key, text: &str) -> Result<Value, ConfigException> {
        let text = text.trim();
        let number = || {
            let reason = format!("Not a number of type {}", key.kind.name());
            ConfigException::value(key.name, text, &reason)
        };
        Ok(match key.kind {
            Kind::Boolean if text.eq_ignore_ascii_case("true") => Value::Boolean(true),
            Kind::Boolean if text.eq_ignore_ascii_case("false") => Value::Boolean(false),
            Kind::Boolean => {
                let reason = "Expected value to be either true or false";
                return Err(ConfigException::value(key.name, text, reason));
            }
            Kind::Short => Value::Short(text.parse().map_err(|_| number())?),
            Kind::Int => Value::Int(text.parse().map_err(|_| number())?),
            Kind::Long => Value::Long(text.parse().map_err(|_| number())?),
            Kind::Double => Value::Double(text.parse().map_err(|_| number())?),
            Kind::String | Kind::Class => Value::Text(text.to_owned()),
            Kind::List if text.is_empty() => Value::List(Vec::new()),
            Kind::List => Value::List(
                text.split(',')
                    .map(|entry| entry.trim().to_owned())
                    .collect(),
            ),
            Kind::Password => Value::Password(text.to_owned()),
        })
    }

    fn check(&self, key: &Key, text: &str) -> Result<(), ConfigException> {
        let refuse = |reason: &str| Err(ConfigException::value(key.name, text, reason));
        match (key.valid, self) {
            (Valid::Between(least, most), value) => match value.as_whole_number() {
                Some(number) if number < least => {
                    refuse(&format!("Value must be at least {least}"))
                }
                Some(number) if number > most => {
                    refuse(&format!("Value must be no more than {most}"))
                }
                _ => Ok(()),
            },
            (Valid::Within(least, most), Value::Double(number)) => {
                let refuse =
                    |reason: &str| Err(ConfigException::value(key.name, &self.to_text(), reason));
                if *number < least {
                    refuse(&format!("Value must be at least {least}"))
                } else if *number > most {
                    refuse(&format!("Value must be no more than {most}"))
                } else {
                    Ok(())
                }
            }
            (Valid::NonEmpty, Value::Text(text)) if text.is_empty() => {
                refuse("String must be non-empty")
            }
            (Valid::OneOf(of), Value::Text(text)) if !of.contains(&text.as_str()) => {
                refuse(&format!("String must be one of: {}", of.join(", ")))
            }
            (Valid::OneOfIgnoringCase(of), Value::Text(text))
                if !of.iter().any(|one| one.eq_ignore_ascii_case(text)) =>
            {
                refuse(&format!(
                    "String must be one of (case insensitive): {}",
                    of.join(", ")
                ))
            }
            (Valid::Distinct { empty, of }, Value::List(list)) => {
                check_list(key.name, list, empty, of)
            }
            (Valid::GzipLevel, Value::Int(level)) if *level != -1 && !(1..=9).contains(level) => {
                refuse("Value must be between 1 and 9 or equal to -1")
            }
            (Valid::QuorumVoters, Value::List(list)) => super::listeners::check_voters(list),
            (Valid::BootstrapServers, Value::List(list)) => {
                super::listeners::check_bootstrap_servers(list)
            }
            (Valid::ThrottledReplicas, Value::List(list)) => {
                check_throttled_replicas(key.name, list)
            }
            (Valid::AutoOffsetReset, Value::Text(text)) if !is_auto_offset_reset(text) => {
                refuse(&format!(
                    "Invalid value `{text}` for configuration {}. The value must be either 'earliest', 'latest' or of \
                 the format 'by_duration:<PnDTnHnMn.nS>'.",
                    key.name
                ))
            }
            _ => Ok(()),
        }
    }

    /// The text form that DescribeConfigs shows.
    pub fn to_text(&self) -> String {
        match self {
            Value::Boolean(value) => value.to_string(),
            Value::Short(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Long(value) => value.to_string(),
            Value::Double(value) => java_double(*value),
            Value::Text(value) | Value::Password(value) => value.clone(),
            Value::List(value) => value.join(","),
        }
    }

    /// A SHORT, INT or LONG as the widest of them.
    pub fn as_whole_number(&self) -> Option<i64> {
        match self {
            Value::Short(value) => Some((*value).into()),
            Value::Int(value) => Some((*value).into()),
            Value::Long(value) => Some(*value),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Password(_) => f.write_str("[hidden]"),
            value => f.write_str(&value.to_text()),
        }
    }
}

/// ConfigDef.ValidList
fn check_list(
    name: &str,
    list: &[String],
    empty: bool,
    of: &[&str],
) -> Result<(), ConfigException> {
    if list.is_empty() && !empty {
        let valid = if of.is_empty() {
            "any non-empty value".to_owned()
        } else {
            format!("[{}]", of.join(", "))
        };
        return Err(ConfigException(format!(
            "Configuration '{name}' must not be empty. Valid values include: {valid}"
        )));
    }
    for entry in list {
        if entry.is_empty() {
            return Err(ConfigException(format!(
                "Configuration '{name}' values must not be empty."
            )));
        }
        if !of.is_empty() && !of.contains(&entry.as_str()) {
            let reason = format!("String must be one of: {}", of.join(", "));
            return Err(ConfigException::value(name, entry, &reason));
        }
    }
    Ok(())
}

fn check_throttled_replicas(name: &str, list: &[String]) -> Result<(), ConfigException> {
    let is_replica = |entry: &String| {
        entry.split_once(':').is_some_and(|(partition, broker)| {
            [partition, broker]
                .iter()
                .all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        })
    };
    if list.iter().all(is_replica) || matches!(list, [all] if all == "*") {
        return Ok(());
    }
    let reason = format!(
        "{name} must be the literal '*' or a list of replicas in the following format: \
         [partitionId]:[brokerId],[partitionId]:[brokerId],..."
    );
    Err(ConfigException::value(
        name,
        &format!("[{}]", list.join(", ")),
        &reason,
    ))
}

/// Durations as java.time.Duration reads them; a negative one is refused.
fn is_auto_offset_reset(text: &str) -> bool {
    text == "earliest"
        || text == "latest"
        || text
            .strip_prefix("by_duration:")
            .is_some_and(is_iso_duration)
}

fn is_iso_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(['P', 'p']) else {
        return false;
    };
    let (days, time) = match rest.split_once(['T', 't']) {
        Some((days, time)) => (days, Some(time)),
        None => (rest, None),
    };
    if time.is_some_and(str::is_empty) || (days.is_empty() && time.is_none()) {
        return false;
    }
    has_units(days, "D", false) && has_units(time.unwrap_or_default(), "HMS", true)
}

/// Whether `text` is digits and a unit, repeated, with the units in the order of `units`; the last may be a fraction.
fn has_units(mut text: &str, units: &str, fraction: bool) -> bool {
    let mut next = 0;
    while !text.is_empty() {
        let digits = text
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
            .count();
        let (number, rest) = text.split_at(digits);
        let Some(unit) = rest.chars().next().map(|unit| unit.to_ascii_uppercase()) else {
            return false;
        };
        let Some(at) = units[next..].find(unit) else {
            return false;
        };
        let dots = number.matches('.').count();
        if number.is_empty()
            || dots > usize::from(fraction && unit == 'S')
            || number.starts_with('.')
        {
            return false;
        }
        next += at + 1;
        text = &rest[unit.len_utf8()..];
    }
    true
}

/// `Double.toString`: plain between 0.001 and 10,000,000, else with an exponent, and always with a point.
fn java_double(value: f64) -> String {
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        return format!("{value:?}");
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}
