//! Which key of a key store a connection gets: the one that Java takes, so that a file with several shows the certificate that
//! it shows with Kafka. (sun.security.ssl.SunX509KeyManagerImpl)

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tracing::warn;

use super::ssl::Error;
use super::stores::Identity;

/// Keys in the order in which they are looked at. There is at least one.
#[derive(Debug)]
pub(super) struct KeyManager(Vec<Arc<CertifiedKey>>);

impl KeyManager {
    /// A key that cannot be used is passed over while there is another.
    pub(super) fn new(
        listener: &str,
        mut identities: Vec<Identity>,
        provider: &CryptoProvider,
    ) -> Result<KeyManager, Error> {
        let count = identities.len();
        identities.sort_by_key(|identity| slot(&identity.alias, count));
        let (mut keys, mut refused) = (Vec::new(), Vec::new());
        for Identity { alias, chain, key } in identities {
            match CertifiedKey::from_der(chain, key, provider) {
                Ok(key) => keys.push(Arc::new(key)),
                Err(error) => refused.push((alias, error)),
            }
        }
        let mut refused = refused.into_iter();
        if keys.is_empty() {
            let first = refused.next();
            return Err(first.map_or(Error::NoKeyStore, |(_, error)| Error::Unusable(error)));
        }
        for (alias, error) in refused {
            warn!(
                listener,
                "the key {alias} of the key store is passed over, since it cannot be used: {error}"
            );
        }
        Ok(KeyManager(keys))
    }

    /// The first key of the kind that the client likes best. Where it likes none, the handshake fails with that.
    pub(super) fn choose(&self, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let signs = |scheme: &SignatureScheme| {
            let mut keys = self.0.iter();
            keys.find(|key| key.key.choose_scheme(&[*scheme]).is_some())
        };
        schemes.iter().find_map(signs).or_else(|| self.0.first())
    }
}

impl ResolvesServerCert for KeyManager {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.signature_schemes()).cloned()
    }
}

/// Where an alias stands among `count` in a java.util.HashMap, over which Java goes. Those of one slot stay in the order of the
/// file (of a PKCS12 file: by name), as they do there for most.
fn slot(alias: &str, count: usize) -> usize {
    let times31 = |hash: u32, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit));
    let hash = alias.encode_utf16().fold(0, times31);
    let mut slots = 16;
    while count * 4 > slots * 3 {
        slots *= 2;
    }
    (hash ^ hash >> 16) as usize & (slots - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded by `protocol-tests/record/Stores.java`.
    #[test]
    fn aliases_have_the_order_of_java() {
        let lines = include_str!("testdata/stores.tsv").lines();
        let recorded: Vec<_> = lines
            .filter_map(|line| line.strip_prefix("aliases\t"))
            .collect();
        assert_eq!(recorded.len(), 4);
        for aliases in recorded {
            let expected: Vec<&str> = aliases.split(',').collect();
            let mut aliases = expected.clone();
            aliases.sort_unstable();
            aliases.sort_by_key(|alias| slot(alias, expected.len()));
            assert_eq!(aliases, expected);
        }
    }
}
