//! What the files of a node know about the sandboxes of a pod: records, progress, tombstones and cached results.

use std::path::Path;
use std::time::{Duration, SystemTime};

use cni::args::CniArgs;
use cni::cache::{Cache, Key};
use cni::names::{ContainerId, IfName};
use cni::result::{CniResult, RawResult};
use nad::PodRef;
use serde::Serialize;

use crate::record::{self, Moment, Progress, Reached, Record, RecordError, Recorded, tombstone};
use crate::request::pod::pod_of_del;

/// What the node knows about a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct OnNode {
    /// `<namespace>/<name>`.
    pub(super) pod: String,
    /// Its sandboxes that are not deleted.
    pub(super) sandboxes: Vec<Sandbox>,
    /// What deleted sandboxes of it may have left.
    pub(super) left: Vec<Left>,
    /// Files that cannot be read. They may be the pod's.
    pub(super) unreadable: Vec<String>,
}

/// One sandbox with a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Sandbox {
    /// The id of its container.
    pub(super) container_id: String,
    /// The UID of the pod, if the record has it.
    pub(super) pod_uid: String,
    /// How many seconds ago its first DEL was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_del_seconds_ago: Option<u64>,
    /// Its networks, in the order of ADD.
    pub(super) networks: Vec<Network>,
}

/// One network of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Network {
    /// The network.
    pub(super) network: String,
    /// Its interface in the pod.
    pub(super) interface: String,
    /// Its plugins, and how far the ADD of each came.
    pub(super) plugins: Vec<Plugin>,
    /// The addresses of the cached result; empty without a result.
    pub(super) addresses: Vec<String>,
    /// The MAC address of the cached result.
    pub(super) mac: String,
}

/// One plugin of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Plugin {
    /// Its type.
    pub(super) plugin: String,
    /// How far its ADD came.
    pub(super) state: State,
    /// Its error, if it refused the ADD.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) error: String,
}

/// How far the ADD of a plugin came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// It succeeded.
    Done,
    /// It answered with an error.
    Refused,
    /// It was started, and its end is not known.
    Begun,
    /// It was never started.
    NotBegun,
    /// It may have begun: the file of this boot is missing.
    Unknown,
    /// It was deleted since.
    Deleted,
}

/// A network of a deleted sandbox of which something may be left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Left {
    /// The id of the container.
    pub(super) container_id: String,
    /// The network.
    pub(super) network: String,
    /// Its interface.
    pub(super) interface: String,
    /// The types of the plugins whose DEL failed.
    pub(super) plugins: Vec<String>,
    /// Their last errors.
    pub(super) reason: String,
}

/// Reads what the files in `cni_dir` know about a pod.
///
/// # Errors
/// The folder cannot be listed.
pub(super) fn read(cni_dir: &Path, pod: &PodRef, now: &Moment) -> Result<OnNode, RecordError> {
    let cache = Cache::new(&cni_dir.join("results"));
    let mut found =
        OnNode { pod: pod.to_string(), sandboxes: Vec::new(), left: Vec::new(), unreadable: Vec::new() };
    let first = IfName::parse(record::FIRST_INTERFACE)
        .map_err(|e| RecordError::Unreadable { reason: e.to_string() })?;
    for (container_id, _) in record::all(cni_dir)? {
        match record::read(cni_dir, &container_id, &first) {
            Ok(Some(record)) if is_of(&record, pod, &cache, &container_id) => {
                let progress = Progress::read(cni_dir, &container_id, now);
                found.sandboxes.push(sandbox(&container_id, record, &progress, &cache, now));
            }
            // Another pod's, or removed since the list.
            Ok(_) => {}
            Err(error) => found.unreadable.push(error.to_string()),
        }
    }
    for container_id in tombstone::due(cni_dir, Duration::ZERO, SystemTime::now()) {
        match tombstone::read(cni_dir, &container_id) {
            Ok(tombstone) if is_named(&tombstone.args, pod) => {
                found.left.extend(tombstone.networks.iter().map(|left| left_of(&container_id, left)));
            }
            Ok(_) => {}
            Err(error) => found.unreadable.push(error.to_string()),
        }
    }
    Ok(found)
}

fn is_of(record: &Record, pod: &PodRef, cache: &Cache, container_id: &ContainerId) -> bool {
    if let Some(owner) = record.owner.as_ref().and_then(|owner| owner.pod.as_ref()) {
        return (&owner.namespace, &owner.name) == (&pod.namespace, &pod.name);
    }
    // A record of upstream does not name the pod; the cached results do.
    let keys = cache.of_container(container_id).into_iter().flatten();
    let mut entries = keys.filter_map(|key| cache.read(&key).ok().flatten());
    entries.any(|entry| is_named(&entry.args, pod))
}

fn is_named(args: &CniArgs, pod: &PodRef) -> bool {
    pod_of_del(args).is_some_and(|named| (&named.namespace, &named.name) == (&pod.namespace, &pod.name))
}

fn sandbox(
    container_id: &ContainerId,
    record: Record,
    progress: &Progress,
    cache: &Cache,
    now: &Moment,
) -> Sandbox {
    let uid =
        record.owner.as_ref().and_then(|owner| owner.pod.as_ref()?.uid.as_ref()).map(ToString::to_string);
    let networks = record.delegates.iter().map(|recorded| network(container_id, recorded, progress, cache));
    Sandbox {
        container_id: container_id.to_string(),
        pod_uid: uid.unwrap_or_default(),
        first_del_seconds_ago: progress.first_del.map(|first| now.since_boot.saturating_sub(first).as_secs()),
        networks: networks.collect(),
    }
}

fn network(container_id: &ContainerId, recorded: &Recorded, progress: &Progress, cache: &Cache) -> Network {
    let Recorded { network, if_name, .. } = recorded;
    let result = result(container_id, recorded, cache).unwrap_or_default();
    let reached = progress.of_network(if_name, network.list.plugins.len());
    let plugin = |(conf, reached): (&cni::list::PluginConf, Reached)| {
        let (state, error) = state(reached);
        Plugin { plugin: conf.plugin_type.to_string(), state, error }
    };
    let in_pod = result.interfaces.iter().find(|interface| interface.name == if_name.as_str());
    Network {
        network: network.label.clone(),
        interface: if_name.to_string(),
        plugins: network.list.plugins.iter().zip(reached).map(plugin).collect(),
        addresses: result.ips.iter().map(|ip| ip.address.to_string()).collect(),
        mac: in_pod.map(|interface| interface.mac.clone()).unwrap_or_default(),
    }
}

fn result(container_id: &ContainerId, recorded: &Recorded, cache: &Cache) -> Option<CniResult> {
    let list = &recorded.network.list;
    let key = Key {
        network: list.name.clone(),
        container_id: container_id.clone(),
        if_name: recorded.if_name.clone(),
    };
    let value = cache.read(&key).ok()??.result?;
    RawResult::from_value(value, list.cni_version).ok()?.parse().ok()
}

fn state(reached: Reached) -> (State, String) {
    match reached {
        Reached::Done => (State::Done, String::new()),
        Reached::Refused(words) => (State::Refused, format!("code {}: {}", words.code.number(), words.msg)),
        Reached::Begun => (State::Begun, String::new()),
        Reached::NotBegun => (State::NotBegun, String::new()),
        Reached::Unknown => (State::Unknown, String::new()),
        Reached::Deleted => (State::Deleted, String::new()),
    }
}

fn left_of(container_id: &ContainerId, left: &tombstone::LeftNetwork) -> Left {
    let Recorded { network, if_name, .. } = &left.recorded;
    let plugin = |at: &usize| network.list.plugins.get(*at).map(|plugin| plugin.plugin_type.to_string());
    Left {
        container_id: container_id.to_string(),
        network: network.label.clone(),
        interface: if_name.to_string(),
        plugins: left.plugins.iter().filter_map(plugin).collect(),
        reason: left.reason.clone(),
    }
}
