//! One call of the plugin: its configuration, who it is for, and the way to the API server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cni::plugin::Call;
use cni::{CniError, Code};
use node::client::{ApiError, BlockOnError, ConnectError};
use node::deadline::Deadline;
use node::names::DnsLabel;
use node::rpc::RpcError;

use crate::allocate::AllocateError;
use crate::claim::ClaimError;
use crate::conf::request::{Assignment, IpArgs, Requests};
use crate::conf::{Conf, ConfError, FlatFile, Network};
use crate::conf_files;
use crate::namespace;
use crate::record::{RecordError, Records, STATE};
use crate::release::Unavailable;
use crate::source::Source;
use crate::wire;

/// How long an ADD may take, below what a runtime waits.
pub const ADD_LIMIT: Duration = Duration::from_secs(30);

/// How long a DEL may take; then it leaves a tombstone.
pub const DEL_LIMIT: Duration = Duration::from_secs(10);

/// How long a STATUS may take: runtimes ask often.
pub const STATUS_LIMIT: Duration = Duration::from_secs(5);

/// Why a verb failed, by what the runtime can do.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The configuration is wrong: an operator must act.
    #[error(transparent)]
    Conf(#[from] ConfError),
    /// There are no usable credentials.
    #[error("failed to create Kubernetes IPAM manager: {0}")]
    Connect(#[from] ConnectError),
    /// An order was not served.
    #[error(transparent)]
    Allocate(#[from] AllocateError),
    /// No address can be had.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The daemon says no.
    #[error("{}", .0.msg)]
    Daemon(CniError),
    /// The daemon does not answer as it should.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// Another request to the API server failed.
    #[error("error at storage engine: {0}")]
    Api(#[from] ApiError),
    /// The deadline passed, or there is no runtime.
    #[error("error at storage engine: {0}")]
    BlockOn(#[from] BlockOnError),
    /// The daemon has too much to do.
    #[error("whereabouts-daemon is busy with other orders; try again")]
    Busy,
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
            SessionError::Daemon(error) => return error.clone(),
            SessionError::Conf(ConfError::Json { .. }) => Code::Decoding,
            SessionError::Conf(_) | SessionError::NoNodeName => Code::InvalidConfig,
            SessionError::Allocate(error) => allocate_code(error),
            SessionError::Unavailable(_) => Code::NotAvailable,
            SessionError::NoPod => Code::InvalidEnvironment,
            SessionError::Record(_) | SessionError::FlatFile(_) => Code::Io,
            SessionError::Connect(_) | SessionError::Api(_) => Code::TryAgainLater,
            SessionError::BlockOn(_) | SessionError::Rpc(_) | SessionError::Busy => Code::TryAgainLater,
        };
        CniError::new(code, self.to_string())
    }
}

/// The code of an order that was not served.
pub fn allocate_code(error: &AllocateError) -> Code {
    match error {
        AllocateError::Pool(_) | AllocateError::Claim(ClaimError::Naming(_)) => Code::InvalidConfig,
        AllocateError::Claim(ClaimError::PodGone { .. }) => Code::UnknownContainer,
        AllocateError::Claim(_) | AllocateError::Api(_) | AllocateError::NoSlice { .. } => {
            Code::TryAgainLater
        }
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

/// Who does the work of a call.
pub fn source(records: &Records, kubeconfig: Option<PathBuf>, limit: Duration) -> Source<'_> {
    Source { socket: wire::socket(), kubeconfig, deadline: Deadline::after(limit), records }
}

/// Where the network's credentials say the claims are, see [`namespace::of`].
pub fn namespace(conf: &Conf) -> Option<DnsLabel> {
    namespace::of(conf.kubeconfig.as_deref()?, &Path::new(STATE).join("hints"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_lacks_is_named_with_its_code() {
        let no_pod = SessionError::NoPod.to_cni();
        assert!(no_pod.msg.starts_with("IPAM client initialization error: no pod name"));
        assert_eq!(no_pod.code, Code::InvalidEnvironment);
        assert_eq!(SessionError::NoNodeName.to_cni().code, Code::InvalidConfig);
    }

    #[test]
    fn what_the_daemon_says_is_passed_on_as_it_is() {
        let said = CniError::new(Code::TryAgainLater, "the pool is full");
        assert_eq!(SessionError::Daemon(said.clone()).to_cni(), said);
    }
}
