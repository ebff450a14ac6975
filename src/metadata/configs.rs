//! The settings that were given through the Admin API, by resource; what stands in `server.properties` is elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

/// What a setting belongs to. (ConfigResource)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    pub kind: ResourceKind,
    /// A topic, a group, a subscription; a broker's id, or "" for all brokers.
    pub name: Arc<str>,
}

/// The type of a [`Resource`]; the numbers are the wire's and the records'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    Topic,
    Broker,
    BrokerLogger,
    ClientMetrics,
    Group,
    /// One that this version does not know; kept as it is.
    Other(i8),
}

impl ResourceKind {
    pub fn code(self) -> i8 {
        match self {
            ResourceKind::Topic => 2,
            ResourceKind::Broker => 4,
            ResourceKind::BrokerLogger => 8,
            ResourceKind::ClientMetrics => 16,
            ResourceKind::Group => 32,
            ResourceKind::Other(code) => code,
        }
    }

    pub fn of(code: i8) -> ResourceKind {
        match code {
            2 => ResourceKind::Topic,
            4 => ResourceKind::Broker,
            8 => ResourceKind::BrokerLogger,
            16 => ResourceKind::ClientMetrics,
            32 => ResourceKind::Group,
            code => ResourceKind::Other(code),
        }
    }
}

impl Resource {
    pub fn topic(name: impl Into<Arc<str>>) -> Resource {
        Resource {
            kind: ResourceKind::Topic,
            name: name.into(),
        }
    }

    /// One broker.
    pub fn broker(node: crate::ids::NodeId) -> Resource {
        Resource {
            kind: ResourceKind::Broker,
            name: node.to_string().into(),
        }
    }

    /// The default of all brokers.
    pub fn all_brokers() -> Resource {
        Resource {
            kind: ResourceKind::Broker,
            name: "".into(),
        }
    }

    pub fn group(name: impl Into<Arc<str>>) -> Resource {
        Resource {
            kind: ResourceKind::Group,
            name: name.into(),
        }
    }

    pub fn client_metrics(name: impl Into<Arc<str>>) -> Resource {
        Resource {
            kind: ResourceKind::ClientMetrics,
            name: name.into(),
        }
    }
}

/// The settings of one resource, by name.
pub type Values = BTreeMap<Arc<str>, Arc<str>>;

/// Every resource that has a setting of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configs(RedBlackTreeMapSync<Resource, Arc<Values>>);

impl Configs {
    /// The settings of one resource; `None` when it has none.
    pub fn of(&self, resource: &Resource) -> Option<&Arc<Values>> {
        self.0.get(resource)
    }

    /// One setting.
    pub fn value(&self, resource: &Resource, name: &str) -> Option<&Arc<str>> {
        self.of(resource)?.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Resource, &Arc<Values>)> {
        self.0.iter()
    }

    pub(super) fn set(&mut self, resource: &Resource, name: &str, value: Option<&str>) {
        let mut values = self
            .of(resource)
            .map(|values| Values::clone(values))
            .unwrap_or_default();
        match value {
            Some(value) => values.insert(name.into(), value.into()),
            None => values.remove(name),
        };
        match values.is_empty() {
            true => self.remove(resource),
            false => self.0.insert_mut(resource.clone(), Arc::new(values)),
        }
    }

    pub(super) fn remove(&mut self, resource: &Resource) {
        self.0.remove_mut(resource);
    }
}
