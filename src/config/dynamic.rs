//! Settings of brokers that are given while they run, over those of the file: which may be, and what a broker's
//! settings come to with them. (kafka.server.DynamicBrokerConfig; protocol-tests/fixtures/configs holds its answers)

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::broker_keys::{BROKER_KEYS, DYNAMIC_ONLY_KEYS};
use super::key::{Key, Kind, UpdateMode, find};
use super::settings::{Error, Settings};
use super::value::{ConfigException, Value};

/// What the metadata log holds for one broker, or for all of them.
pub type DynamicValues = BTreeMap<Arc<str>, Arc<str>>;

/// Security settings that can change only for one listener at a time. (SslConfigs.RECONFIGURABLE_CONFIGS)
const PER_LISTENER_ONLY: [&str; 10] = [
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

/// Settings of listeners that may be given for all brokers. (DynamicBrokerConfig.ClusterLevelListenerConfigs)
const CLUSTER_LEVEL_LISTENER: [&str; 3] = [
    "max.connection.creation.rate",
    "max.connections",
    "num.network.threads",
];

/// Numbers of threads, which at most double or halve in one step. (DynamicThreadPool, DynamicRemoteLogConfig)
const THREADS: [&str; 9] = [
    "background.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
    "remote.log.manager.copier.thread.pool.size",
    "remote.log.manager.expiration.thread.pool.size",
    "remote.log.manager.follower.thread.pool.size",
    "remote.log.reader.threads",
];

/// The settings of a node as they are now: those of its file under what is given while it runs. Cheap to clone; clones
/// share what they hold. Written by the one who applies the metadata log.
#[derive(Clone, Debug)]
pub struct CurrentSettings {
    file: Arc<Settings>,
    now: Arc<ArcSwap<Settings>>,
    changes: watch::Sender<()>,
}

impl From<Arc<Settings>> for CurrentSettings {
    fn from(file: Arc<Settings>) -> CurrentSettings {
        CurrentSettings {
            now: Arc::new(ArcSwap::new(file.clone())),
            file,
            changes: watch::Sender::new(()),
        }
    }
}

impl CurrentSettings {
    /// What the node was started with.
    pub fn file(&self) -> &Arc<Settings> {
        &self.file
    }

    pub fn now(&self) -> Arc<Settings> {
        self.now.load_full()
    }

    /// Tells of every change.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Takes what the metadata log holds for all brokers and for this one.
    pub fn update(&self, all: &DynamicValues, broker: &DynamicValues) {
        self.now
            .store(Arc::new(self.file.with_dynamic(all, broker)));
        self.changes.send_replace(());
    }
}

impl Settings {
    /// Judges what one of the two resources, this broker or all brokers, is to hold. `broker` and `all` are what they
    /// hold now. (DynamicBrokerConfig.validate)
    pub fn check_dynamic(
        &self,
        is_per_broker: bool,
        proposed: &DynamicValues,
        broker: &DynamicValues,
        all: &DynamicValues,
    ) -> Result<(), ConfigException> {
        check_names(
            proposed,
            "Cannot update these configs dynamically",
            |name| of(name).is_some_and(|key| key.update == UpdateMode::ReadOnly),
        )?;
        check_names(
            proposed,
            "These security configs can be dynamically updated only per-listener using the listener prefix",
            |name| PER_LISTENER_ONLY.contains(&name),
        )?;
        for (name, value) in proposed {
            check_value(base_name(name).unwrap_or(name), value)?;
        }
        if !is_per_broker {
            let message =
                "Cannot update these configs at default cluster level, broker id must be specified";
            check_names(proposed, message, is_for_one_broker)?;
        }
        let current = self.with_dynamic(all, broker);
        let changed = match is_per_broker {
            true => self.layered(all, proposed),
            false => self.layered(proposed, broker),
        };
        let changed = changed.map_err(|error| ConfigException(reason(error)))?;
        check_reconfiguration(&current, &changed).map_err(|ConfigException(text)| {
            ConfigException(format!(
                "Invalid value org.apache.kafka.common.config.ConfigException: {text} for configuration Invalid \
                 dynamic configuration"
            ))
        })
    }

    /// These settings with what the metadata log holds over them. What it holds and they do not take (another version
    /// wrote it) is left out. (DynamicBrokerConfig.processReconfiguration)
    pub fn with_dynamic(&self, all: &DynamicValues, broker: &DynamicValues) -> Settings {
        if let Ok(settings) = self.layered(all, broker) {
            return settings;
        }
        let mut settings = self.clone();
        for (name, value) in overrides(all).chain(overrides(broker)) {
            match settings.with(&[(name, value)]) {
                Ok(changed) => settings = changed,
                Err(error) => {
                    tracing::error!(%error, "the setting {name} in the metadata log is passed over")
                }
            }
        }
        settings
    }

    fn layered(&self, all: &DynamicValues, broker: &DynamicValues) -> Result<Settings, Error> {
        let overrides: Vec<_> = overrides(all).chain(overrides(broker)).collect();
        self.with(&overrides)
    }
}

fn overrides(values: &DynamicValues) -> impl Iterator<Item = (&str, &str)> {
    values
        .iter()
        .filter(|(name, _)| {
            of(base_name(name).unwrap_or(name))
                .is_some_and(|key| key.update != UpdateMode::ReadOnly)
        })
        .map(|(name, value)| (&**name, &**value))
}

fn of(name: &str) -> Option<&'static Key> {
    find(BROKER_KEYS, name).map(|at| &BROKER_KEYS[at])
}

/// The setting that `listener.name.<listener>.<setting>` gives for one listener.
pub fn base_name(name: &str) -> Option<&str> {
    let (_, base) = name.strip_prefix("listener.name.")?.split_once('.')?;
    Some(base)
}

fn is_for_one_broker(name: &str) -> bool {
    match base_name(name) {
        Some(base) => !CLUSTER_LEVEL_LISTENER.contains(&base),
        None => of(name).is_some_and(|key| key.update == UpdateMode::PerBroker),
    }
}

fn check_names(
    values: &DynamicValues,
    message: &str,
    is_refused: impl Fn(&str) -> bool,
) -> Result<(), ConfigException> {
    let refused = values.keys().map(|name| &**name);
    let refused: Vec<&str> = refused.filter(|name| is_refused(name)).collect();
    match refused.is_empty() {
        true => Ok(()),
        false => Err(ConfigException(format!(
            "{message}: [{}]",
            refused.join(", ")
        ))),
    }
}

/// A name that nobody knows may have any value.
fn check_value(name: &str, value: &str) -> Result<(), ConfigException> {
    let throttle = || find(DYNAMIC_ONLY_KEYS, name).map(|at| &DYNAMIC_ONLY_KEYS[at]);
    let Some(key) = of(name).or_else(throttle) else {
        return Ok(());
    };
    if key.kind == Kind::Class && key.default != Some(value) {
        return Err(ConfigException(format!(
            "Invalid value {value} for configuration {name}: Class {value} could not be found."
        )));
    }
    Value::parse(key, value).map(drop)
}

/// Kafka tells of most rules that span several settings as failed requirements.
fn reason(error: Error) -> String {
    let text = match error {
        Error::Invalid { exception, .. } | Error::Incomplete(exception) => exception.0,
        other => return other.to_string(),
    };
    let is_plain = ["group.", "Invalid value ", "Error parsing "]
        .iter()
        .any(|start| text.starts_with(start));
    match is_plain {
        true => text,
        false => format!("requirement failed: {text}"),
    }
}

/// What the parts of a running broker do not take. (BrokerReconfigurable.validateReconfiguration)
fn check_reconfiguration(current: &Settings, new: &Settings) -> Result<(), ConfigException> {
    for name in THREADS {
        let (from, to) = (current.int(name), new.int(name));
        let what = format!("Dynamic thread count update validation failed for {name}={to}, value");
        if from != to && to < from / 2 {
            let text = format!("{what} should be at least half the current value {from}");
            return Err(ConfigException(text));
        }
        if to > from.saturating_mul(2) {
            let text = format!("{what} should not be greater than double the current value {from}");
            return Err(ConfigException(text));
        }
    }
    let [from, to] = [current, new].map(|settings| settings.int("log.cleaner.threads"));
    let refused = match to {
        _ if from == to => None,
        ..1 => Some("should be at least 1".to_owned()),
        _ if to < from / 2 => Some(format!(
            "cannot be reduced to less than half the current value {from}"
        )),
        _ if to > from.saturating_mul(2) => Some(format!(
            "cannot be increased to more than double the current value {from}"
        )),
        _ => None,
    };
    if let Some(refused) = refused {
        return Err(ConfigException(format!("Log cleaner threads {refused}")));
    }
    check_local_retention(new)
}

/// What stays here of a log with remote storage cannot be more than what stays of it at all. -2: as much.
/// (DynamicLogConfig.validateReconfiguration)
fn check_local_retention(new: &Settings) -> Result<(), ConfigException> {
    let time = match new.value("log.retention.ms") {
        Some(Value::Long(ms)) => *ms,
        _ => match new.value("log.retention.minutes") {
            Some(Value::Int(minutes)) => i64::from(*minutes) * 60_000,
            _ => i64::from(new.int("log.retention.hours")) * 3_600_000,
        },
    };
    let bytes = new.long("log.retention.bytes");
    for (name, all, limit) in [
        ("log.local.retention.ms", "log.retention.ms", time),
        ("log.local.retention.bytes", "log.retention.bytes", bytes),
    ] {
        let local = new.long(name);
        if limit < 0 || local == -2 {
            continue;
        }
        let reason = match local {
            -1 => format!("Value must not be -1 as {all} value is set as {limit}."),
            local if local > limit => {
                format!("Value must not be more than {all} property value: {limit}")
            }
            _ => continue,
        };
        return Err(ConfigException::value(name, &local.to_string(), &reason));
    }
    Ok(())
}
