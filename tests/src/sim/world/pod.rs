//! The life of the pods in one slot, one after the other.

use std::time::Duration;

use fake_api::{Key, Preconditions};
use fastrand::Rng;
use node::deadline::Deadline;
use serde_json::json;
use tokio::time::Instant;
use whereabouts::pool::request::{AllocationRequest, Claimant};
use whereabouts::rpc::wire::ADD_LIMIT;

use super::layout::{INTERFACE, Naming, Network, ReportedUid, Slot, held_addresses};
use super::node::{Node, Power};
use super::{CHURN, RETRY_PAUSE, WIND_DOWN, World};
use crate::sim::history::{Event, PodId};

/// Runs the pods of a slot until the run ends.
pub async fn run_slot(world: World, slot: usize, rng: Rng) {
    let mut runner = SlotRunner { slot: world.layout.slots[slot], world, rng, containers: 0, pods: 0 };
    match runner.slot.initial_pod(&runner.world.server) {
        Some((pod, container)) => {
            let node = runner.any_node();
            let pod = Pod { object: pod.clone(), reported_uid: Some(pod.uid.clone()), node, id: pod };
            runner.run_sandboxes(&pod, Some(container)).await;
        }
        None => runner.pause(20.0).await,
    }
    while runner.world.is_churning() {
        runner.run_pod().await;
        runner.pause(4.0).await;
    }
    // Three times in four, a last pod stays until the end: the checker must see it with its address.
    if runner.rng.u8(..4) > 0 {
        runner.run_pod().await;
    }
}

/// Runs the pods of one slot, one after the other.
struct SlotRunner {
    world: World,
    slot: Slot,
    rng: Rng,
    containers: usize,
    pods: usize,
}

/// A pod that exists.
#[derive(Clone)]
struct Pod {
    /// Its object's name and UID.
    object: PodId,
    /// The UID in the CNI arguments.
    reported_uid: Option<String>,
    /// Its identity in claims.
    id: PodId,
    node: Node,
}

/// How a sandbox that has its addresses ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SandboxEnd {
    /// The container dies, and the kubelet makes a new sandbox. The DEL of the old one comes late.
    Recreated,
    /// The pod is deleted in the regular way: DEL, then the object is removed, or the object first.
    Deleted,
    /// The object is removed at once. The container ends a little later, perhaps without a DEL.
    ForceDeleted,
    /// Object and container vanish at once. No DEL follows.
    Vanished,
}

impl SlotRunner {
    fn seconds(&mut self, most: f64) -> Duration {
        Duration::from_secs_f64(self.rng.f64() * most)
    }

    async fn pause(&mut self, most: f64) {
        let pause = self.seconds(most);
        tokio::time::sleep(pause).await;
    }

    fn any_node(&mut self) -> Node {
        let nodes = &self.world.nodes;
        let up: Vec<&Node> = nodes.iter().filter(|node| node.power() == Power::On).collect();
        match up.as_slice() {
            [] => nodes[0].clone(),
            up => up[self.rng.usize(..up.len())].clone(),
        }
    }

    fn container(&mut self) -> String {
        self.containers += 1;
        format!("{:04x}{:060x}", self.slot.index, self.containers)
    }

    /// Runs one pod from creation to deletion.
    async fn run_pod(&mut self) {
        let node = self.any_node();
        let pod = self.create_pod(node);
        self.run_sandboxes(&pod, None).await;
    }

    fn create_pod(&mut self, node: Node) -> Pod {
        self.pods += 1;
        let name = match self.slot.naming {
            Naming::Deployment => format!("dep-{}-{}", self.slot.index, self.pods),
            Naming::StatefulSet => format!("sts-{}", self.slot.index),
        };
        let kubelet_uid = format!("{:08x}-0000-4000-9000-{:012x}", self.slot.index, self.pods);
        let mut object = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
            "spec": { "nodeName": node.name }, "status": { "phase": "Pending" },
        });
        if self.slot.reported_uid == ReportedUid::StaticPod {
            object["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": kubelet_uid });
        }
        let object = self.world.server.with(|store| store.create("pods", "default", object)).unwrap();
        let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
        let object = PodId { podref: format!("default/{name}"), uid };
        let reported_uid = match self.slot.reported_uid {
            ReportedUid::Object => Some(object.uid.clone()),
            ReportedUid::StaticPod => Some(kubelet_uid),
            ReportedUid::None => None,
        };
        let uid = reported_uid.clone().unwrap_or_else(|| object.uid.clone());
        let id = PodId { podref: object.podref.clone(), uid };
        self.world.history.record(Event::PodCreated(id.clone()));
        Pod { object, reported_uid, id, node }
    }

    fn delete_object(&self, pod: &Pod) {
        let name = pod.object.podref.split('/').next_back().unwrap_or_default();
        let preconditions = Preconditions { uid: Some(pod.object.uid.clone()), resource_version: None };
        let key = Key::new("pods", "default", name);
        if self.world.server.with(|store| store.delete(&key, &preconditions)).is_ok() {
            self.world.history.record(Event::PodDeleted(pod.id.clone()));
        }
    }

    /// Runs the pod's sandboxes until the pod is gone. `attached` is its first container, if that has its addresses already.
    async fn run_sandboxes(&mut self, pod: &Pod, mut attached: Option<String>) {
        loop {
            let container = match attached.take() {
                Some(container) => Some(container),
                None => self.new_sandbox(pod).await,
            };
            match container {
                Some(container) => {
                    if self.run_sandbox(pod, &container).await == SandboxEnd::Recreated {
                        continue;
                    }
                    return;
                }
                None if pod.node.power() == Power::Off => {
                    if self.wait_for_power(pod).await == AfterFailure::Evicted {
                        return;
                    }
                }
                // The pod is deleted before it ever had an address.
                None if self.world.is_churning() && self.rng.u8(..8) == 0 => return self.delete_object(pod),
                None => self.pause(RETRY_PAUSE.as_secs_f64()).await,
            }
        }
    }

    /// Runs an ADD for a new sandbox, and cleans up if it fails. Returns the container if it has its addresses.
    async fn new_sandbox(&mut self, pod: &Pod) -> Option<String> {
        let container = self.container();
        let kill_after = (self.world.is_churning() && self.rng.u8(..10) == 0)
            .then(|| self.seconds(3.0).mul_f64(self.rng.f64()));
        let request = self.request(pod, &container);
        let added = self.add(pod, &request, kill_after);
        if pod.node.while_powered(added).await.unwrap_or(AddOutcome::Failed) == AddOutcome::Attached {
            if pod.node.power() == Power::On {
                return Some(container);
            }
            self.world.history.record(Event::ContainerLost { container });
            return None;
        }
        if pod.node.power() == Power::Off {
            return None;
        }
        // Most runtimes call DEL at once after a failed ADD; some only when they collect garbage.
        if self.world.is_churning() && self.rng.u8(..10) == 0 {
            self.run_del_later(pod, &container, 30.0);
        } else {
            self.run_del(pod, &container).await;
        }
        None
    }

    /// Runs an ADD. The plugin's process is killed after `kill_after`.
    async fn add(&self, pod: &Pod, request: &AllocationRequest, kill_after: Option<Duration>) -> AddOutcome {
        let history = &self.world.history;
        let deadline = Deadline::after(ADD_LIMIT);
        let (name, id) = (|| request.claimant.container_id.clone(), pod.id.clone());
        let at = history.time_of(Instant::from_std(deadline.instant()));
        history.record(Event::AddStarted { container: name(), pod: id.clone(), deadline: at });
        // Far beyond the deadline: an ADD that does not end by itself must show up as late.
        let limit = kill_after.unwrap_or(ADD_LIMIT * 4);
        match tokio::time::timeout(limit, pod.node.add(request)).await {
            Ok(Ok(claims)) => {
                let addresses = claims.iter().flat_map(held_addresses).collect();
                history.record(Event::AddSucceeded { container: name(), pod: id, addresses });
                AddOutcome::Attached
            }
            Ok(Err(error)) => {
                history.record(Event::AddFailed { container: name(), error });
                AddOutcome::Failed
            }
            Err(_elapsed) => {
                history.record(Event::AddKilled { container: name() });
                AddOutcome::Failed
            }
        }
    }

    fn request(&mut self, pod: &Pod, container: &str) -> AllocationRequest {
        let layout = &self.world.layout;
        let claimant = Claimant {
            podref: pod.id.podref.clone(),
            pod_uid: pod.reported_uid.clone(),
            if_name: INTERFACE.to_owned(),
            container_id: container.to_owned(),
            node: Some(pod.node.name.clone()),
        };
        let network = self.slot.network;
        let pools = layout.pools_of_sandbox(network, &mut self.rng);
        AllocationRequest { claimant, namespace: None, pools, wanted: layout.claims(network) }
    }

    /// Runs a sandbox that has its addresses until it ends.
    async fn run_sandbox(&mut self, pod: &Pod, container: &str) -> SandboxEnd {
        let lifetime = self.seconds(40.0);
        let left = CHURN.saturating_sub(self.world.history.now());
        let node = pod.node.clone();
        if node.while_powered(tokio::time::sleep(lifetime.min(left))).await.is_none() {
            self.record_loss(container);
            return match self.wait_for_power(pod).await {
                AfterFailure::Recovered => SandboxEnd::Recreated,
                AfterFailure::Evicted => SandboxEnd::Vanished,
            };
        }
        // After the churn most pods stay until the run ends. Late in the run all do: the leader would have no time to release their claims.
        let is_late = self.world.history.now() > CHURN + WIND_DOWN;
        if !self.world.is_churning() && (self.rng.u8(..3) > 0 || is_late) {
            return std::future::pending().await;
        }
        let end = self.random_end();
        match end {
            SandboxEnd::Recreated => {
                self.record_loss(container);
                self.run_del_later(pod, container, 60.0);
            }
            SandboxEnd::Deleted => {
                let is_del_first = self.rng.bool();
                if !is_del_first {
                    self.delete_object(pod);
                }
                self.run_del(pod, container).await;
                self.delete_object(pod);
            }
            SandboxEnd::ForceDeleted => {
                self.delete_object(pod);
                if self.slot.naming == Naming::Deployment {
                    // The kubelet sees the deletion late, but within the grace period (60 s), or the leader would release a live address.
                    let delay = self.seconds(45.0);
                    node.while_powered(tokio::time::sleep(delay)).await;
                }
                // A StatefulSet's successor takes the claim over at once, so its container is gone first.
                self.record_loss(container);
                if self.rng.bool() {
                    self.run_del_later(pod, container, 60.0);
                }
            }
            SandboxEnd::Vanished => {
                self.record_loss(container);
                self.delete_object(pod);
            }
        }
        end
    }

    fn random_end(&mut self) -> SandboxEnd {
        // No sandbox is made again after the churn.
        let recreated = if self.world.is_churning() { 6 } else { 0 };
        match self.rng.u8(..14 + recreated) {
            0..8 => SandboxEnd::Deleted,
            8..11 => SandboxEnd::ForceDeleted,
            11..14 => SandboxEnd::Vanished,
            _ => SandboxEnd::Recreated,
        }
    }

    fn record_loss(&self, container: &str) {
        self.world.history.record(Event::ContainerLost { container: container.to_owned() });
    }

    /// Waits for the node's power. If that takes too long, the pod is evicted: its object is deleted.
    async fn wait_for_power(&mut self, pod: &Pod) -> AfterFailure {
        let patience = self.seconds(if self.world.is_churning() { 60.0 } else { 15.0 });
        if tokio::time::timeout(patience, pod.node.wait_for(Power::On)).await.is_ok() {
            return AfterFailure::Recovered;
        }
        self.delete_object(pod);
        AfterFailure::Evicted
    }

    /// Runs a DEL, which may be killed and repeated.
    async fn run_del(&mut self, pod: &Pod, container: &str) {
        let del = Del::new(self, pod, container);
        if self.world.is_churning() && self.rng.u8(..10) == 0 {
            let kill_after = self.seconds(1.0);
            let _ = tokio::time::timeout(kill_after, del.run()).await;
        }
        del.run().await;
        if self.rng.u8(..10) == 0 {
            del.run().await;
        }
    }

    /// Runs a DEL after a random time, in the background.
    fn run_del_later(&mut self, pod: &Pod, container: &str, most: f64) {
        let del = Del::new(self, pod, container);
        let pause = self.seconds(most);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            del.run().await;
        });
    }
}

/// What happens to a pod after a power failure of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterFailure {
    Recovered,
    Evicted,
}

/// The end of an ADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddOutcome {
    Attached,
    Failed,
}

/// A DEL to run.
struct Del {
    world: World,
    node: Node,
    container: String,
    podref: String,
    network: Network,
}

impl Del {
    fn new(runner: &SlotRunner, pod: &Pod, container: &str) -> Self {
        Del {
            world: runner.world.clone(),
            node: pod.node.clone(),
            container: container.to_owned(),
            podref: pod.id.podref.clone(),
            network: runner.slot.network,
        }
    }

    /// Runs it, if the node has power.
    async fn run(&self) {
        let history = &self.world.history;
        if self.node.power() == Power::Off {
            // The kubelet repeats it when the node is back, if the disk survived.
            return history.record(Event::ContainerLost { container: self.container.clone() });
        }
        history.record(Event::DelStarted { container: self.container.clone() });
        let pools = self.world.layout.pools(self.network);
        let del = self.node.del(&self.container, INTERFACE, &self.podref, &pools);
        if self.node.while_powered(del).await.is_some() {
            history.record(Event::DelSucceeded { container: self.container.clone() });
        }
    }
}
