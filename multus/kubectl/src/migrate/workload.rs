//! A workload of Multus or Whereabouts, by what decisions need of it.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{Container as KubeContainer, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Serialize;

use super::program::{Program, Started, started};

/// Annotation of a workload that was changed over: the images before, as a JSON object by the names of the containers.
pub const PREVIOUS_IMAGE: &str = "multus-rs/previous-image";

/// The kind of a workload. The texts are kubectl's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A DaemonSet.
    DaemonSet,
    /// A Deployment.
    Deployment,
    /// A CronJob.
    CronJob,
}

/// A workload that runs programs of Multus or Whereabouts, upstream's or ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its resourceVersion.
    pub version: String,
    /// The program that says what it is.
    pub program: Program,
    /// The containers that run such programs. Sidecars of others are not among them.
    pub containers: Vec<Container>,
    /// The images before the change over, by container. `None` without the annotation; an error if nobody can read it.
    pub previous: Option<Result<BTreeMap<String, String>, String>>,
    /// Whether it has annotations at all.
    pub annotated: Annotated,
    /// Who keeps it as it is, and would undo a change: a package manager or a chart.
    pub managed_by: Option<String>,
    /// How its pods are replaced.
    pub replaces: Replaces,
    /// How many of its pods are as they should be.
    pub pods: Pods,
    /// Its service account.
    pub account: String,
    /// `WHEREABOUTS_NAMESPACE`, if the manifest states it as a text.
    pub address_namespace: Option<String>,
    /// What its pods may that ours needs nothing of: `hostPID`, `privileged`.
    pub privileges: Vec<&'static str>,
    /// The label selector of its pods.
    pub selector: String,
}

/// Whether an object has annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Annotated {
    /// It has some.
    Yes,
    /// It has none: the first one needs a map.
    No,
}

/// How a workload replaces its pods after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaces {
    /// By itself.
    Itself,
    /// Only when somebody deletes them: `OnDelete`, `paused`.
    OnlyByHand(&'static str),
    /// It has none that stay.
    Nothing,
}

/// The counts of a workload's pods, from its status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pods {
    /// How many there should be.
    pub wanted: i32,
    /// How many have the newest template.
    pub updated: i32,
    /// How many are ready.
    pub ready: i32,
    /// How many there are, those with an older template included.
    pub present: i32,
    /// Whether the status is about the newest template.
    #[serde(skip)]
    pub current: bool,
}

/// A container of such a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The list that it is in, and its place there.
    pub place: (List, usize),
    /// Its image.
    pub image: String,
    /// What it starts.
    pub started: Started,
}

/// A list of containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Those that run first.
    Init,
    /// Those that stay.
    Main,
}

impl List {
    /// The key of the pod's specification.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Init => "initContainers",
            Self::Main => "containers",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DaemonSet => "daemonset",
            Self::Deployment => "deployment",
            Self::CronJob => "cronjob",
        })
    }
}

impl Workload {
    /// `<kind>/<name>`, as kubectl takes it.
    pub fn object(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// `<namespace>/<kind>/<name>`.
    pub fn shown(&self) -> String {
        format!("{}/{}", self.namespace, self.object())
    }

    /// The image of its program.
    pub fn image(&self) -> &str {
        let main = self.containers.iter().rev().find(|container| container.place.0 == List::Main);
        main.or(self.containers.last()).map_or("", |container| container.image.as_str())
    }

    /// Whether it comes from our own manifests: its images are not to be changed.
    pub fn is_own_manifest(&self) -> bool {
        self.containers.iter().any(|container| matches!(container.started, Started::OwnManifest(_)))
    }
}

/// The workload, if it runs a program of Multus or Whereabouts.
pub fn of_daemon_set(object: &DaemonSet) -> Option<Workload> {
    let spec = object.spec.as_ref()?;
    let mut workload = of_pod(Kind::DaemonSet, &object.metadata, spec.template.spec.as_ref()?)?;
    let strategy = spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
    workload.replaces = match strategy {
        Some("OnDelete") => Replaces::OnlyByHand("updateStrategy OnDelete"),
        _ => Replaces::Itself,
    };
    workload.selector = selector(&spec.selector);
    if let Some(status) = &object.status {
        workload.pods = Pods {
            wanted: status.desired_number_scheduled,
            updated: status.updated_number_scheduled.unwrap_or_default(),
            ready: status.number_ready,
            present: status.current_number_scheduled,
            current: status.observed_generation >= object.metadata.generation,
        };
    }
    Some(workload)
}

/// The workload, if it runs a program of Multus or Whereabouts.
pub fn of_deployment(object: &Deployment) -> Option<Workload> {
    let spec = object.spec.as_ref()?;
    let mut workload = of_pod(Kind::Deployment, &object.metadata, spec.template.spec.as_ref()?)?;
    workload.replaces = match spec.paused {
        Some(true) => Replaces::OnlyByHand("paused"),
        _ => Replaces::Itself,
    };
    workload.selector = selector(&spec.selector);
    workload.pods.wanted = spec.replicas.unwrap_or(1);
    if let Some(status) = &object.status {
        workload.pods.updated = status.updated_replicas.unwrap_or_default();
        workload.pods.ready = status.ready_replicas.unwrap_or_default();
        workload.pods.present = status.replicas.unwrap_or_default();
        workload.pods.current = status.observed_generation >= object.metadata.generation;
    }
    Some(workload)
}

/// The workload, if it runs a program of Multus or Whereabouts.
pub fn of_cron_job(object: &CronJob) -> Option<Workload> {
    let template = &object.spec.as_ref()?.job_template.spec.as_ref()?.template;
    of_pod(Kind::CronJob, &object.metadata, template.spec.as_ref()?)
}

fn of_pod(kind: Kind, metadata: &ObjectMeta, pod: &PodSpec) -> Option<Workload> {
    let listed = |list: List, containers: &[KubeContainer]| -> Vec<Container> {
        let one = |(at, container): (usize, &KubeContainer)| {
            let image = container.image.clone().unwrap_or_default();
            let command = container.command.as_deref().unwrap_or_default();
            let started = started(&image, command, container.args.as_deref().unwrap_or_default())?;
            Some(Container { name: container.name.clone(), place: (list, at), image, started })
        };
        containers.iter().enumerate().filter_map(one).collect()
    };
    let mut containers = listed(List::Init, pod.init_containers.as_deref().unwrap_or_default());
    containers.extend(listed(List::Main, &pod.containers));
    // What stays says what the workload is; an init container of Multus may be in a pod of somebody else.
    let program =
        containers.iter().filter(|container| container.place.0 == List::Main).map(
            |container| match container.started {
                Started::Upstream(program) | Started::ByDefault(program) | Started::OwnManifest(program) => {
                    program
                }
            },
        );
    let program = program.max()?;
    let env = pod.containers.iter().flat_map(|container| container.env.as_deref().unwrap_or_default());
    let mut stated = env.filter(|variable| variable.name == "WHEREABOUTS_NAMESPACE");
    let annotations = metadata.annotations.as_ref();
    Some(Workload {
        kind,
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        version: metadata.resource_version.clone().unwrap_or_default(),
        program,
        containers,
        previous: annotations
            .and_then(|all| all.get(PREVIOUS_IMAGE))
            .map(|text| serde_json::from_str(text).map_err(|error| error.to_string())),
        annotated: if annotations.is_some_and(|all| !all.is_empty()) {
            Annotated::Yes
        } else {
            Annotated::No
        },
        managed_by: managed_by(metadata),
        replaces: Replaces::Nothing,
        pods: Pods::default(),
        account: pod.service_account_name.clone().unwrap_or_else(|| "default".to_owned()),
        address_namespace: stated.find_map(|variable| variable.value.clone()),
        privileges: privileges(pod),
        selector: String::new(),
    })
}

fn privileges(pod: &PodSpec) -> Vec<&'static str> {
    let privileged = |container: &KubeContainer| {
        container.security_context.as_ref().and_then(|context| context.privileged).unwrap_or_default()
    };
    let init = pod.init_containers.as_deref().unwrap_or_default();
    let host_pid = pod.host_pid.unwrap_or_default().then_some("hostPID");
    let any = init.iter().chain(&pod.containers).any(privileged);
    host_pid.into_iter().chain(any.then_some("privileged")).collect()
}

/// A program that applies the object again and again, or with its next update.
fn managed_by(metadata: &ObjectMeta) -> Option<String> {
    let value = |map: Option<&BTreeMap<String, String>>, key: &str| map.and_then(|map| map.get(key)).cloned();
    let label = |key: &str| value(metadata.labels.as_ref(), key);
    let annotation = |key: &str| value(metadata.annotations.as_ref(), key);
    if label("kapp.k14s.io/app").is_some() {
        return Some("kapp".to_owned());
    }
    if let Some(release) = annotation("meta.helm.sh/release-name") {
        return Some(format!("Helm (release {release})"));
    }
    if let Some(name) =
        annotation("argocd.argoproj.io/tracking-id").or_else(|| label("argocd.argoproj.io/instance"))
    {
        return Some(format!("Argo CD ({name})"));
    }
    if let Some(name) =
        label("kustomize.toolkit.fluxcd.io/name").or_else(|| label("helm.toolkit.fluxcd.io/name"))
    {
        return Some(format!("Flux ({name})"));
    }
    let owner = metadata.owner_references.as_deref().unwrap_or_default().first()?;
    Some(format!("{} {}", owner.kind, owner.name))
}

fn selector(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten();
    labels.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}
