//! Files in Java's own format of key stores, JKS, and the protection of the keys in them.
//! (sun.security.provider.JavaKeyStore, sun.security.provider.KeyProtector)

use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{self, Reader as _, SliceReader};
use pkcs8::{AlgorithmIdentifierRef, ObjectIdentifier};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use sha1::{Digest as _, Sha1};

use super::stores::{Entry, StoredKey};

/// The first bytes of a file.
pub(super) const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];

/// Goes into the digest of a file, after the password.
const WHITENER: &[u8] = b"Mighty Aphrodite";

const KEY_PROTECTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.42.2.17.1.1");

const DIGEST_BYTES: usize = 20;

/// Why a file, or a key in it, cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("it ends too early")]
    Ends,
    #[error("it is of version {0}, and there are 1 and 2")]
    UnknownVersion(u32),
    #[error("it has an entry of kind {0}, and there are keys (1) and certificates (2)")]
    UnknownEntry(u32),
    #[error("it has a certificate of type {0}, and Dohle knows X.509")]
    UnknownCertificate(String),
    #[error("it was tampered with, or the password is another")]
    AnotherDigest,
    #[error("it is not protected as JKS has it")]
    UnknownProtection,
    #[error("its password is another (ssl.key.password, or that of the store)")]
    AnotherKeyPassword,
}

/// The entries of a file, in its order. The digest at its end is checked where there is a password.
pub(super) fn entries(file: &[u8], password: Option<&str>) -> Result<Vec<Entry>, Error> {
    let mut rest = Reader(file);
    let _magic = rest.u32()?;
    let version = rest.u32()?;
    if !matches!(version, 1 | 2) {
        return Err(Error::UnknownVersion(version));
    }
    let mut entries = Vec::new();
    for _ in 0..rest.count()? {
        entries.push(rest.entry(version)?);
    }
    if let Some(password) = password {
        let content = &file[..file.len() - rest.0.len()];
        let digest = sha1([&utf16(password), WHITENER, content]);
        if rest.take(DIGEST_BYTES)? != digest {
            return Err(Error::AnotherDigest);
        }
    }
    Ok(entries)
}

/// The key that `protected`, an EncryptedPrivateKeyInfo, holds: a salt, the key under a stream of digests that begins with the
/// salt, and a digest of the key.
pub(super) fn recover(
    protected: &[u8],
    password: &str,
) -> Result<PrivatePkcs8KeyDer<'static>, Error> {
    let parts = encrypted_private_key_info(protected).ok();
    let data = parts.and_then(|(protection, data)| (protection == KEY_PROTECTION).then_some(data));
    let parts = data.and_then(|data| {
        let (salt, rest) = data.split_first_chunk::<DIGEST_BYTES>()?;
        let (key, check) = rest.split_last_chunk::<DIGEST_BYTES>()?;
        Some((*salt, key, check))
    });
    let (salt, key, check) = parts.ok_or(Error::UnknownProtection)?;
    let password = utf16(password);
    let mut key = key.to_vec();
    let mut stream = salt;
    for block in key.chunks_mut(DIGEST_BYTES) {
        stream = sha1([&password, &stream]);
        for (byte, mask) in block.iter_mut().zip(stream) {
            *byte ^= mask;
        }
    }
    match sha1([&password, &key]) == *check {
        true => Ok(PrivatePkcs8KeyDer::from(key)),
        false => Err(Error::AnotherKeyPassword),
    }
}

fn encrypted_private_key_info(der: &[u8]) -> der::Result<(ObjectIdentifier, &[u8])> {
    SliceReader::new(der)?.sequence(|fields| {
        let algorithm: AlgorithmIdentifierRef<'_> = fields.decode()?;
        let data: &OctetStringRef = fields.decode()?;
        Ok((algorithm.oid, data.as_bytes()))
    })
}

fn sha1<const PARTS: usize>(parts: [&[u8]; PARTS]) -> [u8; DIGEST_BYTES] {
    let mut digest = Sha1::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().into()
}

fn utf16(password: &str) -> Vec<u8> {
    password.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// What is left of a file. A length counts for nothing before so many bytes are there.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Error::Ends)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], Error> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Error::Ends)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    /// Below 0 there is nothing to count.
    fn count(&mut self) -> Result<i32, Error> {
        self.array().map(i32::from_be_bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let length = self.count()?;
        self.take(usize::try_from(length).map_err(|_| Error::Ends)?)
    }

    /// Java writes a UTF-8 of its own here, which for NUL and what is beyond 16 bits is another.
    fn text(&mut self) -> Result<String, Error> {
        let length = u16::from_be_bytes(self.array()?);
        let text = self.take(length.into())?;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn entry(&mut self, version: u32) -> Result<Entry, Error> {
        let kind = self.u32()?;
        if !matches!(kind, 1 | 2) {
            return Err(Error::UnknownEntry(kind));
        }
        let alias = self.text()?;
        let _created = self.array::<8>()?;
        let mut entry = Entry {
            alias,
            key: None,
            chain: Vec::new(),
        };
        let mut certificates = 1;
        if kind == 1 {
            entry.key = Some(StoredKey::Protected(self.bytes()?.to_vec()));
            certificates = self.count()?;
        }
        for _ in 0..certificates {
            entry.chain.push(self.certificate(version)?);
        }
        Ok(entry)
    }

    fn certificate(&mut self, version: u32) -> Result<CertificateDer<'static>, Error> {
        if version == 2 {
            let kind = self.text()?;
            if !["X.509", "X509"].contains(&kind.to_uppercase().as_str()) {
                return Err(Error::UnknownCertificate(kind));
            }
        }
        Ok(CertificateDer::from(self.bytes()?.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "fixture-secret";
    const KEYS: &[u8] = include_bytes!("testdata/keytool-keystore.jks");
    const TRUSTED: &[u8] = include_bytes!("testdata/keytool-truststore.jks");

    fn keys(entries: &[Entry]) -> impl Iterator<Item = &[u8]> {
        entries.iter().filter_map(|entry| match &entry.key {
            Some(StoredKey::Protected(key)) => Some(&**key),
            _ => None,
        })
    }

    #[test]
    fn a_file_that_ends_early_is_told() {
        for password in [None, Some(PASSWORD)] {
            for length in 0..KEYS.len() - DIGEST_BYTES {
                let found = entries(&KEYS[..length], password);
                assert_eq!(found.err(), Some(Error::Ends), "{length}");
            }
        }
        for length in KEYS.len() - DIGEST_BYTES..KEYS.len() {
            let found = entries(&KEYS[..length], Some(PASSWORD));
            assert_eq!(found.err(), Some(Error::Ends), "{length}");
            assert!(entries(&KEYS[..length], None).is_ok());
        }
        let longer = [KEYS, b"more"].concat();
        assert!(entries(&longer, Some(PASSWORD)).is_ok());
    }

    #[test]
    fn every_byte_of_a_file_is_under_its_digest() {
        for at in 0..TRUSTED.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut file = TRUSTED.to_vec();
                file[at] ^= change;
                assert!(entries(&file, Some(PASSWORD)).is_err(), "{at} {change}");
                let _ = entries(&file, None);
            }
        }
    }

    #[test]
    fn numbers_in_a_file_take_nothing() {
        for at in 0..KEYS.len() - DIGEST_BYTES - 4 {
            for number in [i32::MIN, -1, i32::MAX] {
                let mut file = KEYS.to_vec();
                file[at..at + 4].copy_from_slice(&number.to_be_bytes());
                if let Ok(found) = entries(&file, None) {
                    let certificates = found.iter().flat_map(|entry| &entry.chain);
                    let bytes: usize = certificates.map(|one| one.len()).sum();
                    assert!(bytes + keys(&found).map(<[u8]>::len).sum::<usize>() < file.len());
                }
            }
        }
    }

    #[test]
    fn every_byte_of_a_key_is_under_its_digest() {
        let entries = entries(KEYS, Some(PASSWORD)).unwrap();
        assert_eq!(keys(&entries).count(), 3);
        for key in keys(&entries) {
            assert!(recover(key, PASSWORD).is_ok());
            let (_, data) = encrypted_private_key_info(key).unwrap();
            let other = recover(key, "other").unwrap_err();
            assert_eq!(other, Error::AnotherKeyPassword);
            for length in 0..key.len() {
                let ends = recover(&key[..length], PASSWORD).unwrap_err();
                assert_eq!(ends, Error::UnknownProtection);
            }
            for at in 0..key.len() {
                let mut key = key.to_vec();
                key[at] ^= 0x40;
                let found = recover(&key, PASSWORD);
                assert!(found.is_err() || at < key.len() - data.len(), "{at}");
            }
        }
    }

    #[test]
    fn a_key_too_short_for_its_digests_is_told() {
        let head = [0x30, 0x12, 0x30, 0x0e, 0x06, 0x0a];
        let protection = KEY_PROTECTION.as_bytes();
        let key = [&head, protection, &[0x05, 0x00], &[0x04, 0x00]].concat();
        assert!(encrypted_private_key_info(&key).is_ok());
        let short = recover(&key, PASSWORD).unwrap_err();
        assert_eq!(short, Error::UnknownProtection);
    }
}
