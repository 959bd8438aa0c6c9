//! DEL: delete the recorded networks in reverse order, and go on after failures. Without a record, go by the cached results.

use cni::args::CniArgs;
use cni::crash_point;
use cni::names::{ContainerId, IfName};
use nad::PodRef;
use node::deadline::Deadline;

use super::failures::warn;
use super::remembered::{cached_networks, configured_networks};
use super::sandbox::{DelegateRef, Sandbox};
use crate::conf::Conf;
use crate::error::Error;
use crate::record::{self, Record, RecordError, Recorded};
use crate::request::pod::pod_of_del;

/// The detachment of one sandbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Detach<'a> {
    /// The configuration.
    pub(crate) conf: &'a Conf,
    /// The sandbox.
    pub(crate) container_id: &'a ContainerId,
    /// The interface of the default network.
    pub(crate) if_name: &'a IfName,
    /// The path of the network namespace; empty if it is gone.
    pub(crate) netns: &'a str,
    /// `CNI_ARGS` of the runtime.
    pub(crate) args: &'a CniArgs,
    /// When to give up.
    pub(crate) deadline: Deadline,
}

impl Detach<'_> {
    /// Detaches all networks of the sandbox. The record stays until all of them are gone, so that the next DEL finds it.
    pub(crate) fn run(&self) -> Result<(), Error> {
        let record = self.read_record()?;
        let pod = self.pod(record.as_ref());
        let sandbox = Sandbox::new(self.conf, self.container_id, self.netns, pod.as_ref(), self.args);
        let mut networks = record.map(|record| record.delegates).unwrap_or_default();
        let mut cached = cached_networks(&sandbox.cache, self.container_id);
        // A network that is cached but not recorded was attached later, by another program. It is deleted first.
        cached.retain(|one| !networks.iter().any(|recorded| is_same(recorded, one)));
        // Last in the list is first to be deleted.
        networks.append(&mut cached);
        if networks.is_empty() {
            networks = configured_networks(self.conf, self.if_name, pod.as_ref());
        }
        let delegates: Vec<DelegateRef<'_>> = networks.iter().map(DelegateRef::from).collect();
        sandbox.remove(&delegates, self.deadline)?;
        // After a crash here DEL runs again; plugins must succeed if there is nothing to delete (CNI spec, "DEL").
        crash_point!("multus-detached");
        Ok(record::remove(&self.conf.cni_dir, self.container_id)?)
    }

    /// The record. A damaged one counts as none: otherwise the pod could never be deleted.
    fn read_record(&self) -> Result<Option<Record>, Error> {
        match record::read(&self.conf.cni_dir, self.container_id, self.if_name) {
            Err(error @ RecordError::Damaged { .. }) => {
                warn(&format_args!("{error}; using the cached results of sandbox {}", self.container_id));
                Ok(None)
            }
            other => Ok(other?),
        }
    }

    fn pod(&self, record: Option<&Record>) -> Option<PodRef> {
        let recorded = record.and_then(|record| record.owner.as_ref()?.pod.clone());
        // GC has no `CNI_ARGS`, and some runtimes send none on DEL.
        pod_of_del(self.args).or(recorded)
    }
}

fn is_same(one: &Recorded, other: &Recorded) -> bool {
    one.if_name == other.if_name && one.network.list.name == other.network.list.name
}

#[cfg(test)]
mod tests;
