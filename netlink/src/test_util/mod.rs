//! Support for tests, of this crate and of others: network namespaces that are removed also when a test panics, links of other kinds,
//! and access to frames and messages.
//!
//! Behind the cargo feature `test-util`; not for programs. Needs root.

mod frames;
mod links;
mod namespaces;
mod reply;
mod sysctl;

pub use frames::Frames;
pub use links::{add_alt_name, create_bridge, create_veth, enslave};
pub use namespaces::{NamedNetns, Testbed};
pub use reply::{Reply, read_reply};
pub use sysctl::{read_sysctl, write_sysctl};

pub use crate::{
    announce::announce,
    conflict::{Conflict, PROBE_WAIT, PROBES, probe},
    frame::{
        arp::{Arp, BROADCAST},
        ndisc::unsolicited_advertisement,
    },
};
