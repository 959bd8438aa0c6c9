//! TLS towards the API server, for the programs on a node: whom they trust, and their own certificate.
//!
//! kube makes this too, but by a function that may run the credential program of a kubeconfig. The programs on a node refuse such a kubeconfig.
//! What reads the output of that program, JSONPath with regular expressions, would be a fifth of a plugin's file.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_platform_verifier::Verifier;
use tokio::time::Instant;

use super::credentials::{ConnectError, Identity, Trust, authorities_in};

/// A file of certificate authorities is read again after this time. The kubelet exchanges it as it does a token.
const REREAD: Duration = Duration::from_secs(60);

/// TLS refuses the credentials. What belongs to one key of a kubeconfig was checked before.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// No authority is named, and the machine has none.
    #[error(
        "no certificate-authority is named, and this machine trusts none ({0}); name it in the kubeconfig"
    )]
    Machine(rustls::Error),
    /// An authority cannot be used.
    #[error("the certificate authorities cannot be used: {0}")]
    Authorities(String),
    /// The client's certificate or key cannot be used.
    #[error("the client certificate cannot be used: {0}")]
    Identity(rustls::Error),
    /// No version of TLS can be used.
    #[error(transparent)]
    Protocol(rustls::Error),
}

/// What rustls needs for a connection.
///
/// # Errors
/// [`TlsError`].
pub(super) fn client_config(trust: Trust, identity: Option<Identity>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(trust, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    match identity {
        Some(Identity { chain, key }) => {
            builder.with_client_auth_cert(chain, key).map_err(TlsError::Identity)
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

fn verifier(trust: Trust, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    Ok(match trust {
        Trust::Authorities(authorities) => verifier_of(&authorities, provider)?,
        Trust::File { path, first } => Arc::new(FileVerifier::new(path, &first, provider)?),
        Trust::Machine => Arc::new(Verifier::new(provider.clone()).map_err(TlsError::Machine)?),
        Trust::Everyone => {
            tracing::warn!("insecure-skip-tls-verify: whoever answers gets the token");
            Arc::new(NoVerifier)
        }
    })
}

fn verifier_of(
    authorities: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(|error| TlsError::Authorities(error.to_string()))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    verifier.map_err(|error| TlsError::Authorities(error.to_string()))
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

/// The file's content cannot replace the last one.
#[derive(Debug, thiserror::Error)]
enum NotRenewed {
    #[error(transparent)]
    File(#[from] ConnectError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl FileVerifier {
    /// `first` is the content of the file now.
    fn new(
        path: PathBuf,
        first: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let last = Mutex::new(Last { verifier: verifier_of(first, provider)?, read: Instant::now() });
        Ok(FileVerifier { path, provider: provider.clone(), last })
    }

    /// The verifier at `now`. If the file is missing or malformed, the authorities that were good last stay in use.
    fn at(&self, now: Instant) -> Arc<WebPkiServerVerifier> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(last.read) >= REREAD {
            last.read = now;
            match self.read() {
                Ok(verifier) => last.verifier = verifier,
                Err(error) => {
                    tracing::warn!(%error, "the certificate authorities were not renewed; the last ones stay in use");
                }
            }
        }
        last.verifier.clone()
    }

    fn read(&self) -> Result<Arc<WebPkiServerVerifier>, NotRenewed> {
        Ok(verifier_of(&authorities_in(&self.path)?, &self.provider)?)
    }

    fn now(&self) -> Arc<WebPkiServerVerifier> {
        self.at(Instant::now())
    }
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

/// Takes every certificate and every signature: whoever answers could sign by a certificate of its own, so to check the signature proves nothing.
/// It would refuse certificates that rustls cannot read, such as those of X.509 version 1, which are a reason to switch verification off.
#[derive(Debug)]
struct NoVerifier;

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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    /// All that servers have, also what ring cannot check (ECDSA with P-521).
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        use SignatureScheme::{
            ECDSA_NISTP256_SHA256, ECDSA_NISTP384_SHA384, ECDSA_NISTP521_SHA512, ED448, ED25519,
            RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
            RSA_PSS_SHA512,
        };
        vec![
            ECDSA_NISTP256_SHA256,
            ECDSA_NISTP384_SHA384,
            ECDSA_NISTP521_SHA512,
            ED25519,
            ED448,
            RSA_PSS_SHA256,
            RSA_PSS_SHA384,
            RSA_PSS_SHA512,
            RSA_PKCS1_SHA256,
            RSA_PKCS1_SHA384,
            RSA_PKCS1_SHA512,
            SignatureScheme::RSA_PKCS1_SHA1,
            SignatureScheme::ECDSA_SHA1_Legacy,
        ]
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
        let first = authorities_in(&path).unwrap();
        let verifier = FileVerifier::new(path.clone(), &first, &Arc::new(ring::default_provider())).unwrap();
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
