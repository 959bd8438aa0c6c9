//! GC: detach the sandboxes that the runtime no longer has, then send GC with the remaining attachments to the default network.

use std::path::Path;
use std::time::{Duration, SystemTime};

use cni::args::CniArgs;
use cni::names::{ContainerId, IfName, NetworkName};
use cni::plugin::ValidAttachment;
use node::deadline::Deadline;

use super::cluster::Cluster;
use super::detach::Detach;
use super::failures::join;
use super::sandbox::result_cache;
use crate::conf::Conf;
use crate::error::Error;
use crate::log::warn;
use crate::network::Network;
use crate::record::{self, Moment, Record, progress};

/// A younger record may belong to an ADD that still runs; the runtime does not list its sandbox yet.
const MIN_AGE: Duration = Duration::from_secs(300);

/// One GC.
#[derive(Clone, Copy)]
pub(crate) struct Gc<'a> {
    /// The configuration.
    pub(crate) conf: &'a Conf,
    /// The default network.
    pub(crate) default: &'a Network,
    /// The attachments that the runtime has.
    pub(crate) valid: &'a [ValidAttachment],
    /// The time of this GC, to compare with those of files.
    pub(crate) now: SystemTime,
    /// The time of this GC since boot.
    pub(crate) since_boot: &'a Moment,
    /// The API server.
    pub(crate) cluster: &'a dyn Cluster,
    /// When to give up.
    pub(crate) deadline: Deadline,
}

/// Detaches the sandboxes of this configuration that are not in `valid`, and sends GC to the default network.
pub(crate) fn gc(gc: Gc<'_>) -> Result<(), Error> {
    let Gc { conf, default, valid, now, deadline, .. } = gc;
    let first = IfName::parse(record::FIRST_INTERFACE)?;
    let mut errors = Vec::new();
    let mut kept = valid.to_vec();
    for (container_id, written) in record::all(&conf.cni_dir)? {
        let record = match record::read(&conf.cni_dir, &container_id, &first) {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            // An unreadable record is no reason to free anything: the sandbox may be in use.
            Err(error) => {
                warn(&error);
                kept.extend(possible_attachments(conf, &container_id, &first, default));
                continue;
            }
        };
        let is_ours_and_stale =
            is_stale(&container_id, valid, written, now) && is_ours(&record, &conf.name, default);
        if is_ours_and_stale {
            match detach(gc, &container_id, &record, &first) {
                Ok(()) => continue,
                Err(error) => errors.push(error.to_cni()),
            }
        }
        kept.extend(attachments(&container_id, &record, default));
    }
    remove_leaked_progress(&conf.cni_dir, now);
    // A kept attachment may be listed by the runtime and recorded.
    kept.sort();
    kept.dedup();
    errors.extend(cni::chain::gc(&default.list, &kept, &conf.path, deadline.instant()).err());
    join(errors).map_or(Ok(()), |error| Err(error.into()))
}

fn detach(gc: Gc<'_>, container_id: &ContainerId, record: &Record, first: &IfName) -> Result<(), Error> {
    let Gc { conf, since_boot, cluster, deadline, .. } = gc;
    let if_name = record.delegates.first().map_or(first, |recorded| &recorded.if_name);
    let args = &CniArgs::default();
    // GC does not name the namespace. DEL without it must succeed (CNI spec, "DEL").
    Detach { conf, container_id, if_name, netns: "", args, now: since_boot, cluster, deadline }.run()
}

/// Removes progress files without a record: upstream's DEL removes the record only.
fn remove_leaked_progress(cni_dir: &Path, now: SystemTime) {
    for container_id in progress::older_than(cni_dir, MIN_AGE, now) {
        if !record::exists(cni_dir, &container_id)
            && let Err(error) = progress::remove(cni_dir, &container_id)
        {
            warn(&error);
        }
    }
}

/// Whether a sandbox is old enough to judge and not in `valid`.
fn is_stale(
    container_id: &ContainerId,
    valid: &[ValidAttachment],
    written: SystemTime,
    now: SystemTime,
) -> bool {
    // A time in the future, after a step of the clock, counts as young.
    let is_old = now.duration_since(written).is_ok_and(|age| age >= MIN_AGE);
    is_old && !valid.iter().any(|one| one.container_id == container_id.as_str())
}

/// Whether a record belongs to this configuration. A record of upstream does, if its first network is the default network.
fn is_ours(record: &Record, name: &NetworkName, default: &Network) -> bool {
    match &record.owner {
        Some(owner) => owner.network == *name,
        None => record.delegates.first().is_some_and(|first| first.network.list.name == default.list.name),
    }
}

/// The attachments of a sandbox to the default network, on every interface. The runtime lists only the first one, and the plugin frees
/// all that GC does not list.
fn attachments(container_id: &ContainerId, record: &Record, default: &Network) -> Vec<ValidAttachment> {
    let same = record.delegates.iter().filter(|r| r.network.list.name == default.list.name);
    same.map(|r| ValidAttachment { container_id: container_id.to_string(), if_name: r.if_name.to_string() })
        .collect()
}

/// The attachments that a sandbox with an unreadable record may have to the default network: that on `eth0`, and those with a cached
/// result.
fn possible_attachments(
    conf: &Conf,
    container_id: &ContainerId,
    first: &IfName,
    default: &Network,
) -> Vec<ValidAttachment> {
    let cached = result_cache(conf).of_container(container_id).into_iter();
    let readable = cached.filter_map(|key| key.inspect_err(|error| warn(error)).ok());
    let cached = readable.filter(|key| key.network == default.list.name).map(|key| key.if_name);
    cached
        .chain([first.clone()])
        .map(|if_name| ValidAttachment {
            container_id: container_id.to_string(),
            if_name: if_name.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests;
