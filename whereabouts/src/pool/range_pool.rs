//! The pool of a range: its name, its addresses and the names of its claims.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::jiff::Timestamp;
use node::names::DnsSubdomain;

use crate::addr::range::{Allocatable, RangeError, RangeSpec};
use crate::conf::OverlappingRanges;
use crate::crd::ip_pool::SeparateUse;
use crate::crd::reservation::{Reservation, ReservationOwner};
use crate::pool::claim_names::{ClaimNames, NamingScheme};
use crate::pool::held_claim::HeldClaim;
use crate::pool::naming::{self, NamingError};
use crate::pool::request::{Claimant, PoolRequest};

/// The pool of one range of a network, or of a node's slice of it.
#[derive(Clone, Debug)]
pub struct Pool {
    /// The name of its IPPool.
    pub name: DnsSubdomain,
    /// Its addresses.
    pub range: RangeSpec,
    /// The addresses that it may choose itself, without a request for a certain one.
    pub free: Allocatable,
    /// The prefix length of its addresses: that of the range, also in a slice.
    prefix_len: u8,
    network: Option<String>,
    /// Whether another pool may allocate the same addresses.
    pub overlapping: OverlappingRanges,
    scheme: NamingScheme,
}

/// The request does not make a pool.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// An exclude cannot be parsed.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// It has no valid name.
    #[error(transparent)]
    Naming(#[from] NamingError),
    /// The slice is not inside the range.
    #[error(
        "the node's slice {slice} is not inside the range {range}: the NodeSlicePool belongs to another network or is outdated; correct or delete it"
    )]
    ForeignSlice {
        /// The slice.
        slice: IpNet,
        /// The range.
        range: IpNet,
    },
    /// The slice has no address between the start and the end of the range.
    #[error(
        "the node's slice {slice} has no address between range_start and range_end of {range}: give the node another slice in its NodeSlicePool"
    )]
    UnusableSlice {
        /// The slice.
        slice: IpNet,
        /// The range.
        range: IpNet,
    },
}

/// Whether a slice is wholly outside the window of its range. Without this check the slice would be allocated: a start or end outside of it
/// is ignored.
fn is_outside_window(range: &RangeSpec, slice: IpNet) -> Result<bool, RangeError> {
    // The window of the whole range, before the slice replaces its network.
    let whole = range.allocatable()?;
    Ok(slice.broadcast() < whole.first() || slice.network() > whole.last())
}

impl Pool {
    /// The pool of a request. `slice` is the slice and the node's name, if the range is divided among the nodes. Start, end and excludes of
    /// the range apply in a slice too.
    pub fn of(request: &PoolRequest, slice: Option<(IpNet, &str)>) -> Result<Pool, PoolError> {
        let network = request.network.as_deref();
        let (name, range) = match slice {
            None => (naming::pool(&request.range.net, network)?, request.range.clone()),
            Some((slice, _)) if !request.range.net.contains(&slice) => {
                return Err(PoolError::ForeignSlice { slice, range: request.range.net });
            }
            Some((slice, _)) if is_outside_window(&request.range, slice)? => {
                return Err(PoolError::UnusableSlice { slice, range: request.range.net });
            }
            Some((slice, node)) => {
                let part = RangeSpec { net: slice, ..request.range.clone() };
                (naming::slice_pool(&slice, network, node)?, part)
            }
        };
        Ok(Pool {
            name,
            free: range.allocatable()?,
            range,
            prefix_len: request.range.net.prefix_len(),
            network: request.network.clone(),
            overlapping: request.overlapping,
            // Until `with_separate_use` sets the real one.
            scheme: NamingScheme::at(request.overlapping, SeparateUse::Never, Timestamp::UNIX_EPOCH),
        })
    }

    /// The pool with the naming scheme of a request at `now`, after its IPPool was read.
    #[must_use]
    pub fn with_separate_use(self, separate_use: SeparateUse, now: Timestamp) -> Self {
        Pool { scheme: NamingScheme::at(self.overlapping, separate_use, now), ..self }
    }

    /// The names of its claims.
    pub fn names(&self) -> ClaimNames<'_> {
        ClaimNames { pool: &self.name, network: self.network.as_deref(), scheme: self.scheme }
    }

    /// The address of the pool that a claim blocks, if any. `pool` is the pool that the claim states.
    pub fn blocked_address(&self, claim: &str, pool: Option<&str>) -> Option<IpAddr> {
        self.names().blocked_address(claim, pool).filter(|ip| self.range.net.contains(ip))
    }

    /// Owner and pool of a claim for `claimant`.
    pub fn reservation_owner<'a>(&'a self, claimant: &'a Claimant) -> ReservationOwner<'a> {
        ReservationOwner {
            pool: self.name.as_str(),
            range: self.range.net,
            pod_uid: claimant.pod_uid.as_deref(),
            node: claimant.node.as_deref(),
            spec: claimant.spec(),
        }
    }

    /// The held claim of an address. `claim` is the API server's response to the last write.
    pub fn held_claim(&self, ip: IpAddr, name: &DnsSubdomain, claim: &Reservation) -> HeldClaim {
        HeldClaim {
            name: name.clone(),
            resource_version: claim.metadata.resource_version.clone().unwrap_or_default(),
            pool: self.name.to_string(),
            address: self.with_prefix(ip),
        }
    }

    /// The address with the prefix length of the interface.
    pub fn with_prefix(&self, ip: IpAddr) -> IpNet {
        IpNet::new(ip, self.prefix_len).unwrap_or_else(|_| ip.into())
    }
}

/// The pool of a range without excludes, network or slice, for tests.
#[cfg(test)]
pub(crate) fn plain(range: &str) -> Pool {
    let range = RangeSpec::parse(range, None, None, Vec::new()).unwrap();
    let request =
        PoolRequest { range, network: None, overlapping: OverlappingRanges::Protected, slice: None };
    Pool::of(&request, None).unwrap()
}
