//! What a program on a node that changes the networks of running pods learns of them from the daemon.

use serde::{Deserialize, Serialize};

use crate::identity::PodIdentity;
use crate::pod::Pod;

/// The question: which pods changed, and what the asking program did since it last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesQuery {
    /// The version of the last answer; 0 for all pods.
    pub after: u64,
    /// For the daemon's metrics.
    pub counts: Counts,
}

/// How many changes of attachments succeeded and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Interfaces that were added.
    pub attached: u32,
    /// Attempts to add one that failed.
    pub attach_failed: u32,
    /// Interfaces that were removed.
    pub detached: u32,
    /// Attempts to remove one that failed.
    pub detach_failed: u32,
}

/// The answer. It may have only some of the pods: then the next question gets more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// For the next question.
    pub version: u64,
    /// The pods that changed, each as it is now.
    pub pods: Vec<RunningPod>,
}

/// A pod of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunningPod {
    /// What it requests.
    pub pod: Pod,
    /// The UID that a static pod has on its node.
    pub uid_on_node: Option<String>,
    /// Its network-status. `None` if it has none, or a very large one.
    pub status: Option<String>,
    /// Whether it is being deleted.
    pub life: Life,
}

/// Whether a pod is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Life {
    /// It is not.
    Runs,
    /// It has a deletion timestamp.
    Ends,
}

impl RunningPod {
    /// Its UIDs.
    pub fn identity(&self) -> PodIdentity {
        let uid = self.pod.pod_ref.uid.as_ref().map_or("", AsRef::as_ref);
        PodIdentity::new(uid, self.uid_on_node.as_deref())
    }
}
