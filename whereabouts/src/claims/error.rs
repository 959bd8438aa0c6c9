//! Why no address was allocated, by what the caller can do.

use node::client::ApiError;
use serde::{Deserialize, Serialize};

use crate::pool::choose::NoCandidate;
use crate::pool::naming::NamingError;
use crate::pool::range_pool::PoolError;

/// Why one address was not claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// A request to the API server failed.
    #[error("error at storage engine: {0}")]
    Api(#[from] ApiError),
    /// No candidate is left, or the requested address cannot be allocated.
    #[error("error at storage engine: {reason}{}", held_by(holders))]
    NoCandidate {
        /// The reason.
        reason: NoCandidate,
        /// The pods that hold the addresses of a small pool, or the namespaces that hold the most of a large one, with the number; for a
        /// requested address its holder.
        holders: Vec<String>,
    },
    /// No valid object name can be made for the claim.
    #[error(transparent)]
    Naming(#[from] NamingError),
    /// A newer call for the same interface replaced this one, or a DEL.
    #[error(
        "this call for pod {podref} was cancelled: a newer call for the same interface, or a DEL, replaced it"
    )]
    Superseded {
        /// The pod.
        podref: String,
    },
    /// The call is for a pod that is gone, and a newer pod of the same name holds the address.
    #[error(
        "pod {podref} with UID {uid} is gone, and a newer pod of the same name holds its address; no action is needed"
    )]
    PodGone {
        /// The pod.
        podref: String,
        /// Its UID.
        uid: String,
    },
}

fn held_by(holders: &[String]) -> String {
    if holders.is_empty() { String::new() } else { format!("; held by {}", holders.join(", ")) }
}

/// Why an allocation request failed, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum AllocateError {
    /// The configured pool is invalid: an operator must change it.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// An address was not claimed.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// Another request to the API server failed.
    #[error("error at storage engine: {0}")]
    Api(#[from] ApiError),
    /// The node has no slice of the range.
    #[error(
        "no allocated node slice for node {node:?} in NodeSlicePool {pool:?}: check that a whereabouts-daemon leads (or that the node-slice controller runs) and that the range has a free slice"
    )]
    NoSlice {
        /// The node.
        node: String,
        /// The NodeSlicePool.
        pool: String,
    },
}

/// An allocation request that failed.
#[derive(Debug)]
pub struct AllocationFailure {
    /// The reason.
    pub error: AllocateError,
    /// Whether a DEL must follow.
    pub cleanup: Cleanup,
}

/// Whether a failed request may have left claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cleanup {
    /// No: none was made, or all were released.
    NotNeeded,
    /// Perhaps: a DEL of the container finds and deletes them.
    Needed,
}
