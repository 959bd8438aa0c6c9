//! What interface plugins share: from the conf and an IPAM result to a configured interface, and the way back.
//!
//! | module | question it answers |
//! |---|---|
//! | [`conf`] | what the common keys of the conf say |
//! | [`master`] | which interface the link is on |
//! | [`pod`] | how the pod's namespace is reached, and how results and errors describe the link |
//! | [`ipam`] | how the IPAM plugin is called |
//! | [`plan`] | which addresses, routes and settings the link gets |
//! | [`rollback`] | how link and addresses are removed: at DEL, and after a failed ADD |
//! | [`check`] | whether the link still matches `prevResult` |
//! | [`error`] | which CNI error a netlink error is |
//!
//! The plugins themselves decide the kind of link, its modes, the use of `prevResult`, and the order of ADD.
//!
//! Must never: depend on Kubernetes, distinguish IPAM plugins, distinguish interface plugins.

pub mod check;
pub mod conf;
pub mod error;
pub mod ipam;
pub mod master;
pub mod plan;
pub mod pod;
pub mod rollback;
