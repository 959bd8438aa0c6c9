//! The pool of a range: its name, its addresses and the names of its claims.

use std::net::IpAddr;

use ipnet::IpNet;
use node::names::DnsSubdomain;

use crate::addr::range::{Allocatable, RangeError, RangeSpec};
use crate::conf::OverlappingRanges;
use crate::crd::ip_pool::{self, ClaimNaming};
use crate::crd::reservation::{Reservation, ReservationOwner};
use crate::pool::claim_names::{ClaimNames, PoolLock};
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
    /// What the network asks for: whether another pool may allocate the same addresses.
    pub overlapping: OverlappingRanges,
    /// The pool of the whole range: another one only for a node's slice.
    pub whole: WholePool,
    naming: ClaimNaming,
}

/// The pool of a whole range. Its IPPool says how the claims of the range are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholePool {
    /// The name of its IPPool.
    pub name: DnsSubdomain,
    /// The range.
    pub range: IpNet,
}

/// A pool, as far as its naming needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamedPool<'a> {
    /// The pool, the pool of the whole range, and what the network asks for. The naming in it does not count.
    pub names: ClaimNames<'a>,
    /// The range of the pool.
    pub range: IpNet,
    /// The whole range.
    pub whole_range: IpNet,
}

impl<'a> NamedPool<'a> {
    /// Of a request.
    pub fn of(pool: &'a Pool) -> Self {
        NamedPool { names: pool.names(), range: pool.range.net, whole_range: pool.whole.range }
    }

    /// The pool of the whole range.
    pub(crate) const fn whole(&self) -> Self {
        let names = ClaimNames { pool: self.names.whole, ..self.names };
        NamedPool { names, range: self.whole_range, whole_range: self.whole_range }
    }

    /// Whether it is the pool of a node's slice.
    pub fn is_slice(&self) -> bool {
        self.names.pool != self.names.whole
    }

    /// The pool with this naming.
    #[must_use]
    pub const fn with(self, naming: ClaimNaming) -> Self {
        NamedPool { names: ClaimNames { naming, ..self.names }, ..self }
    }
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
        let whole = WholePool { name: naming::pool(&request.range.net, network)?, range: request.range.net };
        let (name, range) = match slice {
            None => (whole.name.clone(), request.range.clone()),
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
            whole,
            // The strictest, until `with_naming` sets the real one.
            naming: ClaimNaming::Both,
        })
    }

    /// The pool with the naming that its IPPool has.
    #[must_use]
    pub fn with_naming(self, naming: ClaimNaming) -> Self {
        Pool { naming, ..self }
    }

    /// How its claims are named.
    pub const fn naming(&self) -> ClaimNaming {
        self.naming
    }

    /// The names of its claims.
    pub fn names(&self) -> ClaimNames<'_> {
        let Pool { name: pool, whole, network, naming, overlapping, .. } = self;
        let (network, naming, overlapping) = (network.as_deref(), *naming, *overlapping);
        ClaimNames { pool, whole: &whole.name, network, naming, overlapping }
    }

    /// The key of the address's entry in the pool's object, if a request writes the entry itself: see [`ClaimNames::lock`].
    pub(crate) fn entry_to_write(&self, ip: IpAddr) -> Option<u64> {
        match self.names().lock() {
            PoolLock::Claim => None,
            PoolLock::ClaimAndEntry => ip_pool::entry_key(&self.range.net, ip),
        }
    }

    /// The address of the pool that a claim blocks, if any. `pool` is the pool that the claim states.
    pub fn blocked_address(&self, claim: &str, pool: Option<&str>) -> Option<IpAddr> {
        self.names().blocked_address(claim, pool).filter(|ip| self.range.net.contains(ip))
    }

    /// Owner and pool of a claim for `claimant`.
    pub fn reservation_owner<'a>(&'a self, claimant: &'a Claimant) -> ReservationOwner<'a> {
        ReservationOwner {
            pool: self.name.as_str(),
            whole: self.whole.name.as_str(),
            range: self.range.net,
            pod_uid: claimant.pod_uid.as_deref(),
            node: claimant.node.as_deref(),
            spec: claimant.spec(),
        }
    }

    /// The held claim of an address, with one name. `claim` is the API server's response to the last write.
    pub fn held_claim(&self, ip: IpAddr, name: &DnsSubdomain, claim: &Reservation) -> HeldClaim {
        HeldClaim {
            name: name.clone(),
            resource_version: claim.metadata.resource_version.clone().unwrap_or_default(),
            second: None,
            entry: None,
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
