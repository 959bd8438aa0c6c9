//! A claim that an attachment holds.

use node::names::DnsSubdomain;
use serde::{Deserialize, Serialize};

/// A held claim. Records on disk contain it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldClaim {
    /// The name.
    pub name: DnsSubdomain,
    /// The resourceVersion of the last write. While the claim has it, it is unchanged; a deletion carries it as a precondition.
    pub resource_version: String,
    /// The pool.
    pub pool: String,
    /// The address with the range's prefix length.
    pub address: ipnet::IpNet,
}

/// The result of an allocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// The claim.
    pub claim: HeldClaim,
    /// Whether the interface held it before this call. A failed call must then not release it.
    pub origin: Origin,
}

/// The origin of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// This call created it.
    New,
    /// It existed before this call.
    TakenOver,
}
