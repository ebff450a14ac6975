//! The nodes that have registered: brokers and controllers.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use crate::ids::{BrokerEpoch, DirectoryId, KafkaUuid, NodeId};

/// A broker's registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub id: NodeId,
    /// The offset at which this incarnation registered.
    pub epoch: BrokerEpoch,
    /// Distinct for each start of the process.
    pub incarnation_id: KafkaUuid,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<FeatureRange>,
    pub rack: Option<Arc<str>>,
    /// A fenced broker leads nothing and is not told to clients.
    pub fenced: bool,
    pub in_controlled_shutdown: bool,
    /// The log directories that are online.
    pub log_dirs: Vec<DirectoryId>,
    /// The log directories that get no new partitions (KIP-1066); `None` when the broker has not said.
    pub cordoned_log_dirs: Option<Vec<DirectoryId>>,
}

impl Broker {
    /// Neither fenced nor going down: may lead and join ISRs. (ClusterControlManager.isActive)
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// By the name of the listener.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints
            .iter()
            .find(|endpoint| &*endpoint.name == listener)
    }
}

/// A controller's registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    pub id: NodeId,
    pub incarnation_id: KafkaUuid,
    pub zk_migration_ready: bool,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<FeatureRange>,
}

/// Where a node can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Of the listener, in upper case.
    pub name: Arc<str>,
    pub host: Arc<str>,
    pub port: u16,
    /// [`crate::config::SecurityProtocol`] by its number.
    pub security_protocol: i16,
}

/// The levels of a feature that a node can work with, both included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureRange {
    pub name: Arc<str>,
    pub min: i16,
    pub max: i16,
}

/// All registered brokers and controllers, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Brokers {
    brokers: RedBlackTreeMapSync<NodeId, Arc<Broker>>,
    controllers: RedBlackTreeMapSync<NodeId, Arc<Controller>>,
}

impl Brokers {
    pub fn get(&self, id: NodeId) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// Fenced ones included.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values()
    }

    /// Those that clients may be told of: neither fenced nor without this listener.
    pub fn alive<'a>(
        &'a self,
        listener: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<Broker>, &'a Endpoint)> {
        let alive = self.iter().filter(|broker| !broker.fenced);
        alive.filter_map(|broker| Some((broker, broker.endpoint(listener)?)))
    }

    pub fn is_registered(&self, id: NodeId) -> bool {
        self.brokers.contains_key(&id)
    }

    /// Registered and not fenced.
    pub fn is_alive(&self, id: NodeId) -> bool {
        self.get(id).is_some_and(|broker| !broker.fenced)
    }

    /// Registered, not fenced, not in controlled shutdown.
    pub fn is_active(&self, id: NodeId) -> bool {
        self.get(id).is_some_and(|broker| broker.is_active())
    }

    pub fn controller(&self, id: NodeId) -> Option<&Arc<Controller>> {
        self.controllers.get(&id)
    }

    pub fn controllers(&self) -> impl Iterator<Item = &Arc<Controller>> {
        self.controllers.values()
    }

    pub(super) fn insert(&mut self, broker: Broker) {
        self.brokers.insert_mut(broker.id, Arc::new(broker));
    }

    pub(super) fn remove(&mut self, id: NodeId) {
        self.brokers.remove_mut(&id);
    }

    pub(super) fn insert_controller(&mut self, controller: Controller) {
        self.controllers
            .insert_mut(controller.id, Arc::new(controller));
    }
}
