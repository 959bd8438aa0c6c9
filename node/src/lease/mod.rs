//! Leader election by a `Lease` (`coordination.k8s.io/v1`), compatible with client-go's.
//!
//! Clocks of different machines are never compared. A candidate measures with its own monotonic clock for how long the lease has not changed;
//! the leader measures with its own when it last renewed it. The times inside the lease are for people.
//!
//! kube-runtime has no leader election. kube-leader-election compares the lease's `renewTime` with the local clock, so that a clock that is
//! some seconds ahead gives two leaders; it writes without a resourceVersion, so that two candidates can both take an expired lease.

mod election;
mod step;
mod timing;

pub use election::{Election, Leadership};
pub use timing::Timing;

use crate::client::Verb;

/// What a candidate does with leases. It creates the lease if there is none.
pub const VERBS: &[Verb] = &[Verb::Get, Verb::Create, Verb::Update];
