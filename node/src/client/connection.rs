//! The HTTP client under an [`ApiClient`](super::ApiClient), which is made again when the client certificate in the kubeconfig changes.
//!
//! A connection keeps the certificate that it was made with, and the API server refuses its requests once that certificate has expired. So a
//! new certificate needs new connections.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use tokio::time::Instant;

use super::credentials::{self, Peers};
use super::error::Credentials;
use super::transport;

/// The kubeconfig is read again after this time. Who renews a certificate does so long before the old one expires: the API server's signer
/// makes none for less than ten minutes.
const REREAD: Duration = Duration::from_secs(60);

/// How requests reach the API server.
pub(super) enum Connection {
    /// By one client for ever: there is no client certificate.
    Fixed(kube::Client),
    /// By a client with the certificate of the kubeconfig.
    Certified(Certified),
}

/// A client with a certificate that somebody renews.
pub(super) struct Certified {
    credentials: Credentials,
    connect: Duration,
    last: Mutex<Last>,
}

struct Last {
    client: Numbered,
    certificate: Vec<CertificateDer<'static>>,
    read: Instant,
}

/// A client, and how many there were before it.
#[derive(Clone)]
pub(super) struct Numbered {
    pub(super) client: kube::Client,
    number: u64,
}

/// What the kubeconfig has now.
enum Renewed {
    Client(Box<kube::Client>, Vec<CertificateDer<'static>>),
    Unchanged,
}

impl Connection {
    /// The connection for credentials that were just read. `certificate` is that of the client.
    pub(super) fn new(
        client: kube::Client,
        certificate: Option<Vec<CertificateDer<'static>>>,
        credentials: Credentials,
        connect: Duration,
    ) -> Self {
        let Some(certificate) = certificate else { return Self::Fixed(client) };
        let last = Last { client: Numbered { client, number: 0 }, certificate, read: Instant::now() };
        Self::Certified(Certified { credentials, connect, last: Mutex::new(last) })
    }

    /// The client to use at `now`.
    pub(super) fn at(&self, now: Instant) -> Numbered {
        match self {
            Self::Fixed(client) => Numbered { client: client.clone(), number: 0 },
            Self::Certified(certified) => certified.at(now, REREAD),
        }
    }

    /// After a 401: the client to use instead of `refused`, if the kubeconfig has another certificate by now.
    pub(super) fn instead_of(&self, refused: &Numbered, now: Instant) -> Option<Numbered> {
        match self {
            Self::Fixed(_) => None,
            Self::Certified(certified) => {
                Some(certified.at(now, Duration::ZERO)).filter(|client| client.number != refused.number)
            }
        }
    }
}

impl Certified {
    /// The client, with the certificate of the kubeconfig if the last read is older than `age`. If the kubeconfig or a file that it names is
    /// missing or malformed now, the last certificate that was good stays in use.
    fn at(&self, now: Instant, age: Duration) -> Numbered {
        let mut last = self.last();
        if now.saturating_duration_since(last.read) >= age {
            last.read = now;
            match self.renewed(&last.certificate) {
                Ok(Renewed::Unchanged) => {}
                Ok(Renewed::Client(client, certificate)) => {
                    let number = last.client.number.wrapping_add(1);
                    (last.client, last.certificate) = (Numbered { client: *client, number }, certificate);
                }
                Err(reason) => {
                    tracing::warn!(%reason, "the client certificate was not renewed; the last one stays in use");
                }
            }
        }
        last.client.clone()
    }

    fn renewed(&self, old: &[CertificateDer<'static>]) -> Result<Renewed, tower::BoxError> {
        let (loaded, peers) = credentials::load(&self.credentials)?;
        match certificate_of(&peers) {
            Some(certificate) if certificate != old => {
                let client = transport::client(&loaded.config, peers, self.connect)?;
                Ok(Renewed::Client(Box::new(client), certificate))
            }
            _ => Ok(Renewed::Unchanged),
        }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client's own certificate, with its chain.
pub(super) fn certificate_of(peers: &Peers) -> Option<Vec<CertificateDer<'static>>> {
    peers.identity.as_ref().map(|identity| identity.cert.clone())
}

#[cfg(test)]
impl Numbered {
    pub(super) const fn number(&self) -> u64 {
        self.number
    }
}
