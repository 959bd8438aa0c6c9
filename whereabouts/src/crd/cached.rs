//! What the daemon caches of the objects that it watches.
//!
//! There may be tens of thousands of them, so a cached object has only the fields that a decision needs. To write an object, the daemon
//! reads it whole again ([`crate::crd::reservation`], [`crate::crd::ip_pool`]).

mod object;
mod pool;
mod reservation;

pub use object::CachedObject;
pub use pool::{CachedAllocation, CachedPool, PoolContent, Via};
pub use reservation::{CachedReservation, OwnerKind};

#[cfg(test)]
mod tests;
