//! From credentials to an [`ApiClient`].

use std::path::Path;
use std::sync::Arc;

use tower::BoxError;

use super::api::{ApiClient, Timeouts};
use super::connection::{Connection, certificate_of};
use super::credentials::{self, ConnectError, Loaded, Person};
use super::error::{Credentials, chain};
use super::transport;
use crate::names::DnsLabel;

impl ApiClient {
    /// Reads the credentials. The first request makes the connection. A token in a file, and the client certificate of a kubeconfig, is read now,
    /// again at least every minute, and after a 401. Must run inside a tokio runtime, such as [`block_on`](super::block_on)'s.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(credentials: Credentials, timeouts: Timeouts) -> Result<Self, ConnectError> {
        let (loaded, peers) = credentials::load(&credentials)?;
        let certificate = certificate_of(&peers);
        let client = transport::client(&loaded.config, peers, timeouts.connect);
        let client = client.map_err(|error| unusable(&credentials, error))?;
        let connection = Connection::new(client, certificate, credentials.clone(), timeouts.connect);
        Self::with_loaded(loaded, connection, credentials, timeouts)
    }

    /// As [`ApiClient::connect`], with the kubeconfig of a person at a terminal.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect_as(person: &Person, timeouts: Timeouts) -> Result<Self, ConnectError> {
        let loaded = credentials::load_person(person).await?;
        let credentials = person.credentials();
        let client = transport::client_of_person(&loaded.config, timeouts.connect);
        let client = client.map_err(|error| unusable(&credentials, error))?;
        Self::with_loaded(loaded, Connection::Fixed(client), credentials, timeouts)
    }

    fn with_loaded(
        loaded: Loaded,
        connection: Connection,
        credentials: Credentials,
        timeouts: Timeouts,
    ) -> Result<Self, ConnectError> {
        let Loaded { config, namespace, token } = loaded;
        let namespace = checked_namespace(namespace, &credentials)?;
        let server = config.cluster_url;
        let (connection, token) = (Arc::new(connection), token.map(Arc::new));
        Ok(Self { connection, server, namespace, credentials, token, request_timeout: timeouts.request })
    }
}

fn unusable(credentials: &Credentials, error: BoxError) -> ConnectError {
    ConnectError::Unusable { credentials: credentials.clone(), reason: chain(&*error) }
}

/// The namespace of a kubeconfig's current context, without connecting.
///
/// # Errors
/// [`ConnectError`]: the file cannot be read or parsed, or the namespace is no name.
pub fn namespace_in(kubeconfig: &Path) -> Result<Option<DnsLabel>, ConnectError> {
    let credentials = Credentials::Kubeconfig(kubeconfig.to_owned());
    checked_namespace(credentials::namespace_in(kubeconfig)?, &credentials)
}

fn checked_namespace(
    namespace: Option<String>,
    credentials: &Credentials,
) -> Result<Option<DnsLabel>, ConnectError> {
    let bad = |source| ConnectError::BadNamespace { credentials: credentials.clone(), source };
    namespace.map(DnsLabel::new).transpose().map_err(bad)
}
