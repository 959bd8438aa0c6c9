//! Draining the node's tombstones: the addresses of DELs that could not reach the API server are released.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use node::deadline::Deadline;
use tokio::time::MissedTickBehavior;

use super::serve::Service;
use crate::claims::store::Claims;
use crate::claims::tombstones;
use crate::node_state::hints::NodeHints;
use crate::node_state::record::{Record, Records};

/// Time between two reads of the tombstones' folder: addresses are released soon after the API server is back.
const PERIOD: Duration = Duration::from_secs(1);

/// The time limit of one tombstone.
const LIMIT: Duration = Duration::from_secs(10);

/// Tombstones that are drained at the same time.
const AT_ONCE: usize = 16;

/// Drains the tombstones of one state folder.
#[derive(Debug)]
pub(super) struct TombstoneDrain {
    /// Access to the API server and to the pool caches.
    pub service: Service,
    /// The node's records.
    pub records: Records,
    /// The node's hints.
    pub hints: NodeHints,
}

/// Whether a tombstone is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    Yes,
    NotYet,
}

impl TombstoneDrain {
    /// Drains tombstones. Never returns.
    pub async fn run(self) {
        let mut period = tokio::time::interval(PERIOD);
        // A slow pass must not be followed by a burst of passes.
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            let found = self.records.idle_tombstones().unwrap_or_default();
            let left = self.pass(found).await;
            self.service.metrics.set_tombstones(left);
        }
    }

    /// Drains `tombstones`, and returns the number that is left.
    async fn pass(&self, tombstones: Vec<Record>) -> usize {
        let all = tombstones.len();
        let mut tombstones = tombstones.into_iter();
        let Some(first) = tombstones.next() else { return 0 };
        // One request first: while the API server is away, a pass must not send hundreds.
        if self.drain(first).await == Drained::NotYet {
            return all;
        }
        let drained = stream::iter(tombstones).map(|tombstone| self.drain(tombstone));
        let left = drained
            .buffer_unordered(AT_ONCE)
            .filter(|drained| std::future::ready(*drained == Drained::NotYet));
        left.count().await
    }

    async fn drain(&self, tombstone: Record) -> Drained {
        let Service { api, namespace, .. } = &self.service;
        let claims = Claims { api, namespace, deadline: Deadline::after(LIMIT) };
        self.service.caches.remove_pins(&tombstone);
        match tombstones::drain(&claims, &self.records, &self.hints, &tombstone).await {
            Ok(tombstones::Drained::ByOther) => Drained::Yes,
            Ok(tombstones::Drained::Yes) => {
                self.service.released(&tombstone);
                tracing::info!(pod = %tombstone.podref, interface = %tombstone.if_name, "released the addresses of a deleted interface");
                Drained::Yes
            }
            Err(error) => {
                tracing::warn!(pod = %tombstone.podref, interface = %tombstone.if_name, %error, "the addresses of a deleted interface are not released yet; trying again");
                Drained::NotYet
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use serde_json::json;

    use node::names::{DnsLabel, DnsSubdomain};

    use super::*;
    use crate::daemon::pool_cache::PoolCaches;
    use crate::leader::tests::server::Server;
    use crate::metrics::Metrics;
    use crate::node_state::record::Stage;
    use crate::pool::held_claim::HeldClaim;

    fn kube_system() -> DnsLabel {
        DnsLabel::new("kube-system").unwrap()
    }

    fn tombstone() -> Record {
        let claim = HeldClaim {
            name: DnsSubdomain::new("10.0.0.3").unwrap(),
            resource_version: "1".into(),
            second: None,
            entry: None,
            pool: "10.0.0.0-24".into(),
            address: "10.0.0.3/24".parse().unwrap(),
        };
        Record {
            container_id: "c".into(),
            if_name: "net1".into(),
            podref: "a/b".into(),
            network: "n".into(),
            kubeconfig: None,
            namespace: None,
            pod_uid: None,
            stage: Stage::Held,
            claims: vec![claim],
        }
    }

    async fn drain_of(server: &Server, state: &Path) -> TombstoneDrain {
        let (records, hints) = (Records::open(state).unwrap(), NodeHints::open(state));
        let (metrics, _) = Metrics::new();
        let (caches, _started) = PoolCaches::new(hints.of(&kube_system()), metrics.clone());
        let service = Service::new(server.client().await, kube_system(), Arc::new(caches), metrics);
        TombstoneDrain { service, records, hints }
    }

    #[tokio::test]
    async fn a_drained_tombstone_lowers_the_hint_in_the_daemons_own_state_folder() {
        let state = tempfile::tempdir().unwrap();
        let drain = drain_of(&Server::default(), state.path()).await;
        let hints = drain.hints.of(&kube_system());
        hints.set_start("10.0.0.0-24", "10.0.0.9".parse().unwrap());
        drain.records.bury(&tombstone()).unwrap();
        assert_eq!(drain.pass(drain.records.tombstones().unwrap()).await, 0);
        assert_eq!(drain.records.tombstones().unwrap(), []);
        assert_eq!(hints.start("10.0.0.0-24"), Some("10.0.0.3".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_tombstone_is_drained_in_the_namespace_that_it_names() {
        let (server, state) = (Server::default(), tempfile::tempdir().unwrap());
        let claims = "overlappingrangeipreservations";
        let claim = json!({"spec": {"podref": "a/b", "ifname": "net1", "containerid": "c"}});
        for namespace in ["kube-system", "wa"] {
            server.put(claims, namespace, "10.0.0.3", claim.clone());
        }
        let drain = drain_of(&server, state.path()).await;
        let tombstone = Record { namespace: Some(DnsLabel::new("wa").unwrap()), ..tombstone() };
        drain.records.bury(&tombstone).unwrap();
        assert_eq!(drain.pass(drain.records.tombstones().unwrap()).await, 0);
        let left = ["kube-system", "wa"].map(|namespace| server.get(claims, namespace, "10.0.0.3").is_some());
        assert_eq!(left, [true, false]);
    }
}
