//! The devices that the kubelet gave to the containers of a pod: asked by gRPC, or read from the checkpoint of its device manager. Only
//! pods with a network that names a resource come here.

mod call;
mod checkpoint;
mod error;
pub(crate) mod pod_resources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nad::PodRef;
use node::deadline::Deadline;
use node::files::read_bounded;
use prost::bytes::Bytes;

pub(crate) use error::KubeletError;

use crate::device::Devices;

/// Longest time for the kubelet's answer, with all repetitions.
const LIMIT: Duration = Duration::from_secs(10);

/// The largest checkpoint, in bytes.
const MAX_CHECKPOINT: u64 = 16 << 20;

/// The kubelet of this node.
#[derive(Clone, Debug)]
pub(crate) struct Kubelet {
    /// The socket of its API for device monitoring.
    socket: PathBuf,
    /// The file in which its device manager keeps what it has allocated.
    checkpoint: PathBuf,
}

impl Default for Kubelet {
    fn default() -> Self {
        Kubelet::in_folder(Path::new("/var/lib/kubelet"))
    }
}

impl Kubelet {
    /// The kubelet with this root directory.
    pub(crate) fn in_folder(root: &Path) -> Kubelet {
        Kubelet {
            socket: root.join("pod-resources/kubelet.sock"),
            checkpoint: root.join("device-plugins/kubelet_internal_checkpoint"),
        }
    }

    /// The devices of a pod. `pod` has the UID on the node, which the checkpoint has too.
    pub(crate) async fn devices(&self, pod: &PodRef, deadline: Deadline) -> Result<Devices, KubeletError> {
        if !self.socket.exists() {
            // The device monitoring API can be off, as in kubelets before 1.15.
            let bytes = read_bounded(&self.checkpoint, MAX_CHECKPOINT)
                .map_err(|source| KubeletError::NoCheckpoint { socket: self.socket.clone(), source })?;
            return checkpoint::devices(&bytes, pod)
                .map_err(|reason| KubeletError::Checkpoint { path: self.checkpoint.clone(), reason });
        }
        let answer = call::list(&self.socket, deadline.child(LIMIT)).await?;
        Ok(pod_resources::devices(&answer, pod))
    }
}

/// The ids of a pod's devices, by resource, as a message of the kubelet's `List` gives them: gRPC's prefix and the protobuf. The error says why it is
/// no such message. For the fuzzer, which has no socket.
pub fn ids_in_message(bytes: &[u8], pod: &PodRef) -> Result<BTreeMap<String, Vec<String>>, String> {
    let answer = call::decode(Bytes::copy_from_slice(bytes)).map_err(|failure| failure.to_string())?;
    Ok(pod_resources::devices(&answer, pod).ids_by_resource())
}

/// The same of a checkpoint file.
pub fn ids_in_checkpoint(bytes: &[u8], pod: &PodRef) -> Result<BTreeMap<String, Vec<String>>, String> {
    Ok(checkpoint::devices(bytes, pod)?.ids_by_resource())
}

#[cfg(test)]
mod tests;
