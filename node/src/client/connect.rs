//! From a kubeconfig file, or a pod's own service account, to an [`ApiClient`].

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{AuthInfo, Config, KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::error::{Credentials, chain};
use super::{ApiClient, Timeouts};
use crate::names::{DnsLabel, NameError};

/// A kubeconfig with a few certificates in it is some KiB.
const MAX_KUBECONFIG: u64 = 1 << 20;

/// No client can be made of these credentials. Says what is wrong, never what is in a file.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig, or a file it names, is missing, unreadable or damaged.
    #[error("kubeconfig {path}: {reason}; check the path in the configuration, and that the file is current", path = path.display())]
    BadKubeconfig {
        /// The kubeconfig.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// This process does not run in a pod with a service account.
    #[error(
        "no credentials of a pod: {reason}; give a kubeconfig, or run in a pod with a service account token"
    )]
    NotInCluster {
        /// What is missing.
        reason: String,
    },
    /// The kubeconfig wants a program to be run for its token. A plugin runs as root: it does not.
    #[error("kubeconfig {path} gets its token from a program ({method}), which is not supported: use a token, a tokenFile or a client certificate", path = path.display())]
    CredentialProgram {
        /// The kubeconfig.
        path: PathBuf,
        /// `exec` or `auth-provider`.
        method: &'static str,
    },
    /// The credentials cannot be used: bad certificate, key, token or URL.
    #[error("{credentials}: {reason}")]
    Unusable {
        /// Whose.
        credentials: Credentials,
        /// What is wrong.
        reason: String,
    },
    /// The namespace that comes with the credentials is none.
    #[error("{credentials}: {source}")]
    BadNamespace {
        /// Whose.
        credentials: Credentials,
        /// What is wrong with it.
        source: NameError,
    },
}

/// Reads the credentials and makes a client of them. Must run inside a tokio runtime, such as
/// [`block_on`](super::block_on)'s.
pub(super) async fn connect(credentials: Credentials, timeouts: Timeouts) -> Result<ApiClient, ConnectError> {
    let Loaded { mut config, namespace } = match &credentials {
        Credentials::Kubeconfig(path) => from_kubeconfig(path).await?,
        Credentials::InCluster => in_cluster()?,
    };
    config.connect_timeout = Some(timeouts.connect);
    // Bounded by each request's own time; retried by `retry`, which knows what is safe to repeat.
    config.read_timeout = None;
    config.write_timeout = None;
    config.default_retry = false;

    let namespace = namespace
        .map(DnsLabel::new)
        .transpose()
        .map_err(|source| ConnectError::BadNamespace { credentials: credentials.clone(), source })?;
    let client = kube::Client::try_from(config).map_err(|error| ConnectError::Unusable {
        credentials: credentials.clone(),
        reason: chain(&error),
    })?;
    Ok(ApiClient::assemble(client, namespace, credentials, timeouts.request))
}

/// The namespace of a kubeconfig's current context, without connecting.
///
/// # Errors
/// [`ConnectError::BadKubeconfig`], [`ConnectError::BadNamespace`].
pub fn namespace_in(kubeconfig: &Path) -> Result<Option<DnsLabel>, ConnectError> {
    let read = read_kubeconfig(kubeconfig)?;
    let bad = |source| ConnectError::BadNamespace {
        credentials: Credentials::Kubeconfig(kubeconfig.to_owned()),
        source,
    };
    context_namespace(&read).map(DnsLabel::new).transpose().map_err(bad)
}

struct Loaded {
    config: Config,
    namespace: Option<String>,
}

async fn from_kubeconfig(path: &Path) -> Result<Loaded, ConnectError> {
    let bad = |reason: String| ConnectError::BadKubeconfig { path: path.to_owned(), reason };
    let mut kubeconfig = read_kubeconfig(path)?;
    let namespace = context_namespace(&kubeconfig);
    if !forget_proxies(&mut kubeconfig) {
        return Err(bad("has a proxy-url, which is not supported".to_owned()));
    }
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| bad(reason(&error)))?;
    config.proxy_url = None;
    if let Some(method) = credential_program(&config.auth_info) {
        return Err(ConnectError::CredentialProgram { path: path.to_owned(), method });
    }
    Ok(Loaded { config, namespace })
}

fn read_kubeconfig(path: &Path) -> Result<Kubeconfig, ConnectError> {
    let bad = |reason: String| ConnectError::BadKubeconfig { path: path.to_owned(), reason };
    let found = fs::metadata(path).map_err(|error| bad(error.to_string()))?;
    if !found.is_file() || found.len() > MAX_KUBECONFIG {
        return Err(bad("is not a file of at most 1 MiB".to_owned()));
    }
    Kubeconfig::read_from(path).map_err(|error| bad(reason(&error)))
}

/// kube's texts, except where they quote the file, which holds a token.
fn reason(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(_) => "is not a kubeconfig in YAML or JSON".to_owned(),
        other => chain(other),
    }
}

fn context_namespace(kubeconfig: &Kubeconfig) -> Option<String> {
    let current = kubeconfig.current_context.as_ref()?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == *current)?;
    context.context.as_ref()?.namespace.clone().filter(|namespace| !namespace.is_empty())
}

/// Keeps kube from asking the environment for a proxy: container runtimes pass theirs on to plugins, meant for
/// image registries, with exceptions that kube does not read. False if the kubeconfig itself names a proxy.
fn forget_proxies(kubeconfig: &mut Kubeconfig) -> bool {
    let clusters = kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut());
    for cluster in clusters {
        if cluster.proxy_url.as_ref().is_some_and(|url| !url.is_empty()) {
            return false;
        }
        cluster.proxy_url = Some("http://proxy.invalid".to_owned()); // removed again from what kube makes of it
    }
    true
}

const fn credential_program(user: &AuthInfo) -> Option<&'static str> {
    match user {
        AuthInfo { auth_provider: Some(_), .. } => Some("auth-provider"),
        AuthInfo { exec: Some(_), .. } => Some("exec"),
        _ => None,
    }
}

fn in_cluster() -> Result<Loaded, ConnectError> {
    let config =
        Config::incluster_env().map_err(|error| ConnectError::NotInCluster { reason: chain(&error) })?;
    let namespace = Some(config.default_namespace.trim().to_owned());
    Ok(Loaded { config, namespace })
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), request: Duration::from_secs(15) }
    }
}
