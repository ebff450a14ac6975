//! What an SSL listener speaks with: the state that each connection starts from, made of the listener's settings and stores,
//! and made anew when those change. (org.apache.kafka.common.security.ssl.SslFactory)

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::SupportedCipherSuite;
use rustls::pki_types::CertificateDer;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls::version::TLS13;
use tracing::{error, info, warn};

use super::certificates::{TrustedClients, Unusable};
use super::cipher_suites::{cipher_suites, is_context, protocols};
use super::keys::Keys;
use super::principal::{InvalidRule, KafkaPrincipal, NoMatchingRule, SslPrincipalMapper};
use super::stores;
use crate::config::{
    ClientAuth, ConfigException, Listener, SecurityProtocol, Settings, SslSettings,
};

/// Why a listener cannot speak SSL.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Settings(#[from] ConfigException),
    #[error(transparent)]
    Store(#[from] stores::Error),
    #[error(
        "there is no certificate: ssl.keystore.location, or ssl.keystore.certificate.chain and ssl.keystore.key"
    )]
    NoKeyStore,
    #[error(
        "ssl.client.auth asks for certificates of clients, and no ssl.truststore.* says whom to trust"
    )]
    NoTrustStore,
    #[error(transparent)]
    TrustStore(#[from] Unusable),
    #[error("ssl.protocol: {0} is not available")]
    UnknownProtocol(String),
    #[error("ssl.enabled.protocols={0}: Dohle speaks TLSv1.2 and TLSv1.3")]
    NoProtocol(String),
    #[error("Unsupported CipherSuite: of ssl.cipher.suites={0} Dohle has none for these protocols")]
    NoCipherSuite(String),
    #[error(transparent)]
    Rule(#[from] InvalidRule),
    /// The key and the certificate do not go together, or are of a kind that nobody knows.
    #[error("the key {alias} of the key store cannot be used: {source}")]
    UnusableKey {
        alias: String,
        source: rustls::Error,
    },
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// What connections of a listener start from, for as long as its settings and files stay as they are.
pub struct SslState {
    config: Arc<ServerConfig>,
    mapper: SslPrincipalMapper,
    /// What it was made of, or what could not be used after it.
    settings: SslSettings,
    files: Stamps,
}

/// What tells a file from the one that was there before.
type Stamps = BTreeMap<PathBuf, Option<(u64, SystemTime, u64)>>;

impl SslState {
    /// Reads the stores; blocks.
    fn open(listener: &str, settings: SslSettings) -> Result<SslState, Error> {
        // Before the files themselves: what comes in between is read once more.
        let files = stamps(&settings);
        let identities = stores::identities(&settings)?;
        if !is_context(&settings.protocol) {
            return Err(Error::UnknownProtocol(settings.protocol));
        }
        let versions = protocols(&settings.enabled_protocols);
        if versions.usable.is_empty() {
            return Err(Error::NoProtocol(settings.enabled_protocols.join(",")));
        }
        warn_of(listener, "ssl.enabled.protocols", &versions.unknown);
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        if !settings.cipher_suites.is_empty() {
            let suites = cipher_suites(&settings.cipher_suites);
            warn_of(listener, "ssl.cipher.suites", &suites.unknown);
            provider.cipher_suites = suites.usable;
        }
        // rustls has keys chosen by all suites that both sides have, also by those of a protocol that is not spoken.
        let is_spoken = |suite: &SupportedCipherSuite| versions.usable.contains(&suite.version());
        provider.cipher_suites.retain(is_spoken);
        if provider.cipher_suites.is_empty() {
            return Err(Error::NoCipherSuite(settings.cipher_suites.join(",")));
        }
        let provider = Arc::new(provider);
        let verifier = match settings.client_auth {
            ClientAuth::None => WebPkiClientVerifier::no_client_auth(),
            auth => {
                let trusted = stores::trusted(&settings)?.ok_or(Error::NoTrustStore)?;
                Arc::new(TrustedClients::new(trusted, auth == ClientAuth::Required)?)
            }
        };
        let tls13 = versions.usable.contains(&&TLS13);
        let keys = Keys::new(listener, identities, &provider, tls13)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions.usable)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(keys));
        config.ignore_client_order = !settings.cipher_suites.is_empty();
        Ok(SslState {
            config: Arc::new(config),
            mapper: SslPrincipalMapper::parse(&settings.principal_mapping_rules)?,
            settings,
            files,
        })
    }

    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Who a client is by the certificates that it gave. (DefaultKafkaPrincipalBuilder)
    pub fn principal(
        &self,
        certificates: Option<&[CertificateDer<'_>]>,
    ) -> Result<KafkaPrincipal, NoMatchingRule> {
        match certificates.and_then(<[_]>::first) {
            Some(certificate) => self.mapper.principal(certificate),
            None => Ok(KafkaPrincipal::anonymous()),
        }
    }
}

/// An SSL listener.
pub struct SslListener {
    name: Arc<str>,
    state: ArcSwap<SslState>,
}

impl SslListener {
    pub fn open(name: Arc<str>, settings: &Settings) -> Result<SslListener, Error> {
        let state = SslState::open(&name, settings.ssl(&name)?)?;
        Ok(SslListener {
            state: ArcSwap::from_pointee(state),
            name,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// For a connection that begins now.
    pub fn state(&self) -> Arc<SslState> {
        self.state.load_full()
    }

    /// Reads the stores again where they or the settings have changed. What cannot be used is told, and the listener stays as
    /// it was. Blocks.
    pub fn refresh(&self, settings: &Settings) {
        let now = self.state.load();
        let name = &*self.name;
        let settings = match settings.ssl(name) {
            Ok(settings) => settings,
            Err(error) => return error!(listener = name, "the SSL settings stay: {error}"),
        };
        let files = stamps(&settings);
        if settings == now.settings && files == now.files {
            return;
        }
        match SslState::open(name, settings.clone()) {
            Ok(state) => {
                self.state.store(Arc::new(state));
                info!(
                    listener = name,
                    "certificates and SSL settings were read again"
                );
            }
            Err(error) => {
                error!(
                    listener = name,
                    "certificates and SSL settings stay as they were: {error}"
                );
                // Not tried again until something changes once more.
                self.state.store(Arc::new(SslState {
                    config: now.config.clone(),
                    mapper: now.mapper.clone(),
                    settings,
                    files,
                }));
            }
        }
    }
}

/// Whether the SSL listeners for which the new settings are others than those of now could be opened with them; else the
/// first that could not. Blocks.
pub fn check_ssl(now: &Settings, new: &Settings) -> Result<(), (String, Error)> {
    let is_ssl = |listener: &&Listener| listener.protocol == SecurityProtocol::Ssl;
    for Listener { name, .. } in new.broker_listeners().filter(is_ssl) {
        let opened = new.ssl(name).map_err(Error::from).and_then(|settings| {
            match now.ssl(name).is_ok_and(|now| now == settings) {
                true => Ok(()),
                false => SslState::open(name, settings).map(drop),
            }
        });
        opened.map_err(|error| (name.clone(), error))?;
    }
    Ok(())
}

fn warn_of(listener: &str, setting: &str, unknown: &[String]) {
    if !unknown.is_empty() {
        let names = unknown.join(",");
        warn!(
            listener,
            "{setting}: passed over, since Dohle does not offer them: {names}"
        );
    }
}

fn stamps(settings: &SslSettings) -> Stamps {
    let stores = [&settings.keystore, &settings.truststore];
    let paths = stores
        .into_iter()
        .filter_map(|store| store.location.clone());
    let stamp = |path: PathBuf| {
        let metadata = fs::metadata(&path).ok();
        let stamp = metadata.and_then(|file| Some((file.ino(), file.modified().ok()?, file.len())));
        (path, stamp)
    };
    paths.map(stamp).collect()
}
