//! The settings of topics: those given for one topic, over those of the broker. What may be given is judged here
//! too, as the controller needs it. (org.apache.kafka.storage.internals.log.LogConfig)

use super::describe::Layers;
use super::key::{self, Key, Kind};
use super::settings::Settings;
use super::topic_keys::TOPIC_KEYS;
use super::value::{ConfigException, Value};

/// The settings of one topic, asked by name.
#[derive(Clone, Copy)]
pub struct TopicSettings<'a> {
    settings: &'a Settings,
    layers: Layers<'a>,
}

impl Settings {
    /// The settings of a topic; `layers` hold what was given for it and for the brokers while they ran.
    pub fn topic<'a>(&'a self, layers: Layers<'a>) -> TopicSettings<'a> {
        TopicSettings {
            settings: self,
            layers,
        }
    }

    /// Judges what is given for a topic; a value of `None` takes the setting away. The texts are Kafka's.
    /// (LogConfig.validate)
    pub fn validate_topic<'n>(
        &self,
        given: impl IntoIterator<Item = (&'n str, Option<&'n str>)>,
    ) -> Result<(), ConfigException> {
        let given: Vec<_> = given.into_iter().collect();
        let nulls: Vec<&str> = given
            .iter()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| *name)
            .collect();
        if !nulls.is_empty() {
            let nulls = nulls.join(",");
            return Err(ConfigException(format!(
                "Null value not supported for topic configs: {nulls}"
            )));
        }
        let known = |name: &str| {
            key::find(TOPIC_KEYS, name)
                .map(|at| &TOPIC_KEYS[at])
                .ok_or_else(|| ConfigException(format!("Unknown topic config name: {name}")))
        };
        for (name, _) in &given {
            known(name)?;
        }
        for (name, value) in &given {
            Value::parse(known(name)?, value.unwrap_or_default())?;
        }
        let own = |name: &str| {
            given
                .iter()
                .rev()
                .find(|(one, _)| *one == name)
                .and_then(|(_, value)| value.map(str::to_owned))
        };
        self.topic(Layers {
            own: &own,
            ..Layers::EMPTY
        })
        .check_together()
    }
}

impl TopicSettings<'_> {
    fn check_together(&self) -> Result<(), ConfigException> {
        let (least, most) = (
            self.long("min.compaction.lag.ms"),
            self.long("max.compaction.lag.ms"),
        );
        if least > most {
            return Err(ConfigException(format!(
                "conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({most})"
            )));
        }
        if self.boolean("remote.storage.enable") {
            return Err(ConfigException(
                "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log \
                 storage."
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// A setting of the topic; `None` is Kafka's `null`. A value in the metadata log that the setting does not take
    /// (another version wrote it) counts as not given.
    ///
    /// # Panics
    /// When there is no such setting, as do the methods below, and those also when it is of another type.
    pub fn value(&self, name: &str) -> Option<Value> {
        let at = key::find(TOPIC_KEYS, name)
            .unwrap_or_else(|| panic!("there is no topic setting {name}"));
        self.value_of(&TOPIC_KEYS[at])
    }

    pub(super) fn value_of(&self, key: &Key) -> Option<Value> {
        let own = (self.layers.own)(key.name).and_then(|text| Value::parse(key, &text).ok());
        own.or_else(|| inherited(self.settings, &self.layers, key))
            .or_else(|| default_of(key))
    }

    pub fn boolean(&self, name: &str) -> bool {
        match self.value(name) {
            Some(Value::Boolean(value)) => value,
            other => panic!("{name} is no BOOLEAN: {other:?}"),
        }
    }

    pub fn int(&self, name: &str) -> i32 {
        match self.value(name) {
            Some(Value::Int(value)) => value,
            other => panic!("{name} is no INT: {other:?}"),
        }
    }

    pub fn long(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(Value::Long(value)) => value,
            other => panic!("{name} is no LONG: {other:?}"),
        }
    }

    pub fn double(&self, name: &str) -> f64 {
        match self.value(name) {
            Some(Value::Double(value)) => value,
            other => panic!("{name} is no DOUBLE: {other:?}"),
        }
    }

    pub fn string(&self, name: &str) -> String {
        match self.value(name) {
            Some(Value::Text(value)) => value,
            other => panic!("{name} is no STRING: {other:?}"),
        }
    }

    pub fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Value::List(value)) => value,
            other => panic!("{name} is no LIST: {other:?}"),
        }
    }

    /// The broker's `log.flush.acks=all`.
    pub fn flushes_for_acks_all(&self) -> bool {
        self.settings.string("log.flush.acks") == Some("all")
    }

    /// The broker's `log.flush.interval.bytes`.
    pub fn flush_bytes(&self) -> i64 {
        self.settings.long("log.flush.interval.bytes")
    }

    /// The broker's `log.verify.on.read`.
    pub fn verifies_on_read(&self) -> bool {
        self.settings.boolean("log.verify.on.read")
    }

    /// The size at which a segment is full: `internal.segment.bytes`, which Kafka's own tests set, or `segment.bytes`.
    pub fn segment_bytes(&self) -> i32 {
        match self.value("internal.segment.bytes") {
            Some(Value::Int(bytes)) => bytes,
            _ => self.int("segment.bytes"),
        }
    }
}

/// The broker's setting that stands in: the first that is set, brought to the unit of `key`.
pub(super) fn inherited(settings: &Settings, layers: &Layers<'_>, key: &Key) -> Option<Value> {
    key.broker.iter().find_map(|(name, factor)| {
        let value = settings.current(name, layers)?;
        if *factor == 1 && key.kind != Kind::Long {
            return Some(value);
        }
        let number = value.as_whole_number()?;
        // A negative time means "for ever", whatever its unit.
        Some(Value::Long(if number < 0 && key.name == "retention.ms" {
            -1
        } else {
            number.saturating_mul(*factor)
        }))
    })
}

fn default_of(key: &Key) -> Option<Value> {
    key.default
        .map(|text| Value::parse(key, text).expect("the table's defaults are valid"))
}
