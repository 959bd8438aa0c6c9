//! Which interface a macvlan or ipvlan link sits on: by name, by MAC address, or by the subnet it has an address in, so that one
//! configuration serves nodes whose cards differ.

use std::fmt;

use ipnet::IpNet;

use crate::{Error, Link, Mac, Socket};

/// One way to say which interface is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterSelector {
    /// The interface of this name or alternative name.
    Name(String),
    /// The interface with this MAC address that is no macvlan or ipvlan itself.
    Mac(Mac),
    /// The interface that has an address in this subnet.
    Subnet(IpNet),
}

/// Why there is no master.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// Nothing was named and there is no default route to go by.
    #[error("no default route interface found")]
    NoDefaultRoute,
    /// None of the interfaces named is here.
    #[error("failed to lookup master {}: no such interface here; there are {}", list(wanted), present.join(", "))]
    NotFound {
        /// What was looked for, in order.
        wanted: Vec<MasterSelector>,
        /// The names of the interfaces that are here.
        present: Vec<String>,
    },
    /// The kernel could not be asked.
    #[error("failed to lookup the master interface: {0}")]
    Netlink(#[from] Error),
}

impl fmt::Display for MasterSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MasterSelector::Name(name) => write!(f, "{name:?}"),
            MasterSelector::Mac(mac) => write!(f, "with MAC address {mac}"),
            MasterSelector::Subnet(net) => write!(f, "with an address in {net}"),
        }
    }
}

fn list(wanted: &[MasterSelector]) -> String {
    wanted.iter().map(MasterSelector::to_string).collect::<Vec<_>>().join(" or ")
}

/// The first interface that `wanted` leads to; with nothing wanted, that of the default route.
pub fn find_master(socket: &Socket, wanted: &[MasterSelector]) -> Result<Link, MasterError> {
    if wanted.is_empty() {
        return socket.default_route_device()?.ok_or(MasterError::NoDefaultRoute);
    }
    for selector in wanted {
        if let Some(link) = select(socket, selector)? {
            return Ok(link);
        }
    }
    let present = socket.links()?.into_iter().map(|link| link.name).collect();
    Err(MasterError::NotFound { wanted: wanted.to_vec(), present })
}

fn select(socket: &Socket, selector: &MasterSelector) -> Result<Option<Link>, Error> {
    match selector {
        MasterSelector::Name(name) => match socket.link_by_name(name) {
            Err(Error::BadName { .. }) => Ok(None),
            other => other,
        },
        MasterSelector::Mac(mac) => {
            let own = |link: &Link| link.mac == Some(*mac) && !link.is_slave();
            Ok(socket.links()?.into_iter().find(own))
        }
        MasterSelector::Subnet(net) => {
            let addresses = socket.all_addresses()?;
            let inside = |link: &Link| {
                addresses
                    .iter()
                    .any(|address| address.link == link.index && net.contains(&address.net.addr()))
            };
            Ok(socket.links()?.into_iter().find(|link| !link.is_slave() && inside(link)))
        }
    }
}
