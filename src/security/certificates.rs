//! Which client certificates are taken: those that lead to a certificate of the trust store, and those that stand in it
//! themselves, as Java has it. (sun.security.validator.PKIXValidator)

use std::collections::HashSet;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

/// Certificates of a trust store that lead nowhere.
#[derive(Debug, thiserror::Error)]
#[error("none of the certificates of the trust store can be used: {0}")]
pub struct Unusable(String);

#[derive(Debug)]
pub(super) struct TrustedClients {
    chains: Arc<dyn ClientCertVerifier>,
    trusted: HashSet<CertificateDer<'static>>,
}

impl TrustedClients {
    /// With `required` a client without a certificate is refused.
    pub(super) fn new(
        trusted: Vec<CertificateDer<'static>>,
        required: bool,
    ) -> Result<TrustedClients, Unusable> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.iter().cloned());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match required {
            true => builder,
            false => builder.allow_unauthenticated(),
        };
        let chains = builder.build();
        Ok(TrustedClients {
            chains: chains.map_err(|error| Unusable(error.to_string()))?,
            trusted: trusted.into_iter().collect(),
        })
    }
}

impl ClientCertVerifier for TrustedClients {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chains.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if self.trusted.contains(end_entity) {
            return Ok(ClientCertVerified::assertion());
        }
        self.chains
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
