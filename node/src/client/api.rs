//! The connection to the API server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kube::client::Body;

use super::connection::Connection;
use super::credentials::Token;
use super::error::Credentials;
use crate::names::DnsLabel;

/// Upper limits for every request, whatever the caller's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Limit for making a connection, TLS handshake included. Default 5 s.
    pub connect: Duration,
    /// Limit for one request and its response. Default 15 s.
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), request: Duration::from_secs(15) }
    }
}

/// A connection to the API server. Clones share it.
#[derive(Clone)]
pub struct ApiClient {
    pub(super) connection: Arc<Connection>,
    pub(super) server: http::Uri,
    pub(super) namespace: Option<DnsLabel>,
    pub(super) credentials: Credentials,
    pub(super) token: Option<Arc<Token>>,
    pub(super) request_timeout: Duration,
}

impl fmt::Debug for ApiClient {
    /// Shows whose credentials are used, and no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiClient")
            .field("server", &self.server)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

impl ApiClient {
    /// A client that sends its requests to `service`, for tests that inject faults. Must run inside a tokio runtime.
    pub async fn from_service<S, B>(service: S, timeouts: Timeouts) -> Self
    where
        S: tower::Service<http::Request<Body>, Response = http::Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: hyper::body::Body<Data = hyper::body::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let connection = Arc::new(Connection::Fixed(kube::Client::new(service, "default")));
        Self {
            connection,
            server: http::Uri::default(),
            namespace: None,
            credentials: Credentials::InCluster,
            token: None,
            request_timeout: timeouts.request,
        }
    }

    /// The namespace of the kubeconfig's current context, or of the pod that this process runs in.
    pub const fn namespace(&self) -> Option<&DnsLabel> {
        self.namespace.as_ref()
    }

    /// The URL of the API server.
    pub const fn server(&self) -> &http::Uri {
        &self.server
    }

    /// The credentials that this client uses.
    pub const fn credentials(&self) -> &Credentials {
        &self.credentials
    }
}
