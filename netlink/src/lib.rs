//! What CNI plugins need of Linux: network namespaces, links, addresses, routes, a few sysctls and
//! announcements. It knows nothing of CNI or Kubernetes.
//!
//! A [`Netns`] is an open file descriptor, never a place a thread stays in. A [`Socket`] is one rtnetlink
//! socket that was opened inside one namespace and is then used from anywhere:
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
//! Every call blocks, and has a deadline.
//!
//! Errors are sorted by what a caller can do about them, see [`Error`]; they carry the kernel's own
//! explanation (extended acknowledgement) where it gives one.

mod addr;
pub mod announce;
mod answer;
pub mod arp;
mod aside;
mod channel;
pub mod conflict;
mod error;
mod ext_ack;
mod ifname;
pub mod interface;
#[cfg(feature = "lab")]
pub mod lab;
mod link;
mod master;
mod netns;
mod packet;
mod route;
mod socket;
pub mod sysctl;

pub use addr::{Address, Dad};
pub use error::{Error, Refusal};
pub use ipnet::IpNet;
pub use link::{
    IpvlanFlag, IpvlanMode, IpvlanSpec, Link, LinkKind, Mac, MacError, MacvlanMode, MacvlanSpec, OperState,
    UnknownMode,
};
pub use master::{MasterError, MasterSelector, find_master};
pub use netns::{Netns, NetnsError};
pub use route::{MAIN_TABLE, Route, RouteFilter, RouteScope};
pub use socket::{DEFAULT_DEADLINE, Socket};
pub use sysctl::{Sysctl, SysctlError};
