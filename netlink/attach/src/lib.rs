//! What interface plugins share: from an IPAM answer to a configured interface, and back.
//!
//! | module | question it answers |
//! |---|---|
//! | [`conf`] | what the keys say that every interface plugin has |
//! | [`master`] | which interface the link sits on |
//! | [`pod`] | how the pod's namespace and the link in it are reached |
//! | [`ipam`] | how the verbs reach the IPAM plugin |
//! | [`plan`] | what an IPAM answer makes of the link |
//! | [`undo`] | how link and addresses are given back: at DEL, and after a failed ADD |
//! | [`check`] | whether the link is still as it was made |
//! | [`error`] | what a failure of netlink is to a runtime |
//!
//! What differs between the plugins is theirs: the kind of link, its modes, what `prevResult` decides, the order of ADD.
//!
//! Must never: know Kubernetes, know one IPAM plugin from another, know one interface plugin from another.

pub mod check;
pub mod conf;
pub mod error;
pub mod ipam;
pub mod master;
pub mod plan;
pub mod pod;
pub mod undo;
