//! Why credentials cannot be used, and where the fault is.

use std::fmt;
use std::path::PathBuf;

use crate::client::error::Credentials;
use crate::names::NameError;
use crate::text::printable;

/// The credentials cannot be used. The texts never quote a value: it may be a token.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file is missing or unreadable. An installer or the kubelet may write it a moment later.
    #[error("{place}: {reason}; check that the path is right and that the file exists")]
    Unreadable {
        /// The kubeconfig and its key that names the file, or the file itself.
        place: Place,
        /// The system's error.
        reason: String,
    },
    /// A file or a key has content that never works. Somebody must correct it.
    #[error("{place}: {reason}")]
    Malformed {
        /// The file and the key.
        place: Place,
        /// What was expected, and what is there.
        reason: String,
    },
    /// This process does not run in a pod with a service account.
    #[error("no service account: {reason}; run in a pod with a service account token, or give a kubeconfig")]
    NotInCluster {
        /// What is missing.
        reason: String,
    },
    /// The kubeconfig gets its token from a program. A plugin runs as root, and does not run programs that a kubeconfig names.
    #[error("kubeconfig {path} gets its token from a program ({method}), which is not supported; use a token, a tokenFile or a client certificate", path = path.display())]
    CredentialProgram {
        /// The kubeconfig.
        path: PathBuf,
        /// `exec` or `auth-provider`.
        method: &'static str,
    },
    /// TLS refuses the certificates or the key.
    #[error("{credentials}: {reason}")]
    Unusable {
        /// The credentials.
        credentials: Credentials,
        /// What is wrong.
        reason: String,
    },
    /// The namespace that comes with the credentials is not a valid name.
    #[error("{credentials}: {source}")]
    BadNamespace {
        /// The credentials.
        credentials: Credentials,
        /// What is wrong with it.
        source: NameError,
    },
}

impl ConnectError {
    /// Whether waiting cannot help: the content of a file is wrong and stays so until somebody corrects it. A caller then reports a
    /// configuration error at once. A file that is missing may be written later.
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::Unreadable { .. } | Self::NotInCluster { .. } => false,
            Self::Malformed { .. }
            | Self::CredentialProgram { .. }
            | Self::Unusable { .. }
            | Self::BadNamespace { .. } => true,
        }
    }
}

/// A place in a set of credentials: `kubeconfig /k: users[u].user.token`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    credentials: Credentials,
    /// The key, and the file that it names; or a file or variable of the service account. Empty for the kubeconfig as a whole.
    key: String,
}

impl Place {
    pub(super) fn new(credentials: Credentials, key: &str) -> Self {
        // The names of users and clusters in a key come from the file.
        Self { credentials, key: printable(key, 500) }
    }

    /// The same place, and the file that its value names.
    pub(super) fn naming(mut self, file: &std::path::Path) -> Self {
        self.key.push_str(&format!(" = {}", printable(&file.display().to_string(), 500)));
        self
    }

    pub(super) fn malformed(self, reason: impl Into<String>) -> ConnectError {
        ConnectError::Malformed { place: self, reason: reason.into() }
    }

    pub(super) fn unreadable(self, reason: &dyn fmt::Display) -> ConnectError {
        ConnectError::Unreadable { place: self, reason: reason.to_string() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.credentials {
            Credentials::Kubeconfig(path) => write!(f, "kubeconfig {}", path.display())?,
            Credentials::InCluster => f.write_str("service account")?,
        }
        if self.key.is_empty() { Ok(()) } else { write!(f, ": {}", self.key) }
    }
}
