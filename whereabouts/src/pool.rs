//! Which pool an address comes from.

use cni::result::Ip;
use ipnet::IpNet;
use node::names::DnsSubdomain;

use crate::conf::{Conf, OverlappingRanges};
use crate::naming::{self, ClaimScope, NamingError};
use crate::range::{Allocatable, RangeError, RangeSpec};

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
    overlapping: OverlappingRanges,
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
}

impl Pool {
    /// The pool of a whole range.
    pub fn of_range(conf: &Conf, range: &RangeSpec) -> Result<Pool, PoolError> {
        let name = naming::pool(&range.net, conf.network_name.as_deref())?;
        Pool::new(conf, name, range.clone(), range.net.prefix_len())
    }

    /// The pool of `node`'s slice of a range. Start, end and excludes of the range hold in the slice too.
    pub fn of_slice(conf: &Conf, range: &RangeSpec, slice: IpNet, node: &str) -> Result<Pool, PoolError> {
        if !range.net.contains(&slice) {
            return Err(PoolError::ForeignSlice { slice, range: range.net });
        }
        let name = naming::slice_pool(&slice, conf.network_name.as_deref(), node)?;
        let part = RangeSpec { net: slice, ..range.clone() };
        Pool::new(conf, name, part, range.net.prefix_len())
    }

    fn new(conf: &Conf, name: DnsSubdomain, range: RangeSpec, prefix_len: u8) -> Result<Pool, PoolError> {
        let free = range.allocatable()?;
        Ok(Pool {
            name,
            free,
            range,
            prefix_len,
            network: conf.network_name.clone(),
            overlapping: conf.overlapping,
        })
    }

    /// Among whose addresses its own are unique.
    pub fn scope(&self) -> ClaimScope<'_> {
        match self.overlapping {
            OverlappingRanges::Protected => ClaimScope::Shared { network: self.network.as_deref() },
            OverlappingRanges::Separate => ClaimScope::Pool(&self.name),
        }
    }

    /// The name of the claim for an address.
    pub fn claim_name(&self, ip: std::net::IpAddr) -> Result<DnsSubdomain, NamingError> {
        naming::claim(ip, self.scope())
    }

    /// The address as the interface has it.
    pub fn with_prefix(&self, ip: std::net::IpAddr) -> IpNet {
        IpNet::new(ip, self.prefix_len).unwrap_or_else(|_| ip.into())
    }
}

/// The addresses of a result: those from pools first, each with the network's gateway, then those given as they stand.
pub fn ips(conf: &Conf, claimed: &[IpNet], fixed: &[crate::conf::StaticAddress]) -> Vec<Ip> {
    let claimed =
        claimed.iter().map(|address| Ip { interface: None, address: *address, gateway: conf.gateway });
    let fixed =
        fixed.iter().map(|given| Ip { interface: None, address: given.address, gateway: given.gateway });
    claimed.chain(fixed).collect()
}
