//! Ethernet frames: ARP and neighbour discovery packets, and the socket that carries them.

pub(crate) mod arp;
pub(crate) mod ethertype;
pub(crate) mod ndisc;
pub(crate) mod socket;
