//! Protocols and cipher suites by the names that Java gives them, which are those of `ssl.enabled.protocols` and
//! `ssl.cipher.suites`.

use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion, version};

/// What of a setting can be used, and the names for which there is nothing.
pub(super) struct Chosen<T> {
    pub(super) usable: Vec<T>,
    pub(super) unknown: Vec<String>,
}

fn choose<T>(names: &[String], find: impl Fn(&str) -> Option<T>) -> Chosen<T> {
    let mut chosen = Chosen {
        usable: Vec::new(),
        unknown: Vec::new(),
    };
    for name in names {
        match find(name) {
            Some(found) => chosen.usable.push(found),
            None => chosen.unknown.push(name.clone()),
        }
    }
    chosen
}

/// In the order in which they are named.
pub(super) fn cipher_suites(names: &[String]) -> Chosen<SupportedCipherSuite> {
    choose(names, |name| {
        let mut all = ALL_CIPHER_SUITES.iter();
        all.find(|suite| java_name(suite.suite()) == name).copied()
    })
}

pub(super) fn protocols(names: &[String]) -> Chosen<&'static SupportedProtocolVersion> {
    choose(names, |name| match name {
        "TLSv1.3" => Some(&version::TLS13),
        "TLSv1.2" => Some(&version::TLS12),
        _ => None,
    })
}

/// Names that `SSLContext.getInstance` takes for `ssl.protocol`; what is spoken is told by `ssl.enabled.protocols`.
pub(super) fn is_context(name: &str) -> bool {
    const CONTEXTS: [&str; 7] = [
        "TLS", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", "SSL", "DEFAULT",
    ];
    CONTEXTS.iter().any(|one| one.eq_ignore_ascii_case(name))
}

/// The registry's name, without rustls' `TLS13_`.
fn java_name(suite: CipherSuite) -> String {
    let name = suite.as_str().unwrap_or_default();
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn suites_go_by_their_names_in_java() {
        let chosen = cipher_suites(&names(&[
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_AES_128_GCM_SHA256",
            "TLS_RSA_WITH_AES_128_CBC_SHA",
        ]));
        let usable: Vec<_> = chosen.usable.iter().map(|suite| suite.suite()).collect();
        assert_eq!(
            usable,
            [
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                CipherSuite::TLS13_AES_128_GCM_SHA256
            ]
        );
        assert_eq!(chosen.unknown, ["TLS_RSA_WITH_AES_128_CBC_SHA"]);
    }

    #[test]
    fn old_protocols_are_not_spoken() {
        let chosen = protocols(&names(&["TLSv1.1", "TLSv1.2", "TLSv1.3"]));
        assert_eq!(chosen.usable, [&version::TLS12, &version::TLS13]);
        assert_eq!(chosen.unknown, ["TLSv1.1"]);
        assert!(is_context("tls") && !is_context("TLSv9"));
    }
}
