//! Whom a program on a node trusts, and its own certificate.

use std::path::PathBuf;

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::ServerName;

/// The peers of a connection.
pub(in crate::client) struct Peers {
    /// Whom the client trusts.
    pub(in crate::client) trust: Trust,
    /// The name that the server's certificate must have, instead of the host of its URL.
    pub(in crate::client) server_name: Option<ServerName<'static>>,
    /// The client's own certificate, with its key.
    pub(in crate::client) identity: Option<CertifiedKey>,
}

/// Which servers a client trusts.
pub(in crate::client) enum Trust {
    /// Those that one of these authorities vouches for.
    Authorities(RootCertStore),
    /// Those that an authority in this file vouches for: PEM, which somebody exchanges.
    File {
        /// The file.
        path: PathBuf,
        /// Its content now.
        first: RootCertStore,
    },
    /// Those that the machine trusts.
    Machine,
    /// Every server (`insecure-skip-tls-verify`).
    Everyone,
}

/// Which servers a kubeconfig trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorities {
    /// Those that one of these vouches for: PEM.
    Named(Vec<u8>),
    /// Those that the machine trusts: the kubeconfig names none.
    Machine,
    /// Every server (`insecure-skip-tls-verify`).
    Everyone,
}
