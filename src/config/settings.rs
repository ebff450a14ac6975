//! The values that one node was given, checked and typed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::broker_keys::BROKER_KEYS;
use super::key::{self, Key};
use super::listeners::{self, Listener, ProtocolMap, SecurityProtocol, Voter};
use super::properties::{self, Given, Location};
use super::validate;
use super::value::{ConfigException, Value};
use crate::ids::NodeId;

/// Why settings cannot be used. Each is one line that names the cause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{path}:{line}: {reason}")]
    Malformed {
        path: PathBuf,
        line: usize,
        reason: String,
    },
    /// A value that its setting does not take, or that contradicts another setting.
    #[error("{location}: {exception}")]
    Invalid {
        location: Location,
        exception: ConfigException,
    },
    /// Something that was not given, and without which the rest makes no sense.
    #[error("{0}")]
    Incomplete(ConfigException),
    /// A setting that protects, and on which nothing acts.
    #[error(
        "{location}: {name}={value} asks for a protection that Dohle does not offer yet; it does not start without it"
    )]
    Unprotected {
        location: Location,
        name: String,
        value: String,
    },
}

/// What a node does for its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Broker,
    Controller,
}

/// The settings of one node. Built once, never changed, shared by reference.
#[derive(Clone, Debug)]
pub struct Settings {
    /// All that was given, in order; of two with one name the later counts.
    given: Vec<Given>,
    /// By the place of the setting in [`BROKER_KEYS`]; `None` is Kafka's `null`.
    pub(super) values: Box<[Option<Value>]>,
    listeners: Vec<Listener>,
    /// As `advertised.listeners` has them, or `listeners` where that is not given.
    advertised: Vec<Listener>,
    protocols: ProtocolMap,
    voters: Vec<Voter>,
    bootstrap_servers: Vec<(String, u16)>,
    log_dirs: Vec<PathBuf>,
}

impl Settings {
    /// Reads a file; `overrides` count more than it.
    pub fn from_file(path: &Path, overrides: &[(String, String)]) -> Result<Settings, Error> {
        let mut given = properties::read(path)?;
        given.extend(at(Location::Override, overrides));
        Settings::from_given(given)
    }

    /// A node that is started without a file: broker and controller on 127.0.0.1, ports 9092 and 9093.
    pub fn default_for(data_dir: &Path) -> Settings {
        let data_dir = data_dir.to_string_lossy();
        let given = [
            ("process.roles", "broker,controller"),
            ("node.id", "1"),
            (
                "listeners",
                "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
            ),
            ("controller.listener.names", "CONTROLLER"),
            ("controller.quorum.voters", "1@127.0.0.1:9093"),
            ("log.dirs", &data_dir),
            ("offsets.topic.replication.factor", "1"),
            ("transaction.state.log.replication.factor", "1"),
            ("transaction.state.log.min.isr", "1"),
            ("share.coordinator.state.topic.replication.factor", "1"),
            ("share.coordinator.state.topic.min.isr", "1"),
        ];
        Settings::from_given(at(Location::Embedded, &given).collect())
            .expect("the embedded defaults are valid")
    }

    /// The same on ports that are free: for a broker inside of another program, such as a test. It has one partition
    /// in each internal topic and lets groups start at once.
    pub fn on_free_ports(data_dir: &Path) -> Settings {
        let given = [
            (
                "listeners",
                "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0",
            ),
            ("controller.quorum.voters", "1@127.0.0.1:0"),
            ("offsets.topic.num.partitions", "1"),
            ("transaction.state.log.num.partitions", "1"),
            ("share.coordinator.state.topic.num.partitions", "1"),
            ("group.initial.rebalance.delay.ms", "0"),
        ];
        Settings::default_for(data_dir)
            .with(&given)
            .expect("the embedded defaults are valid")
    }

    /// These settings with some changed.
    pub fn with<S: AsRef<str>>(&self, overrides: &[(S, S)]) -> Result<Settings, Error> {
        let mut given = self.given.clone();
        given.retain(|one| one.location != Location::Synonym);
        given.extend(at(Location::Override, overrides));
        Settings::from_given(given)
    }

    /// Checks each value and all of them together, and fills in the defaults.
    pub fn from_given(mut given: Vec<Given>) -> Result<Settings, Error> {
        add_synonyms(&mut given);
        let mut values: Box<[Option<Value>]> = BROKER_KEYS.iter().map(default_of).collect();
        for (place, one) in given.iter().enumerate() {
            if given[place + 1..]
                .iter()
                .any(|later| later.name == one.name)
            {
                continue;
            }
            let Some(at) = key::find(BROKER_KEYS, &one.name) else {
                continue;
            };
            let value = Value::parse(&BROKER_KEYS[at], &one.value);
            values[at] = Some(value.map_err(|exception| Error::Invalid {
                location: one.location.clone(),
                exception,
            })?);
        }
        let mut settings = Settings {
            given,
            values,
            listeners: Vec::new(),
            advertised: Vec::new(),
            protocols: ProtocolMap::new(),
            voters: Vec::new(),
            bootstrap_servers: Vec::new(),
            log_dirs: Vec::new(),
        };
        settings.check_required()?;
        let resolved = settings.resolve().and_then(|()| validate::check(&settings));
        resolved.map_err(|(name, exception)| settings.blame(name, exception))?;
        Ok(settings)
    }

    fn check_required(&self) -> Result<(), Error> {
        let missing = BROKER_KEYS
            .iter()
            .zip(&self.values)
            .find(|(key, value)| key.required && value.is_none());
        missing.map_or(Ok(()), |(key, _)| {
            Err(Error::Incomplete(ConfigException(format!(
                "Missing required configuration \"{}\" which has no default value.",
                key.name
            ))))
        })
    }

    /// The first of two settings that is set; both are whole numbers.
    pub(super) fn either(&self, first: &str, second: &str) -> i64 {
        let number = |name: &str| self.value(name).and_then(Value::as_whole_number);
        number(first).or_else(|| number(second)).unwrap_or_default()
    }

    /// Every setting with its value.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'static Key, Option<&Value>)> {
        BROKER_KEYS
            .iter()
            .zip(self.values.iter().map(Option::as_ref))
    }

    /// Turns texts into listeners, voters and directories.
    fn resolve(&mut self) -> Result<(), (&'static str, ConfigException)> {
        let named = |name: &'static str| move |exception| (name, exception);
        self.protocols = self
            .effective_protocols()
            .map_err(named("listener.security.protocol.map"))?;
        let listeners = self.list("listeners");
        self.listeners = listeners::parse_listeners(listeners, &self.protocols, true)
            .map_err(named("listeners"))?;
        self.advertised = match self.value("advertised.listeners") {
            Some(Value::List(list)) => listeners::parse_listeners(list, &self.protocols, false)
                .map_err(named("advertised.listeners"))?,
            _ => self.listeners.clone(),
        };
        let voters = listeners::parse_voters(self.list("controller.quorum.voters"));
        self.voters = voters.map_err(named("controller.quorum.voters"))?;
        let servers =
            listeners::parse_bootstrap_servers(self.list("controller.quorum.bootstrap.servers"));
        self.bootstrap_servers = servers.map_err(named("controller.quorum.bootstrap.servers"))?;
        self.check_inter_broker_listener()?;
        let dirs = match self.value("log.dirs") {
            Some(Value::List(dirs)) => dirs,
            _ => self.list("log.dir"),
        };
        let mut seen = BTreeSet::new();
        self.log_dirs = dirs
            .iter()
            .filter(|dir| seen.insert(*dir))
            .map(PathBuf::from)
            .collect();
        Ok(())
    }

    fn check_inter_broker_listener(&self) -> Result<(), (&'static str, ConfigException)> {
        const NAME: &str = "inter.broker.listener.name";
        let Some(listener) = self.string(NAME) else {
            return Ok(());
        };
        let text = if self.location("security.inter.broker.protocol").is_some() {
            format!("Only one of {NAME} and security.inter.broker.protocol should be set.")
        } else if self.security_protocol(&listener.to_uppercase()).is_none() {
            format!(
                "Listener with name {listener} defined in {NAME} not found in listener.security.protocol.map."
            )
        } else {
            return Ok(());
        };
        Err((NAME, ConfigException(text)))
    }

    /// `listener.security.protocol.map`; where it is not given and no listener asks for security by its name, the
    /// controller's listeners are plaintext. (AbstractKafkaConfig.effectiveListenerSecurityProtocolMap)
    fn effective_protocols(&self) -> Result<ProtocolMap, ConfigException> {
        let mut map = listeners::parse_protocol_map(
            self.string("listener.security.protocol.map")
                .unwrap_or_default(),
        )?;
        let controllers = self.list("controller.listener.names");
        let secure = |name: &str| matches!(name, "SSL" | "SASL_SSL" | "SASL_PLAINTEXT");
        let is_secure = |listener: &String| {
            listener
                .split_once("://")
                .is_some_and(|(name, _)| secure(name))
        };
        let asks = controllers.iter().any(|name| secure(name))
            || self.list("listeners").iter().any(is_secure);
        if self.location("listener.security.protocol.map").is_none() && !asks {
            for name in controllers {
                map.entry(name.to_uppercase())
                    .or_insert(SecurityProtocol::Plaintext);
            }
        }
        Ok(map)
    }

    /// Where a setting was given; `None` leaves it at its default.
    pub fn location(&self, name: &str) -> Option<&Location> {
        self.given
            .iter()
            .rev()
            .find(|given| given.name == name)
            .map(|given| &given.location)
    }

    /// All that was given, in order.
    pub fn given(&self) -> &[Given] {
        &self.given
    }

    fn blame(&self, name: &str, exception: ConfigException) -> Error {
        match self.location(name) {
            Some(location) => Error::Invalid {
                location: location.clone(),
                exception,
            },
            None => Error::Incomplete(exception),
        }
    }

    /// A setting by its name; `None` is Kafka's `null`.
    ///
    /// # Panics
    /// When there is no such setting, as do the methods below, and those also when it is of another type.
    pub fn value(&self, name: &str) -> Option<&Value> {
        let at =
            key::find(BROKER_KEYS, name).unwrap_or_else(|| panic!("there is no setting {name}"));
        self.values[at].as_ref()
    }

    pub fn boolean(&self, name: &str) -> bool {
        match self.value(name) {
            Some(Value::Boolean(value)) => *value,
            other => panic!("{name} is no BOOLEAN: {other:?}"),
        }
    }

    pub fn int(&self, name: &str) -> i32 {
        match self.value(name) {
            Some(Value::Int(value)) => *value,
            other => panic!("{name} is no INT: {other:?}"),
        }
    }

    pub fn long(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(Value::Long(value)) => *value,
            other => panic!("{name} is no LONG: {other:?}"),
        }
    }

    pub fn short(&self, name: &str) -> i16 {
        match self.value(name) {
            Some(Value::Short(value)) => *value,
            other => panic!("{name} is no SHORT: {other:?}"),
        }
    }

    pub fn double(&self, name: &str) -> f64 {
        match self.value(name) {
            Some(Value::Double(value)) => *value,
            other => panic!("{name} is no DOUBLE: {other:?}"),
        }
    }

    /// A STRING or CLASS.
    pub fn string(&self, name: &str) -> Option<&str> {
        match self.value(name) {
            Some(Value::Text(value)) => Some(value),
            None => None,
            other => panic!("{name} is no STRING: {other:?}"),
        }
    }

    /// A LIST; empty when it is not set.
    pub fn list(&self, name: &str) -> &[String] {
        match self.value(name) {
            Some(Value::List(value)) => value,
            None => &[],
            other => panic!("{name} is no LIST: {other:?}"),
        }
    }

    /// `node.id`
    pub fn node_id(&self) -> NodeId {
        NodeId(self.int("node.id"))
    }

    pub fn has_role(&self, role: Role) -> bool {
        let name = match role {
            Role::Broker => "broker",
            Role::Controller => "controller",
        };
        self.list("process.roles").iter().any(|one| one == name)
    }

    /// `broker.rack`
    pub fn rack(&self) -> Option<&str> {
        self.string("broker.rack")
    }

    /// `listeners`: all that this node binds, those of the controller among them.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Whether a listener (by its name in upper case) is one of the controller's.
    pub fn is_controller_listener(&self, name: &str) -> bool {
        self.list("controller.listener.names")
            .iter()
            .any(|one| one.eq_ignore_ascii_case(name))
    }

    /// The listeners of the broker that it binds.
    pub fn broker_listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners
            .iter()
            .filter(|listener| !self.is_controller_listener(&listener.name))
    }

    /// The listeners of the controller that it binds.
    pub fn controller_listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners
            .iter()
            .filter(|listener| self.is_controller_listener(&listener.name))
    }

    pub(super) fn advertised_listeners(&self) -> &[Listener] {
        &self.advertised
    }

    /// What clients are told to connect to. An empty host stands for this machine's name, port 0 for the one bound.
    pub fn advertised_broker_listeners(&self) -> impl Iterator<Item = &Listener> {
        self.advertised
            .iter()
            .filter(|listener| !self.is_controller_listener(&listener.name))
    }

    /// What other nodes are told to reach this controller at: as advertised, else as bound.
    pub fn advertised_controller_listeners(&self) -> impl Iterator<Item = &Listener> {
        self.controller_listeners().map(|bound| {
            self.advertised
                .iter()
                .find(|listener| listener.name == bound.name)
                .unwrap_or(bound)
        })
    }

    /// The listener over which brokers speak with each other, in upper case.
    pub fn inter_broker_listener_name(&self) -> String {
        let name = self.string("inter.broker.listener.name");
        name.or_else(|| self.string("security.inter.broker.protocol"))
            .unwrap_or_default()
            .to_uppercase()
    }

    /// The protocol of a listener by its name in upper case, as `listener.security.protocol.map` tells.
    pub fn security_protocol(&self, listener: &str) -> Option<SecurityProtocol> {
        self.protocols.get(listener).copied()
    }

    /// `controller.quorum.voters`; none where the quorum is dynamic.
    pub fn voters(&self) -> &[Voter] {
        &self.voters
    }

    /// `controller.quorum.bootstrap.servers`
    pub fn bootstrap_servers(&self) -> &[(String, u16)] {
        &self.bootstrap_servers
    }

    /// `log.dirs`, or `log.dir`.
    pub fn log_dirs(&self) -> &[PathBuf] {
        &self.log_dirs
    }

    /// Where `__cluster_metadata-0` lies: `metadata.log.dir`, or the first of the log directories.
    pub fn metadata_log_dir(&self) -> &Path {
        self.string("metadata.log.dir")
            .map_or_else(|| self.log_dirs[0].as_path(), Path::new)
    }
}

/// `broker.id` and `node.id`: the one that is given stands for the other. (KafkaConfig.populateSynonyms)
fn add_synonyms(given: &mut Vec<Given>) {
    for (name, other) in [("node.id", "broker.id"), ("broker.id", "node.id")] {
        let last = |name: &str| given.iter().rev().find(|one| one.name == name);
        if let (Some(one), None) = (last(name), last(other)) {
            let one = Given {
                name: other.to_owned(),
                value: one.value.clone(),
                location: Location::Synonym,
            };
            given.push(one);
        }
    }
}

fn default_of(key: &Key) -> Option<Value> {
    key.default
        .map(|text| Value::parse(key, text).expect("the table's defaults are valid"))
}

fn at<S: AsRef<str>>(location: Location, pairs: &[(S, S)]) -> impl Iterator<Item = Given> {
    pairs.iter().map(move |(name, value)| Given {
        name: name.as_ref().to_owned(),
        value: value.as_ref().to_owned(),
        location: location.clone(),
    })
}
