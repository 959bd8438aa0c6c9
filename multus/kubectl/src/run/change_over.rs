//! The steps of a change over, one after the other: each change is waited for, and the first fault ends it.

use std::io::Write;
use std::time::Duration;

use node::client::ApiError;
use node::deadline::Deadline;
use node::names::DnsLabel;

use super::migrate_facts::{by_name, read_addresses, workloads};
use super::pace::Pace;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::migrate::{
    Await, Facts, ImageStep, Plan, Progress, Step, progress, stuck, without_claim, without_entry,
};
use crate::write;

/// How long a request may be tried again after the limit of its step.
const REQUEST: Duration = Duration::from_secs(30);

/// How a change over ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// What was done.
    pub(super) done: Vec<String>,
    /// Why it stopped, if not all was done.
    pub(super) fault: Option<String>,
}

/// Takes the steps of the plan. `progress` gets a line for each, and for what is waited for.
///
/// # Errors
/// Only if the output cannot be written: a fault of the cluster is part of the result.
pub(super) async fn take(
    plan: &Plan,
    facts: &Facts,
    cluster: Cluster<'_>,
    pace: Pace,
    out: &mut dyn Write,
) -> Result<Ended, Failure> {
    let mut ended = Ended::default();
    for (at, step) in plan.steps.iter().enumerate() {
        writeln!(out, "{} of {}: {}", at + 1, plan.steps.len(), step.shown())?;
        out.flush()?;
        let until = cluster.deadline.child(pace.step);
        // The last look at what is waited for may take longer than the wait.
        let deadline = cluster.deadline.child(pace.step.saturating_add(REQUEST));
        let limited = Walk { cluster: Cluster { deadline, ..cluster }, until, pace };
        let taken = match step {
            Step::Images(step) => limited.change(step, out).await,
            Step::Await(what) => limited.wait_for(*what, facts, out).await,
        };
        match taken {
            Ok(()) => ended.done.push(step.shown()),
            Err(Failure::Output(error)) => return Err(Failure::Output(error)),
            Err(failure) => {
                ended.fault = Some(format!("{}: {failure}", step.shown()));
                break;
            }
        }
    }
    Ok(ended)
}

struct Walk<'a> {
    cluster: Cluster<'a>,
    until: Deadline,
    pace: Pace,
}

impl Walk<'_> {
    async fn change(&self, step: &ImageStep, out: &mut dyn Write) -> Result<(), Failure> {
        let path = write::workload(step.kind, &step.namespace, &step.name)?;
        if let Some(patch) = step.patch() {
            match write::patch(self.cluster.client, &path, patch, self.cluster.deadline).await {
                Ok(()) => {}
                // The tests of the patch: the plan is out of date.
                Err(ApiError::Invalid { code: 422, .. }) => {
                    return Err(Failure::Fault(
                        "it has changed since the plan was made: run the command again".to_owned(),
                    ));
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.wait_for_pods(step, out).await?;
        match step.last_patch() {
            Some(patch) => Ok(write::patch(self.cluster.client, &path, patch, self.cluster.deadline).await?),
            None => Ok(()),
        }
    }

    /// Waits until the pods run with the images of the step, and still do a moment later.
    async fn wait_for_pods(&self, step: &ImageStep, out: &mut dyn Write) -> Result<(), Failure> {
        let mut said = String::new();
        let mut ready_before = false;
        loop {
            let mut all = by_name(workloads(self.cluster).await?);
            let gone = || Failure::Fault("it is gone".to_owned());
            let workload = all.remove(&step.shown()).ok_or_else(gone)?;
            for change in &step.changes {
                let is_there = |container: &&crate::migrate::Container| container.name == change.container;
                if workload
                    .containers
                    .iter()
                    .find(is_there)
                    .is_none_or(|container| container.image != change.to)
                {
                    let message =
                        format!("somebody changed the image of container {} back", change.container);
                    return Err(Failure::Fault(message));
                }
            }
            if !workload.selector.is_empty() {
                let namespace = DnsLabel::new(step.namespace.as_str())?;
                let pods = self.cluster.pods_with(&namespace, &workload.selector).await?;
                let images: Vec<(&str, &str)> =
                    step.changes.iter().map(|change| (&*change.container, &*change.to)).collect();
                if let Some(stuck) = stuck(&pods, &images) {
                    return Err(Failure::Fault(format!(
                        "pod {} on node {}: {}",
                        stuck.pod, stuck.node, stuck.why
                    )));
                }
            }
            match progress(&workload) {
                Progress::Done if ready_before || workload.selector.is_empty() => return Ok(()),
                Progress::Done => {
                    ready_before = true;
                    self.pause(self.pace.settle)?.await;
                    continue;
                }
                Progress::Going => ready_before = false,
            }
            let pods = workload.pods;
            // The status may still be about the template before the change.
            let updated = if pods.current { pods.updated.min(pods.wanted) } else { 0 };
            let now = format!("    {} of {} pods replaced, {} ready", updated, pods.wanted, pods.ready);
            if now != said {
                writeln!(out, "{now}")?;
                out.flush()?;
                said = now;
            }
            self.pause(self.pace.look)?.await;
        }
    }

    async fn wait_for(&self, what: Await, facts: &Facts, out: &mut dyn Write) -> Result<(), Failure> {
        let mut said = 0;
        loop {
            let mut now = Facts::default();
            read_addresses(self.cluster, &mut now).await?;
            let left = match what {
                Await::Claims => without_claim(&now.pools, &now.claims, &facts.definitions),
                Await::Entries => without_entry(&now.pools, &now.claims),
            };
            let Some(first) = left.first() else { return Ok(()) };
            if left.len() != said {
                writeln!(out, "    {} left, as {first}", left.len())?;
                out.flush()?;
                said = left.len();
            }
            self.pause(self.pace.look)?.await;
        }
    }

    /// A pause, unless the step has taken too long already.
    fn pause(&self, pause: Duration) -> Result<tokio::time::Sleep, Failure> {
        if self.until.remaining() <= pause {
            return Err(Failure::Fault(format!("not done after {} s (--timeout)", self.pace.step.as_secs())));
        }
        Ok(tokio::time::sleep(pause))
    }
}
