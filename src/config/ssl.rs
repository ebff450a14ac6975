//! The settings of one SSL listener: `listener.name.<name>.ssl.*` where they are given, else `ssl.*`.
//! (org.apache.kafka.common.config.SslConfigs, AbstractConfig.valuesWithPrefixOverride)

use std::path::PathBuf;

use super::broker_keys::BROKER_KEYS;
use super::key;
use super::settings::Settings;
use super::value::{ConfigException, Value};

/// `ssl.client.auth`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    None,
    Requested,
    Required,
}

/// See the module. It holds passwords, and so is not for printing.
#[derive(Clone, PartialEq, Eq)]
pub struct SslSettings {
    /// `ssl.keystore.*`; the key itself may have a password of its own, `ssl.key.password`.
    pub keystore: StoreSettings,
    pub keystore_certificate_chain: Option<String>,
    pub keystore_key: Option<String>,
    pub key_password: Option<String>,
    /// `ssl.truststore.*`
    pub truststore: StoreSettings,
    pub truststore_certificates: Option<String>,
    pub client_auth: ClientAuth,
    pub enabled_protocols: Vec<String>,
    pub protocol: String,
    /// Empty: all that there are.
    pub cipher_suites: Vec<String>,
    pub principal_mapping_rules: String,
}

/// A file with keys or certificates.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// In upper case.
    pub kind: String,
    pub location: Option<PathBuf>,
    pub password: Option<String>,
}

impl Settings {
    /// The settings of an SSL listener, by its name.
    pub fn ssl(&self, listener: &str) -> Result<SslSettings, ConfigException> {
        let of = OfListener {
            settings: self,
            prefix: format!("listener.name.{}.", listener.to_lowercase()),
        };
        let store = |kind, location, password| -> Result<StoreSettings, ConfigException> {
            Ok(StoreSettings {
                kind: of.text(kind)?.unwrap_or_default().to_uppercase(),
                location: of.text(location)?.map(PathBuf::from),
                password: of.text(password)?,
            })
        };
        Ok(SslSettings {
            keystore: store(
                "ssl.keystore.type",
                "ssl.keystore.location",
                "ssl.keystore.password",
            )?,
            keystore_certificate_chain: of.text("ssl.keystore.certificate.chain")?,
            keystore_key: of.text("ssl.keystore.key")?,
            key_password: of.text("ssl.key.password")?,
            truststore: store(
                "ssl.truststore.type",
                "ssl.truststore.location",
                "ssl.truststore.password",
            )?,
            truststore_certificates: of.text("ssl.truststore.certificates")?,
            client_auth: match of.text("ssl.client.auth")?.as_deref() {
                Some("required") => ClientAuth::Required,
                Some("requested") => ClientAuth::Requested,
                _ => ClientAuth::None,
            },
            enabled_protocols: of.list("ssl.enabled.protocols")?,
            protocol: of.text("ssl.protocol")?.unwrap_or_default(),
            cipher_suites: of.list("ssl.cipher.suites")?,
            principal_mapping_rules: of.text("ssl.principal.mapping.rules")?.unwrap_or_default(),
        })
    }
}

struct OfListener<'a> {
    settings: &'a Settings,
    prefix: String,
}

impl OfListener<'_> {
    fn value(&self, name: &str) -> Result<Option<Value>, ConfigException> {
        let given = self.settings.given().iter().rev();
        let own = given
            .filter_map(|one| Some((one.name.strip_prefix(&self.prefix)?, &one.value)))
            .find(|(base, _)| *base == name);
        match (own, key::find(BROKER_KEYS, name)) {
            (Some((_, text)), Some(at)) => Value::parse(&BROKER_KEYS[at], text).map(Some),
            _ => Ok(self.settings.value(name).cloned()),
        }
    }

    /// `None` also for what is empty.
    fn text(&self, name: &str) -> Result<Option<String>, ConfigException> {
        let text = match self.value(name)? {
            Some(Value::Text(text) | Value::Password(text)) => Some(text),
            _ => None,
        };
        Ok(text.filter(|text| !text.is_empty()))
    }

    fn list(&self, name: &str) -> Result<Vec<String>, ConfigException> {
        Ok(match self.value(name)? {
            Some(Value::List(list)) => list,
            _ => Vec::new(),
        })
    }
}
