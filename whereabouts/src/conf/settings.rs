//! The values that settings can have.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// How much to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    /// Only what ends the program.
    Panic,
    /// Errors.
    Error,
    /// What is done.
    Verbose,
    /// Everything; the default.
    #[default]
    Debug,
}

/// May two pools give out the same address?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OverlappingRanges {
    /// No: ranges may overlap and each address is still given once (`enable_overlapping_ranges: true`, the default).
    Protected,
    /// Yes: each pool stands for itself.
    Separate,
}

/// An address that is given as configured, without a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticAddress {
    /// The address with its prefix length.
    pub address: IpNet,
    /// Its gateway.
    pub gateway: Option<IpAddr>,
}
