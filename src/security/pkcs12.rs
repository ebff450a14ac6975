//! PKCS12 files, as Java and openssl write them. (sun.security.pkcs12.PKCS12KeyStore)

use p12_keystore::error::Error;
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::stores::{Entry, StoredKey};

/// The keys and trusted certificates of a file, by alias.
pub(super) fn entries(file: &[u8], password: &str) -> Result<Vec<Entry>, Error> {
    let store = KeyStore::from_pkcs12(file, password, Pkcs12ImportPolicy::Strict)?;
    let entry = |(alias, entry): (&String, &KeyStoreEntry)| {
        let (key, chain) = match entry {
            KeyStoreEntry::Certificate(certificate) => (None, vec![der(certificate)]),
            KeyStoreEntry::PrivateKeyChain(found) => {
                let key = PrivatePkcs8KeyDer::from(found.key().as_der().to_vec());
                let chain = found.certs().iter().map(der).collect();
                (Some(StoredKey::Plain(key)), chain)
            }
            KeyStoreEntry::Secret(_) => return None,
        };
        Some(Entry {
            alias: alias.to_lowercase(),
            key,
            chain,
        })
    };
    Ok(store.entries().filter_map(entry).collect())
}

fn der(certificate: &Certificate) -> CertificateDer<'static> {
    CertificateDer::from(certificate.as_der().to_vec())
}
