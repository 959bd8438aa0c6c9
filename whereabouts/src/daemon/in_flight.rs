//! One order at a time for each interface. A runtime that gives an ADD up calls again while the daemon is still busy with the first call:
//! the newest order of an interface ends the one before it, and the release of a container ends that container's, each once its request
//! under way is answered. An order that went on would take the claim away from whom it was given to since.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::node_state::record::Record;
use crate::pool::request::Claimant;

/// The orders under way.
#[derive(Debug, Default)]
pub struct InFlight {
    of_interface: Mutex<BTreeMap<(String, String), Interface>>,
}

#[derive(Debug, Default)]
struct Interface {
    /// The container of the newest order, and how many orders there were.
    newest: (String, u64),
    busy: Arc<AsyncMutex<()>>,
    over: Arc<Mutex<u64>>,
}

/// The right to work on an interface's order, until it is dropped.
#[derive(Debug)]
pub struct InFlightRequest {
    number: u64,
    /// Orders below this number are over.
    over: Arc<Mutex<u64>>,
    _busy: OwnedMutexGuard<()>,
}

impl InFlight {
    /// The turn of a new order, once an earlier one of the interface has ended.
    pub async fn begin(&self, claimant: &Claimant) -> InFlightRequest {
        let (number, busy, over) = {
            let mut all = self.of_interface.lock().unwrap_or_else(PoisonError::into_inner);
            // Interfaces without an order are forgotten.
            all.retain(|_, interface| Arc::strong_count(&interface.busy) > 1);
            let interface = all.entry((claimant.podref.clone(), claimant.if_name.clone())).or_default();
            let number = interface.newest.1 + 1;
            interface.newest = (claimant.container_id.clone(), number);
            set(&interface.over, number);
            (number, interface.busy.clone(), interface.over.clone())
        };
        InFlightRequest { number, over, _busy: busy.lock_owned().await }
    }

    /// Ends the order of this container, if it is under way, and waits for its end.
    pub async fn end(&self, record: &Record) {
        let busy = {
            let all = self.of_interface.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(interface) = all.get(&(record.podref.clone(), record.if_name.clone())) else { return };
            if interface.newest.0 != record.container_id {
                return;
            }
            set(&interface.over, interface.newest.1 + 1);
            interface.busy.clone()
        };
        drop(busy.lock().await);
    }
}

fn set(over: &Mutex<u64>, number: u64) {
    *over.lock().unwrap_or_else(PoisonError::into_inner) = number;
}

impl InFlightRequest {
    /// Whether a newer call has ended this order.
    pub fn is_superseded(&self) -> bool {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) > self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_state::record::Stage;
    use futures::FutureExt as _;

    fn claimant(container: &str) -> Claimant {
        Claimant {
            podref: "a/b".into(),
            pod_uid: None,
            if_name: "net1".into(),
            container_id: container.into(),
            node: None,
        }
    }

    fn record(container: &str) -> Record {
        Record {
            container_id: container.into(),
            if_name: "net1".into(),
            podref: "a/b".into(),
            network: String::new(),
            kubeconfig: None,
            namespace: None,
            stage: Stage::Claiming,
            claims: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_newer_order_ends_the_one_before_and_waits_for_it() {
        let in_flight = InFlight::default();
        let first = in_flight.begin(&claimant("c1")).await;
        assert!(!first.is_superseded());
        let newer = claimant("c2");
        let mut second = std::pin::pin!(in_flight.begin(&newer));
        assert!(second.as_mut().now_or_never().is_none(), "the first is still at work");
        assert!(first.is_superseded());
        drop(first);
        assert!(!second.await.is_superseded());
    }

    #[tokio::test]
    async fn a_release_ends_the_order_of_its_container_only() {
        let in_flight = InFlight::default();
        in_flight.end(&record("c1")).await;
        let order = in_flight.begin(&claimant("c2")).await;
        in_flight.end(&record("c1")).await;
        assert!(!order.is_superseded(), "the late release of an old sandbox ends nothing");
        let own = record("c2");
        let mut release = std::pin::pin!(in_flight.end(&own));
        assert!(release.as_mut().now_or_never().is_none());
        assert!(order.is_superseded());
        drop(order);
        release.await;
    }

    #[tokio::test]
    async fn other_interfaces_do_not_wait() {
        let in_flight = InFlight::default();
        let _first = in_flight.begin(&claimant("c1")).await;
        let other = Claimant { if_name: "net2".into(), ..claimant("c1") };
        assert!(!in_flight.begin(&other).await.is_superseded());
    }
}
