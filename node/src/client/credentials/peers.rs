//! Whom a program on a node trusts, and its own certificate.

use std::path::PathBuf;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// The peers of a connection.
#[derive(Debug)]
pub(in crate::client) struct Peers {
    /// Whom the client trusts.
    pub(in crate::client) trust: Trust,
    /// The name that the server's certificate must have, instead of the host of its URL.
    pub(in crate::client) server_name: Option<ServerName<'static>>,
    /// The client's own certificate.
    pub(in crate::client) identity: Option<Identity>,
}

/// Which servers a client trusts.
#[derive(Debug)]
pub(in crate::client) enum Trust {
    /// Those that one of these authorities vouches for, each in DER.
    Authorities(Vec<CertificateDer<'static>>),
    /// Those that an authority in this file vouches for: PEM, which somebody exchanges.
    File {
        /// The file.
        path: PathBuf,
        /// Its content now.
        first: Vec<CertificateDer<'static>>,
    },
    /// Those that the machine trusts.
    Machine,
    /// Every server (`insecure-skip-tls-verify`).
    Everyone,
}

/// A client certificate with its chain, and its key.
#[derive(Debug)]
pub(in crate::client) struct Identity {
    /// The certificate first.
    pub(in crate::client) chain: Vec<CertificateDer<'static>>,
    /// The key of the certificate.
    pub(in crate::client) key: PrivateKeyDer<'static>,
}
