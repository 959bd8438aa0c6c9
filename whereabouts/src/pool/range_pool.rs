//! Which pool an address comes from.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::jiff::Timestamp;
use node::names::DnsSubdomain;

use crate::addr::range::{Allocatable, RangeError, RangeSpec};
use crate::conf::OverlappingRanges;
use crate::crd::ip_pool::SeparateUse;
use crate::crd::reservation::{Reservation, ReservationOwner};
use crate::pool::claim_names;
use crate::pool::claim_names::{ClaimNames, NamingScheme};
use crate::pool::held_claim::HeldClaim;
use crate::pool::naming;
use crate::pool::naming::NamingError;
use crate::pool::request::{Claimant, PoolRequest};

/// The pool of one range of a network, or of a node's slice of it.
#[derive(Clone, Debug)]
pub struct Pool {
    /// The name of its object.
    pub name: DnsSubdomain,
    /// Which addresses are of it.
    pub range: RangeSpec,
    /// Which of them may be given out unasked.
    pub free: Allocatable,
    /// The prefix length that its addresses have: the range's, also for a slice.
    prefix_len: u8,
    network: Option<String>,
    /// Among whose addresses its own are to be unique.
    pub overlapping: OverlappingRanges,
    way: NamingScheme,
}

/// There is no such pool.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// Its excludes cannot be read.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// It cannot be named.
    #[error(transparent)]
    Naming(#[from] NamingError),
    /// A slice that is not of the range.
    #[error(
        "the node's slice {slice} is not inside the range {range}: the NodeSlicePool is of another network, or out of date"
    )]
    ForeignSlice {
        /// The slice.
        slice: IpNet,
        /// The range.
        range: IpNet,
    },
    /// A slice without an address between the range's start and end.
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

/// Whether a slice lies wholly outside the window of its range. (A start or end in another slice would not count in this one.)
fn is_outside(range: &RangeSpec, slice: IpNet) -> Result<bool, RangeError> {
    let whole = range.allocatable()?;
    Ok(slice.broadcast() < whole.first() || slice.network() > whole.last())
}

impl Pool {
    /// The pool of an order. `slice` is what the order's node has of the range, where the range is cut into slices; start, end and
    /// excludes of the range hold in it too.
    pub fn of(order: &PoolRequest, slice: Option<(IpNet, &str)>) -> Result<Pool, PoolError> {
        let network = order.network.as_deref();
        let (name, range) = match slice {
            None => (naming::pool(&order.range.net, network)?, order.range.clone()),
            Some((slice, _)) if !order.range.net.contains(&slice) => {
                return Err(PoolError::ForeignSlice { slice, range: order.range.net });
            }
            Some((slice, _)) if is_outside(&order.range, slice)? => {
                return Err(PoolError::UnusableSlice { slice, range: order.range.net });
            }
            Some((slice, node)) => {
                let part = RangeSpec { net: slice, ..order.range.clone() };
                (naming::slice_pool(&slice, network, node)?, part)
            }
        };
        Ok(Pool {
            name,
            free: range.allocatable()?,
            range,
            prefix_len: order.range.net.prefix_len(),
            network: order.network.clone(),
            overlapping: order.overlapping,
            way: claim_names::way(order.overlapping, SeparateUse::Never, Timestamp::UNIX_EPOCH),
        })
    }

    /// The pool for an order at `now`, after its object was read.
    #[must_use]
    pub fn read(self, separation: SeparateUse, now: Timestamp) -> Self {
        Pool { way: claim_names::way(self.overlapping, separation, now), ..self }
    }

    /// What its claims are called.
    pub fn names(&self) -> ClaimNames<'_> {
        ClaimNames { pool: &self.name, network: self.network.as_deref(), way: self.way }
    }

    /// The address that a claim withholds from the pool, if any. `says` is the pool that it says it is of.
    pub fn blocked_address(&self, claim: &str, says: Option<&str>) -> Option<IpAddr> {
        self.names().blocked_address(claim, says).filter(|ip| self.range.net.contains(ip))
    }

    /// What a claim of the pool says that is for `who`.
    pub fn holding<'a>(&'a self, claimant: &'a Claimant) -> ReservationOwner<'a> {
        ReservationOwner {
            pool: self.name.as_str(),
            range: self.range.net,
            pod_uid: claimant.pod_uid.as_deref(),
            node: claimant.node.as_deref(),
            spec: claimant.spec(),
        }
    }

    /// The claim of an address, as it was last written.
    pub fn held(&self, ip: IpAddr, name: &DnsSubdomain, claim: &Reservation) -> HeldClaim {
        HeldClaim {
            name: name.clone(),
            resource_version: claim.metadata.resource_version.clone().unwrap_or_default(),
            pool: self.name.to_string(),
            address: self.with_prefix(ip),
        }
    }

    /// The address as the interface has it.
    pub fn with_prefix(&self, ip: IpAddr) -> IpNet {
        IpNet::new(ip, self.prefix_len).unwrap_or_else(|_| ip.into())
    }
}

/// The pool of a range and nothing else, for tests.
#[cfg(test)]
pub(crate) fn plain(range: &str) -> Pool {
    let range = RangeSpec::parse(range, None, None, Vec::new()).unwrap();
    let order = PoolRequest { range, network: None, overlapping: OverlappingRanges::Protected, slice: None };
    Pool::of(&order, None).unwrap()
}
