//! The values of settings.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// `enable_overlapping_ranges`: whether two pools may allocate the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OverlappingRanges {
    /// They may not (true, the default): ranges may overlap, and still no two pods get the same address.
    Protected,
    /// They may (false): an address is unique in its pool only.
    Separate,
}

/// An address without a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticAddress {
    /// The address with its prefix length.
    pub address: IpNet,
    /// The gateway, if there is one.
    pub gateway: Option<IpAddr>,
}
