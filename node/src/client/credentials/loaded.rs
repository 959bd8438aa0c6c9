//! Credentials as a client needs them.

use kube::config::Config;

use super::token::Token;

/// Credentials, read and checked.
pub(in crate::client) struct Loaded {
    /// The server, and for whom the user acts. For a person also all else that kube knows.
    pub(in crate::client) config: Config,
    /// The namespace that comes with the credentials, unchecked.
    pub(in crate::client) namespace: Option<String>,
    /// The `Authorization` header. `None` for a client certificate, for no credentials, and for a person.
    pub(in crate::client) token: Option<Token>,
}
