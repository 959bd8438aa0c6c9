//! ADD: record the networks, then attach them in order. A failure undoes those that were attached, in reverse order.

use std::time::Duration;

use cni::args::CniArgs;
use cni::crash_point;
use cni::env::Attachment;
use cni::result::{CniResult, RawResult, ResultError};
use cni::{CniError, Code};
use nad::PodRef;
use netlink::{Netns, Socket};
use node::deadline::Deadline;
use serde_json::{Map, Value};

use super::detach::Detach;
use super::failures::join;
use super::sandbox::{Removal, Sandbox};
use super::{choice, device_info, edit};
use crate::conf::Conf;
use crate::error::Error;
use crate::log;
use crate::log::warn;
use crate::plan::{Delegate, Role, add_args, device_file, device_plugin_file};
use crate::record::{self, Journal, Moment, Owner, Progress, Reached, RecordError, progress};
use crate::report::with_failed_undo;

/// Longest time for undoing a failed ADD, beyond the deadline of the ADD. The runtime's DEL does what is left.
const UNDO_LIMIT: Duration = Duration::from_secs(30);

/// The attachment of one sandbox.
#[derive(Debug)]
pub(crate) struct Attach<'a> {
    /// The configuration.
    pub(crate) conf: &'a Conf,
    /// The sandbox.
    pub(crate) attachment: &'a Attachment,
    /// `CNI_ARGS` of the runtime.
    pub(crate) args: &'a CniArgs,
    /// The pod, if the runtime names one.
    pub(crate) pod: Option<&'a PodRef>,
    /// The time of this ADD.
    pub(crate) now: &'a Moment,
    /// When to give up.
    pub(crate) deadline: Deadline,
}

/// What the plugins of one network answered.
#[derive(Debug)]
pub(crate) struct Attached {
    /// The result as the last plugin wrote it.
    pub(crate) raw: RawResult,
    /// The same result, parsed.
    pub(crate) result: CniResult,
    /// The description of the device that the pod requested.
    pub(crate) device_info: Option<Map<String, Value>>,
}

/// All networks of a sandbox. The journal keeps others from changing them.
#[derive(Debug)]
pub(crate) struct AttachedAll {
    /// The networks in their order.
    pub(crate) networks: Vec<Attached>,
    /// The lock, until the ADD has reported what it attached.
    pub(crate) journal: Journal,
}

/// Where an attachment failed.
pub(super) enum Failure {
    /// Before the plugins of this network ran, so that there is nothing to undo.
    Before(Error),
    /// In the plugins, or after them.
    Within(Error),
}

impl Attach<'_> {
    /// Attaches these networks. On failure nothing stays attached, or the record stays for DEL.
    pub(crate) fn run(&self, delegates: &[Delegate]) -> Result<AttachedAll, Error> {
        // A wrong namespace fails here, before anything is recorded.
        let netns = Netns::open(&self.attachment.netns).map_err(netlink::Error::from)?;
        let socket = Socket::in_netns(&netns)?;
        self.clear_leftovers(delegates)?;
        let owner = Owner { network: self.conf.name.clone(), pod: self.pod.cloned() };
        let (cni_dir, container_id) = (&self.conf.cni_dir, &self.attachment.container_id);
        // Before the record: a record with the progress of an earlier ADD would be wrong.
        let journal = Journal::start(cni_dir, container_id, self.now).map_err(RecordError::from)?;
        if let Err(error) = record::write(cni_dir, container_id, &owner, delegates) {
            // A progress file without a record is harmless, and GC removes it.
            let _ = progress::remove(cni_dir, container_id);
            return Err(error.into());
        }
        crash_point!("multus-recorded");
        let networks = self.attach_all(delegates, &socket, &journal)?;
        crash_point!("multus-attached");
        Ok(AttachedAll { networks, journal })
    }

    /// Detaches what an earlier ADD of this sandbox left. A record for another `CNI_IFNAME` is an attachment in use, and an error.
    fn clear_leftovers(&self, delegates: &[Delegate]) -> Result<(), Error> {
        let Attachment { container_id, if_name, .. } = self.attachment;
        // The default-network annotation may request another name than `CNI_IFNAME`.
        let first = delegates.first().map_or(if_name, |delegate| &delegate.if_name);
        match record::read(&self.conf.cni_dir, container_id, if_name) {
            Ok(None) => return Ok(()),
            Ok(Some(record)) if record.delegates.first().is_some_and(|r| r.if_name != *first) => {
                let msg = format!(
                    "sandbox {container_id} has networks already, for another interface than {first}: delete them first"
                );
                return Err(CniError::new(Code::InvalidEnvironment, msg).into());
            }
            // A damaged record is a leftover too; detaching goes by the cached results.
            Ok(Some(_)) | Err(_) => {}
        }
        let netns = self.netns();
        let Attach { conf, args, now, deadline, .. } = *self;
        Detach { conf, container_id, if_name, netns: &netns, args, now, cluster: &(), deadline }.run()
    }

    fn attach_all(
        &self,
        delegates: &[Delegate],
        socket: &Socket,
        journal: &Journal,
    ) -> Result<Vec<Attached>, Error> {
        let netns = self.netns();
        let sandbox = self.sandbox(&netns);
        let mut attached = Vec::with_capacity(delegates.len());
        for (at, delegate) in delegates.iter().enumerate() {
            let (started, error) = match self.attach_one(&sandbox, delegate, socket, journal) {
                Ok(one) => {
                    log::verbose(|| sandbox.describe("Add", delegate.into(), Some(&one.raw)));
                    attached.push(one);
                    crash_point!("multus-delegate-attached");
                    continue;
                }
                Err(Failure::Before(error)) => (at, error),
                Err(Failure::Within(error)) => (at.saturating_add(1), error),
            };
            // The failed network is undone too if its plugins ran: some of them may have succeeded.
            return Err(self.undo(delegates.get(..started).unwrap_or(delegates), error));
        }
        Ok(attached)
    }

    /// Attaches one network, which the record has.
    pub(super) fn attach_one(
        &self,
        sandbox: &Sandbox<'_>,
        delegate: &Delegate,
        socket: &Socket,
        journal: &Journal,
    ) -> Result<Attached, Failure> {
        let Delegate { network, if_name, request, .. } = delegate;
        let what = "error adding container to network";
        let failed = |error: CniError| Error::from(error.context(sandbox.prefix(&network.list, what)));
        check_free(socket, delegate).map_err(|error| Failure::Before(failed(error)))?;
        let file = device_file(&network.label, &self.attachment.container_id, if_name);
        if let (Some(resource), Some(id)) = (&network.resource_name, &request.device_id)
            && let Err(error) = device_info::copy(&device_plugin_file(resource, id), &file)
        {
            // The attachment works without it; only its description is missing.
            warn(&error);
        }
        let args = add_args(&sandbox.args, self.args, delegate);
        let within = |error| Failure::Within(failed(error));
        let chain = sandbox.chain(delegate.into(), &args, self.deadline);
        let raw = chain.add_observed(&journal.of_network(if_name)).map_err(within)?;
        let unusable = |e: ResultError| within(CniError::new(Code::Decoding, e.to_string()));
        let result = raw.parse().map_err(unusable)?;
        choice::check(request, &result).map_err(within)?;
        if delegate.role == Role::Default {
            // The runtime gets this result in the version of its own configuration. A result that cannot be converted must fail here,
            // where it can still be undone.
            raw.to_version(self.conf.cni_version).map_err(unusable)?;
        }
        // Upstream edits the routes only of a result that made something.
        let made_something = !result.interfaces.is_empty() || !result.ips.is_empty();
        if made_something && !delegate.route_edit.is_empty() {
            edit::routes(socket, delegate).map_err(within)?;
            edit::cached_result(&sandbox.cache, self.attachment, delegate).map_err(within)?;
        }
        let device_info = request.device_id.as_ref().and_then(|_| device_info::read(&file));
        Ok(Attached { raw, result, device_info })
    }

    /// Undoes these networks after `error`, and returns the error to report. The record stays if undoing fails, for the runtime's DEL.
    pub(crate) fn undo(&self, started: &[Delegate], error: Error) -> Error {
        let netns = self.netns();
        let (cni_dir, container_id) = (&self.conf.cni_dir, &self.attachment.container_id);
        let progress = Progress::read(cni_dir, container_id, self.now);
        let plugins = |delegate: &Delegate| delegate.network.list.plugins.len();
        let reached: Vec<Vec<Reached>> =
            started.iter().map(|one| progress.of_network(&one.if_name, plugins(one))).collect();
        let removal = |(delegate, reached)| {
            let delegate: &Delegate = delegate;
            let reached: &Vec<Reached> = reached;
            Removal { delegate: delegate.into(), reached }
        };
        let removals: Vec<Removal<'_>> = started.iter().zip(&reached).map(removal).collect();
        // The deadline of the ADD may have passed, so this has a deadline of its own.
        let left = self.sandbox(&netns).remove(&removals, Deadline::after(UNDO_LIMIT));
        crash_point!("multus-undone");
        let removed = match join(left.into_iter().map(|left| left.error).collect()) {
            Some(error) => Err(Error::from(error)),
            None => record::remove(cni_dir, container_id)
                .and_then(|()| Ok(progress::remove(cni_dir, container_id)?))
                .map_err(Error::from),
        };
        match removed {
            Ok(()) => error,
            Err(left) => with_failed_undo(error.to_cni(), &left.to_cni()).into(),
        }
    }

    pub(super) fn sandbox<'s>(&'s self, netns: &'s str) -> Sandbox<'s> {
        Sandbox::new(self.conf, &self.attachment.container_id, netns, self.pod, self.args)
    }

    pub(super) fn netns(&self) -> String {
        self.attachment.netns.to_string_lossy().into_owned()
    }
}

/// Refuses an interface name that is in use. Plugins differ here: some take an existing interface for their own.
fn check_free(socket: &Socket, delegate: &Delegate) -> Result<(), CniError> {
    let if_name = delegate.if_name.as_str();
    match socket.link_by_name(if_name) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => {
            let name = delegate.network.list.name.as_str();
            let msg = format!(
                "DelegateAdd: cannot set {name:?} interface name to {if_name:?}: validateIfName: interface name {if_name} already exists"
            );
            Err(CniError::new(Code::InvalidEnvironment, msg))
        }
        Err(error) => Err(CniError::new(Code::InvalidNetns, error.to_string())),
    }
}
