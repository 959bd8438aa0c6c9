//! The change of one running pod: from its annotation to its networks, network-status and events.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cni::names::{ContainerId, IfName};
use k8s_openapi::api::core::v1::Event;
use nad::{Counts, NadRef, RunningPod};
use node::deadline::Deadline;

use super::decide::{Addition, Decision, Stage};
use super::error::{AttachError, NotForRunningPods};
use super::log::{Level, log};
use super::sandbox::Sandbox;
use super::status::{Occasion, status};
use crate::conf::Conf;
use crate::error::Error;
use crate::network::Network;
use crate::plan::{self, Delegate};
use crate::plugin::Api;
use crate::record::{Journal, Moment, Progress, RecordError, Resumed};
use crate::report::{self, AttachmentOf};
use crate::request::{Definitions, NetworkRequest, Origin, network_requests, resolve};
use crate::run::Change;

/// Longest time for reading definitions.
const READ_LIMIT: Duration = Duration::from_secs(20);

/// Longest time for writing network-status. A DEL of the sandbox waits for it.
const STATUS_LIMIT: Duration = Duration::from_secs(10);

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The pod has what it requests.
    Settled,
    /// The sandbox is not ready for a change: it has no record yet, or something changed meanwhile. Whatever makes it ready is told by the daemon.
    NotYet,
    /// Another process changes the sandbox. If that one fails or is killed, nothing tells so.
    Busy,
    /// Something failed, and is tried again later.
    Failed,
}

/// What is remembered of a sandbox between two changes, so that nothing is said or written twice.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The reason of the last event about each of these that was no success.
    said: BTreeMap<About, String>,
    /// The status that was written last.
    written: Option<Written>,
    /// Whether networks came or went that no status has reported yet.
    is_unreported: bool,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Annotation,
    Interface(IfName),
    /// A network that requests the interface of another one.
    Taken(String, IfName),
}

/// A status that was written.
#[derive(Debug)]
struct Written {
    text: String,
    /// What the pod had then, as far as it was known.
    over: Option<String>,
}

/// One change of one sandbox.
pub(super) struct Apply<'a> {
    /// The configuration.
    pub(super) conf: &'a Conf,
    /// The pod as it is now.
    pub(super) running: &'a RunningPod,
    /// Its sandbox.
    pub(super) container_id: &'a ContainerId,
    /// The pods and definitions of the cluster.
    pub(super) api: &'a mut Api,
    /// What is remembered.
    pub(super) memory: &'a mut Memory,
    /// What was done.
    pub(super) counts: &'a mut Counts,
}

/// A network to add.
enum Prepared {
    Ours(Box<Delegate>),
    /// Antrea's agent attaches it, when the pod starts.
    Antreas,
}

/// How the change of one network ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Done,
    Failed,
}

/// A sandbox that nobody else changes.
#[derive(Clone, Copy)]
struct Locked<'a> {
    sandbox: &'a Sandbox,
    journal: &'a Journal,
    now: &'a Moment,
}

impl Apply<'_> {
    /// Gives the pod the networks that it requests now. Removes first, then adds in the order of the annotation. One that fails does not stop the
    /// others.
    pub(super) fn run(&mut self) -> Outcome {
        let requests = match self.requests() {
            Ok(requests) => requests,
            Err(error) => {
                // An annotation that is not understood is no reason to remove anything.
                let now = node::clock::now();
                let event = report::change_refused(&self.running.pod, &error.to_string(), now);
                self.say_once(About::Annotation, error.to_string(), event);
                return Outcome::Failed;
            }
        };
        self.memory.said.remove(&About::Annotation);
        match self.change(&requests) {
            Ok(outcome) => outcome,
            Err(error) => {
                log(Level::Warn, &format_args!("pod {}: {error}", self.running.pod.pod_ref));
                Outcome::Failed
            }
        }
    }

    fn requests(&self) -> Result<Vec<NetworkRequest>, Error> {
        let pod = &self.running.pod;
        let defaults = self.conf.default_networks()?;
        Ok(network_requests(self.conf, &defaults, Some(&pod.pod_ref.namespace), Some(pod))?)
    }

    fn change(&mut self, requests: &[NetworkRequest]) -> Result<Outcome, Error> {
        let Some(sandbox) = Sandbox::read(self.conf, self.container_id)? else { return Ok(Outcome::NotYet) };
        let definitions = self.definitions(&sandbox.decide(requests, Stage::Before), requests)?;
        let now = Moment::now();
        let resumed = Journal::resume(&self.conf.cni_dir, self.container_id, &now);
        let journal = match resumed.map_err(RecordError::from)? {
            Resumed::Held(journal) => journal,
            Resumed::Busy => return Ok(Outcome::Busy),
            Resumed::Over => return Ok(Outcome::Settled),
        };
        let before = *self.counts;
        let mut failures = 0_usize;
        for stage in [Stage::Before, Stage::Removed] {
            // Read again: nobody else changes it now.
            let Some(sandbox) = Sandbox::read(self.conf, self.container_id)? else {
                return Ok(Outcome::NotYet);
            };
            let decision = sandbox.decide(requests, stage);
            let locked = Locked { sandbox: &sandbox, journal: &journal, now: &now };
            let failed = match stage {
                Stage::Before => self.remove(locked, &decision),
                Stage::Removed => self.add(locked, &decision, requests, &definitions),
            };
            let is_changed =
                (before.attached, before.detached) != (self.counts.attached, self.counts.detached);
            self.memory.is_unreported |= is_changed;
            if journal.is_over() {
                return Ok(Outcome::Settled);
            }
            failures = failures.saturating_add(failed);
        }
        let occasion = if self.memory.is_unreported { Occasion::Change } else { Occasion::Look };
        self.write_status(requests, occasion, &now)?;
        self.memory.is_unreported = false;
        Ok(if failures == 0 { Outcome::Settled } else { Outcome::Failed })
    }

    /// The definitions of the networks to add.
    fn definitions(&self, decision: &Decision, requests: &[NetworkRequest]) -> Result<Definitions, Error> {
        let wanted: BTreeSet<NadRef> = decision
            .attach
            .iter()
            .filter_map(|addition| definition_of(requests, addition).cloned())
            .collect();
        if wanted.is_empty() {
            return Ok(Definitions::new());
        }
        let wanted: Vec<NadRef> = wanted.into_iter().collect();
        self.api.read_definitions(&wanted, Deadline::after(READ_LIMIT))
    }

    /// Removes networks. Returns how many failed.
    fn remove(&mut self, locked: Locked<'_>, decision: &Decision) -> usize {
        self.report_ignored(locked.sandbox, decision);
        let mut failed = 0_usize;
        for at in &decision.detach {
            if self.detach(locked, *at) == Step::Failed {
                failed = failed.saturating_add(1);
            }
            if locked.journal.is_over() {
                break;
            }
        }
        failed
    }

    /// Adds networks. Returns how many failed.
    fn add(
        &mut self,
        locked: Locked<'_>,
        decision: &Decision,
        requests: &[NetworkRequest],
        definitions: &Definitions,
    ) -> usize {
        let mut failed = self.refuse_taken(decision, requests);
        for addition in &decision.attach {
            if self.attach(locked, addition, requests, definitions) == Step::Failed {
                failed = failed.saturating_add(1);
            }
            if locked.journal.is_over() {
                break;
            }
        }
        failed
    }

    fn detach(&mut self, locked: Locked<'_>, at: usize) -> Step {
        let Some(recorded) = locked.sandbox.record.delegates.get(at) else { return Step::Done };
        let (label, if_name) = (&recorded.network.label, &recorded.if_name);
        match self.with(locked, |change| change.detach(recorded)) {
            Ok(()) => {
                self.counts.detached = self.counts.detached.saturating_add(1);
                let event = report::interface_removed(self.of(label, if_name), node::clock::now());
                self.done(if_name, event);
                Step::Done
            }
            Err(error) => {
                self.counts.detach_failed = self.counts.detach_failed.saturating_add(1);
                let reason = error.to_string();
                let event = report::removing_failed(self.of(label, if_name), &reason, node::clock::now());
                self.say_once(About::Interface(if_name.clone()), reason, event);
                Step::Failed
            }
        }
    }

    fn attach(
        &mut self,
        locked: Locked<'_>,
        addition: &Addition,
        requests: &[NetworkRequest],
        definitions: &Definitions,
    ) -> Step {
        let Some(nad_ref) = definition_of(requests, addition) else { return Step::Done };
        if !definitions.contains_key(nad_ref) {
            // The sandbox changed since the definitions were read. The next attempt reads this one.
            return Step::Failed;
        }
        let label = nad_ref.to_string();
        let attached = match self.prepare(locked.sandbox, addition, requests, definitions) {
            Ok(Prepared::Antreas) => return Step::Done,
            Ok(Prepared::Ours(delegate)) => {
                self.with(locked, |change| change.attach(&delegate)).map_err(AttachError::from)
            }
            Err(error) => Err(error),
        };
        match attached {
            Ok(attached) => {
                self.counts.attached = self.counts.attached.saturating_add(1);
                let of = self.of(&label, &addition.if_name);
                let event = report::interface_added(of, &attached.result, node::clock::now());
                self.done(&addition.if_name, event);
                Step::Done
            }
            Err(error) => {
                self.counts.attach_failed = self.counts.attach_failed.saturating_add(1);
                let (of, reason) = (self.of(&label, &addition.if_name), error.to_string());
                let event = report::adding_failed(of, &reason, node::clock::now());
                self.say_once(About::Interface(addition.if_name.clone()), reason, event);
                Step::Failed
            }
        }
    }

    /// The plan of a network to add.
    fn prepare(
        &self,
        sandbox: &Sandbox,
        addition: &Addition,
        requests: &[NetworkRequest],
        definitions: &Definitions,
    ) -> Result<Prepared, AttachError> {
        let Some(request) = requests.get(addition.request) else { return Ok(Prepared::Antreas) };
        let pod = Some(&self.running.pod);
        let network: Network =
            resolve(request, definitions, &self.conf.conf_dir, pod).map_err(Error::from)?;
        if network.antrea_network_type().is_some() {
            return Ok(Prepared::Antreas);
        }
        if let Some(resource) = network.resource_name {
            return Err(NotForRunningPods::Device { resource }.into());
        }
        if request.attachment.default_route.is_some() {
            return Err(NotForRunningPods::DefaultRoute.into());
        }
        let (container_id, if_name) = (&sandbox.attachment.container_id, addition.if_name.clone());
        let delegate = plan::plan_additional(container_id, if_name, network, request.attachment.clone());
        Ok(Prepared::Ours(Box::new(delegate.map_err(Error::from)?)))
    }

    fn with<T>(
        &self,
        locked: Locked<'_>,
        work: impl FnOnce(Change<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Locked { sandbox, journal, now } = locked;
        let Sandbox { attachment, args, owner, .. } = sandbox;
        // The pod as its runtime names it.
        let pod = owner.pod.as_ref().unwrap_or(&self.running.pod.pod_ref);
        work(Change { conf: self.conf, attachment, args, owner, pod, now, journal })
    }

    fn write_status(
        &mut self,
        requests: &[NetworkRequest],
        occasion: Occasion,
        now: &Moment,
    ) -> Result<(), Error> {
        let Some(sandbox) = Sandbox::read(self.conf, self.container_id)? else { return Ok(()) };
        let detached = Progress::read(&self.conf.cni_dir, self.container_id, now).detached;
        let seen = self.running.status.clone();
        // The watch may not have shown yet what was written here.
        let current = match &self.memory.written {
            Some(written) if written.over == seen => Some(written.text.clone()),
            _ => seen.clone(),
        };
        let ours = sandbox.entries(requests);
        let Some(text) = status(current.as_deref(), &ours, &detached, occasion) else { return Ok(()) };
        if occasion == Occasion::Look && self.memory.written.as_ref().is_some_and(|last| last.text == text) {
            // Another writer does not accept it.
            return Ok(());
        }
        let pod = sandbox.owner.pod.as_ref().unwrap_or(&self.running.pod.pod_ref);
        self.api.write_status(pod, &text, Deadline::after(STATUS_LIMIT))?;
        self.memory.written = Some(Written { text, over: seen });
        Ok(())
    }

    /// Reports a success.
    fn done(&mut self, if_name: &IfName, event: Event) {
        log(Level::Info, &event.message.as_deref().unwrap_or_default());
        self.memory.said.remove(&About::Interface(if_name.clone()));
        self.api.keep_events([event]);
    }

    /// Reports something about an interface, unless it was the last that was said about it.
    fn say_once(&mut self, about: About, reason: String, event: Event) {
        if self.memory.said.get(&about) == Some(&reason) {
            return;
        }
        log(Level::Warn, &event.message.as_deref().unwrap_or_default());
        self.memory.said.insert(about, reason);
        self.api.keep_events([event]);
    }

    fn report_ignored(&mut self, sandbox: &Sandbox, decision: &Decision) {
        for changed in &decision.changed {
            let Some(recorded) = sandbox.record.delegates.get(changed.recorded) else { continue };
            let (label, if_name) = (&recorded.network.label, &recorded.if_name);
            let event = report::interface_not_changed(self.of(label, if_name), node::clock::now());
            let requested = serde_json::Value::Object(changed.arguments.clone()).to_string();
            self.say_once(About::Interface(if_name.clone()), requested, event);
        }
    }

    /// Reports networks whose interface another one has. Returns how many.
    fn refuse_taken(&mut self, decision: &Decision, requests: &[NetworkRequest]) -> usize {
        for addition in &decision.taken {
            let label = definition_of(requests, addition).map(ToString::to_string).unwrap_or_default();
            let reason = NotForRunningPods::Taken { if_name: addition.if_name.clone() }.to_string();
            let of = self.of(&label, &addition.if_name);
            let event = report::adding_failed(of, &reason, node::clock::now());
            self.counts.attach_failed = self.counts.attach_failed.saturating_add(1);
            self.say_once(About::Taken(label, addition.if_name.clone()), reason, event);
        }
        decision.taken.len()
    }

    fn of<'s>(&'s self, label: &'s str, if_name: &'s IfName) -> AttachmentOf<'s> {
        AttachmentOf { pod: &self.running.pod, label, if_name: if_name.as_str() }
    }
}

fn definition_of<'r>(requests: &'r [NetworkRequest], addition: &Addition) -> Option<&'r NadRef> {
    match &requests.get(addition.request)?.origin {
        Origin::Definition(nad_ref) => Some(nad_ref),
        Origin::Inline(_) | Origin::Path(_) | Origin::Named(_) | Origin::OnDisk(_) => None,
    }
}

#[cfg(test)]
mod tests;
