//! A claim that an attachment holds.

use node::names::DnsSubdomain;
use serde::{Deserialize, Serialize};

/// A claim that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldClaim {
    /// Its name.
    pub name: DnsSubdomain,
    /// The version it was last written as: as long as it has it, it is ours unseen.
    pub resource_version: String,
    /// The pool it is of.
    pub pool: String,
    /// Its address with the range's prefix length.
    pub address: ipnet::IpNet,
}

/// A claim that was got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// The claim.
    pub claim: HeldClaim,
    /// Whether it was held for this interface before this call: it is not to be given back when the call fails.
    pub origin: Origin,
}

/// Where a claim comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Origin {
    New,
    TakenOver,
}
