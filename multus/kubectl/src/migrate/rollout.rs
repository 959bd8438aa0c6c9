//! How far a workload is with replacing its pods.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::workload::{Kind, Workload};

/// How far a workload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All pods have the newest template and are ready.
    Done,
    /// Some are left.
    Going,
}

/// How far the workload is.
pub const fn progress(workload: &Workload) -> Progress {
    let pods = workload.pods;
    let complete = pods.current
        && pods.updated >= pods.wanted
        && pods.ready >= pods.wanted
        // The pods of an older template have ended: two kinds of programs do not run at once.
        && pods.present <= pods.wanted;
    match workload.kind {
        // It has no pods that stay; its next job has the new image.
        Kind::CronJob => Progress::Done,
        Kind::DaemonSet | Kind::Deployment if complete => Progress::Done,
        Kind::DaemonSet | Kind::Deployment => Progress::Going,
    }
}

/// A pod that does not become ready by waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Its name.
    pub pod: String,
    /// Its node; empty if it has none.
    pub node: String,
    /// Why, as the kubelet says it.
    pub why: String,
}

/// The kubelet's reasons to wait that come after at least one more try.
const HOPELESS: [&str; 5] = [
    "ImagePullBackOff",
    "InvalidImageName",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
];

/// The first of these pods that waiting does not help. `images` are the containers of the step, each with its new image.
pub fn stuck(pods: &[Pod], images: &[(&str, &str)]) -> Option<Stuck> {
    pods.iter().find_map(|pod| {
        // A pod that ends, or has another image, is about to be replaced.
        if pod.metadata.deletion_timestamp.is_some() || !has_images(pod, images) {
            return None;
        }
        let status = pod.status.as_ref()?;
        let init = status.init_container_statuses.as_deref().unwrap_or_default();
        let main = status.container_statuses.as_deref().unwrap_or_default();
        let why = init.iter().chain(main).find_map(hopeless)?;
        Some(Stuck {
            pod: pod.metadata.name.clone().unwrap_or_default(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
            why,
        })
    })
}

fn has_images(pod: &Pod, images: &[(&str, &str)]) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let all = || spec.init_containers.iter().flatten().chain(&spec.containers);
    images.iter().all(|(name, image)| {
        all().filter(|container| container.name == *name).all(|found| found.image.as_deref() == Some(*image))
    })
}

fn hopeless(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().filter(|reason| HOPELESS.contains(reason))?;
    // What the program said last says more than the kubelet's back-off.
    let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let said =
        last.and_then(|ended| ended.message.as_deref()).or(waiting.message.as_deref()).unwrap_or_default();
    Some(format!("container {} with image {}: {reason}: {}", container.name, container.image, said.trim()))
}
