//! The part of Linux networking that CNI plugins need: network namespaces, links, addresses, routes, a few sysctls, announcements. It
//! does not depend on CNI or Kubernetes.
//!
//! A [`Netns`] is an open file descriptor; threads do not stay in a namespace. A [`Socket`] is an rtnetlink socket that was opened
//! inside one namespace and works from any thread:
//!
//! ```no_run
//! use netlink::{Dad, MacvlanMode, MacvlanSpec, Netns, Socket};
//! # fn main() -> Result<(), netlink::Error> {
//! let host = Socket::host()?;
//! let pod = Socket::in_netns(&Netns::open("/run/netns/pod".as_ref())?)?;
//! let Some(master) = host.link_by_name("eth0")? else { return Ok(()) };
//! let spec = MacvlanSpec::new("net1", master.index, MacvlanMode::Bridge);
//! let net1 = host.create_macvlan(&spec, &pod)?;
//! if let Ok(net) = "10.1.2.3/24".parse() {
//!     pod.add_address(&net1, net, Dad::Kernel)?;
//! }
//! pod.set_up(&net1)?;
//! # Ok(()) }
//! ```
//!
//! Calls block; each request to the kernel takes at most 10 s. The variants of [`Error`] are what a caller can distinguish, and its text
//! has the kernel's own explanation (extended acknowledgement) if there is one.
//!
//! | module | question it answers |
//! |---|---|
//! | `netns` | how code runs inside a namespace |
//! | `exchange` | how a request and its response travel |
//! | `socket` | how a change, a query and a list are requested |
//! | `link`, `address`, `route` | what the requests and responses about each object hold |
//! | `master` | which interface a conf selects |
//! | `sysctl` | how IPv6 sysctls of an interface are written |
//! | `frame` | what ARP and neighbour discovery frames hold, and how they are sent |
//! | `announce`, `conflict` | how neighbours learn an address, and whether another host has it |
//! | `child` | how a task outlives the plugin's process, and a program does not |
//! | [`interface`] | how a whole interface is configured and compared |
//! | `mac`, `ifname`, `error` | the types that all of these share |
//!
//! Modules form no cycle. Each uses only modules before it in this order: `mac`, `ifname`, `netns`, `sysctl`, `error`,
//! `child`, `exchange`, `socket`, `link`, `address`, `route`, `frame`, `announce`, `conflict`, `interface`, `master`.

mod address;
mod announce;
mod child;
mod conflict;
mod error;
mod exchange;
mod frame;
mod ifname;
pub mod interface;
mod link;
mod mac;
mod master;
mod netns;
mod route;
mod socket;
mod sysctl;
#[cfg(feature = "test-util")]
pub mod test_util;

pub use address::{Address, Dad};
pub use announce::Repeat;
pub use child::{Runner, after_answer, end_with_caller};
pub use error::{Error, Refusal};
pub use ifname::BadName;
pub use ipnet::IpNet;
pub use link::{IpvlanFlag, IpvlanMode, IpvlanSpec, Link, LinkKind, MacvlanMode, MacvlanSpec, UnknownMode};
pub use mac::{Mac, MacError};
pub use master::{MasterError, MasterSelector, find_master};
pub use netns::{Netns, NetnsError};
pub use route::{MAIN_TABLE, Route, RouteFilter, RouteScope};
pub use socket::Socket;
pub use sysctl::SysctlError;
