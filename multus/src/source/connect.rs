//! Which credentials multus uses, and the client for them.

use nad::api::SourceError;
use node::client::{ApiClient, Credentials, Timeouts};
use node::deadline::Deadline;

use crate::conf::Conf;

/// Makes a client. The first request connects.
pub(crate) async fn connect(credentials: Credentials, deadline: Deadline) -> Result<ApiClient, SourceError> {
    let limit = deadline.remaining();
    let client = tokio::time::timeout(limit, ApiClient::connect(credentials, Timeouts::default()));
    Ok(client.await.map_err(|_| SourceError::DeadlinePassed(limit))??)
}

/// The kubeconfig of the configuration, or the service account of the pod that this process runs in. `None` if there is neither: then pods
/// have the networks of the configuration only, unless a daemon is there. `lookup` reads environment variables.
pub(crate) fn credentials(conf: &Conf, lookup: &dyn Fn(&str) -> Option<String>) -> Option<Credentials> {
    if let Some(path) = &conf.kubeconfig {
        return Some(Credentials::Kubeconfig(path.clone()));
    }
    let is_set = |name: &str| lookup(name).is_some_and(|value| !value.is_empty());
    let in_cluster = is_set("KUBERNETES_SERVICE_HOST") && is_set("KUBERNETES_SERVICE_PORT");
    in_cluster.then_some(Credentials::InCluster)
}
