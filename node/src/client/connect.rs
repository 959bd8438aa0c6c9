//! Credentials: from a kubeconfig file, or the pod's service account, to an [`ApiClient`].

use std::fs;
use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, Config, KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::api::{ApiClient, Timeouts};
use super::error::{Credentials, chain};
use crate::names::{DnsLabel, NameError};

/// The largest kubeconfig, in bytes. One with a few certificates takes some KiB.
const MAX_KUBECONFIG: u64 = 1 << 20;

/// The credentials cannot be used. The texts never quote a file: it may hold a token.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig, or a file that it names, is missing, unreadable or damaged.
    #[error("kubeconfig {path}: {reason}; check the path in the configuration and the file's content", path = path.display())]
    BadKubeconfig {
        /// The kubeconfig.
        path: PathBuf,
        /// What is wrong.
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
    /// A certificate, key, token or URL is not valid.
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

impl ApiClient {
    /// Reads the credentials. The first request makes the connection. A token in a file is read now, and again at least every minute.
    /// Must run inside a tokio runtime, such as [`block_on`](super::block_on)'s.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(credentials: Credentials, timeouts: Timeouts) -> Result<Self, ConnectError> {
        let Loaded { mut config, namespace } = match &credentials {
            Credentials::Kubeconfig(path) => from_kubeconfig(path).await?,
            Credentials::InCluster => in_cluster()?,
        };
        config.connect_timeout = Some(timeouts.connect);
        // `exchange` limits each request as a whole: a limit on single reads would cut quiet watches.
        config.read_timeout = None;
        config.write_timeout = None;
        // kube would repeat writes too. `retry` repeats only what is safe to repeat.
        config.default_retry = false;

        let namespace = namespace
            .map(DnsLabel::new)
            .transpose()
            .map_err(|source| ConnectError::BadNamespace { credentials: credentials.clone(), source })?;
        let client = kube::Client::try_from(config).map_err(|error| ConnectError::Unusable {
            credentials: credentials.clone(),
            reason: chain(&error),
        })?;
        Ok(Self { client, namespace, credentials, request_timeout: timeouts.request })
    }
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
    if has_proxy(&kubeconfig) {
        return Err(bad("it has a proxy-url, which is not supported".to_owned()));
    }
    hide_proxy_variables(&mut kubeconfig);
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
        return Err(bad("it is not a regular file of at most 1 MiB".to_owned()));
    }
    Kubeconfig::read_from(path).map_err(|error| bad(reason(&error)))
}

/// kube's error text, unless it quotes the file, which may hold a token.
fn reason(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(_) => "it is not a kubeconfig in YAML or JSON".to_owned(),
        other => chain(other),
    }
}

fn context_namespace(kubeconfig: &Kubeconfig) -> Option<String> {
    let current = kubeconfig.current_context.as_ref()?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == *current)?;
    context.context.as_ref()?.namespace.clone().filter(|namespace| !namespace.is_empty())
}

fn has_proxy(kubeconfig: &Kubeconfig) -> bool {
    let mut clusters = kubeconfig.clusters.iter().filter_map(|named| named.cluster.as_ref());
    clusters.any(|cluster| cluster.proxy_url.as_ref().is_some_and(|url| !url.is_empty()))
}

/// Makes kube ignore the proxy variables of the environment (`HTTPS_PROXY`). A container runtime passes its own on to plugins: they are meant
/// for image registries, and kube as built here ignores their exceptions (`NO_PROXY`).
fn hide_proxy_variables(kubeconfig: &mut Kubeconfig) {
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        // kube reads the variables only where this is empty. The caller removes it from the resulting `Config`.
        cluster.proxy_url = Some("http://proxy.invalid".to_owned());
    }
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
