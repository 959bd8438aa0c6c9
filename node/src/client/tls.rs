//! TLS towards the API server, for the programs on a node: whom they trust, and their own certificate.
//!
//! kube makes this too, but by a function that may run the credential program of a kubeconfig. The programs on a node refuse such a kubeconfig.
//! What reads the output of that program, JSONPath with regular expressions, would be a tenth of a plugin's file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_platform_verifier::Verifier;
use tokio::time::Instant;

use super::credentials::{Identity, Trust, certificates_in};

/// A file of certificate authorities is read again after this time. The kubelet exchanges it as it does a token.
const REREAD: Duration = Duration::from_secs(60);

/// What rustls needs for a connection.
///
/// # Errors
/// [`rustls::Error`]: a certificate or the key cannot be used.
pub(super) fn client_config(
    trust: &Trust,
    identity: Option<Identity>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(trust, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    match identity {
        Some(Identity { chain, key }) => builder.with_client_auth_cert(chain, key),
        None => Ok(builder.with_no_client_auth()),
    }
}

fn verifier(
    trust: &Trust,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
    Ok(match trust {
        Trust::Authorities(authorities) => verifier_of(authorities, provider)?,
        Trust::File(path) => Arc::new(FileVerifier::new(path, provider)?),
        Trust::Machine => Arc::new(Verifier::new(provider.clone())?),
        Trust::Everyone => Arc::new(NoVerifier(provider.clone())),
    })
}

fn verifier_of(
    authorities: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    verifier.map_err(|error| rustls::Error::General(error.to_string()))
}

/// Trusts the authorities of a file, also after somebody exchanged them.
#[derive(Debug)]
struct FileVerifier {
    path: PathBuf,
    provider: Arc<CryptoProvider>,
    last: Mutex<Last>,
}

/// The verifier of the last content that was good.
#[derive(Debug)]
struct Last {
    verifier: Arc<WebPkiServerVerifier>,
    read: Instant,
}

impl FileVerifier {
    fn new(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Self, rustls::Error> {
        let last = Last { verifier: read(path, provider)?, read: Instant::now() };
        Ok(FileVerifier { path: path.to_owned(), provider: provider.clone(), last: Mutex::new(last) })
    }

    /// The verifier at `now`. If the file is missing or malformed, the authorities that were good last stay in use.
    fn at(&self, now: Instant) -> Arc<WebPkiServerVerifier> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(last.read) >= REREAD {
            last.read = now;
            match read(&self.path, &self.provider) {
                Ok(verifier) => last.verifier = verifier,
                Err(error) => {
                    tracing::warn!(path = %self.path.display(), %error, "the certificate authorities were not renewed; the last ones stay in use");
                }
            }
        }
        last.verifier.clone()
    }

    fn now(&self) -> Arc<WebPkiServerVerifier> {
        self.at(Instant::now())
    }
}

fn read(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
    let authorities = certificates_in(path).map_err(|error| rustls::Error::General(error.to_string()))?;
    verifier_of(&authorities, provider)
}

impl ServerCertVerifier for FileVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.now().verify_server_cert(certificate, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.now().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.now().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes every certificate. The server must still have its key, as with client-go.
#[derive(Debug)]
struct NoVerifier(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerifier {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::tls::Authority;

    #[test]
    fn the_authorities_of_a_file_are_renewed_after_a_minute_and_good_ones_stay_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crt");
        let write = |text: &str| crate::files::replace(&path, text.as_bytes()).unwrap();
        let write_new = || write(&Authority::new().pem);
        write_new();
        let verifier = FileVerifier::new(&path, &Arc::new(ring::default_provider())).unwrap();
        let start = Instant::now();
        let first = verifier.at(start);
        write_new();
        assert!(Arc::ptr_eq(&verifier.at(start + REREAD / 2), &first), "it was read a moment ago");
        let second = verifier.at(start + 2 * REREAD);
        assert!(!Arc::ptr_eq(&second, &first), "it was exchanged");
        write("");
        assert!(Arc::ptr_eq(&verifier.at(start + 4 * REREAD), &second), "it is damaged");
        std::fs::remove_file(&path).unwrap();
        assert!(Arc::ptr_eq(&verifier.at(start + 6 * REREAD), &second), "it is gone");
        write_new();
        assert!(!Arc::ptr_eq(&verifier.at(start + 8 * REREAD), &second), "it is back");
    }
}
