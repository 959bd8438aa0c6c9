//! TLS towards the API server, for the programs on a node: whom they trust, and their own certificate.
//!
//! kube makes this too, but by a function that may run the credential program of a kubeconfig. The programs on a node refuse such a kubeconfig.
//! What reads the output of that program, JSONPath with regular expressions, would be a fifth of a plugin's file.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_platform_verifier::Verifier;
use tokio::time::Instant;

use super::credentials::{ConnectError, Trust, authorities_in};

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
    /// The authorities cannot be used.
    #[error("the certificate authorities cannot be used: {0}")]
    Authorities(VerifierBuilderError),
    /// No version of TLS can be used.
    #[error(transparent)]
    Protocol(rustls::Error),
}

/// What rustls needs for a connection.
///
/// # Errors
/// [`TlsError`].
pub(super) fn client_config(trust: Trust, identity: Option<CertifiedKey>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(trust, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    Ok(match identity {
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
        None => builder.with_no_client_auth(),
    })
}

fn verifier(trust: Trust, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    Ok(match trust {
        Trust::Authorities(authorities) => verifier_of(authorities, provider)?,
        Trust::File { path, first } => {
            Arc::new(OwnVerifier::File(AuthorityFile::new(path, first, provider)?))
        }
        Trust::Machine => Arc::new(Verifier::new(provider.clone()).map_err(TlsError::Machine)?),
        Trust::Everyone => {
            tracing::warn!("insecure-skip-tls-verify: whoever answers gets the token");
            Arc::new(OwnVerifier::Everyone)
        }
    })
}

fn verifier_of(
    authorities: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(authorities), provider.clone());
    builder.build().map_err(TlsError::Authorities)
}

/// What rustls has no verifier for.
#[derive(Debug)]
enum OwnVerifier {
    /// Trusts the authorities of a file, also after somebody exchanged them.
    File(AuthorityFile),
    /// Accepts every certificate and every signature. Whoever answers could sign with a certificate of its own, so a check of the signature
    /// proves nothing. It would refuse certificates that rustls cannot read, such as those of X.509 version 1; they are a reason to switch
    /// verification off.
    Everyone,
}

/// A file of certificate authorities.
#[derive(Debug)]
struct AuthorityFile {
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

impl AuthorityFile {
    /// `first` is the content of the file now.
    fn new(path: PathBuf, first: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let last = Mutex::new(Last { verifier: verifier_of(first, provider)?, read: Instant::now() });
        Ok(AuthorityFile { path, provider: provider.clone(), last })
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
        Ok(verifier_of(authorities_in(&self.path)?, &self.provider)?)
    }

    fn now(&self) -> Arc<WebPkiServerVerifier> {
        self.at(Instant::now())
    }
}

impl ServerCertVerifier for OwnVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self {
            Self::File(file) => file.now().verify_server_cert(certificate, intermediates, name, ocsp, now),
            Self::Everyone => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self {
            Self::File(file) => file.now().verify_tls12_signature(message, certificate, signature),
            Self::Everyone => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self {
            Self::File(file) => file.now().verify_tls13_signature(message, certificate, signature),
            Self::Everyone => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self {
            Self::File(file) => file.now().supported_verify_schemes(),
            Self::Everyone => EVERY_SCHEME.to_vec(),
        }
    }
}

/// All that servers have, also what ring cannot check (ECDSA with P-521).
const EVERY_SCHEME: [SignatureScheme; 13] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::ED448,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PKCS1_SHA1,
    SignatureScheme::ECDSA_SHA1_Legacy,
];

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
        let verifier = AuthorityFile::new(path.clone(), first, &Arc::new(ring::default_provider())).unwrap();
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
