//! The CNI calls of one sandbox: an ADD and a DEL for each of its interfaces.

use std::time::Duration;

use fastrand::Rng;
use node::deadline::Deadline;
use node::names::DnsLabel;
use tokio::time::Instant;
use whereabouts::pool::request::{AllocationRequest, Claimant, PoolRequest};
use whereabouts::rpc::wire::{ADD_LIMIT, DEL_LIMIT};

use super::World;
use super::networks::{Network, held_addresses};
use super::node::{Node, Power};
use super::pod::Pod;
use super::scenario::Plugin;
use super::upstream::Call;
use crate::sim::history::{Attachment, Event, HeldAddress, Keeper, Releaser};

/// The longest time that an ADD or DEL may take before it counts as one that never ends.
const FOR_EVER: Duration = Duration::from_secs(120);

/// A sandbox of a pod.
#[derive(Clone)]
pub struct Sandbox {
    /// Its container's ID.
    pub container: String,
    /// The interfaces whose ADD has begun.
    pub interfaces: Vec<Interface>,
}

/// An interface of a sandbox.
#[derive(Clone)]
pub struct Interface {
    /// Container and name.
    pub attachment: Attachment,
    /// Its network.
    pub network: Network,
    /// The network's pools when the sandbox was made.
    pub pools: Vec<PoolRequest>,
}

/// What becomes of the processes of an ADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They run to their end.
    Run,
    /// The plugin is killed after this time.
    Killed(Duration),
    /// The plugin's caller is killed after this time, and the plugin lives on.
    Orphaned(Duration),
}

/// The end of an ADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AddOutcome {
    Attached,
    Failed,
}

/// The ADD of one interface.
pub struct Add<'a> {
    /// The world.
    pub world: &'a World,
    /// The pod.
    pub pod: &'a Pod,
    /// The interface.
    pub interface: &'a Interface,
    /// The same interface of the pod's earlier sandbox, if that still holds its addresses and the new one must get them.
    pub earlier: Option<Attachment>,
}

impl Add<'_> {
    /// Runs it, with the plugin that the node has.
    pub async fn run(self, fate: Fate, rng: Rng) -> AddOutcome {
        match self.world.plugin(&self.pod.node) {
            Plugin::Ours => self.run_ours(fate).await,
            Plugin::Whereabouts => self.run_upstream(rng).await,
        }
    }

    fn request(&self) -> AllocationRequest {
        let Attachment { container, if_name } = self.interface.attachment.clone();
        let claimant = Claimant {
            podref: self.pod.id.podref.clone(),
            pod_uid: self.pod.reported_uid.clone(),
            if_name,
            container_id: container,
            node: Some(self.pod.node.name.clone()),
        };
        let namespace = DnsLabel::new(self.interface.network.namespace()).unwrap();
        let (pools, wanted) = (self.interface.pools.clone(), self.interface.network.claims());
        AllocationRequest { claimant, namespace: Some(namespace), pools, wanted }
    }

    async fn run_ours(self, fate: Fate) -> AddOutcome {
        let history = &self.world.history;
        let attachment = || self.interface.attachment.clone();
        let deadline = history.time_of(Instant::from_std(Deadline::after(ADD_LIMIT).instant()));
        let earlier = self.earlier.clone();
        history.record(Event::AddStarted { attachment: attachment(), deadline, earlier });
        let (node, request) = (self.pod.node.clone(), self.request());
        let add = async move { node.while_powered(node.add(&request)).await };
        let added = match fate {
            Fate::Run => tokio::time::timeout(FOR_EVER, add).await.ok(),
            Fate::Killed(after) => tokio::time::timeout(after, add).await.ok(),
            Fate::Orphaned(after) => {
                tokio::time::timeout(after, tokio::spawn(add)).await.ok().map(Result::unwrap)
            }
        };
        match added {
            Some(Some(Ok(record))) => {
                let namespace = record.namespace.as_ref().map_or("", |namespace| namespace.as_str());
                let held = |claim| held_addresses(namespace, claim);
                let addresses = record.claims.iter().flat_map(held).collect();
                let (pod, keeper) = (self.pod.id.clone(), self.keeper());
                history.record(Event::AddSucceeded { attachment: attachment(), pod, addresses, keeper });
                return AddOutcome::Attached;
            }
            Some(Some(Err(error))) => {
                history.record(Event::AddFailed { attachment: attachment(), error: error.to_string() });
            }
            // The power failed.
            Some(None) => {}
            None if fate == Fate::Run => {
                let error = "it never ended".to_owned();
                history.record(Event::AddFailed { attachment: attachment(), error });
            }
            None => history.record(Event::AddKilled { attachment: attachment() }),
        }
        AddOutcome::Failed
    }

    fn keeper(&self) -> Keeper {
        if self.pod.reported_uid.is_some() { self.pod.node.keeper() } else { Keeper::Nobody }
    }

    async fn run_upstream(self, rng: Rng) -> AddOutcome {
        let Interface { attachment, network, pools } = self.interface;
        let World { server, history, .. } = self.world;
        let podref = &self.pod.id.podref;
        let mut call = Call { server, history, namespace: network.namespace(), attachment, podref, rng };
        let added: Result<Vec<HeldAddress>, _> = call.add(pools).await;
        let (attachment, pod) = (attachment.clone(), self.pod.id.clone());
        match added {
            Ok(addresses) => {
                history.record(Event::UpstreamAttached { attachment, pod, addresses });
                AddOutcome::Attached
            }
            Err(error) => {
                history.record(Event::AddFailed { attachment, error: error.to_string() });
                AddOutcome::Failed
            }
        }
    }
}

/// The DEL of a sandbox: of all interfaces, the last one first.
pub struct Del {
    world: World,
    pod: Pod,
    sandbox: Sandbox,
    rng: Rng,
}

impl Del {
    /// A DEL to run.
    pub fn new(world: &World, pod: &Pod, sandbox: &Sandbox, rng: Rng) -> Self {
        Del { world: world.clone(), pod: pod.clone(), sandbox: sandbox.clone(), rng }
    }

    /// Runs it, if the node has power.
    pub async fn run(&mut self) {
        self.world.next_start().await;
        let interfaces = self.sandbox.interfaces.clone();
        for interface in interfaces.iter().rev() {
            if self.pod.node.power() == Power::Off {
                // The kubelet repeats it when the node is back, if the disk survived.
                let attachment = interface.attachment.clone();
                self.world.history.record(Event::ContainerLost { attachment });
                continue;
            }
            match self.world.plugin(&self.pod.node) {
                Plugin::Ours => {
                    let Interface { attachment, network, pools } = interface;
                    let (node, podref) = (&self.pod.node, &self.pod.id.podref);
                    del_on(&self.world, node, attachment, podref, network.namespace(), pools).await;
                }
                Plugin::Whereabouts => self.run_upstream(interface).await,
            }
        }
    }

    async fn run_upstream(&mut self, interface: &Interface) {
        let Interface { attachment, network, pools } = interface;
        let World { server, history, .. } = &self.world;
        let deadline = history.now() + FOR_EVER;
        history.record(Event::DelStarted { attachment: attachment.clone(), deadline });
        let (namespace, podref) = (network.namespace(), self.pod.id.podref.as_str());
        let rng = self.rng.fork();
        Call { server, history, namespace, attachment, podref, rng }.del(pools).await;
        history.record(Event::DelSucceeded { attachment: attachment.clone(), by: Releaser::Whereabouts });
    }
}

/// Runs a DEL of our plugin on a node that has power.
pub async fn del_on(
    world: &World,
    node: &Node,
    attachment: &Attachment,
    podref: &str,
    namespace: &str,
    pools: &[PoolRequest],
) {
    let history = &world.history;
    let deadline = history.time_of(Instant::from_std(Deadline::after(DEL_LIMIT).instant()));
    history.record(Event::DelStarted { attachment: attachment.clone(), deadline });
    let del = node.while_powered(node.del(attachment, podref, namespace, pools));
    let attachment = attachment.clone();
    match tokio::time::timeout(FOR_EVER, del).await {
        // The power failed.
        Ok(None) => {}
        Ok(Some(Ok(()))) => history.record(Event::DelSucceeded { attachment, by: Releaser::Ours }),
        Ok(Some(Err(error))) => {
            history.record(Event::DelFailed { attachment, error: error.to_string() });
        }
        Err(_elapsed) => {
            history.record(Event::DelFailed { attachment, error: "it never ended".to_owned() });
        }
    }
}
