//! Why the devices of a pod cannot be determined.

use std::path::PathBuf;

use node::files::FileError;

/// The kubelet's devices are unknown. A later attempt may succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KubeletError {
    /// The kubelet cannot be asked.
    #[error(
        "getKubernetesDelegate: failed to get a ResourceClient instance: cannot ask the kubelet at {} for the devices of the pod: {reason}; \
         see that the kubelet runs", .socket.display()
    )]
    Unreachable {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        reason: String,
    },
    /// The kubelet refuses to answer.
    #[error(
        "getKubernetesDelegate: failed to get resourceMap from ResourceClient: the kubelet at {} refuses to list the devices of its pods: gRPC \
         status {status}: {message}", .socket.display()
    )]
    Refused {
        /// Its socket.
        socket: PathBuf,
        /// The status code of gRPC.
        status: String,
        /// The message of the kubelet.
        message: String,
    },
    /// The kubelet's answer is not what its API defines.
    #[error(
        "getKubernetesDelegate: failed to get resourceMap from ResourceClient: the answer of the kubelet at {} cannot be read: {reason}",
        .socket.display()
    )]
    Malformed {
        /// Its socket.
        socket: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is neither a socket nor a checkpoint.
    #[error(
        "getKubernetesDelegate: failed to get a ResourceClient instance: the kubelet has no socket {}, and its checkpoint cannot be read: \
         {source}", .socket.display()
    )]
    NoCheckpoint {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: FileError,
    },
    /// The checkpoint is not one.
    #[error("getKubernetesDelegate: failed to get resourceMap from ResourceClient: checkpoint {}: {reason}", .path.display())]
    Checkpoint {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}
