//! Which credentials multus uses, and the client for them.

use node::client::{ApiClient, Credentials, Timeouts};
use node::deadline::Deadline;

use super::error::SourceError;
use super::within::within;
use crate::conf::Conf;

/// Makes a client with the kubeconfig of the configuration, or the service account of the pod that this process runs in. `None` if there
/// is neither: then pods have the networks of the configuration only. The first request connects. `lookup` reads environment variables.
pub(crate) async fn connect(
    conf: &Conf,
    lookup: &dyn Fn(&str) -> Option<String>,
    deadline: Deadline,
) -> Result<Option<ApiClient>, SourceError> {
    let Some(credentials) = credentials(conf, lookup) else { return Ok(None) };
    within(deadline, async |_| Ok(Some(ApiClient::connect(credentials, Timeouts::default()).await?))).await
}

/// The credentials that the configuration and the environment name.
pub(super) fn credentials(conf: &Conf, lookup: &dyn Fn(&str) -> Option<String>) -> Option<Credentials> {
    if let Some(path) = &conf.kubeconfig {
        return Some(Credentials::Kubeconfig(path.clone()));
    }
    let is_set = |name: &str| lookup(name).is_some_and(|value| !value.is_empty());
    let in_cluster = is_set("KUBERNETES_SERVICE_HOST") && is_set("KUBERNETES_SERVICE_PORT");
    in_cluster.then_some(Credentials::InCluster)
}
