//! Changing over from Multus and Whereabouts, and back: what is there, what would change, what blocks. By values alone.
//!
//! An image of ours has upstream's programs at the same paths (`deploy/image/paths`), so that a change over changes the images of upstream's
//! workloads, and nothing else.

mod accounts;
mod addresses;
mod blocks;
mod facts;
mod image;
mod plan;
mod program;
mod render;
mod rollout;
mod workload;

pub use accounts::Roles;
pub use addresses::{clashes, without_claim, without_entry};
pub use blocks::{Code, blocks};
pub use facts::{Facts, LeaseFacts, NEEDED, custom_resource, lacks_status};
pub use plan::{Await, Direction, ImageStep, Plan, Step, plan};
pub use render::{Report, render};
pub use rollout::{Progress, progress, stuck};
pub use workload::{Container, Kind, Workload, of_cron_job, of_daemon_set, of_deployment};

#[cfg(test)]
mod tests;
