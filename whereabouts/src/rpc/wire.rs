//! What plugin and daemon say to each other: one request and one answer a connection, each a line of JSON.

use std::path::Path;
use std::time::Duration;

use cni::{CniError, Code};
use node::names::{DnsLabel, DnsSubdomain};
use serde::{Deserialize, Serialize};

use crate::claims::error::Cleanup;
use crate::node_state::record::Record;
use crate::pool::held_claim::Claimed;
use crate::pool::request::{AllocationRequest, PoolRequest};

/// How long an ADD may take, below what a runtime waits.
pub const ADD_LIMIT: Duration = Duration::from_secs(30);

/// How long a DEL may take; then it leaves a tombstone.
pub const DEL_LIMIT: Duration = Duration::from_secs(10);

/// How long a STATUS may take: runtimes ask often.
pub const STATUS_LIMIT: Duration = Duration::from_secs(5);

/// Where the node's daemon listens. Only root can connect.
pub const SOCKET: &str = "/run/whereabouts/whereabouts.sock";

/// The default socket as a path.
pub fn socket() -> &'static Path {
    Path::new(SOCKET)
}

/// What a plugin asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Claim addresses.
    Claim(Box<AllocationRequest>),
    /// Give back what an attachment holds.
    Release(Box<Release>),
    /// Whether an attachment still holds what it has a record of.
    Check(Box<Record>),
    /// Whether addresses can be had.
    Status(StatusQuery),
}

/// What is to be given back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Release {
    /// The attachment.
    pub record: Record,
    /// Pools that may hold entries which Whereabouts wrote for it: of attachments this node has no record of.
    pub upstream: Vec<PoolRequest>,
}

/// Of which pools addresses are wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusQuery {
    /// Where the claims are; `None` where no credentials name a namespace.
    pub namespace: Option<DnsLabel>,
    /// The pools.
    pub pools: Vec<PoolRequest>,
}

/// What the daemon answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The order is served.
    Claimed(Vec<Claimed>),
    /// It is so.
    Done,
    /// This claim is gone or another's.
    Missing(DnsSubdomain),
    /// It failed.
    Refused(Refusal),
}

/// Why a request failed, as the runtime is to hear it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The CNI error code.
    pub code: u32,
    /// The message.
    pub text: String,
    /// What is to be cleaned up.
    pub cleanup: Cleanup,
}

impl Refusal {
    /// A failure for the wire.
    pub fn new(error: &CniError, cleanup: Cleanup) -> Self {
        Refusal { code: error.code.number(), text: error.msg.clone(), cleanup }
    }

    /// As the runtime gets it.
    pub fn to_cni(&self) -> CniError {
        CniError::new(Code::from_number(self.code), self.text.clone())
    }
}
