//! What Dohle has to say about settings beyond Kafka: which it acts on, which it does not know, and which it must not
//! ignore.

use std::collections::BTreeSet;

use super::broker_keys::BROKER_KEYS;
use super::key::{self, Effect, Key};
use super::listeners::{Listener, SecurityProtocol};
use super::properties::{Given, Location};
use super::settings::{Error, Settings};
use super::value::Value;

impl Settings {
    /// Refuses settings that ask for a protection on which nothing acts. To be asked before anything is opened.
    pub fn check_protection(&self) -> Result<(), Error> {
        let refuse = |name: &str, value: String| {
            let location = self.location(name).cloned().unwrap_or(Location::Embedded);
            Err(Error::Unprotected {
                location,
                name: name.to_owned(),
                value,
            })
        };
        let asks = |key: &Key, value: Option<&str>| {
            key.effect == Effect::Protects && value != key.default && value != Some("")
        };
        for (key, value) in self.entries() {
            let value = value.map(Value::to_text);
            if asks(key, value.as_deref()) {
                return refuse(key.name, value.unwrap_or_default());
            }
        }
        let mut seen = BTreeSet::new();
        for Given { name, value, .. } in self.given().iter().rev() {
            // Of two with one name the later counts.
            let counts = seen.insert(name);
            if counts && listener_key(name).is_some_and(|key| asks(key, Some(value))) {
                return refuse(name, value.clone());
            }
        }
        match self
            .listeners()
            .iter()
            .find(|listener| !self.is_served(listener))
        {
            Some(listener) if self.location("listener.security.protocol.map").is_some() => {
                let pair = format!("{}:{}", listener.name, listener.protocol.name());
                refuse("listener.security.protocol.map", pair)
            }
            Some(listener) => refuse("listeners", listener.to_string()),
            None => Ok(()),
        }
    }

    /// Whether the protocol of a listener is spoken: SSL to clients, and no SASL so far.
    fn is_served(&self, listener: &Listener) -> bool {
        match listener.protocol {
            SecurityProtocol::Plaintext => true,
            SecurityProtocol::Ssl => !self.is_controller_listener(&listener.name),
            SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl => false,
        }
    }

    /// What is odd about these settings, a line each: names that nobody knows, and what Kafka warns of too.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for given in self.given() {
            if !is_known(&given.name) {
                let similar = similar_name(&given.name)
                    .map_or_else(String::new, |name| format!(" (is it {name}?)"));
                warnings.push(format!(
                    "{}: unknown setting {}{similar}",
                    given.location, given.name
                ));
            }
        }
        let (heartbeat, session) = (
            self.int("broker.heartbeat.interval.ms"),
            self.int("broker.session.timeout.ms"),
        );
        if heartbeat > session / 2 {
            warnings.push(format!(
                "broker.heartbeat.interval.ms ({heartbeat} ms) should be at most half of broker.session.timeout.ms \
                 ({session} ms), or one lost heartbeat fences the broker"
            ));
        }
        warnings
    }

    /// What `dohle serve --explain-config` prints: every setting with its value and where it was given, by what is
    /// made of it.
    pub fn explain(&self) -> String {
        let heading = |effect| match effect {
            Some(Effect::Acts) => "In effect:",
            Some(Effect::NotYet) => "Known, not acted on yet:",
            Some(Effect::Protects) => {
                "Known, not acted on yet; a value other than the default refuses the start:"
            }
            Some(Effect::Moot) => "Known, tunes nothing that Dohle has:",
            None => "Unknown:",
        };
        let mut lines: Vec<(Option<Effect>, String)> = Vec::new();
        for (key, value) in self.entries() {
            let value = value.map_or_else(|| "null".to_owned(), |value| format!("{value:?}"));
            let place = self
                .location(key.name)
                .map_or_else(|| "default".to_owned(), ToString::to_string);
            lines.push((Some(key.effect), format!("{}={value} ({place})", key.name)));
        }
        for given in self
            .given()
            .iter()
            .filter(|given| key::find(BROKER_KEYS, &given.name).is_none())
        {
            let value = if self.is_shown(&given.name) {
                given.value.as_str()
            } else {
                "[hidden]"
            };
            lines.push((
                effect(&given.name),
                format!("{}={value} ({})", given.name, given.location),
            ));
        }
        let effects = [Effect::Acts, Effect::NotYet, Effect::Protects, Effect::Moot].map(Some);
        let mut text = String::new();
        for effect in effects.into_iter().chain([None]) {
            let mut of_effect = lines.iter().filter(|line| line.0 == effect).peekable();
            if of_effect.peek().is_some() {
                text.push_str(heading(effect));
                text.push('\n');
            }
            for (_, line) in of_effect {
                text.push_str("  ");
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }

    fn is_shown(&self, name: &str) -> bool {
        let name = listener_setting(name).unwrap_or(name);
        key::find(BROKER_KEYS, name).is_some_and(|at| !BROKER_KEYS[at].is_sensitive())
    }
}

/// Whether Kafka has such a setting, also for one listener or handed on to a plugin.
fn is_known(name: &str) -> bool {
    let plugin = ["rlmm.config.", "rsm.config.", "config.providers."];
    key::find(BROKER_KEYS, name).is_some()
        || plugin.iter().any(|prefix| name.starts_with(prefix))
        || listener_setting(name).is_some()
}

/// What is made of a setting that is given; `None` where Kafka has no such. For one listener nothing but SSL acts so far.
fn effect(name: &str) -> Option<Effect> {
    if let Some(at) = key::find(BROKER_KEYS, name) {
        return Some(BROKER_KEYS[at].effect);
    }
    match listener_key(name) {
        Some(key) if key.effect == Effect::Acts && !key.name.starts_with("ssl.") => {
            Some(Effect::NotYet)
        }
        Some(key) => Some(key.effect),
        None => is_known(name).then_some(Effect::NotYet),
    }
}

/// What `listener.name.<listener>.` gives for one listener.
fn listener_key(name: &str) -> Option<&'static Key> {
    let at = key::find(BROKER_KEYS, listener_setting(name)?)?;
    Some(&BROKER_KEYS[at])
}

/// What follows `listener.name.<listener>.`, and the SASL mechanism if one is named.
fn listener_setting(name: &str) -> Option<&str> {
    let (_, setting) = name.strip_prefix("listener.name.")?.split_once('.')?;
    let known = |name: &str| key::find(BROKER_KEYS, name).is_some();
    if known(setting) {
        Some(setting)
    } else {
        setting
            .split_once('.')
            .map(|(_, rest)| rest)
            .filter(|rest| known(rest))
    }
}

/// A known name that differs by a slip of the fingers.
fn similar_name(name: &str) -> Option<&'static str> {
    let distance = |key: &&Key| edit_distance(name.as_bytes(), key.name.as_bytes());
    let nearest = BROKER_KEYS.iter().min_by_key(distance)?;
    (distance(&nearest) <= 2).then_some(nearest.name)
}

/// Insertions, removals and replacements that turn `a` into `b`.
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
