//! A change of a running pod: one more network, or one less. The caller holds the sandbox's journal.

use std::time::Duration;

use cni::args::CniArgs;
use cni::crash_point;
use cni::env::Attachment;
use nad::PodRef;
use netlink::{Netns, Socket};
use node::deadline::Deadline;

use super::attach::{Attach, Attached, Failure};
use super::failures::join;
use super::sandbox::{DelegateRef, Removal};
use crate::conf::Conf;
use crate::error::Error;
use crate::plan::Delegate;
use crate::record::{self, Journal, Moment, Owner, Progress, Reached, RecordError};
use crate::report::with_failed_undo;

/// Longest time for the plugins of one network's ADD. A DEL of the sandbox waits for it.
const ATTACH_LIMIT: Duration = Duration::from_secs(40);

/// Longest time for the plugins of one network's DEL, and for undoing an ADD.
const DETACH_LIMIT: Duration = Duration::from_secs(15);

/// The change of one sandbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    /// The configuration.
    pub(crate) conf: &'a Conf,
    /// The sandbox, with the interface of its default network.
    pub(crate) attachment: &'a Attachment,
    /// `CNI_ARGS` of its ADD.
    pub(crate) args: &'a CniArgs,
    /// For whom its record was written.
    pub(crate) owner: &'a Owner,
    /// The pod.
    pub(crate) pod: &'a PodRef,
    /// The time of the change.
    pub(crate) now: &'a Moment,
    /// The sandbox's journal.
    pub(crate) journal: &'a Journal,
}

impl Change<'_> {
    /// Attaches one more network. The record has it before its first plugin runs. On failure it is undone; what cannot be undone stays in the
    /// record, for a later change or for DEL.
    pub(crate) fn attach(&self, delegate: &Delegate) -> Result<Attached, Error> {
        let netns = Netns::open(&self.attachment.netns).map_err(netlink::Error::from)?;
        let socket = Socket::in_netns(&netns)?;
        let (cni_dir, container_id) = (&self.conf.cni_dir, &self.attachment.container_id);
        record::add_network(cni_dir, container_id, self.owner, delegate)?;
        crash_point!("multus-change-recorded");
        let attach = self.plugins(ATTACH_LIMIT);
        let netns = attach.netns();
        let attached = attach.attach_one(&attach.sandbox(&netns), delegate, &socket, self.journal);
        crash_point!("multus-change-attached");
        let error = match attached {
            Ok(attached) => return Ok(attached),
            Err(Failure::Before(error) | Failure::Within(error)) => error,
        };
        match self.remove(delegate.into(), &delegate.network.label) {
            Ok(()) => Err(error),
            Err(left) => Err(with_failed_undo(error.to_cni(), &left.to_cni()).into()),
        }
    }

    /// Detaches a network. It stays in the record until all its plugins succeeded.
    pub(crate) fn detach(&self, recorded: &record::Recorded) -> Result<(), Error> {
        self.remove(recorded.into(), &recorded.network.label)
    }

    fn remove(&self, delegate: DelegateRef<'_>, label: &str) -> Result<(), Error> {
        let (cni_dir, container_id) = (&self.conf.cni_dir, &self.attachment.container_id);
        // Before its first plugin: a program that is killed among them leaves the cached result, and a network without an address.
        self.journal.detaching(delegate.if_name).map_err(RecordError::from)?;
        let progress = Progress::read(cni_dir, container_id, self.now);
        let reached: Vec<Reached> = progress.of_network(delegate.if_name, delegate.list.plugins.len());
        let attach = self.plugins(DETACH_LIMIT);
        let netns = attach.netns();
        let left = attach
            .sandbox(&netns)
            .remove(&[Removal { delegate, reached: &reached }], Deadline::after(DETACH_LIMIT));
        crash_point!("multus-change-detached");
        if let Some(error) = join(left.into_iter().map(|left| left.error).collect()) {
            return Err(error.into());
        }
        // In this order: a network that is recorded and has not begun is removed again after a crash, without a plugin.
        self.journal.detached(label, delegate.if_name).map_err(RecordError::from)?;
        Ok(record::remove_network(cni_dir, container_id, delegate.if_name)?)
    }

    fn plugins(&self, limit: Duration) -> Attach<'_> {
        let Change { conf, attachment, args, pod, now, .. } = *self;
        Attach { conf, attachment, args, pod: Some(pod), now, deadline: Deadline::after(limit) }
    }
}
