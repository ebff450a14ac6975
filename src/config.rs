//! Every setting of a broker: its name, type, default and bounds, as Kafka 4.3.0 has them, and the values that one
//! node was given. Knows no other module but `ids`; everyone may ask it.
//!
//! The tables are in `broker_keys` and `topic_keys`. [`Settings`] is built once at the start, from a file or from the
//! embedded defaults, and is not changed afterwards: what is given while the broker runs makes another value of it
//! (`dynamic`).
//!
//! To read one more setting, add a line in `getters` (the compiler checks name and type), or ask by
//! name ([`Settings::int`] and its like); and mark it `.acts()` in the table.

mod broker_keys;
mod describe;
mod dynamic;
mod explain;
pub mod features;
mod getters;
mod key;
mod listeners;
mod properties;
mod settings;
mod ssl;
mod topic;
mod topic_keys;
mod validate;
mod value;

#[cfg(test)]
mod tests;

pub use broker_keys::{BROKER_KEYS, DYNAMIC_ONLY_KEYS, REMOTE_LOG_METADATA_KEYS};
pub use describe::{ConfigEntry, ConfigSource, ConfigSynonym, Layers, Lookup, unit_synonyms};
pub use dynamic::{CurrentSettings, DynamicValues, base_name};
pub use key::{Effect, Key, Kind, UpdateMode, Valid, find};
pub use listeners::{Listener, SecurityProtocol, Voter};
pub use properties::{Given, Location};
pub use settings::{Error, Role, Settings};
pub use ssl::{ClientAuth, SslSettings, StoreSettings};
pub use topic::TopicSettings;
pub use topic_keys::{CLIENT_METRICS_KEYS, GROUP_KEYS, TOPIC_KEYS};
pub use value::{ConfigException, Value};
