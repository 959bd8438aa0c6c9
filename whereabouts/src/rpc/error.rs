//! Why a call failed, with its CNI code. The plugin and the daemon use the same errors.

use cni::{CniError, Code};
use node::client::{ApiError, BlockOnError, ConnectError};
use node::names::DnsLabel;
use node::rpc::RpcError;

use crate::claims::error::{AllocateError, ClaimError};
use crate::claims::status::Unavailable;
use crate::conf::ConfError;
use crate::node_state::record::RecordError;

/// Why a call failed, by what the runtime can do.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The configuration is invalid: an operator must change it.
    #[error(transparent)]
    Conf(#[from] ConfError),
    /// There are no usable credentials.
    #[error("failed to create Kubernetes IPAM manager: {0}")]
    Connect(#[from] ConnectError),
    /// An allocation request failed.
    #[error(transparent)]
    Allocate(#[from] AllocateError),
    /// No address can be allocated.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The daemon refused the request.
    #[error("{}", .0.msg)]
    Daemon(CniError),
    /// The connection to the daemon failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// Another request to the API server failed.
    #[error("error at storage engine: {0}")]
    Api(#[from] ApiError),
    /// The deadline passed, or the async runtime could not start.
    #[error("error at storage engine: {0}")]
    BlockOn(#[from] BlockOnError),
    /// The request is for claims in another namespace than the daemon's.
    #[error(
        "this network's claims are in namespace {requested}, but whereabouts-daemon serves namespace {served}: an address allocated there would be unknown to the leader; name {served} as the namespace of the kubeconfig's current context (none means kube-system), or set WHEREABOUTS_NAMESPACE of the daemons to {requested}"
    )]
    OtherNamespace {
        /// The namespace of the request.
        requested: DnsLabel,
        /// The namespace of the daemon.
        served: DnsLabel,
    },
    /// Too many requests wait in the daemon.
    #[error("whereabouts-daemon is busy with other requests; try again")]
    Busy,
    /// The node's records cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The flat file exists and cannot be read.
    #[error("error opening flat configuration file: {0}")]
    FlatFile(#[from] node::files::FileError),
    /// A DEL of the attachment came during its ADD.
    #[error(
        "{if_name} of container {container_id} was deleted while its address was claimed: the address is released again; the runtime's log says why it gave up"
    )]
    Deleted {
        /// The container.
        container_id: String,
        /// The interface.
        if_name: String,
    },
    /// An earlier attachment of the same interface has a tombstone, whose release would delete the new claim.
    #[error(
        "{if_name} of container {container_id} was attached before, and its address is not released yet: {reason}; it can be attached again after that"
    )]
    NotReleased {
        /// The container.
        container_id: String,
        /// The interface.
        if_name: String,
        /// Why.
        reason: String,
    },
    /// `CNI_ARGS` names no pod.
    #[error(
        "IPAM client initialization error: no pod name: CNI_ARGS must have K8S_POD_NAME and K8S_POD_NAMESPACE"
    )]
    NoPod,
    /// The node's name is unknown.
    #[error(
        "node_slice_size is set, but the node's name is unknown: expected the variable NODENAME, a file \"nodename\" beside the flat file, or /etc/hostname"
    )]
    NoNodeName,
}

impl CallError {
    /// The error as the runtime receives it.
    pub fn to_cni(&self) -> CniError {
        let code = match self {
            CallError::Daemon(error) => return error.clone(),
            CallError::Conf(ConfError::Json { .. }) => Code::Decoding,
            // A configuration for nodes with a daemon, which is away.
            CallError::Conf(ConfError::NoKubeconfig) => Code::TryAgainLater,
            CallError::Conf(_) | CallError::NoNodeName | CallError::OtherNamespace { .. } => {
                Code::InvalidConfig
            }
            CallError::Allocate(error) => allocate_code(error),
            CallError::Unavailable(_) => Code::NotAvailable,
            CallError::NoPod => Code::InvalidEnvironment,
            CallError::Deleted { .. } => Code::UnknownContainer,
            CallError::Record(_) | CallError::FlatFile(_) => Code::Io,
            CallError::Connect(error) if error.is_permanent() => Code::InvalidConfig,
            CallError::Connect(_) | CallError::Api(_) => Code::TryAgainLater,
            CallError::BlockOn(_) | CallError::Rpc(_) | CallError::Busy | CallError::NotReleased { .. } => {
                Code::TryAgainLater
            }
        };
        CniError::new(code, self.to_string())
    }
}

/// The CNI code of a failed allocation request.
const fn allocate_code(error: &AllocateError) -> Code {
    match error {
        AllocateError::Pool(_) | AllocateError::Claim(ClaimError::Naming(_)) => Code::InvalidConfig,
        AllocateError::Claim(ClaimError::PodGone { .. }) => Code::UnknownContainer,
        AllocateError::Claim(_) | AllocateError::Api(_) | AllocateError::NoSlice { .. } => {
            Code::TryAgainLater
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_pod_or_node_name_has_its_code() {
        let no_pod = CallError::NoPod.to_cni();
        assert!(no_pod.msg.starts_with("IPAM client initialization error: no pod name"));
        assert_eq!(no_pod.code, Code::InvalidEnvironment);
        assert_eq!(CallError::NoNodeName.to_cni().code, Code::InvalidConfig);
    }

    #[test]
    fn without_daemon_and_kubeconfig_the_runtime_tries_again() {
        let error = CallError::from(ConfError::NoKubeconfig).to_cni();
        assert_eq!(error.code, Code::TryAgainLater);
        assert!(error.msg.contains("no whereabouts-daemon answers"), "{}", error.msg);
        assert_eq!(CallError::from(ConfError::NoRange).to_cni().code, Code::InvalidConfig);
    }

    #[test]
    fn the_daemons_error_reaches_the_runtime_unchanged() {
        let refusal = CniError::new(Code::TryAgainLater, "the pool is full");
        assert_eq!(CallError::Daemon(refusal.clone()).to_cni(), refusal);
    }

    #[test]
    fn malformed_credentials_are_a_wrong_configuration_and_a_missing_file_may_appear() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        let error = || CallError::from(node::client::namespace_in(&path).unwrap_err()).to_cni();
        assert_eq!(error().code, Code::TryAgainLater, "{}", error().msg);
        node::files::replace(&path, b"not: [a kubeconfig").unwrap();
        assert_eq!(error().code, Code::InvalidConfig, "{}", error().msg);
    }
}
