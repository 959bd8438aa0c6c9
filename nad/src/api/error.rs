//! Why a pod or a definition cannot be read, or a status cannot be written.

use node::client::{ApiError, ConnectError};
use node::names::PodUid;
use node::rpc::RpcError;

use crate::pod::PodRef;

/// A pod or a definition cannot be read, or the status cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The pod does not exist.
    #[error(
        "pod {} does not exist at the API server: it was deleted, or its object is not there yet; set up the sandbox again", .0.with_uid()
    )]
    PodMissing(PodRef),
    /// The pod of this name has another UID.
    #[error(
        "pod {}: expected pod UID {expected:?} but got {found:?} from Kube API: another pod replaced the pod of this sandbox", .pod.with_uid(),
        expected = .expected.as_str()
    )]
    PodReplaced {
        /// The pod, as the runtime named it.
        pod: PodRef,
        /// The UID that the runtime gave.
        expected: PodUid,
        /// The UID of the object.
        found: String,
    },
    /// The credentials of the configuration cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The API server refused, or did not answer in time.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The daemon does not answer, and there are no credentials for requests of the plugin's own.
    #[error("{0}; the configuration has no kubeconfig with which multus could do without the daemon")]
    NoDaemon(RpcError),
    /// The daemon answers that it cannot do it.
    #[error("the daemon of multus: {0}")]
    Refused(String),
    /// Somebody else reported a newer status of the pod before this one was written.
    #[error("a newer network-status of pod {} is being written", .0.with_uid())]
    Superseded(PodRef),
    /// The deadline passed.
    #[error("no answer from the API server within {:.1} s", .0.as_secs_f64())]
    DeadlinePassed(std::time::Duration),
}
