//! GC: sandboxes that the runtime no longer knows are detached, then the default network is told which attachments are still there.

use std::time::{Duration, SystemTime};

use cni::args::CniArgs;
use cni::exec::SearchPath;
use cni::names::{ContainerId, IfName, NetworkName};
use cni::plugin::ValidAttachment;
use node::deadline::Deadline;

use crate::conf::Conf;
use crate::detach::Detach;
use crate::error::Error;
use crate::network::Network;
use crate::record::{self, Record};
use crate::sandbox::{join, warn};

/// A record younger than this may be of an ADD that is still under way, of a sandbox that the runtime does not list yet.
const MIN_AGE: Duration = Duration::from_secs(300);

/// The interface of the default network in Kubernetes, for records that do not tell it.
const FIRST: &str = "eth0";

/// Detaches the sandboxes that are not among `valid`, of this conf's network alone, and passes GC on to `default`.
pub fn gc(
    conf: &Conf,
    default: &Network,
    valid: &[ValidAttachment],
    now: SystemTime,
    deadline: Deadline,
) -> Result<(), Error> {
    let first = IfName::parse(FIRST)?;
    let mut errors = Vec::new();
    let mut kept = valid.to_vec();
    for (container_id, written) in record::all(&conf.cni_dir)? {
        let record = match record::read(&conf.cni_dir, &container_id, &first) {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            Err(error) => {
                warn(&error);
                continue;
            }
        };
        let is_stale = is_stale(&container_id, valid, written, now) && is_ours(&record, &conf.name, default);
        if is_stale {
            let freed = free(conf, &container_id, &record, &first, deadline);
            if let Err(error) = freed {
                errors.push(error.to_cni());
            } else {
                continue;
            }
        }
        kept.extend(attachments(&container_id, &record, default));
    }
    kept.sort();
    kept.dedup();
    errors.extend(pass_on(default, &kept, &conf.path, deadline).err());
    join(errors).map_or(Ok(()), |error| Err(error.into()))
}

fn free(
    conf: &Conf,
    container_id: &ContainerId,
    record: &Record,
    first: &IfName,
    deadline: Deadline,
) -> Result<(), Error> {
    let if_name = record.delegates.first().map_or(first, |recorded| &recorded.if_name);
    Detach { conf, container_id, if_name, netns: "", args: &CniArgs::default(), deadline }.run()
}

fn pass_on(
    default: &Network,
    kept: &[ValidAttachment],
    path: &SearchPath,
    deadline: Deadline,
) -> Result<(), cni::CniError> {
    cni::chain::gc(&default.list, kept, path, deadline.instant())
}

/// Whether the runtime has forgotten a sandbox. One that was just recorded it may not know yet.
fn is_stale(
    container_id: &ContainerId,
    valid: &[ValidAttachment],
    written: SystemTime,
    now: SystemTime,
) -> bool {
    let is_old = now.duration_since(written).is_ok_and(|age| age >= MIN_AGE);
    is_old && !valid.iter().any(|known| known.container_id == container_id.as_str())
}

/// Whether a record belongs to this conf. Upstream's do not tell, but name the default network.
fn is_ours(record: &Record, name: &NetworkName, default: &Network) -> bool {
    match &record.owner {
        Some(owner) => owner.network == *name,
        None => record.delegates.first().is_some_and(|first| first.network.list.name == default.list.name),
    }
}

/// The attachments of a sandbox to the default network, on whichever interface: the runtime knows the first one only, and what is not
/// named in GC is freed.
fn attachments(container_id: &ContainerId, record: &Record, default: &Network) -> Vec<ValidAttachment> {
    let same = record.delegates.iter().filter(|r| r.network.list.name == default.list.name);
    same.map(|r| ValidAttachment { container_id: container_id.to_string(), if_name: r.if_name.to_string() })
        .collect()
}

#[cfg(test)]
mod tests;
