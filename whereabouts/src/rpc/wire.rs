//! The protocol between plugin and daemon: one request and one response per connection, each one line of JSON.

use std::path::Path;
use std::time::Duration;

use cni::{CniError, Code};
use node::names::{DnsLabel, DnsSubdomain};
use node::rpc::ClientRequest;
use serde::{Deserialize, Serialize};

use crate::claims::error::Cleanup;
use crate::node_state::installation::Writer;
use crate::node_state::record::Record;
use crate::pool::held_claim::Claimed;
use crate::pool::request::{AllocationRequest, PoolRequest};

/// The time limit of an ADD. It is shorter than the time-out of every runtime.
pub const ADD_LIMIT: Duration = Duration::from_secs(30);

/// The time limit of a DEL. After it the DEL leaves a tombstone and succeeds.
pub const DEL_LIMIT: Duration = Duration::from_secs(10);

/// The time limit of a STATUS. It is short because runtimes call STATUS often.
pub(crate) const STATUS_LIMIT: Duration = Duration::from_secs(5);

/// Where the node's daemon listens. Only root can connect.
pub const SOCKET: &str = "/run/whereabouts/whereabouts.sock";

/// The default socket as a path.
pub fn socket() -> &'static Path {
    Path::new(SOCKET)
}

/// A request of a plugin.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Allocate addresses.
    Claim(Box<AllocationRequest>),
    /// Release the addresses of an attachment.
    Release(Box<Release>),
    /// Whether an attachment still holds the claims of its record.
    Check(Box<Record>),
    /// Whether an address can be allocated.
    Status(StatusQuery),
}

/// A request is completed though its plugin was killed: an ADD that is repeated takes the addresses over, and a DEL removes them.
impl ClientRequest for Request {}

/// The addresses to release.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Release {
    /// The attachment's record.
    pub record: Record,
    /// Pools in which Whereabouts may have written allocations for it. Empty if this node has a record of the attachment.
    pub upstream: Vec<PoolRequest>,
    /// Whether the present installation of the plugin wrote the record. A plugin of an earlier release leaves this out.
    #[serde(default)]
    pub writer: Writer,
}

/// The pools of a STATUS.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusQuery {
    /// The namespace of the claims; `None` for that of the daemon, see [`crate::node_state::namespace`].
    pub namespace: Option<DnsLabel>,
    /// The pools.
    pub pools: Vec<PoolRequest>,
}

/// The daemon's response.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// The addresses are allocated.
    Claimed(Allocated),
    /// The request succeeded.
    Done,
    /// This claim is gone, or another container holds it.
    Missing(DnsSubdomain),
    /// The request failed.
    Refused(Refusal),
}

/// The addresses of an attachment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Allocated {
    /// The namespace of the claims.
    pub namespace: DnsLabel,
    /// The claims, in the order of the request.
    pub claims: Vec<Claimed>,
}

/// Why a request failed, for the runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The CNI error code.
    pub code: u32,
    /// The message.
    pub text: String,
    /// Whether a DEL must follow.
    pub cleanup: Cleanup,
}

impl Refusal {
    /// Makes a refusal of an error.
    pub(crate) fn new(error: &CniError, cleanup: Cleanup) -> Self {
        Refusal { code: error.code.number(), text: error.msg.clone(), cleanup }
    }

    /// The error as the runtime receives it.
    pub(crate) fn to_cni(&self) -> CniError {
        CniError::new(Code::from_number(self.code), self.text.clone())
    }
}
