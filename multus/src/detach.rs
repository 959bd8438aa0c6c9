//! DEL: from the record alone, in reverse, past every failure. Without a record, from the cached results of the sandbox.

use cni::args::CniArgs;
use cni::cache::{Cache, Key};
use cni::crash_point;
use cni::list::NetworkList;
use cni::names::{ContainerId, IfName};
use node::deadline::Deadline;
use node::files::FileError;
use serde_json::Map;

use crate::conf::{Conf, DefaultNetworks};
use crate::demand::{self, Found, Origin};
use crate::error::Error;
use crate::network::{Network, is_self};
use crate::plan;
use crate::pod::PodRef;
use crate::record::{self, Record, RecordError, Recorded};
use crate::sandbox::{Part, Sandbox, warn};

/// One DEL.
#[derive(Clone, Copy, Debug)]
pub struct Detach<'a> {
    /// The configuration.
    pub conf: &'a Conf,
    /// The sandbox.
    pub container_id: &'a ContainerId,
    /// The interface of the default network.
    pub if_name: &'a IfName,
    /// The path of the network namespace; empty where it is gone.
    pub netns: &'a str,
    /// `CNI_ARGS` as the runtime gave them.
    pub args: &'a CniArgs,
    /// When to give up.
    pub deadline: Deadline,
}

impl Detach<'_> {
    /// Detaches all networks of the sandbox. The record stays until every one of them is gone, so that the next DEL finds it.
    pub fn run(&self) -> Result<(), Error> {
        let record = match record::read(&self.conf.cni_dir, self.container_id, self.if_name) {
            Ok(record) => record,
            Err(error @ RecordError::Damaged { .. }) => {
                warn(&format_args!("{error}; going by the cached results of sandbox {}", self.container_id));
                None
            }
            Err(error) => return Err(error.into()),
        };
        let pod = self.pod(record.as_ref());
        let sandbox = Sandbox::new(self.conf, self.container_id, self.netns, pod.as_ref(), self.args);
        let mut networks = record.map(|record| record.delegates).unwrap_or_default();
        let cached = cached(&sandbox.cache, self.container_id);
        // What is cached but not recorded was attached later, by another program.
        let is_new = |one: &Recorded| !networks.iter().any(|known| is_same(known, one));
        let more: Vec<Recorded> = cached.into_iter().filter(is_new).collect();
        networks.extend(more);
        if networks.is_empty() {
            networks = self.of_every_pod(pod.as_ref());
        }
        let parts: Vec<Part<'_>> = networks.iter().map(Part::from).collect();
        sandbox.remove(&parts, self.deadline)?;
        crash_point!("multus-detached");
        Ok(record::remove(&self.conf.cni_dir, self.container_id)?)
    }

    fn pod(&self, record: Option<&Record>) -> Option<PodRef> {
        let recorded = record.and_then(|record| record.owner.as_ref()?.pod.clone());
        PodRef::of_removal(self.args).or(recorded)
    }

    /// The networks of the conf, as far as the node knows them: this may be the repetition of a DEL, or of an ADD that upstream lost
    /// track of. What only the API server knows is not asked for; nothing at all is fine.
    fn of_every_pod(&self, pod: Option<&PodRef>) -> Vec<Recorded> {
        let Ok(defaults) = self.conf.default_networks() else { return Vec::new() };
        let demands =
            demand::demands(self.conf, &defaults, pod.map(|pod| &pod.namespace), None).unwrap_or_default();
        let demands = match defaults {
            DefaultNetworks::Inline(_) => demands,
            DefaultNetworks::Cluster { .. } => demands.into_iter().take(1).collect(),
        };
        let network = |(at, demand): (usize, &demand::Demand)| -> Option<Recorded> {
            if matches!(demand.origin, Origin::Named(_) | Origin::Definition(_)) {
                return None;
            }
            let network = demand::network(demand, &Found::new(), &self.conf.conf_dir, None).ok()?;
            let if_name = plan::interface(at, None, self.if_name).ok()?;
            let capability_args = if at == 0 { self.conf.runtime_config.clone() } else { Map::new() };
            Some(Recorded { network, if_name, capability_args })
        };
        demands.iter().enumerate().filter_map(network).collect()
    }
}

/// The networks that have a cached result for this sandbox, by the configuration they were attached with.
fn cached(cache: &Cache, container_id: &ContainerId) -> Vec<Recorded> {
    let found = cache.of_container(container_id).into_iter();
    let networks = found.filter_map(|key| match key.and_then(|key| of_entry(cache, key)) {
        Ok(network) => network,
        Err(error) => {
            warn(&error);
            None
        }
    });
    networks.collect()
}

fn of_entry(cache: &Cache, key: Key) -> Result<Option<Recorded>, FileError> {
    let Some(entry) = cache.read(&key)? else { return Ok(None) };
    let object = cni::json::parse_object(&entry.config).ok();
    let runs_multus = |object: &Map<String, serde_json::Value>| {
        NetworkList::from_object(object.clone())
            .is_ok_and(|list| list.plugins.iter().any(|p| is_self(p.plugin_type.as_str())))
    };
    // The runtime keeps its own result, of this very program, where both share a folder.
    if object.as_ref().is_some_and(runs_multus) {
        return Ok(None);
    }
    let Some(network) = object.and_then(|object| Network::from_object(object, None).ok()) else {
        let Key { network, if_name, .. } = key;
        warn(&format_args!(
            "the cached result of network {network} on {if_name} names no plugins: it cannot be deleted"
        ));
        return Ok(None);
    };
    Ok(Some(Recorded { network, if_name: key.if_name, capability_args: entry.capability_args }))
}

fn is_same(one: &Recorded, other: &Recorded) -> bool {
    one.if_name == other.if_name && one.network.list.name == other.network.list.name
}

#[cfg(test)]
mod tests;
