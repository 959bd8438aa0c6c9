//! Why no address was allocated, by what the caller can do.

use node::client::ApiError;
use serde::{Deserialize, Serialize};

use crate::pool::choose::NoCandidate;
use crate::pool::naming::NamingError;
use crate::pool::range_pool::PoolError;

/// No claim was got.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The API server is away, busy, or refuses.
    #[error("error at storage engine: {0}")]
    Api(#[from] ApiError),
    /// There is no address to claim.
    #[error("error at storage engine: {reason}{}", held_by(holders))]
    NoCandidate {
        /// Why not.
        reason: NoCandidate,
        /// How many addresses of the pool each namespace holds, the most first; for a requested address its holder.
        holders: Vec<String>,
    },
    /// A claim cannot be named.
    #[error(transparent)]
    Naming(#[from] NamingError),
    /// A newer call for the same interface has ended this one.
    #[error("this call for pod {podref} was ended by a newer one for the same interface")]
    Superseded {
        /// The pod.
        podref: String,
    },
    /// The call is for a pod that is gone, and its successor has the address.
    #[error(
        "pod {podref} with UID {uid} is gone, and another of its name has its address: nothing is to be done"
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

/// An order was not served, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum AllocateError {
    /// Its pools are wrong: an operator must act.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// No claim was got.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// Another request to the API server failed.
    #[error("error at storage engine: {0}")]
    Api(#[from] ApiError),
    /// No slice of the range is this node's.
    #[error(
        "no allocated node slice for node {node:?} in NodeSlicePool {pool:?}: is a whereabouts-daemon leading (or the node-slice controller running), and has the range a slice left?"
    )]
    NoSlice {
        /// The node.
        node: String,
        /// The object looked in.
        pool: String,
    },
}

/// An order that was not served.
#[derive(Debug)]
pub struct AllocationFailure {
    /// Why.
    pub error: AllocateError,
    /// What is to be cleaned up.
    pub cleanup: Cleanup,
}

/// Whether claims of a failed order may still be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cleanup {
    /// None was made, or all were given back.
    NotNeeded,
    /// Some may; a DEL of the container finds them.
    Needed,
}
