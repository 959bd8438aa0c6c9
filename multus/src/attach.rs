//! ADD: the record first, then the networks in order, then what the world is told. A failure undoes what was done, in reverse.

mod edit;

use std::time::Duration;

use cni::crash_point;
use cni::env::Attachment;
use cni::plugin::Call;
use cni::result::{CniResult, RawResult};
use cni::{CniError, Code};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use netlink::{Netns, Socket};
use node::deadline::Deadline;

use crate::conf::{Conf, DefaultNetworks};
use crate::demand::{self, Demand, DemandError, Found, Lookup};
use crate::detach::Detach;
use crate::error::Error;
use crate::plan::{self, Delegate, Role, Subject};
use crate::pod::{Pod, PodRef};
use crate::record::{self, Owner};
use crate::sandbox::{Part, Sandbox};
use crate::source::Source;
use crate::{device, events, status};

/// How long an ADD may take. Runtimes give up after two minutes.
pub const ADD_LIMIT: Duration = Duration::from_secs(110);
/// How long the undoing of a failed ADD may take on top; the runtime's DEL does what is left.
const UNDO_LIMIT: Duration = Duration::from_secs(30);
/// How long the default network's readiness file is waited for.
const READY_LIMIT: Duration = Duration::from_secs(45);
const READY_POLL: Duration = Duration::from_millis(100);
/// How long the runtime waits for events, at most: they are a courtesy.
const TELL_LIMIT: Duration = Duration::from_secs(2);

/// One ADD.
#[derive(Debug)]
pub struct Attach<'a> {
    /// The configuration.
    pub conf: &'a Conf,
    /// The sandbox.
    pub attachment: &'a Attachment,
    /// The call.
    pub call: &'a Call,
    /// The pod, where the runtime names one.
    pub at: Option<&'a PodRef>,
    /// When to give up.
    pub deadline: Deadline,
}

/// What one network's plugins made.
struct Attached {
    raw: RawResult,
    result: CniResult,
}

/// Where an ADD failed.
enum Failure {
    /// Before the plugins of this network ran.
    Before(Error),
    /// In them, or after.
    Within(Error),
}

impl Attach<'_> {
    /// Attaches all networks of the pod. The result is the default network's.
    pub fn run(&self, defaults: &DefaultNetworks, mut source: Option<Source>) -> Result<RawResult, Error> {
        let pod = match (&mut source, self.at) {
            (Some(source), Some(at)) => Some(source.pod(at, self.deadline)?),
            _ => None,
        };
        let delegates = self.plan(defaults, source.as_ref(), pod.as_ref())?;
        let netns = Netns::open(&self.attachment.netns).map_err(netlink::Error::from)?;
        let socket = Socket::in_netns(&netns)?;
        self.clear_leftovers(&delegates)?;
        let owner = Owner { network: self.conf.name.clone(), pod: self.at.cloned() };
        record::write(&self.conf.cni_dir, &self.attachment.container_id, &owner, &delegates)?;
        crash_point!("multus-recorded");
        let attached = self.attach_all(&delegates, &socket)?;
        crash_point!("multus-attached");
        if let (Some(source), Some(pod)) = (&mut source, &pod) {
            self.publish(source, pod, &delegates, &attached)?;
        }
        let first = attached.into_iter().next().map(|attached| attached.raw);
        first.ok_or_else(|| CniError::new(Code::InvalidConfig, "no network to attach").into())
    }

    /// The networks of the pod, in order. A network that is not there is told to the pod's owner.
    fn plan(
        &self,
        defaults: &DefaultNetworks,
        source: Option<&Source>,
        pod: Option<&Pod>,
    ) -> Result<Vec<Delegate>, Error> {
        let own = self.at.map(|at| &at.namespace);
        let demands = demand::demands(self.conf, defaults, own, pod)?;
        let found = look_up(&demands, source, self.deadline)?;
        let network = |demand: &Demand| {
            let network = demand::network(demand, &found, &self.conf.conf_dir, pod)?;
            Ok((network, demand.request.clone()))
        };
        let wanted: Result<Vec<_>, DemandError> = demands.iter().map(network).collect();
        if let (Err(DemandError::Missing { at, reason, .. }), Some(source), Some(pod)) =
            (&wanted, source, pod)
        {
            let event = events::no_network_found(pod, at, reason, Timestamp::now());
            source.tell(&[event], self.deadline.child(TELL_LIMIT));
        }
        let subject = Subject {
            container_id: &self.attachment.container_id,
            if_name: &self.attachment.if_name,
            runtime_config: &self.conf.runtime_config,
        };
        Ok(plan::plan(subject, wanted?)?)
    }

    /// What an earlier ADD of this sandbox left behind goes first. One for another interface is not ours to take away.
    fn clear_leftovers(&self, delegates: &[Delegate]) -> Result<(), Error> {
        let Attachment { container_id, if_name, .. } = self.attachment;
        let first = delegates.first().map_or(if_name, |delegate| &delegate.if_name);
        match record::read(&self.conf.cni_dir, container_id, if_name) {
            Ok(None) => return Ok(()),
            Ok(Some(record)) if record.delegates.first().is_some_and(|r| r.if_name != *first) => {
                let msg = format!(
                    "sandbox {container_id} has networks already, for another interface than {first}: delete them first"
                );
                return Err(CniError::new(Code::InvalidEnvironment, msg).into());
            }
            Ok(Some(_)) | Err(_) => {}
        }
        let netns = self.netns();
        let detach = Detach {
            conf: self.conf,
            container_id,
            if_name,
            netns: &netns,
            args: &self.call.args,
            deadline: self.deadline,
        };
        detach.run()
    }

    fn attach_all(&self, delegates: &[Delegate], socket: &Socket) -> Result<Vec<Attached>, Error> {
        let netns = self.netns();
        let sandbox = self.sandbox(&netns);
        let mut attached = Vec::with_capacity(delegates.len());
        for (at, delegate) in delegates.iter().enumerate() {
            let (started, error) = match self.attach_one(&sandbox, delegate, socket) {
                Ok(one) => {
                    attached.push(one);
                    crash_point!("multus-delegate-attached");
                    continue;
                }
                Err(Failure::Before(error)) => (at, error),
                Err(Failure::Within(error)) => (at.saturating_add(1), error),
            };
            return Err(self.undo(delegates.get(..started).unwrap_or(delegates), error));
        }
        Ok(attached)
    }

    fn attach_one(
        &self,
        sandbox: &Sandbox<'_>,
        delegate: &Delegate,
        socket: &Socket,
    ) -> Result<Attached, Failure> {
        let list = &delegate.network.list;
        let what = "error adding container to network";
        let failed = |error: CniError| Error::from(error.context(sandbox.about(list, what)));
        must_be_free(socket, delegate).map_err(|error| Failure::Before(failed(error)))?;
        let mut args = sandbox.args.clone();
        if let Some(mac) = &delegate.request.mac {
            args.set("MAC", mac);
        }
        if !delegate.request.ips.is_empty() {
            args.set("IP", &delegate.request.ips.join(","));
        }
        let within = |error| Failure::Within(failed(error));
        let raw = sandbox.chain(delegate.into(), &args, self.deadline).add().map_err(within)?;
        let unusable = |e: cni::result::ResultError| within(CniError::new(Code::Decoding, e.to_string()));
        let result = raw.parse().map_err(unusable)?;
        if delegate.role == Role::Default {
            // Found out now, while it can be undone: the runtime gets it in the version of its conf.
            raw.to_version(self.conf.cni_version).map_err(unusable)?;
        }
        let made_something = !result.interfaces.is_empty() || !result.ips.is_empty();
        if made_something && !delegate.route_edit.is_empty() {
            edit::routes(socket, delegate).map_err(within)?;
            edit::cached_result(&sandbox.cache, self.attachment, delegate).map_err(within)?;
        }
        Ok(Attached { raw, result })
    }

    /// Tells the pod what it got. A pod that does not know its addresses is a pod without them.
    fn publish(
        &self,
        source: &mut Source,
        pod: &Pod,
        delegates: &[Delegate],
        attached: &[Attached],
    ) -> Result<(), Error> {
        let pairs = || delegates.iter().zip(attached);
        let entries: Vec<status::Entry> =
            pairs().flat_map(|(delegate, one)| self.entries(delegate, &one.result)).collect();
        let at = self.at.unwrap_or(&pod.at);
        if let Some(text) = status::render(&entries)
            && let Err(error) = source.publish(at, &text, self.deadline)
        {
            let error =
                Error::from(error).to_cni().context(format!("[{at}]: error setting the networks status"));
            return Err(self.undo(delegates, error.into()));
        }
        crash_point!("multus-published");
        let now = Timestamp::now();
        let event = |(nanos, (d, a)): (i64, (&Delegate, &Attached))| {
            // In the order of attachment for whoever lists them.
            let at = now.checked_add(SignedDuration::from_nanos(nanos)).unwrap_or(now);
            events::added(pod, &d.network.label, d.if_name.as_str(), &a.result, at)
        };
        let events: Vec<_> = (0..).zip(pairs()).filter_map(event).collect();
        source.tell(&events, self.deadline.child(TELL_LIMIT));
        Ok(())
    }

    fn entries(&self, delegate: &Delegate, result: &CniResult) -> Vec<status::Entry> {
        let Delegate { network, role, if_name, request, .. } = delegate;
        let file = || device::file(&network.label, &self.attachment.container_id, if_name);
        let device_info = request.device_id.as_ref().and_then(|_| device::read(&file()));
        status::entries(&network.label, *role, result, device_info)
    }

    /// Undoes these networks. The record goes only when nothing is left for the runtime's DEL. Returns the error to be reported.
    fn undo(&self, started: &[Delegate], error: Error) -> Error {
        let netns = self.netns();
        let parts: Vec<Part<'_>> = started.iter().map(Part::from).collect();
        let undone = self.sandbox(&netns).remove(&parts, Deadline::after(UNDO_LIMIT)).map_err(Error::from);
        crash_point!("multus-undone");
        let cleared =
            undone.and_then(|()| Ok(record::remove(&self.conf.cni_dir, &self.attachment.container_id)?));
        match cleared {
            Ok(()) => error,
            Err(left) => {
                let CniError { code, msg, details } = error.to_cni();
                let msg = format!("{msg}; undoing it failed too, DEL must do it: {left}");
                CniError { code, msg, details }.into()
            }
        }
    }

    fn sandbox<'s>(&'s self, netns: &'s str) -> Sandbox<'s> {
        Sandbox::new(self.conf, &self.attachment.container_id, netns, self.at, &self.call.args)
    }

    fn netns(&self) -> String {
        self.attachment.netns.to_string_lossy().into_owned()
    }
}

/// The definitions that these demands need.
pub fn look_up(demands: &[Demand], source: Option<&Source>, deadline: Deadline) -> Result<Found, Error> {
    let wanted = demand::definitions(demands);
    match source {
        Some(source) if !wanted.is_empty() => Ok(source.definitions(&wanted, deadline)?),
        _ => Ok(std::collections::BTreeMap::<_, Lookup>::new()),
    }
}

/// Waits for the default network's sign that it is ready, where the conf names one.
pub fn wait_until_ready(conf: &Conf, deadline: Deadline) -> Result<(), Error> {
    let Some(file) = &conf.readiness_file else { return Ok(()) };
    let deadline = deadline.child(READY_LIMIT);
    while !file.exists() {
        if deadline.expired() {
            return Err(Error::NotReady(file.clone()));
        }
        std::thread::sleep(READY_POLL.min(deadline.remaining()));
    }
    Ok(())
}

/// Plugins differ in what they do to an interface that is there: some take it for theirs.
fn must_be_free(socket: &Socket, delegate: &Delegate) -> Result<(), CniError> {
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

#[cfg(test)]
mod tests;
