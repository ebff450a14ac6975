//! Which key of a key store a connection gets: with TLS 1.3 the one that Java takes, so that a file with several shows the
//! certificate that it shows with Kafka. With TLS 1.2 Java goes by its own order of cipher suites, Dohle by what the client likes.
//! (sun.security.ssl.{SunX509KeyManagerImpl, T13CertificateProducer})

use std::ops::RangeInclusive;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, SignatureScheme};
use tracing::warn;

use super::ssl::Error;
use super::stores::Identity;

/// Those of TLS 1.3, by number: TLS_AES_128_GCM_SHA256 to TLS_AES_128_CCM_8_SHA256. (RFC 8446, B.4)
const TLS13_SUITES: RangeInclusive<u16> = 0x1301..=0x1305;
/// With which nothing is signed in TLS 1.3 but certificates. (RFC 8446, 4.2.3)
const NOT_IN_TLS13: [SignatureScheme; 4] = [
    SignatureScheme::RSA_PKCS1_SHA1,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

/// The keys of a listener.
#[derive(Debug)]
pub(super) struct Keys {
    /// In the order in which they are looked at; at least one.
    keys: Vec<Arc<CertifiedKey>>,
    /// Whether the listener speaks TLS 1.3.
    tls13: bool,
}

impl Keys {
    /// A key that cannot be used is passed over while there is another.
    pub(super) fn new(
        listener: &str,
        mut identities: Vec<Identity>,
        provider: &CryptoProvider,
        tls13: bool,
    ) -> Result<Keys, Error> {
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
            return Err(
                first.map_or(Error::NoKeyStore, |(alias, source)| Error::UnusableKey {
                    alias,
                    source,
                }),
            );
        }
        for (alias, error) in refused {
            warn!(
                listener,
                "the key {alias} of the key store is passed over, since it cannot be used: {error}"
            );
        }
        Ok(Keys { keys, tls13 })
    }

    /// The first key that signs as the client likes best, and can sign what the handshake takes to be signed. Where there is
    /// none the handshake fails with the first.
    pub(super) fn choose(
        &self,
        schemes: &[SignatureScheme],
        is_tls13: bool,
    ) -> Option<&Arc<CertifiedKey>> {
        let counts = |scheme: &SignatureScheme| !is_tls13 || !NOT_IN_TLS13.contains(scheme);
        let counting: Vec<_> = schemes.iter().copied().filter(counts).collect();
        let signs = |scheme: &SignatureScheme| {
            let can_sign =
                |schemes: &[_], key: &CertifiedKey| key.key.choose_scheme(schemes).is_some();
            let mut keys = self.keys.iter();
            keys.find(|key| can_sign(&[*scheme], key) && can_sign(&counting, key))
        };
        schemes.iter().find_map(signs).or_else(|| self.keys.first())
    }
}

impl ResolvesServerCert for Keys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let suites = hello.cipher_suites();
        let is_of_tls13 = |suite: &CipherSuite| TLS13_SUITES.contains(&u16::from(*suite));
        let is_tls13 = self.tls13 && suites.iter().any(is_of_tls13);
        self.choose(hello.signature_schemes(), is_tls13).cloned()
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
