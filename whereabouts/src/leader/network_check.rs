//! What is wrong with the configurations of the networks: said on the definition, before a pod needs the network.
//!
//! A network that an ADD would refuse gets an event with the words of that ADD, a network with warnings one with all of them. The plugin writes
//! the same warnings to its standard error, which the author of a network does not see.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use node::deadline::Deadline;

use super::cluster_cache::{ClusterCache, SharedCache};
use super::context::{AT_ONCE, Context};
use super::networks::{self, ReadNetwork};
use super::notices::{Notice, report};
use crate::conf::{Conf, ConfError};
use crate::pool::choose::NOTHING_LEFT;
use crate::pool::naming;

const COMPONENT: &str = "whereabouts";
/// The reason of the event of a network that an ADD refuses.
const INVALID: &str = "InvalidNetwork";
/// The reason of the event of a network with warnings.
const WARNING: &str = "NetworkWarning";

/// What is to be said about the networks, at most one notice for each.
pub(super) fn notices(cache: &ClusterCache, networks: &BTreeMap<String, ReadNetwork>) -> BTreeSet<Notice> {
    let notice = |(name, network): (&String, &ReadNetwork)| {
        let (reason, text) = match network {
            Err(error) => (INVALID, refusal(error)),
            Ok(network) => match invalid_pool(&network.conf) {
                Some(error) => (INVALID, format!("pods get no address of this network: {error}")),
                None => (WARNING, warnings(&network.conf)?),
            },
        };
        Some(Notice::new(cache, name, COMPONENT, reason, text))
    };
    networks.iter().filter_map(notice).collect()
}

fn refusal(error: &ConfError) -> String {
    // The flat files are on the nodes, and the leader need not have one.
    let condition = match error {
        ConfError::NoRange => " (unless the flat file of the nodes has a range)",
        _ => "",
    };
    format!("pods get no address of this network{condition}: {error}")
}

/// Why an ADD would refuse a pool of the network.
fn invalid_pool(conf: &Conf) -> Option<String> {
    conf.ranges.iter().find_map(|range| {
        let name = naming::pool(&range.net, conf.network_name.as_deref());
        name.err().map(|error| error.to_string()).or_else(|| match range.allocatable() {
            Err(error) => Some(error.to_string()),
            Ok(all) if all.size() == 0 => Some(format!("range {}: {NOTHING_LEFT}", range.net)),
            Ok(_) => None,
        })
    })
}

fn warnings(conf: &Conf) -> Option<String> {
    let all: Vec<String> = conf.warnings.iter().map(ToString::to_string).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Reports the notices that are not in `reported`, and returns those that need no report any more. The others are tried again.
pub(super) async fn pass(
    context: &Context,
    notices: BTreeSet<Notice>,
    reported: &BTreeSet<Notice>,
) -> BTreeSet<Notice> {
    let deadline = Deadline::after(context.timing.request);
    let done = stream::iter(notices).map(|notice| async move {
        let is_done = reported.contains(&notice) || report(context, &notice, deadline).await.is_ok();
        is_done.then_some(notice)
    });
    done.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await
}

/// Checks the networks whenever they change. Never returns.
pub(super) async fn run(context: &Context, shared: &SharedCache) {
    let mut reported = BTreeSet::new();
    let mut checked = None;
    loop {
        let found = {
            let cache = shared.lock();
            let is_new = cache.networks.is_synced() && checked != Some(cache.networks_version());
            is_new.then(|| {
                let networks = networks::read_networks(cache.networks.iter(), networks::flat_file);
                (cache.networks_version(), notices(&cache, &networks))
            })
        };
        if let Some((version, notices)) = found {
            let count = notices.len();
            reported = pass(context, notices, &reported).await;
            // An event that could not be created is tried again with the next pass.
            checked = (reported.len() == count).then_some(version);
        }
        // Networks that are applied together are checked together.
        tokio::time::sleep(context.timing.settle / 4).await;
        let _ = tokio::time::timeout(context.timing.pass, shared.network_work.notified()).await;
    }
}
