//! One call of the plugin: its configuration, who it is for, and the way to the API server.

use std::path::Path;
use std::time::Duration;

use cni::args::CniArgs;
use cni::plugin::Call;
use cni::{CniError, Code};
use node::client::{ApiClient, ApiError, BlockOnError, ConnectError, Credentials, Timeouts, block_on};
use node::deadline::Deadline;
use node::names::DnsLabel;

use crate::claim::ClaimError;
use crate::conf::request::{Assignment, IpArgs, Requests};
use crate::conf::{Conf, ConfError, FlatFile, Network};
use crate::conf_files;
use crate::pool::PoolError;
use crate::record::{RecordError, Records, STATE};

/// How long an ADD may take, below what a runtime waits.
pub const ADD_LIMIT: Duration = Duration::from_secs(30);

/// How long a DEL may take; then it leaves a tombstone.
pub const DEL_LIMIT: Duration = Duration::from_secs(10);

/// Where pools are when the credentials name no namespace.
const DEFAULT_NAMESPACE: &str = "kube-system";

/// Why a verb failed, by what the runtime can do.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The configuration is wrong: an operator must act.
    #[error(transparent)]
    Conf(#[from] ConfError),
    /// The pools of the configuration are wrong.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// There are no usable credentials.
    #[error("failed to create Kubernetes IPAM manager: {0}")]
    Connect(#[from] ConnectError),
    /// No claim was got.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// Another request to the API server failed.
    #[error("error at storage engine: {0}")]
    Api(#[from] ApiError),
    /// The deadline passed, or there is no runtime.
    #[error("error at storage engine: {0}")]
    BlockOn(#[from] BlockOnError),
    /// The node's own files fail.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The flat file is there and cannot be read.
    #[error("error opening flat configuration file: {0}")]
    FlatFile(#[from] node::files::FileError),
    /// `CNI_ARGS` names no pod.
    #[error(
        "IPAM client initialization error: no pod name: CNI_ARGS must have K8S_POD_NAME and K8S_POD_NAMESPACE"
    )]
    NoPod,
    /// No slice of the range is this node's.
    #[error(
        "no allocated node slice for node {node:?} in NodeSlicePool {pool:?}: is the node-slice controller running, and has the range a slice left?"
    )]
    NoSlice {
        /// The node.
        node: String,
        /// The object looked in.
        pool: String,
    },
    /// The node's name is not to be found.
    #[error(
        "node_slice_size is set, but the node's name is unknown: expected the variable NODENAME, a file \"nodename\" beside the flat file, or /etc/hostname"
    )]
    NoNodeName,
}

impl SessionError {
    /// As the runtime gets it.
    pub fn to_cni(&self) -> CniError {
        let code = match self {
            SessionError::Conf(ConfError::Json { .. }) => Code::Decoding,
            SessionError::Conf(_) | SessionError::Pool(_) | SessionError::NoNodeName => Code::InvalidConfig,
            SessionError::NoPod => Code::InvalidEnvironment,
            SessionError::Record(_) | SessionError::FlatFile(_) => Code::Io,
            SessionError::Connect(_) | SessionError::Api(_) | SessionError::BlockOn(_) => Code::TryAgainLater,
            SessionError::Claim(_) | SessionError::NoSlice { .. } => Code::TryAgainLater,
        };
        CniError::new(code, self.to_string())
    }
}

/// The pod that the interface is for.
#[derive(Clone, Debug)]
pub struct Pod {
    /// `namespace/name`.
    pub podref: String,
    /// Its UID, where the runtime tells it.
    pub uid: Option<String>,
}

impl Pod {
    /// The pod that `CNI_ARGS` names.
    pub fn of(args: &CniArgs) -> Result<Pod, SessionError> {
        let text = |key: &str| args.get(key).filter(|value| !value.is_empty());
        let name = text("K8S_POD_NAME").ok_or(SessionError::NoPod)?;
        let namespace = args.get("K8S_POD_NAMESPACE").unwrap_or_default();
        Ok(Pod { podref: format!("{namespace}/{name}"), uid: text("K8S_POD_UID").map(str::to_owned) })
    }
}

/// The configuration of a call, completed by the node's flat file.
pub fn conf(call: &Call) -> Result<Conf, SessionError> {
    let network = Network::parse(call.conf.object())?;
    let found = conf_files::find_flat_file(network.configuration_path())?;
    let flat = found.as_ref().map(|found| FlatFile { path: &found.path, bytes: &found.bytes });
    Ok(network.complete(flat)?)
}

/// What the interface is to get.
pub fn assignment(call: &Call, conf: &Conf) -> Result<Assignment, SessionError> {
    let args = IpArgs { ip: call.args.get("IP"), gateway: call.args.get("GATEWAY") };
    Ok(Requests::gather(args, &call.conf.runtime_config, &call.conf.args_cni)?.assign(conf)?)
}

/// This node's records.
pub fn records() -> Result<Records, SessionError> {
    Ok(Records::open(Path::new(STATE))?)
}

/// Runs `work` with a connection made of the credentials in `kubeconfig`, and the namespace where claims are.
pub fn with_api<T>(
    kubeconfig: &Path,
    deadline: Deadline,
    work: impl AsyncFnOnce(&ApiClient, &DnsLabel) -> Result<T, SessionError>,
) -> Result<T, SessionError> {
    block_on(deadline, async {
        let credentials = Credentials::Kubeconfig(kubeconfig.to_owned());
        let api = ApiClient::connect(credentials, Timeouts::default()).await?;
        let namespace = match api.namespace() {
            Some(namespace) => namespace.clone(),
            None => DnsLabel::new(DEFAULT_NAMESPACE).map_err(|source| ConnectError::BadNamespace {
                credentials: api.credentials().clone(),
                source,
            })?,
        };
        work(&api, &namespace).await
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_is_named_by_the_args() {
        let args = CniArgs::parse("K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_UID=u").unwrap();
        let pod = Pod::of(&args).unwrap();
        assert_eq!((pod.podref.as_str(), pod.uid.as_deref()), ("a/b", Some("u")));
        let error = Pod::of(&CniArgs::default()).unwrap_err();
        assert!(error.to_string().starts_with("IPAM client initialization error: no pod name"));
        assert_eq!(error.to_cni().code, Code::InvalidEnvironment);
    }
}
