//! Which workloads change, in which order.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::facts::Facts;
use super::image::is_ours;
use super::program::{Program, Started};
use super::rollout::{Progress, progress};
use super::workload::{Annotated, Container, Kind, PREVIOUS_IMAGE, Pods, Workload};

/// Whither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To our image.
    Apply,
    /// To the images that were there before.
    Back,
}

/// The steps, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Whither.
    pub direction: Direction,
    /// What is done; empty if all is done.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Changes the images of a workload, and waits until its pods run with them.
    Images(ImageStep),
    /// Waits.
    Await(Await),
}

/// What a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Await {
    /// Each entry of an IPPool has a claim.
    Claims,
    /// Each claim has its entry in an IPPool.
    Entries,
}

/// A change of the images of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageStep {
    /// The kind.
    pub kind: Kind,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// What the workload runs.
    pub program: Program,
    /// The containers to change; none if only the pods are waited for.
    pub changes: Vec<Change>,
    /// What becomes of the annotation [`PREVIOUS_IMAGE`].
    pub annotation: Annotation,
    /// How many pods are replaced.
    #[serde(skip)]
    pub pods: Pods,
    #[serde(skip)]
    first: FirstAnnotation,
}

/// What becomes of the annotation [`PREVIOUS_IMAGE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Annotation {
    /// These images, by container, are written with the change.
    Remember(BTreeMap<String, String>),
    /// It stays as it is.
    Keep,
    /// It is removed when the pods run with their earlier images: until then a second run finds the way.
    Forget,
}

/// Whether the workload has annotations before the step.
#[derive(Clone, Debug, PartialEq, Eq)]
enum FirstAnnotation {
    /// It has.
    No,
    /// It has none, at this resourceVersion.
    Yes(String),
}

/// A change of one container's image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The container.
    pub container: String,
    /// Its image before.
    pub from: String,
    /// Its image after.
    pub to: String,
    #[serde(skip)]
    place: String,
}

impl ImageStep {
    /// `<kind>/<name>`, as kubectl takes it.
    pub fn object(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// `<namespace>/<kind>/<name>`.
    pub fn shown(&self) -> String {
        format!("{}/{}", self.namespace, self.object())
    }

    /// The change as a JSON patch (RFC 6902). It changes nothing if somebody has changed one of the containers since the plan. `None` if
    /// there is nothing to change.
    pub fn patch(&self) -> Option<Value> {
        let mut patch = Vec::new();
        for Change { container, from, to, place } in &self.changes {
            patch.push(json!({"op": "test", "path": format!("{place}/name"), "value": container}));
            patch.push(json!({"op": "test", "path": format!("{place}/image"), "value": from}));
            patch.push(json!({"op": "replace", "path": format!("{place}/image"), "value": to}));
        }
        match (&self.annotation, &self.first) {
            (Annotation::Remember(images), FirstAnnotation::No) => {
                patch.push(json!({"op": "add", "path": annotation_path(), "value": text(images)}));
            }
            (Annotation::Remember(images), FirstAnnotation::Yes(version)) => {
                // Another writer's first annotation must not be lost.
                patch.push(json!({"op": "test", "path": "/metadata/resourceVersion", "value": version}));
                patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": {PREVIOUS_IMAGE: text(images)}}));
            }
            (Annotation::Keep | Annotation::Forget, _) => {}
        }
        (!patch.is_empty()).then_some(Value::Array(patch))
    }

    /// What is written when the pods run with the images, as a JSON patch.
    pub fn last_patch(&self) -> Option<Value> {
        let forget = || json!([{"op": "remove", "path": annotation_path()}]);
        (self.annotation == Annotation::Forget).then(forget)
    }

    /// The commands that do the same.
    pub fn commands(&self) -> Vec<String> {
        let kubectl = format!("kubectl --namespace {}", self.namespace);
        let object = self.object();
        let mut commands = Vec::new();
        if let Annotation::Remember(images) = &self.annotation {
            commands
                .push(format!("{kubectl} annotate --overwrite {object} {PREVIOUS_IMAGE}='{}'", text(images)));
        }
        if !self.changes.is_empty() {
            let images = self.changes.iter().map(|change| format!(" {}={}", change.container, change.to));
            commands.push(format!("{kubectl} set image {object}{}", images.collect::<String>()));
        }
        if self.kind != Kind::CronJob {
            commands.push(format!("{kubectl} rollout status {object}"));
        }
        if self.annotation == Annotation::Forget {
            commands.push(format!("{kubectl} annotate {object} {PREVIOUS_IMAGE}-"));
        }
        commands
    }
}

fn annotation_path() -> String {
    format!("/metadata/annotations/{}", PREVIOUS_IMAGE.replace('/', "~1"))
}

fn text(images: &BTreeMap<String, String>) -> String {
    json!(images).to_string()
}

/// The steps to `image`, or back from it.
pub fn plan(facts: &Facts, direction: Direction, image: &str) -> Plan {
    let mut workloads: Vec<&Workload> = facts.workloads.iter().collect();
    workloads.sort_by_key(|workload| (workload.program, workload.kind, &workload.namespace, &workload.name));
    let step = |workload: &&Workload| match direction {
        Direction::Apply => forth(workload, image),
        Direction::Back => back(workload),
    };
    let steps: Vec<ImageStep> = workloads.iter().filter_map(step).collect();
    Plan { direction, steps: in_order(steps, direction) }
}

/// Forth: what would delete or write beside ours first, Multus last. Back: the other way round, so that those who delete claims without an entry
/// begin when every claim has one, and while a leader of ours still runs that writes the entries.
fn in_order(mut images: Vec<ImageStep>, direction: Direction) -> Vec<Step> {
    let has_addresses = images.iter().any(|step| step.program <= Program::Whereabouts);
    if direction == Direction::Back {
        images.reverse();
    }
    let mut steps = Vec::new();
    let mut waited = false;
    for step in images {
        if direction == Direction::Back && step.program <= Program::Whereabouts && !waited {
            steps.push(Step::Await(Await::Entries));
            waited = true;
        }
        // Once more: pods were made while the nodes changed over.
        let is_of_nodes = step.program == Program::Whereabouts;
        steps.push(Step::Images(step));
        if direction == Direction::Back && is_of_nodes {
            steps.push(Step::Await(Await::Entries));
        }
    }
    if direction == Direction::Apply && has_addresses {
        steps.push(Step::Await(Await::Claims));
    }
    steps
}

fn forth(workload: &Workload, image: &str) -> Option<ImageStep> {
    let known = workload.previous.as_ref().and_then(|previous| previous.as_ref().ok());
    let mut previous = known.cloned().unwrap_or_default();
    let before = previous.len();
    let mut changes = Vec::new();
    for container in &workload.containers {
        let is_upstream = match container.started {
            Started::Upstream(_) | Started::ByDefault(_) => true,
            Started::OwnManifest(_) => false,
        };
        if !is_upstream || container.image == image {
            continue;
        }
        if !is_ours(&container.image, image) {
            // An image that was there before an earlier change over stays the one to go back to.
            previous.entry(container.name.clone()).or_insert_with(|| container.image.clone());
        }
        changes.push(change(container, image));
    }
    // A change that was begun before: its pods are still to be waited for.
    let is_begun = known.is_some() && progress(workload) == Progress::Going;
    let annotation = if previous.len() > before { Annotation::Remember(previous) } else { Annotation::Keep };
    (!changes.is_empty() || is_begun).then(|| step(workload, changes, annotation))
}

fn back(workload: &Workload) -> Option<ImageStep> {
    let previous = workload.previous.as_ref()?.as_ref().ok()?;
    let changed = workload.containers.iter().filter_map(|container| {
        let image = previous.get(&container.name).filter(|image| **image != container.image)?;
        Some(change(container, image))
    });
    Some(step(workload, changed.collect(), Annotation::Forget))
}

fn change(container: &Container, image: &str) -> Change {
    let (list, at) = container.place;
    Change {
        container: container.name.clone(),
        from: container.image.clone(),
        to: image.to_owned(),
        place: format!("/{}/{at}", list.key()),
    }
}

fn step(workload: &Workload, changes: Vec<Change>, annotation: Annotation) -> ImageStep {
    let pod = match workload.kind {
        Kind::DaemonSet | Kind::Deployment => "/spec/template/spec",
        Kind::CronJob => "/spec/jobTemplate/spec/template/spec",
    };
    let placed =
        changes.into_iter().map(|change| Change { place: format!("{pod}{}", change.place), ..change });
    ImageStep {
        kind: workload.kind,
        namespace: workload.namespace.clone(),
        name: workload.name.clone(),
        program: workload.program,
        changes: placed.collect(),
        annotation,
        pods: workload.pods,
        first: match workload.annotated {
            Annotated::Yes => FirstAnnotation::No,
            Annotated::No => FirstAnnotation::Yes(workload.version.clone()),
        },
    }
}
