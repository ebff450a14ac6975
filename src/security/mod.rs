//! Who speaks, and over what: SSL listeners, what is in their stores, and the principals of certificates.
//!
//! Knows settings only. `server` serves connections with what is opened here, `api` asks whether settings can be used.

mod certificates;
mod cipher_suites;
mod distinguished_name;
mod jks;
mod keys;
mod pem;
mod pkcs12;
mod principal;
mod ssl;
mod stores;

pub use principal::{KafkaPrincipal, NoMatchingRule};
pub use ssl::{Error as SslError, SslListener, SslState, check_ssl};

#[cfg(test)]
mod tests;
