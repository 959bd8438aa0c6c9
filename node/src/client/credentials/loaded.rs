//! Credentials as a client needs them.

use kube::config::Config;

use super::token::Token;

/// Credentials, read and checked.
pub(in crate::client) struct Loaded {
    /// The server and, for a person, the rest.
    pub(in crate::client) config: Config,
    /// The namespace that comes with the credentials, unchecked.
    pub(in crate::client) namespace: Option<String>,
    /// The token. `None` for a client certificate, and for none of both.
    pub(in crate::client) token: Option<Token>,
}
