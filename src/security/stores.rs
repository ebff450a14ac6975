//! What key stores and trust stores hold: PEM in settings or files, JKS and PKCS12 files.
//! (DefaultSslEngineFactory: createKeystore, createTruststore, PemStore, FileBasedStore)

use std::path::{Path, PathBuf};
use std::{fs, io};

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};

use super::pem::{self, Block};
use super::{jks, pkcs12};
use crate::config::{SslSettings, StoreSettings};

/// The first bytes of a file that keytool wrote with `-storetype JCEKS`.
const JCEKS_MAGIC: [u8; 4] = [0xce, 0xce, 0xce, 0xce];

/// A store has a few thousand bytes. What is larger is none, and may be read where others wait for it.
const STORE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Contradiction(&'static str),
    #[error("{path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{path}: no regular file of at most {STORE_BYTES_MAX} bytes")]
    NoFile { path: PathBuf },
    #[error("{place}: no PEM: a block is not base64")]
    NoBase64 { place: String },
    #[error("{place}: no certificate in it")]
    NoCertificate { place: String },
    #[error("{place}: no private key in it")]
    NoKey { place: String },
    #[error("{place}: the private key is encrypted, and ssl.key.password is not set")]
    KeyPasswordMissing { place: String },
    #[error("{place}: the private key cannot be decrypted with ssl.key.password: {reason}")]
    KeyUndecipherable { place: String, reason: String },
    #[error("{path}: a JKS store that cannot be read: {source}")]
    Jks { path: PathBuf, source: jks::Error },
    #[error("{path}: the private key of {alias} cannot be recovered: {source}")]
    KeyUnrecoverable {
        path: PathBuf,
        alias: String,
        source: jks::Error,
    },
    #[error("{path}: neither a JKS nor a PKCS12 store, or another password: {source}")]
    Pkcs12 {
        path: PathBuf,
        source: p12_keystore::error::Error,
    },
    #[error(
        "{path}: a store of type JCEKS, which Dohle does not read; convert it: keytool -importkeystore -srckeystore {path} \
         -srcstoretype JCEKS -destkeystore {path}.p12 -deststoretype PKCS12, and name that, with PKCS12 as the type"
    )]
    Jceks { path: PathBuf },
    #[error("a store of type {0}: Dohle reads JKS, PEM and PKCS12")]
    UnknownType(String),
}

/// A private key with its certificate and those that lead to the authority.
pub(super) struct Identity {
    pub(super) alias: String,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// What a file of one of Java's formats holds by one name.
pub(super) struct Entry {
    pub(super) alias: String,
    /// `None` for a certificate that is trusted.
    pub(super) key: Option<StoredKey>,
    /// The certificate of the key and those that lead to the authority; or the trusted one.
    pub(super) chain: Vec<CertificateDer<'static>>,
}

pub(super) enum StoredKey {
    Plain(PrivatePkcs8KeyDer<'static>),
    /// As JKS protects it, each key by a password of its own.
    Protected(Vec<u8>),
}

/// The keys that `ssl.keystore.*` names; none where nothing is set.
pub(super) fn identities(ssl: &SslSettings) -> Result<Vec<Identity>, Error> {
    let StoreSettings {
        kind,
        location,
        password,
    } = &ssl.keystore;
    let is_pem = kind == "PEM";
    let contradiction = match (&ssl.keystore_key, &ssl.keystore_certificate_chain, location) {
        (Some(_), _, _) if !is_pem => {
            "SSL private key can be specified only for PEM, but key store type is another."
        }
        (Some(_), _, Some(_)) => {
            "Both SSL key store location and separate private key are specified."
        }
        (Some(_), None, _) => {
            "SSL private key is specified, but certificate chain is not specified."
        }
        (None, Some(_), _) => {
            "SSL certificate chain is specified, but private key is not specified."
        }
        _ if is_pem && password.is_some() => {
            "SSL key store password cannot be specified with PEM format, only key password may be specified."
        }
        (None, None, None) if password.is_some() => {
            "SSL key store is not specified, but key store password is specified."
        }
        (None, None, Some(_)) if !is_pem && password.is_none() => {
            "SSL key store is specified, but key store password is not specified."
        }
        _ => "",
    };
    if !contradiction.is_empty() {
        return Err(Error::Contradiction(contradiction));
    }
    let key_password = ssl.key_password.as_deref();
    match (&ssl.keystore_key, &ssl.keystore_certificate_chain, location) {
        (Some(key), Some(chain), _) => {
            let chain = certificates(&pem_blocks(chain, "ssl.keystore.certificate.chain")?);
            let key = private_key(
                &pem_blocks(key, "ssl.keystore.key")?,
                "ssl.keystore.key",
                key_password,
            )?;
            pem_identity(chain, key, "ssl.keystore.certificate.chain")
        }
        (_, _, None) => Ok(Vec::new()),
        (_, _, Some(path)) if is_pem => {
            let place = path.display().to_string();
            let blocks = pem_blocks(&String::from_utf8_lossy(&read(path)?), &place)?;
            let key = private_key(&blocks, &place, key_password)?;
            pem_identity(certificates(&blocks), key, &place)
        }
        (_, _, Some(path)) => {
            let entries = entries(kind, path, password.as_deref())?;
            let key_password = key_password.or(password.as_deref()).unwrap_or_default();
            recovered(entries, path, key_password)
        }
    }
}

/// The certificates that `ssl.truststore.*` names; `None` where nothing is set.
pub(super) fn trusted(ssl: &SslSettings) -> Result<Option<Vec<CertificateDer<'static>>>, Error> {
    let StoreSettings {
        kind,
        location,
        password,
    } = &ssl.truststore;
    let is_pem = kind == "PEM";
    let contradiction = match (&ssl.truststore_certificates, location) {
        (Some(_), _) if !is_pem => {
            "SSL trust store certs can be specified only for PEM, but trust store type is another."
        }
        (Some(_), Some(_)) => {
            "Both SSL trust store location and separate trust certificates are specified."
        }
        _ if is_pem && password.is_some() => {
            "SSL trust store password cannot be specified for PEM format."
        }
        (None, None) if password.is_some() => {
            "SSL trust store is not specified, but trust store password is specified."
        }
        _ => "",
    };
    if !contradiction.is_empty() {
        return Err(Error::Contradiction(contradiction));
    }
    let (place, trusted) = match (&ssl.truststore_certificates, location) {
        (Some(text), _) => {
            let place = "ssl.truststore.certificates".to_owned();
            let blocks = pem_blocks(text, &place)?;
            (place, certificates(&blocks))
        }
        (None, None) => return Ok(None),
        (None, Some(path)) if is_pem => {
            let place = path.display().to_string();
            let blocks = pem_blocks(&String::from_utf8_lossy(&read(path)?), &place)?;
            (place, certificates(&blocks))
        }
        (None, Some(path)) => {
            // Of a key its own certificate is trusted. (sun.security.validator.TrustStoreUtil)
            let entries = entries(kind, path, password.as_deref())?.into_iter();
            let trusted = entries.filter_map(|entry| entry.chain.into_iter().next());
            (path.display().to_string(), trusted.collect())
        }
    };
    match trusted.is_empty() {
        true => Err(Error::NoCertificate { place }),
        false => Ok(Some(trusted)),
    }
}

fn pem_identity(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    place: &str,
) -> Result<Vec<Identity>, Error> {
    match chain.is_empty() {
        true => Err(Error::NoCertificate {
            place: place.to_owned(),
        }),
        false => Ok(vec![Identity {
            alias: "kafka".to_owned(),
            chain,
            key,
        }]),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let unreadable = |source| Error::Unreadable {
        path: path.into(),
        source,
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > STORE_BYTES_MAX {
        return Err(Error::NoFile { path: path.into() });
    }
    fs::read(path).map_err(unreadable)
}

fn pem_blocks(text: &str, place: &str) -> Result<Vec<Block>, Error> {
    pem::blocks(text).ok_or_else(|| Error::NoBase64 {
        place: place.to_owned(),
    })
}

fn certificates(blocks: &[Block]) -> Vec<CertificateDer<'static>> {
    let certificates = blocks
        .iter()
        .filter(|block| block.label.ends_with("CERTIFICATE"));
    certificates
        .map(|block| CertificateDer::from(block.der.clone()))
        .collect()
}

fn private_key(
    blocks: &[Block],
    place: &str,
    password: Option<&str>,
) -> Result<PrivateKeyDer<'static>, Error> {
    let place = || place.to_owned();
    let found = blocks
        .iter()
        .find(|block| block.label.ends_with("PRIVATE KEY"));
    let block = found.ok_or_else(|| Error::NoKey { place: place() })?;
    let der = block.der.clone();
    Ok(match block.label.as_str() {
        "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(der).into(),
        "EC PRIVATE KEY" => PrivateSec1KeyDer::from(der).into(),
        "ENCRYPTED PRIVATE KEY" => {
            let password = password.ok_or_else(|| Error::KeyPasswordMissing { place: place() })?;
            let undecipherable = |reason: String| Error::KeyUndecipherable {
                place: place(),
                reason,
            };
            let encrypted = pkcs8::EncryptedPrivateKeyInfoRef::try_from(der.as_slice())
                .map_err(|error| undecipherable(error.to_string()))?;
            let key = encrypted
                .decrypt(password)
                .map_err(|error| undecipherable(error.to_string()))?;
            PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into()
        }
        _ => PrivatePkcs8KeyDer::from(der).into(),
    })
}

/// The entries of a file of one of Java's formats. Which one it is shows the file: Java reads JKS and PKCS12 by the name of
/// either. (sun.security.util.KeyStoreDelegator)
fn entries(kind: &str, path: &Path, password: Option<&str>) -> Result<Vec<Entry>, Error> {
    let jceks = || Error::Jceks { path: path.into() };
    match kind {
        "JKS" | "PKCS12" => {}
        "JCEKS" => return Err(jceks()),
        _ => return Err(Error::UnknownType(kind.to_owned())),
    }
    let bytes = read(path)?;
    match bytes.first_chunk() {
        Some(&jks::MAGIC) => jks::entries(&bytes, password).map_err(|source| Error::Jks {
            path: path.into(),
            source,
        }),
        Some(&JCEKS_MAGIC) => Err(jceks()),
        _ => {
            let entries = pkcs12::entries(&bytes, password.unwrap_or_default());
            entries.map_err(|source| Error::Pkcs12 {
                path: path.into(),
                source,
            })
        }
    }
}

/// The keys of a file. As in Java, all of them have one password.
fn recovered(entries: Vec<Entry>, path: &Path, password: &str) -> Result<Vec<Identity>, Error> {
    let place = path.display().to_string();
    let mut identities = Vec::new();
    let mut has_key = false;
    for Entry { alias, key, chain } in entries {
        let key = match key {
            None => continue,
            Some(StoredKey::Plain(key)) => key,
            Some(StoredKey::Protected(key)) => {
                jks::recover(&key, password).map_err(|source| Error::KeyUnrecoverable {
                    path: path.into(),
                    alias: alias.clone(),
                    source,
                })?
            }
        };
        has_key = true;
        if !chain.is_empty() {
            let key = key.into();
            identities.push(Identity { alias, chain, key });
        }
    }
    match (identities.is_empty(), has_key) {
        (true, true) => Err(Error::NoCertificate { place }),
        (true, false) => Err(Error::NoKey { place }),
        (false, _) => Ok(identities),
    }
}
