//! Settings as DescribeConfigs shows them: the value that counts, and all places that give one.
//! (kafka.server.ConfigHelper, DynamicBrokerConfig.brokerConfigSynonyms)

use super::broker_keys::BROKER_KEYS;
use super::key::{self, Key, Kind, UpdateMode};
use super::settings::Settings;
use super::topic_keys::TOPIC_KEYS;
use super::value::Value;

/// Finds the text that the metadata log holds for a setting.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the metadata log holds over the settings that a node was started with.
#[derive(Clone, Copy)]
pub struct Layers<'a> {
    /// For the resource that is asked about, when it is not a broker.
    pub own: Lookup<'a>,
    /// For this broker.
    pub broker: Lookup<'a>,
    /// For all brokers.
    pub cluster: Lookup<'a>,
}

impl Layers<'static> {
    /// Nothing in the metadata log.
    pub const EMPTY: Layers<'static> = Layers {
        own: &|_| None,
        broker: &|_| None,
        cluster: &|_| None,
    };
}

/// Where a value comes from, with Kafka's number in DescribeConfigs responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    DynamicTopic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    Group = 8,
}

impl ConfigSource {
    pub fn name(self) -> &'static str {
        match self {
            ConfigSource::DynamicTopic => "DYNAMIC_TOPIC_CONFIG",
            ConfigSource::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
            ConfigSource::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            ConfigSource::StaticBroker => "STATIC_BROKER_CONFIG",
            ConfigSource::Default => "DEFAULT_CONFIG",
            ConfigSource::Group => "DYNAMIC_GROUP_CONFIG",
        }
    }
}

/// One setting of a resource.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigEntry {
    pub name: String,
    /// `None` for Kafka's `null` and for what is not to be shown.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub read_only: bool,
    pub sensitive: bool,
    /// `None` for a name that Kafka does not know.
    pub kind: Option<Kind>,
    /// All places that give a value, the one that counts first.
    pub synonyms: Vec<ConfigSynonym>,
}

/// A place that gives a value.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigSynonym {
    pub name: String,
    pub value: Option<String>,
    pub source: ConfigSource,
}

impl Kind {
    /// Kafka's number of it in DescribeConfigs responses.
    pub fn id(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::String => 2,
            Kind::Int => 3,
            Kind::Short => 4,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
            Kind::Class => 8,
            Kind::Password => 9,
        }
    }
}

impl Settings {
    /// A broker's settings in the order of their names, those that it was given and nobody knows among them.
    pub fn describe_broker(&self, layers: Layers<'_>) -> Vec<ConfigEntry> {
        let known = BROKER_KEYS
            .iter()
            .filter(|key| !key.internal)
            .map(|key| self.broker_entry(key, &layers));
        let mut entries: Vec<ConfigEntry> = known.collect();
        for given in self.given() {
            if key::find(BROKER_KEYS, &given.name).is_none()
                && !entries.iter().any(|one| one.name == given.name)
            {
                entries.push(foreign_entry(&given.name));
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    /// A topic's settings in the order of their names.
    pub fn describe_topic(&self, layers: Layers<'_>) -> Vec<ConfigEntry> {
        TOPIC_KEYS
            .iter()
            .filter(|key| !key.internal)
            .map(|key| self.topic_entry(key, &layers))
            .collect()
    }

    /// The value of a broker's setting that counts now.
    pub(super) fn current(&self, name: &str, layers: &Layers<'_>) -> Option<Value> {
        let key = key::find(BROKER_KEYS, name).map(|at| &BROKER_KEYS[at])?;
        let dynamic = (layers.broker)(name).or_else(|| (layers.cluster)(name));
        dynamic
            .and_then(|text| Value::parse(key, &text).ok())
            .or_else(|| self.value(name).cloned())
    }

    fn broker_entry(&self, key: &'static Key, layers: &Layers<'_>) -> ConfigEntry {
        let synonyms = self.broker_synonyms(key.name, key.is_sensitive(), layers);
        let value = self.current(key.name, layers).map(|value| value.to_text());
        ConfigEntry {
            name: key.name.to_owned(),
            value: value.filter(|_| !key.is_sensitive()),
            source: synonyms
                .first()
                .map_or(ConfigSource::Default, |first| first.source),
            read_only: key.update == UpdateMode::ReadOnly,
            sensitive: key.is_sensitive(),
            kind: Some(key.kind),
            synonyms,
        }
    }

    fn topic_entry(&self, key: &'static Key, layers: &Layers<'_>) -> ConfigEntry {
        let own = (layers.own)(key.name).map(|text| ConfigSynonym {
            name: key.name.to_owned(),
            value: Some(text),
            source: ConfigSource::DynamicTopic,
        });
        let server = key
            .broker
            .first()
            .map(|(name, _)| self.broker_synonyms(name, false, layers));
        let synonyms: Vec<_> = own.into_iter().chain(server.unwrap_or_default()).collect();
        ConfigEntry {
            name: key.name.to_owned(),
            value: self
                .topic(*layers)
                .value_of(key)
                .map(|value| value.to_text()),
            source: synonyms
                .first()
                .map_or(ConfigSource::Default, |first| first.source),
            read_only: false,
            sensitive: key.is_sensitive(),
            kind: Some(key.kind),
            synonyms,
        }
    }

    /// All values of a setting and of those that stand in for it, from the one that counts on; what comes before the
    /// setting's own name is left out, as Kafka leaves it out.
    fn broker_synonyms(
        &self,
        name: &'static str,
        sensitive: bool,
        layers: &Layers<'_>,
    ) -> Vec<ConfigSynonym> {
        let names = unit_synonyms(name);
        let fixed = |name: &str| {
            self.given()
                .iter()
                .rev()
                .find(|one| one.name == name)
                .map(|one| one.value.clone())
        };
        let default = |name: &str| {
            key::find(BROKER_KEYS, name)
                .and_then(|at| BROKER_KEYS[at].default)
                .map(str::to_owned)
        };
        let sources: [(ConfigSource, Lookup<'_>); 4] = [
            (ConfigSource::DynamicBroker, layers.broker),
            (ConfigSource::DynamicDefaultBroker, layers.cluster),
            (ConfigSource::StaticBroker, &fixed),
            (ConfigSource::Default, &default),
        ];
        let all = sources.iter().flat_map(|(source, lookup)| {
            names.iter().filter_map(|name| {
                let value = lookup(name)?;
                let value = Some(value).filter(|_| !sensitive);
                Some(ConfigSynonym {
                    name: (*name).to_owned(),
                    value,
                    source: *source,
                })
            })
        });
        all.skip_while(|synonym| synonym.name != name).collect()
    }
}

/// The settings that give the same thing in other units, in the order in which they count.
pub fn unit_synonyms(name: &'static str) -> &'static [&'static str] {
    const ORDERS: [&[&str]; 4] = [
        &["log.roll.ms", "log.roll.hours"],
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        &[
            "log.retention.ms",
            "log.retention.minutes",
            "log.retention.hours",
        ],
    ];
    // The scheduler's interval is a setting of its own.
    let order = ORDERS
        .into_iter()
        .find(|order| order.contains(&name) && name != "log.flush.scheduler.interval.ms");
    match (order, key::find(BROKER_KEYS, name)) {
        (Some(order), _) => order,
        (None, Some(at)) => std::slice::from_ref(&BROKER_KEYS[at].name),
        (None, None) => &[],
    }
}

/// A setting that nobody knows may be anything, a password too: it is not shown.
fn foreign_entry(name: &str) -> ConfigEntry {
    let name = name.to_owned();
    let source = ConfigSource::StaticBroker;
    let synonyms = vec![ConfigSynonym {
        name: name.clone(),
        value: None,
        source,
    }];
    ConfigEntry {
        name,
        value: None,
        source,
        read_only: true,
        sensitive: true,
        kind: None,
        synonyms,
    }
}
