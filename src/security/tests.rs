//! Stores as openssl and keytool write them (the password of all is `fixture-secret`), and listeners made of them. The JKS files
//! are those of `testdata/jks.sh`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{SignatureAlgorithm, SignatureScheme};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::keys::Keys;
use super::ssl::{Error, SslListener, SslState, check_ssl};
use super::{pem, stores};
use crate::config::{Settings, SslSettings};

const PASSWORD: &str = "fixture-secret";

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/security/testdata");
    folder.join(name).display().to_string()
}

fn settings(given: &[(&str, &str)]) -> Settings {
    let mut all = vec![
        ("listeners", "SSL://127.0.0.1:0,CONTROLLER://127.0.0.1:0"),
        (
            "listener.security.protocol.map",
            "SSL:SSL,CONTROLLER:PLAINTEXT",
        ),
        ("inter.broker.listener.name", "SSL"),
    ];
    all.extend_from_slice(given);
    let node = Settings::on_free_ports(Path::new("data"));
    node.with(&all).unwrap()
}

fn open(given: &[(&str, &str)]) -> Result<Arc<SslState>, Error> {
    let listener = SslListener::open("SSL".into(), &settings(given))?;
    Ok(listener.state())
}

fn refusal(given: &[(&str, &str)]) -> String {
    match open(given) {
        Ok(_) => panic!("{given:?} is taken"),
        Err(error) => error.to_string(),
    }
}

fn with_pem<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut given = vec![
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.location", path),
        ("ssl.key.password", PASSWORD),
    ];
    given.extend_from_slice(more);
    given
}

#[test]
fn pem_with_an_encrypted_key_needs_its_password() {
    let path = fixture("encrypted.pem");
    assert!(open(&with_pem(&path, &[])).is_ok());
    let wrong = refusal(&with_pem(&path, &[("ssl.key.password", "wrong")]));
    assert!(wrong.contains("cannot be decrypted"), "{wrong}");
    let missing = refusal(&with_pem(&path, &[("ssl.key.password", "")]));
    assert!(missing.contains("ssl.key.password is not set"), "{missing}");
}

#[test]
fn pem_may_stand_in_the_settings() {
    let text = fs::read_to_string(fixture("encrypted.pem")).unwrap();
    let at = text.find("-----BEGIN ENCRYPTED").unwrap();
    let (chain, key) = text.split_at(at);
    let given = [
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.certificate.chain", chain),
        ("ssl.keystore.key", key),
        ("ssl.key.password", PASSWORD),
    ];
    assert!(open(&given).is_ok());
    let refused = refusal(&given[..2]);
    assert_eq!(
        refused,
        "SSL certificate chain is specified, but private key is not specified."
    );
}

#[test]
fn pkcs12_is_read_as_keytool_and_openssl_write_it() {
    for (name, kind) in [
        ("keytool-keystore.p12", "PKCS12"),
        ("keytool-keystore.p12", "jks"),
        ("openssl-3des.p12", "PKCS12"),
    ] {
        let path = fixture(name);
        let given = [
            ("ssl.keystore.type", kind),
            ("ssl.keystore.location", &path),
            ("ssl.keystore.password", PASSWORD),
        ];
        assert!(open(&given).is_ok(), "{name}");
        let mut wrong = given;
        wrong[2].1 = "wrong";
        assert!(refusal(&wrong).contains("another password"), "{name}");
        assert!(refusal(&given[..2]).contains("key store password is not specified"));
    }
}

/// The subjects of the chain for a key of each kind.
fn keys(ssl: &SslSettings) -> Result<String, Error> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let keys = Keys::new("SSL", stores::identities(ssl)?, &provider, true)?;
    let ecdsa = SignatureScheme::ECDSA_NISTP256_SHA256;
    let rsa = SignatureScheme::RSA_PSS_SHA256;
    let kinds = [
        ("EC", SignatureAlgorithm::ECDSA, ecdsa),
        ("RSA", SignatureAlgorithm::RSA, rsa),
    ];
    let chains = kinds.into_iter().filter_map(|(kind, algorithm, scheme)| {
        let key = keys.choose(&[scheme], true).unwrap();
        let chain = || format!("{kind}: {}", subjects(&key.cert).join(" "));
        (key.key.algorithm() == algorithm).then(chain)
    });
    Ok(chains.collect::<Vec<_>>().join("; "))
}

fn trusted(ssl: &SslSettings) -> Result<String, Error> {
    let mut subjects = subjects(&stores::trusted(ssl)?.unwrap());
    subjects.sort();
    Ok(subjects.join(" "))
}

fn subjects(certificates: &[CertificateDer<'_>]) -> Vec<String> {
    let subject = |der| {
        X509Certificate::from_der(der)
            .unwrap()
            .1
            .subject
            .to_string()
    };
    certificates.iter().map(|der| subject(der)).collect()
}

/// The file is made by `protocol-tests/record/Stores.java`.
#[test]
fn stores_hold_what_java_reads_in_them() {
    let mut refused = 0;
    for line in include_str!("testdata/stores.tsv").lines() {
        let [what, file, kind, password, key_password, expected] =
            line.split('\t').collect::<Vec<_>>()[..]
        else {
            continue;
        };
        let ssl = settings(&[
            (&format!("ssl.{what}.type"), kind),
            (&format!("ssl.{what}.location"), &fixture(file)),
            (&format!("ssl.{what}.password"), password),
            ("ssl.key.password", key_password),
        ]);
        let ssl = ssl.ssl("SSL").unwrap();
        let found = match what {
            "keystore" => keys(&ssl),
            _ => trusted(&ssl),
        };
        match found {
            Ok(found) => assert_eq!(found, expected, "{line}"),
            Err(error) => {
                // A listener without a key is one that Kafka starts.
                let is_refused = expected.starts_with("refused: ") || expected.is_empty();
                assert!(is_refused, "{line}: {error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn of_a_jks_file_the_password_of_keys_may_be_another() {
    let path = fixture("keytool-keypass.jks");
    let given = [
        ("ssl.keystore.location", &*path),
        ("ssl.keystore.password", PASSWORD),
        ("ssl.key.password", "Schlüssel-2"),
    ];
    assert!(open(&given).is_ok());
    let missing = refusal(&given[..2]);
    assert!(missing.contains("private key of own"), "{missing}");
    assert!(missing.contains("ssl.key.password"), "{missing}");
    let mut wrong = given;
    wrong[1].1 = "wrong";
    let refused = refusal(&wrong);
    assert!(refused.contains("the password is another"), "{refused}");
}

#[test]
fn a_key_that_cannot_be_used_is_passed_over_while_there_is_another() {
    let ssl = settings(&[
        ("ssl.keystore.location", &fixture("keytool-keystore.jks")),
        ("ssl.keystore.password", PASSWORD),
    ]);
    let ssl = ssl.ssl("SSL").unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let with_another_certificate = || {
        let mut identities = stores::identities(&ssl).unwrap();
        let by_alias = |alias| {
            identities
                .iter()
                .position(|one| one.alias == alias)
                .unwrap()
        };
        let (rsa, ec) = (by_alias("rsa"), by_alias("server-2025"));
        identities[ec].chain = identities[rsa].chain.clone();
        (identities, ec)
    };
    let (identities, _) = with_another_certificate();
    let keys = Keys::new("SSL", identities, &provider, true).unwrap();
    let key = keys.choose(&[SignatureScheme::ECDSA_NISTP256_SHA256], true);
    assert_eq!(subjects(&key.unwrap().cert), ["CN=server-2024"]);
    let (mut identities, ec) = with_another_certificate();
    let alone = vec![identities.swap_remove(ec)];
    assert!(Keys::new("SSL", alone, &provider, true).is_err());
}

#[test]
fn a_client_gets_a_key_of_the_kind_that_it_likes_best_and_that_can_sign() {
    let path = fixture("keytool-keystore.jks");
    let given = [
        ("ssl.keystore.location", path.as_str()),
        ("ssl.keystore.password", PASSWORD),
    ];
    let ssl = settings(&given).ssl("SSL").unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let identities = stores::identities(&ssl).unwrap();
    let keys = Keys::new("SSL", identities, &provider, true).unwrap();
    let (ec, pss, pkcs1) = (
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PKCS1_SHA256,
    );
    let chosen = |schemes: &[_], is_tls13| {
        let key = keys.choose(schemes, is_tls13).unwrap();
        key.key.algorithm()
    };
    for is_tls13 in [true, false] {
        assert_eq!(chosen(&[ec, pss], is_tls13), SignatureAlgorithm::ECDSA);
        assert_eq!(chosen(&[pss, ec], is_tls13), SignatureAlgorithm::RSA);
        assert_eq!(chosen(&[pkcs1, ec, pss], is_tls13), SignatureAlgorithm::RSA);
    }
    assert_eq!(chosen(&[pkcs1, ec], true), SignatureAlgorithm::ECDSA);
    assert_eq!(chosen(&[pkcs1, ec], false), SignatureAlgorithm::RSA);
}

#[test]
fn jceks_is_refused_with_the_way_out() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), [0xce, 0xce, 0xce, 0xce, 0, 0, 0, 2]).unwrap();
    let path = file.path().display().to_string();
    for kind in ["JKS", "jceks"] {
        let refused = refusal(&[
            ("ssl.keystore.type", kind),
            ("ssl.keystore.location", &path),
            ("ssl.keystore.password", PASSWORD),
        ]);
        assert!(refused.contains("type JCEKS"), "{refused}");
        assert!(refused.contains("keytool -importkeystore"), "{refused}");
    }
}

#[test]
fn who_is_asked_for_a_certificate_is_trusted_by_a_store() {
    let (keys, trust) = (fixture("encrypted.pem"), fixture("keytool-truststore.p12"));
    let required = ("ssl.client.auth", "required");
    let missing = refusal(&with_pem(&keys, &[required]));
    assert!(missing.contains("ssl.truststore"), "{missing}");
    let trusting = [
        required,
        ("ssl.truststore.location", &trust),
        ("ssl.truststore.password", PASSWORD),
    ];
    assert!(open(&with_pem(&keys, &trusting)).is_ok());
}

#[test]
fn what_cannot_be_spoken_is_refused() {
    let path = fixture("encrypted.pem");
    for (name, value, expected) in [
        (
            "ssl.enabled.protocols",
            "TLSv1.1",
            "ssl.enabled.protocols=TLSv1.1",
        ),
        (
            "ssl.cipher.suites",
            "TLS_RSA_WITH_NULL_MD5",
            "Unsupported CipherSuite",
        ),
        ("ssl.protocol", "TLSv9", "TLSv9 is not available"),
        (
            "ssl.principal.mapping.rules",
            "RULE:x",
            "Invalid rule: `RULE:x`",
        ),
        ("ssl.keystore.type", "BCFKS", "BCFKS"),
        ("ssl.keystore.location", "/nowhere.pem", "/nowhere.pem: "),
        ("ssl.keystore.location", "/dev/null", "no regular file"),
    ] {
        let mut given = with_pem(&path, &[(name, value)]);
        if name == "ssl.keystore.type" {
            given.push(("ssl.keystore.password", PASSWORD));
        }
        let refused = refusal(&given);
        assert!(refused.contains(expected), "{refused}");
    }
    assert!(refusal(&[]).contains("there is no certificate"));
    let suites = "TLS_RSA_WITH_NULL_MD5,TLS_AES_128_GCM_SHA256";
    assert!(open(&with_pem(&path, &[("ssl.cipher.suites", suites)])).is_ok());
}

#[test]
fn a_listener_has_settings_of_its_own() {
    let path = fixture("encrypted.pem");
    let own = [
        ("listener.name.ssl.ssl.keystore.location", &*path),
        ("listener.name.ssl.ssl.client.auth", "none"),
        ("listener.name.other.ssl.client.auth", "required"),
    ];
    let mut given = with_pem("/nowhere.pem", &[("ssl.client.auth", "required")]);
    given.extend_from_slice(&own);
    assert!(open(&given).is_ok());
    let wrong = ("listener.name.ssl.ssl.client.auth", "perhaps");
    let refused = settings(&given).with(&[wrong]).unwrap_err().to_string();
    assert!(refused.contains("ssl.client.auth"), "{refused}");
}

#[test]
fn a_principal_is_what_the_rules_make_of_the_subject() {
    let path = fixture("encrypted.pem");
    let text = fs::read_to_string(&path).unwrap();
    let certificate = CertificateDer::from(pem::blocks(&text).unwrap().remove(0).der);
    for (rules, expected) in [
        ("DEFAULT", Some("User:O=Dohle,CN=fixture")),
        ("RULE:^.*CN=(.*)$/$1/U", Some("User:FIXTURE")),
        ("RULE:^CN=x$/x/", None),
    ] {
        let state = open(&with_pem(&path, &[("ssl.principal.mapping.rules", rules)])).unwrap();
        let principal = state.principal(Some(std::slice::from_ref(&certificate)));
        let principal = principal.ok().map(|principal| principal.to_string());
        assert_eq!(principal.as_deref(), expected);
        let nobody = state.principal(None).unwrap();
        assert_eq!(nobody.to_string(), "User:ANONYMOUS");
    }
}

#[test]
fn stores_are_read_again_when_they_change_and_kept_when_they_are_broken() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("store.pem");
    fs::copy(fixture("encrypted.pem"), &path).unwrap();
    let text = path.display().to_string();
    let settings = settings(&with_pem(&text, &[]));
    let listener = SslListener::open("SSL".into(), &settings).unwrap();
    let config = || listener.state().config();
    let first = config();
    listener.refresh(&settings);
    assert!(Arc::ptr_eq(&first, &config()), "nothing has changed");
    let other = settings.with(&[("log.retention.ms", "5000")]).unwrap();
    listener.refresh(&other);
    assert!(Arc::ptr_eq(&first, &config()), "nor has a setting of SSL");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], b"\n"].concat()).unwrap();
    listener.refresh(&settings);
    let second = config();
    assert!(!Arc::ptr_eq(&first, &second));
    fs::write(&path, &whole[..100]).unwrap();
    for _ in 0..2 {
        listener.refresh(&settings);
        assert!(Arc::ptr_eq(&second, &config()), "it is broken");
    }
    fs::write(&path, &whole).unwrap();
    listener.refresh(&settings);
    assert!(!Arc::ptr_eq(&second, &config()));
}

#[test]
fn stores_are_checked_where_settings_of_their_listener_change() {
    let path = fixture("encrypted.pem");
    let now = settings(&with_pem(&path, &[]));
    let with = |name: &str, value: &str| now.with(&[(name, value)]).unwrap();
    let location = "listener.name.ssl.ssl.keystore.location";
    let (listener, error) = check_ssl(&now, &with(location, "/nowhere.pem")).unwrap_err();
    assert_eq!(listener, "SSL");
    assert!(error.to_string().starts_with("/nowhere.pem: "), "{error}");
    assert!(check_ssl(&now, &with("ssl.client.auth", "required")).is_err());
    let gone = with(location, "/nowhere.pem");
    let unrelated = gone.with(&[("log.retention.ms", "5000")]).unwrap();
    assert!(check_ssl(&gone, &unrelated).is_ok());
    assert!(check_ssl(&gone, &now).is_ok());
}
