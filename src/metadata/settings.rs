//! What a setting comes to: the value given to the topic, else to this broker, else to all brokers, else in the
//! broker's file, else the default; with all of these for whoever asks why. (KafkaConfigSchema, DynamicBrokerConfig)

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::{
    BROKER_KEYS, CurrentSettings, Key, Settings, TOPIC_KEYS, Value, find, unit_synonyms,
};
use crate::ids::NodeId;

use super::{Configs, Delta, Image, MetadataListener, Resource, Values};

/// Where a value comes from; the numbers are the wire's. (DescribeConfigsResponse.ConfigSource)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    DynamicTopic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    DynamicBrokerLogger = 6,
    ClientMetrics = 7,
    Group = 8,
}

impl Source {
    pub fn code(self) -> i8 {
        self as i8
    }
}

/// One place that gives a value to a setting, under this name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    pub name: Cow<'static, str>,
    pub value: Arc<str>,
    pub source: Source,
}

/// A setting of a resource with what it comes to.
#[derive(Clone, Debug)]
pub struct Effective {
    pub key: &'static Key,
    /// In text form; `None` is Kafka's `null`.
    pub value: Option<Arc<str>>,
    pub source: Source,
    /// Every place that gives a value, the one that counts first.
    pub synonyms: Vec<Synonym>,
}

/// The settings of one broker: of its file, and those given through the Admin API.
#[derive(Clone, Copy)]
pub struct BrokerValues<'a> {
    settings: &'a Settings,
    node: Option<&'a Values>,
    all: Option<&'a Values>,
}

impl<'a> BrokerValues<'a> {
    pub fn new(configs: &'a Configs, settings: &'a Settings, node: NodeId) -> BrokerValues<'a> {
        let of = |resource| configs.of(&resource).map(|values| &**values);
        BrokerValues {
            settings,
            node: of(Resource::broker(node)),
            all: of(Resource::all_brokers()),
        }
    }

    /// Every place that gives a value to one of these settings of the broker, the strongest first.
    /// (ConfigHelper.configSynonyms)
    pub fn synonyms(&self, names: impl Iterator<Item = &'static str> + Clone) -> Vec<Synonym> {
        let dynamic = |values: Option<&'a Values>, source| {
            let given = move |name: &'static str| {
                Some(Synonym {
                    name: name.into(),
                    value: values?.get(name)?.clone(),
                    source,
                })
            };
            names.clone().filter_map(given)
        };
        let mut found: Vec<Synonym> = dynamic(self.node, Source::DynamicBroker).collect();
        found.extend(dynamic(self.all, Source::DynamicDefaultBroker));
        found.extend(names.clone().filter_map(|name| self.given(name)));
        found.extend(names.filter_map(default_of));
        found
    }

    /// The same for one setting, with those that give it in other units; what comes before its own name is left out, as
    /// Kafka leaves it out. (DynamicBrokerConfig.brokerConfigSynonyms)
    pub fn synonyms_of(&self, name: &'static str) -> Vec<Synonym> {
        let mut synonyms = self.synonyms(unit_synonyms(name).iter().copied());
        let before = synonyms.iter().take_while(|synonym| synonym.name != name);
        let before = before.count();
        synonyms.drain(..before);
        synonyms
    }

    /// The names that were given to the broker and that are no settings of it.
    pub fn foreign_names(&self) -> BTreeSet<&'a str> {
        let dynamic = [self.node, self.all].into_iter().flatten();
        let dynamic = dynamic.flat_map(|values| values.keys().map(|name| &**name));
        let given = self.settings.given().iter().map(|given| &*given.name);
        let is_foreign = |name: &&str| find(BROKER_KEYS, name).is_none();
        dynamic.chain(given).filter(is_foreign).collect()
    }

    /// Every place that gives a value to such a name.
    pub fn foreign_synonyms(&self, name: &str) -> Vec<Synonym> {
        let synonym = |value: &Arc<str>, source| Synonym {
            name: name.to_owned().into(),
            value: value.clone(),
            source,
        };
        let dynamic = |values: Option<&Values>, source| Some(synonym(values?.get(name)?, source));
        let given = self.settings.given().iter().rev();
        let given = given.clone().find(|given| given.name == name);
        let given = given.map(|given| synonym(&given.value.as_str().into(), Source::StaticBroker));
        [
            dynamic(self.node, Source::DynamicBroker),
            dynamic(self.all, Source::DynamicDefaultBroker),
            given,
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn given(&self, name: &'static str) -> Option<Synonym> {
        self.settings.location(name)?;
        let value = self.settings.value(name)?.to_text().into();
        Some(Synonym {
            name: name.into(),
            value,
            source: Source::StaticBroker,
        })
    }
}

fn default_of(name: &'static str) -> Option<Synonym> {
    let key = find(BROKER_KEYS, name).map(|at| &BROKER_KEYS[at])?;
    Some(Synonym {
        name: name.into(),
        value: key.default?.into(),
        source: Source::Default,
    })
}

/// What a setting of a topic comes to, given the topic's own values.
pub fn effective_topic_value(
    brokers: BrokerValues<'_>,
    topic: Option<&Values>,
    key: &'static Key,
) -> Effective {
    let own = topic.and_then(|values| values.get(key.name));
    let inherited = brokers.synonyms(key.broker.iter().map(|(name, _)| *name));
    let value = match (own, inherited.first()) {
        (Some(own), _) => Some(canonical(key, own)),
        (None, Some(first)) => {
            let factor = key
                .broker
                .iter()
                .find(|(name, _)| *name == first.name)
                .map_or(1, |(_, factor)| *factor);
            Some(scaled(key, &first.value, factor))
        }
        (None, None) => key.default.map(Arc::from),
    };
    let own = own.map(|_| Synonym {
        name: key.name.into(),
        value: value.clone().expect("there is a value of its own"),
        source: Source::DynamicTopic,
    });
    let synonyms: Vec<Synonym> = own.into_iter().chain(inherited).collect();
    let source = synonyms
        .first()
        .map_or(Source::Default, |first| first.source);
    Effective {
        key,
        value,
        source,
        synonyms,
    }
}

/// The text that Kafka shows for a value: parsed and written again. A text that does not parse stays.
pub fn canonical(key: &Key, text: &Arc<str>) -> Arc<str> {
    Value::parse(key, text).map_or_else(|_| text.clone(), |value| value.to_text().into())
}

fn scaled(key: &Key, text: &Arc<str>, factor: i64) -> Arc<str> {
    match (factor, text.parse::<i64>()) {
        (1, _) | (_, Err(_)) => canonical(key, text),
        // -1 is "no limit" in every unit.
        (_, Ok(number)) if number < 0 => text.clone(),
        (factor, Ok(number)) => number.saturating_mul(factor).to_string().into(),
    }
}

/// The settings that hold for one topic.
#[derive(Clone, Debug)]
pub struct TopicSettings(Box<[Option<Value>]>);

impl TopicSettings {
    fn value(&self, name: &str) -> Option<&Value> {
        let at = find(TOPIC_KEYS, name).unwrap_or_else(|| panic!("there is no setting {name}"));
        self.0[at].as_ref()
    }

    /// An INT or LONG.
    ///
    /// # Panics
    /// When the setting is of another type or there is none of the name, as do the others.
    pub fn long(&self, name: &str) -> i64 {
        let number = self.value(name).and_then(Value::as_whole_number);
        number.unwrap_or_else(|| panic!("{name} is no number"))
    }

    pub fn int(&self, name: &str) -> i32 {
        match self.value(name) {
            Some(Value::Int(value)) => *value,
            other => panic!("{name} is no INT: {other:?}"),
        }
    }

    pub fn double(&self, name: &str) -> f64 {
        match self.value(name) {
            Some(Value::Double(value)) => *value,
            other => panic!("{name} is no DOUBLE: {other:?}"),
        }
    }

    pub fn boolean(&self, name: &str) -> bool {
        match self.value(name) {
            Some(Value::Boolean(value)) => *value,
            other => panic!("{name} is no BOOLEAN: {other:?}"),
        }
    }

    pub fn string(&self, name: &str) -> &str {
        match self.value(name) {
            Some(Value::Text(value)) => value,
            other => panic!("{name} is no STRING: {other:?}"),
        }
    }

    pub fn list(&self, name: &str) -> &[String] {
        match self.value(name) {
            Some(Value::List(value)) => value,
            other => panic!("{name} is no LIST: {other:?}"),
        }
    }
}

impl MetadataListener for CurrentSettings {
    fn apply(&self, image: &Arc<Image>, delta: &Delta) {
        let resources = [
            Resource::all_brokers(),
            Resource::broker(self.file().node_id()),
        ];
        if !resources
            .iter()
            .any(|resource| delta.configs.contains(resource))
        {
            return;
        }
        let [all, broker] = resources.map(|resource| image.configs().of(&resource).cloned());
        self.update(&all.unwrap_or_default(), &broker.unwrap_or_default());
    }
}

impl Image {
    /// The settings that hold for a topic on a node with these settings of its own. A value in the log that this
    /// version cannot read gives way to the default.
    pub fn topic_settings(&self, name: &str, settings: &Settings) -> TopicSettings {
        let brokers = BrokerValues::new(self.configs(), settings, settings.node_id());
        let topic = self
            .configs()
            .of(&Resource::topic(name))
            .map(|values| &**values);
        let value = |key: &'static Key| {
            let text = effective_topic_value(brokers, topic, key).value?;
            let default = || Value::parse(key, key.default?).ok();
            Value::parse(key, &text).ok().or_else(default)
        };
        TopicSettings(TOPIC_KEYS.iter().map(value).collect())
    }

    /// One setting of a topic, without resolving the others.
    pub fn topic_value(&self, name: &str, setting: &str, settings: &Settings) -> Option<Value> {
        let key = &TOPIC_KEYS[find(TOPIC_KEYS, setting)?];
        let brokers = BrokerValues::new(self.configs(), settings, settings.node_id());
        let topic = self
            .configs()
            .of(&Resource::topic(name))
            .map(|values| &**values);
        Value::parse(key, &effective_topic_value(brokers, topic, key).value?).ok()
    }
}
