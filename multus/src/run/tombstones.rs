//! What a DEL has let go: kept in a tombstone, and tried again by later calls on the node.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use cni::names::ContainerId;
use node::deadline::Deadline;
use node::files::FileError;

use super::sandbox::{DelegateRef, Left, Removal, Sandbox};
use crate::conf::Conf;
use crate::log::warn;
use crate::record::tombstone::{self, LeftNetwork, Tombstone};
use crate::record::{self, Reached, RecordError, Recorded};

/// The time between two attempts.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The most tombstones that one call tries.
const MAX_TRIES: usize = 3;

/// Writes a tombstone with what is left of these networks. Returns its path; `None` if no plugin failed.
pub(super) fn bury<'a>(
    conf: &Conf,
    sandbox: &Sandbox<'_>,
    networks: impl Iterator<Item = &'a Recorded>,
    left: &[Left],
) -> Result<Option<PathBuf>, FileError> {
    let mut failed: Vec<LeftNetwork> =
        networks.enumerate().filter_map(|(at, recorded)| left_network(recorded, at, left)).collect();
    // If the runtime used the container id before, an older tombstone has networks that this DEL did not try.
    if let Ok(older) = tombstone::read(&conf.cni_dir, sandbox.container_id) {
        let is_new = |one: &LeftNetwork| !failed.iter().any(|new| new.recorded == one.recorded);
        let older: Vec<LeftNetwork> = older.networks.into_iter().filter(is_new).collect();
        failed.extend(older);
    }
    if failed.is_empty() {
        return Ok(None);
    }
    let tombstone = Tombstone { args: sandbox.args.clone(), networks: failed };
    tombstone::write(&conf.cni_dir, sandbox.container_id, &tombstone)?;
    Ok(Some(tombstone::file(&conf.cni_dir, sandbox.container_id)))
}

/// What is left of the network at place `at`; `None` if no plugin failed.
fn left_network(recorded: &Recorded, at: usize, left: &[Left]) -> Option<LeftNetwork> {
    let here: Vec<&Left> = left.iter().filter(|one| one.network == at).collect();
    let plugins: Vec<usize> = here.iter().filter_map(|one| one.plugin).collect();
    let reasons: Vec<String> = here.iter().map(|one| one.error.to_string()).collect();
    // What the pod requested does not matter any more.
    let recorded = Recorded { requested: None, ..recorded.clone() };
    let network = LeftNetwork { recorded, plugins, reason: reasons.join(" / ") };
    Some(network).filter(|network| !network.plugins.is_empty())
}

/// Tries the oldest tombstones again. Failures are left for a later call.
pub(crate) fn retry(conf: &Conf, now: SystemTime, deadline: Deadline) {
    let mut due = tombstone::due(&conf.cni_dir, RETRY_AFTER, now);
    // A runtime may use a container id again. Then the plugins of the tombstone would delete what is in use.
    due.retain(|container_id| !record::exists(&conf.cni_dir, container_id));
    for container_id in due.iter().take(MAX_TRIES) {
        if deadline.expired() {
            return;
        }
        if let Err(error) = retry_one(conf, container_id, deadline) {
            warn(&format_args!("tombstone of sandbox {container_id}: {error}"));
            // A damaged one must not take the turn of the others.
            tombstone::make_youngest(&conf.cni_dir, container_id);
        }
    }
}

fn retry_one(conf: &Conf, container_id: &ContainerId, deadline: Deadline) -> Result<(), RecordError> {
    let Tombstone { args, networks } = tombstone::read(&conf.cni_dir, container_id)?;
    // The runtime destroyed the namespace when DEL succeeded.
    let sandbox = Sandbox::new(conf, container_id, "", None, &args);
    let reached: Vec<Vec<Reached>> = networks.iter().map(reached).collect();
    let removal = |(network, reached)| {
        let network: &LeftNetwork = network;
        let reached: &Vec<Reached> = reached;
        Removal { delegate: DelegateRef::from(&network.recorded), reached }
    };
    let removals: Vec<Removal<'_>> = networks.iter().zip(&reached).map(removal).collect();
    let left = sandbox.remove(&removals, deadline);
    let networks: Vec<LeftNetwork> = networks
        .iter()
        .enumerate()
        .filter_map(|(at, network)| left_network(&network.recorded, at, &left))
        .collect();
    if networks.is_empty() {
        return Ok(tombstone::remove(&conf.cni_dir, container_id)?);
    }
    // Writing it again makes it the youngest, so that the others have their turn.
    Ok(tombstone::write(&conf.cni_dir, container_id, &Tombstone { args, networks })?)
}

/// All plugins but those of the tombstone are deleted.
fn reached(network: &LeftNetwork) -> Vec<Reached> {
    let plugins = 0..network.recorded.network.list.plugins.len();
    let of = |at| if network.plugins.contains(&at) { Reached::Unknown } else { Reached::Deleted };
    plugins.map(of).collect()
}
