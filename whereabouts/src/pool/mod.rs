//! Which pool, which names, which candidate: functions of values.

pub mod candidates;
pub mod choose;
pub mod claim_names;
pub mod claim_reader;
pub mod held_claim;
pub(crate) mod holders;
pub mod naming;
pub mod range_pool;
pub mod request;
pub mod search;
