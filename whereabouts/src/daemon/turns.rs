//! One order at a time for each interface. A runtime that gives an ADD up calls again while the daemon is still busy with the first call:
//! the newest order of an interface ends the one before it, and the release of a container ends that container's, each once its request
//! under way is answered. An order that went on would take the claim away from whom it was given to since.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::order::Who;
use crate::record::Record;

/// The orders under way.
#[derive(Debug, Default)]
pub struct Turns {
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
pub struct Turn {
    number: u64,
    /// Orders below this number are over.
    over: Arc<Mutex<u64>>,
    _busy: OwnedMutexGuard<()>,
}

impl Turns {
    /// The turn of a new order, once an earlier one of the interface has ended.
    pub async fn begin(&self, who: &Who) -> Turn {
        let (number, busy, over) = {
            let mut all = self.of_interface.lock().unwrap_or_else(PoisonError::into_inner);
            // Interfaces without an order are forgotten.
            all.retain(|_, interface| Arc::strong_count(&interface.busy) > 1);
            let interface = all.entry((who.podref.clone(), who.if_name.clone())).or_default();
            let number = interface.newest.1 + 1;
            interface.newest = (who.container_id.clone(), number);
            set(&interface.over, number);
            (number, interface.busy.clone(), interface.over.clone())
        };
        Turn { number, over, _busy: busy.lock_owned().await }
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

impl Turn {
    /// Whether a newer call has ended this order.
    pub fn is_over(&self) -> bool {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) > self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Stage;
    use futures::FutureExt as _;

    fn who(container: &str) -> Who {
        Who {
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
        let turns = Turns::default();
        let first = turns.begin(&who("c1")).await;
        assert!(!first.is_over());
        let newer = who("c2");
        let mut second = std::pin::pin!(turns.begin(&newer));
        assert!(second.as_mut().now_or_never().is_none(), "the first is still at work");
        assert!(first.is_over());
        drop(first);
        assert!(!second.await.is_over());
    }

    #[tokio::test]
    async fn a_release_ends_the_order_of_its_container_only() {
        let turns = Turns::default();
        turns.end(&record("c1")).await;
        let order = turns.begin(&who("c2")).await;
        turns.end(&record("c1")).await;
        assert!(!order.is_over(), "the late release of an old sandbox ends nothing");
        let own = record("c2");
        let mut release = std::pin::pin!(turns.end(&own));
        assert!(release.as_mut().now_or_never().is_none());
        assert!(order.is_over());
        drop(order);
        release.await;
    }

    #[tokio::test]
    async fn other_interfaces_do_not_wait() {
        let turns = Turns::default();
        let _first = turns.begin(&who("c1")).await;
        let other = Who { if_name: "net2".into(), ..who("c1") };
        assert!(!turns.begin(&other).await.is_over());
    }
}
