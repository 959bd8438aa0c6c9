//! The life of the pods in one slot, one after the other.

use std::time::Duration;

use fake_api::{Key, Preconditions};
use fastrand::Rng;
use serde_json::json;

use super::layout::{NET1, Naming, ReportedUid, Slot};
use super::networks::Network;
use super::node::{Node, Power};
use super::sandbox::{Add, AddOutcome, Del, Fate, Interface, Sandbox};
use super::scenario::Scenario;
use super::{CHURN, RETRY_PAUSE, WIND_DOWN, World};
use crate::sim::history::{Attachment, Event, Keeper, PodId};

/// Runs the pods of a slot until the run ends.
pub async fn run_slot(world: World, slot: usize, rng: Rng) {
    let mut runner = SlotRunner { slot: world.layout.slots[slot], world, rng, containers: 0, pods: 0 };
    match runner.slot.initial_pod(&runner.world.server) {
        Some((pod, container)) => {
            let node = runner.any_node();
            let pod = Pod { object: pod.clone(), reported_uid: Some(pod.uid.clone()), node, id: pod };
            let interface = runner.interface(&container, NET1, Network::Old);
            let sandbox = Sandbox { container, interfaces: vec![interface] };
            runner.run_sandboxes(&pod, Some(sandbox)).await;
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
pub struct Pod {
    /// Its object's name and UID.
    pub object: PodId,
    /// The UID in the CNI arguments.
    pub reported_uid: Option<String>,
    /// Its identity in claims.
    pub id: PodId,
    /// Where it runs.
    pub node: Node,
}

/// How a sandbox that has its addresses ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SandboxEnd {
    /// The container dies, and the kubelet makes a new sandbox. The DEL of the old one comes late.
    Recreated,
    /// As [`SandboxEnd::Recreated`], after a power failure.
    Rebooted,
    /// The pod is deleted in the regular way: DEL, then the object is removed, or the object first.
    Deleted,
    /// The object is removed at once. The container ends a little later, perhaps without a DEL.
    ForceDeleted,
    /// Object and container vanish at once. No DEL follows.
    Vanished,
}

/// What happens to a pod after a power failure of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterFailure {
    Recovered,
    Evicted,
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
        let serves =
            |node: &&Node| self.slot.interfaces().all(|(_, network)| node.serves(network.namespace()));
        let able: Vec<&Node> = self.world.nodes.iter().filter(serves).collect();
        let up: Vec<&&Node> = able.iter().filter(|node| node.power() == Power::On).collect();
        match up.as_slice() {
            [] => able[0].clone(),
            up => (*up[self.rng.usize(..up.len())]).clone(),
        }
    }

    fn container(&mut self) -> String {
        self.containers += 1;
        format!("{:04x}{:060x}", self.slot.index, self.containers)
    }

    fn interface(&mut self, container: &str, if_name: &str, network: Network) -> Interface {
        let full = self.world.layout.full_pool_size();
        let pools = network.pools_of_sandbox(full, self.world.schedule.scenario, &mut self.rng);
        let attachment = Attachment { container: container.to_owned(), if_name: if_name.to_owned() };
        Interface { attachment, network, pools }
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
        let interfaces = self.slot.interfaces().map(|(if_name, _)| if_name.to_owned()).collect();
        self.world.history.record(Event::PodCreated { pod: id.clone(), interfaces });
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

    /// Runs the pod's sandboxes until the pod is gone. `attached` is its first one, if that has its addresses already.
    async fn run_sandboxes(&mut self, pod: &Pod, mut attached: Option<Sandbox>) {
        let mut earlier = None;
        loop {
            let sandbox = match attached.take() {
                Some(sandbox) => Some(sandbox),
                None => self.new_sandbox(pod, earlier.take()).await,
            };
            match sandbox {
                Some(sandbox) => match self.run_sandbox(pod, &sandbox).await {
                    SandboxEnd::Recreated => earlier = Some(sandbox),
                    SandboxEnd::Rebooted => {}
                    SandboxEnd::Deleted | SandboxEnd::ForceDeleted | SandboxEnd::Vanished => return,
                },
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

    /// Runs the ADDs of a new sandbox, and cleans up if one fails. Returns the sandbox if it has its addresses.
    async fn new_sandbox(&mut self, pod: &Pod, earlier: Option<Sandbox>) -> Option<Sandbox> {
        self.world.next_start().await;
        let container = self.container();
        let mut sandbox = Sandbox { container, interfaces: Vec::new() };
        let (mut outcome, mut has_orphan) = (AddOutcome::Attached, false);
        for (if_name, network) in self.slot.interfaces() {
            let interface = self.interface(&sandbox.container, if_name, network);
            sandbox.interfaces.push(interface.clone());
            let earlier = self.kept(pod, earlier.as_ref(), &interface);
            let add = Add { world: &self.world, pod, interface: &interface, earlier };
            let (fate, rng) = (fate(&self.world, &mut self.rng), self.rng.fork());
            outcome = add.run(fate, rng).await;
            has_orphan |= matches!(fate, Fate::Orphaned(_));
            if outcome == AddOutcome::Failed || pod.node.power() == Power::Off {
                break;
            }
        }
        if pod.node.power() == Power::Off {
            self.record_loss(&sandbox);
            return None;
        }
        if outcome == AddOutcome::Attached {
            return Some(sandbox);
        }
        // Most runtimes call DEL at once after a failed ADD; some only when they collect garbage. But then no plugin of the ADD still runs.
        if self.world.is_churning() && self.rng.u8(..10) == 0 && !has_orphan {
            // No container runs in a sandbox without all of its networks.
            self.record_loss(&sandbox);
            self.run_del_later(pod, &sandbox, 30.0);
        } else {
            self.run_del(pod, &sandbox).await;
        }
        None
    }

    /// The attachment of the earlier sandbox whose addresses the new one must get. Promised only where the node's own files remember them, and
    /// the network asks for the same names.
    fn kept(&self, pod: &Pod, earlier: Option<&Sandbox>, interface: &Interface) -> Option<Attachment> {
        let is_promised = self.world.schedule.scenario == Scenario::Ours
            && pod.node.keeper() == Keeper::Nobody
            && pod.reported_uid.is_some()
            && interface.network.is_constant();
        let is_same = |other: &&Interface| other.attachment.if_name == interface.attachment.if_name;
        let earlier = earlier?.interfaces.iter().find(is_same)?;
        is_promised.then(|| earlier.attachment.clone())
    }

    /// Runs a sandbox that has its addresses until it ends.
    async fn run_sandbox(&mut self, pod: &Pod, sandbox: &Sandbox) -> SandboxEnd {
        let lifetime = self.seconds(40.0);
        let left = CHURN.saturating_sub(self.world.history.now());
        let node = pod.node.clone();
        if node.while_powered(tokio::time::sleep(lifetime.min(left))).await.is_none() {
            self.record_loss(sandbox);
            return match self.wait_for_power(pod).await {
                AfterFailure::Recovered => SandboxEnd::Rebooted,
                AfterFailure::Evicted => SandboxEnd::Vanished,
            };
        }
        // After the churn most pods stay until the run ends. Late in the run all do: the leader would have no time to release their claims.
        let is_late = self.world.history.now() > CHURN + WIND_DOWN;
        if !self.world.is_churning() && (self.rng.u8(..3) > 0 || is_late) {
            return std::future::pending().await;
        }
        let end = self.random_end();
        self.end_sandbox(pod, sandbox, end).await;
        end
    }

    async fn end_sandbox(&mut self, pod: &Pod, sandbox: &Sandbox, end: SandboxEnd) {
        match end {
            SandboxEnd::Recreated | SandboxEnd::Rebooted => {
                self.record_loss(sandbox);
                self.run_del_later(pod, sandbox, 60.0);
            }
            SandboxEnd::Deleted => {
                let is_del_first = self.rng.bool();
                if !is_del_first {
                    self.delete_object(pod);
                }
                self.run_del(pod, sandbox).await;
                self.delete_object(pod);
            }
            SandboxEnd::ForceDeleted => {
                self.delete_object(pod);
                if self.slot.naming == Naming::Deployment {
                    // The kubelet sees the deletion late, but within the grace period (60 s), or the leader would release a live address.
                    let delay = self.seconds(45.0);
                    pod.node.while_powered(tokio::time::sleep(delay)).await;
                }
                // A StatefulSet's successor takes the claim over at once, so its container is gone first.
                self.record_loss(sandbox);
                if self.rng.bool() {
                    self.run_del_later(pod, sandbox, 60.0);
                }
            }
            SandboxEnd::Vanished => {
                self.record_loss(sandbox);
                self.delete_object(pod);
            }
        }
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

    fn record_loss(&self, sandbox: &Sandbox) {
        for interface in &sandbox.interfaces {
            self.world.history.record(Event::ContainerLost { attachment: interface.attachment.clone() });
        }
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
    async fn run_del(&mut self, pod: &Pod, sandbox: &Sandbox) {
        let mut del = Del::new(&self.world, pod, sandbox, self.rng.fork());
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
    fn run_del_later(&mut self, pod: &Pod, sandbox: &Sandbox, most: f64) {
        let mut del = Del::new(&self.world, pod, sandbox, self.rng.fork());
        let pause = self.seconds(most);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            del.run().await;
        });
    }
}

/// What becomes of the processes of an ADD: mostly nothing.
fn fate(world: &World, rng: &mut Rng) -> Fate {
    let after = Duration::from_secs_f64(3.0 * rng.f64() * rng.f64());
    match rng.u8(..20) {
        0 | 1 if world.is_churning() => Fate::Killed(after),
        2 if world.is_churning() => Fate::Orphaned(after),
        _ => Fate::Run,
    }
}
