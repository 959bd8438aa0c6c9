//! The life of the pods in one place, one after the other, with all that can happen to them.

use std::time::Duration;

use fake_api::{Key, Preconditions};
use fastrand::Rng;
use node::deadline::Deadline;
use serde_json::json;
use tokio::time::Instant;
use whereabouts::pool::request::{AllocationRequest, Claimant};
use whereabouts::rpc::wire::ADD_LIMIT;

use super::layout::{INTERFACE, Identity, Network, Slot, UidOf, held};
use super::node::{Node, Power};
use super::{CHURN, PATIENCE, SETTLED, World};
use crate::sim::history::{Event, PodId};

/// Lives in a place until the run ends.
pub async fn live(world: World, slot: usize, rng: Rng) {
    let mut place = Place { slot: world.layout.slots[slot], world, rng, containers: 0, pods: 0 };
    match place.slot.found(&place.world.server) {
        Some((pod, container)) => {
            let node = place.any_node();
            let pod = Pod { object: pod.clone(), told: Some(pod.uid.clone()), node, id: pod };
            place.run(&pod, Some(container)).await;
        }
        None => place.pause(20.0).await,
    }
    while place.world.churns() {
        place.pod().await;
        place.pause(4.0).await;
    }
    // The last pod stays, where there is one.
    if place.rng.u8(..4) > 0 {
        place.pod().await;
    }
}

struct Place {
    world: World,
    slot: Slot,
    rng: Rng,
    containers: usize,
    pods: usize,
}

/// A pod that is there.
#[derive(Clone)]
struct Pod {
    /// Its object.
    object: PodId,
    /// The UID that plugins are told.
    told: Option<String>,
    /// As claims name it.
    id: PodId,
    node: Node,
}

/// What becomes of a sandbox that has its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It dies and is made anew; the DEL of the old one comes late.
    Anew,
    /// The pod is deleted as it should be.
    Deleted,
    /// The pod's object goes at once, the sandbox a little later, and the DEL may never come.
    Forced,
    /// All is gone at once, and the DEL never comes.
    Vanished,
}

impl Place {
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

    /// One pod, from its creation to its end.
    async fn pod(&mut self) {
        let node = self.any_node();
        let pod = self.create(node);
        self.run(&pod, None).await;
    }

    fn create(&mut self, node: Node) -> Pod {
        self.pods += 1;
        let name = match self.slot.identity {
            Identity::New => format!("dep-{}-{}", self.slot.index, self.pods),
            Identity::Same => format!("sts-{}", self.slot.index),
        };
        let on_node = format!("{:08x}-0000-4000-9000-{:012x}", self.slot.index, self.pods);
        let mut object = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
            "spec": { "nodeName": node.name }, "status": { "phase": "Pending" },
        });
        if self.slot.uid == UidOf::Node {
            object["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": on_node });
        }
        let object = self.world.server.with(|store| store.create("pods", "default", object)).unwrap();
        let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
        let object = PodId { podref: format!("default/{name}"), uid };
        let told = match self.slot.uid {
            UidOf::Object => Some(object.uid.clone()),
            UidOf::Node => Some(on_node),
            UidOf::Nobody => None,
        };
        let uid = told.clone().unwrap_or_else(|| object.uid.clone());
        let id = PodId { podref: object.podref.clone(), uid };
        self.world.history.note(Event::PodMade(id.clone()));
        Pod { object, told, id, node }
    }

    fn remove(&self, pod: &Pod) {
        let name = pod.object.podref.split('/').next_back().unwrap_or_default();
        let preconditions = Preconditions { uid: Some(pod.object.uid.clone()), resource_version: None };
        let key = Key::new("pods", "default", name);
        if self.world.server.with(|store| store.delete(&key, &preconditions)).is_ok() {
            self.world.history.note(Event::PodGone(pod.id.clone()));
        }
    }

    /// Sandbox after sandbox, until the pod is gone. `attached` is the first one where it has its addresses already.
    async fn run(&mut self, pod: &Pod, mut attached: Option<String>) {
        loop {
            let container = match attached.take() {
                Some(container) => Some(container),
                None => self.sandbox(pod).await,
            };
            match container {
                Some(container) => {
                    if self.serve_out(pod, &container).await == End::Anew {
                        continue;
                    }
                    return;
                }
                None if pod.node.power() == Power::Off => {
                    if self.is_evicted(pod).await {
                        return;
                    }
                }
                // The pod is deleted before it ever ran.
                None if self.world.churns() && self.rng.u8(..8) == 0 => return self.remove(pod),
                None => self.pause(PATIENCE.as_secs_f64()).await,
            }
        }
    }

    /// Tries to make a sandbox: its name if it has its addresses.
    async fn sandbox(&mut self, pod: &Pod) -> Option<String> {
        let container = self.container();
        let patience = (self.world.churns() && self.rng.u8(..10) == 0)
            .then(|| self.seconds(3.0).mul_f64(self.rng.f64()));
        let order = self.order(pod, &container);
        let added = self.add(pod, &order, patience);
        if pod.node.while_on(added).await.unwrap_or(Added::Not) == Added::Attached {
            if pod.node.power() == Power::On {
                return Some(container);
            }
            self.world.history.note(Event::Died { container });
            return None;
        }
        if pod.node.power() == Power::Off {
            return None;
        }
        // Most runtimes delete what failed at once; some forget until they collect garbage.
        if self.world.churns() && self.rng.u8(..10) == 0 {
            self.delete_later(pod, &container, 30.0);
        } else {
            self.delete(pod, &container).await;
        }
        None
    }

    /// ADD, by a plugin that is killed when `patience` ends.
    async fn add(&self, pod: &Pod, order: &AllocationRequest, patience: Option<Duration>) -> Added {
        let history = &self.world.history;
        let deadline = Deadline::after(ADD_LIMIT);
        let (name, id) = (|| order.claimant.container_id.clone(), pod.id.clone());
        let at = history.at(Instant::from_std(deadline.instant()));
        history.note(Event::AddStarted { container: name(), pod: id.clone(), deadline: at });
        let limit = patience.unwrap_or(ADD_LIMIT * 4);
        match tokio::time::timeout(limit, pod.node.add(order)).await {
            Ok(Ok(claims)) => {
                let held = claims.iter().map(held).collect();
                history.note(Event::Attached { container: name(), pod: id, held });
                Added::Attached
            }
            Ok(Err(error)) => {
                history.note(Event::AddFailed { container: name(), error });
                Added::Not
            }
            Err(_elapsed) => {
                history.note(Event::AddKilled { container: name() });
                Added::Not
            }
        }
    }

    fn order(&mut self, pod: &Pod, container: &str) -> AllocationRequest {
        let layout = &self.world.layout;
        let claimant = Claimant {
            podref: pod.id.podref.clone(),
            pod_uid: pod.told.clone(),
            if_name: INTERFACE.to_owned(),
            container_id: container.to_owned(),
            node: Some(pod.node.name.clone()),
        };
        let network = self.slot.network;
        let pools = layout.toggled(network, &mut self.rng);
        AllocationRequest { claimant, namespace: None, pools, wanted: layout.wanted(network) }
    }

    /// A sandbox that has its addresses, up to its end.
    async fn serve_out(&mut self, pod: &Pod, container: &str) -> End {
        let life = self.seconds(40.0);
        let left = CHURN.saturating_sub(self.world.history.now());
        let node = pod.node.clone();
        if node.while_on(tokio::time::sleep(life.min(left))).await.is_none() {
            self.dies(container);
            return if self.is_evicted(pod).await { End::Vanished } else { End::Anew };
        }
        // Most of the last pods stay until the run ends, and so does one for which the leader would have no time left.
        let is_late = self.world.history.now() > CHURN + SETTLED;
        if !self.world.churns() && (self.rng.u8(..3) > 0 || is_late) {
            return std::future::pending().await;
        }
        let end = self.end();
        match end {
            End::Anew => {
                self.dies(container);
                self.delete_later(pod, container, 60.0);
            }
            End::Deleted => {
                let late = self.rng.bool();
                if !late {
                    self.remove(pod);
                }
                self.delete(pod, container).await;
                self.remove(pod);
            }
            End::Forced => {
                self.remove(pod);
                if self.slot.identity == Identity::New {
                    // The node learns of it later; never so late as the grace time.
                    let learns = self.seconds(45.0);
                    node.while_on(tokio::time::sleep(learns)).await;
                }
                self.dies(container);
                if self.rng.bool() {
                    self.delete_later(pod, container, 60.0);
                }
            }
            End::Vanished => {
                self.dies(container);
                self.remove(pod);
            }
        }
        end
    }

    fn end(&mut self) -> End {
        // After the churn no sandbox comes anew.
        let anew = if self.world.churns() { 6 } else { 0 };
        match self.rng.u8(..14 + anew) {
            0..8 => End::Deleted,
            8..11 => End::Forced,
            11..14 => End::Vanished,
            _ => End::Anew,
        }
    }

    fn dies(&self, container: &str) {
        self.world.history.note(Event::Died { container: container.to_owned() });
    }

    /// The node is off: either it is back soon and the pod goes on, or the pod is evicted.
    async fn is_evicted(&mut self, pod: &Pod) -> bool {
        let patience = self.seconds(if self.world.churns() { 60.0 } else { 15.0 });
        if tokio::time::timeout(patience, pod.node.is(Power::On)).await.is_ok() {
            return false;
        }
        self.remove(pod);
        true
    }

    /// DEL, perhaps killed and repeated.
    async fn delete(&mut self, pod: &Pod, container: &str) {
        let delete = Delete::new(self, pod, container);
        if self.world.churns() && self.rng.u8(..10) == 0 {
            let patience = self.seconds(1.0);
            let _ = tokio::time::timeout(patience, delete.run()).await;
        }
        delete.run().await;
        if self.rng.u8(..10) == 0 {
            delete.run().await;
        }
    }

    /// DEL some time later, while the world goes on.
    fn delete_later(&mut self, pod: &Pod, container: &str, most: f64) {
        let delete = Delete::new(self, pod, container);
        let pause = self.seconds(most);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            delete.run().await;
        });
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Added {
    Attached,
    Not,
}

/// A DEL.
pub struct Delete {
    world: World,
    node: Node,
    container: String,
    podref: String,
    network: Network,
}

impl Delete {
    fn new(place: &Place, pod: &Pod, container: &str) -> Self {
        Delete {
            world: place.world.clone(),
            node: pod.node.clone(),
            container: container.to_owned(),
            podref: pod.id.podref.clone(),
            network: place.slot.network,
        }
    }

    /// Does it, if the node runs.
    async fn run(&self) {
        let history = &self.world.history;
        if self.node.power() == Power::Off {
            // When it is back kubelet does it, if the disk is still there.
            return history.note(Event::Died { container: self.container.clone() });
        }
        history.note(Event::DelStarted { container: self.container.clone() });
        let pools = self.world.layout.pools(self.network);
        let del = self.node.del(&self.container, INTERFACE, &self.podref, &pools);
        if self.node.while_on(del).await.is_some() {
            history.note(Event::DelEnded { container: self.container.clone() });
        }
    }
}
