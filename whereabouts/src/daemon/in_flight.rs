//! One allocation request at a time for each interface.
//!
//! A runtime that gives up an ADD calls again while the daemon still serves the first call. So the newest request of an interface
//! supersedes the earlier one, and the release of a container supersedes that container's request. The superseded request ends before its
//! next create; the newer call waits until then. Without this, the earlier request would take the claim from the container that the newer
//! call allocated it to.
//!
//! Another daemon of the node, or a plugin without one, may serve the DEL and the newer call. It takes the container's record away first, which
//! ends the request too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::node_state::hints::HintStore;
use crate::node_state::record::Record;
use crate::pool::request::Claimant;

/// The requests in flight.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    /// By owner ([`Claimant::owner`]) and interface name.
    by_interface: Mutex<BTreeMap<(String, String), Interface>>,
}

#[derive(Debug, Default)]
struct Interface {
    /// The container of the newest request.
    newest_container: String,
    /// The number of the newest request; the first one has 1.
    newest_number: u64,
    /// Held while a request is served.
    lock: Arc<AsyncMutex<()>>,
    /// Requests with lower numbers are superseded.
    superseded_below: Arc<Mutex<u64>>,
}

/// A request in flight, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlightRequest {
    number: u64,
    superseded_below: Arc<Mutex<u64>>,
    record: Option<WatchedRecord>,
    _lock: OwnedMutexGuard<()>,
}

/// The record of a request's attachment, which was there when the request came, or must have been.
#[derive(Debug)]
pub(crate) struct WatchedRecord {
    /// The node's files.
    pub store: HintStore,
    /// The container of the attachment.
    pub container_id: String,
    /// Its interface.
    pub if_name: String,
}

impl WatchedRecord {
    fn is_gone(&self) -> bool {
        !self.store.has_record(&self.container_id, &self.if_name)
    }
}

impl InFlight {
    /// Supersedes the interface's earlier request, waits until it has ended, and begins a new one.
    pub async fn begin(&self, claimant: &Claimant) -> InFlightRequest {
        let (number, lock, superseded_below) = {
            let mut all = self.by_interface.lock().unwrap_or_else(PoisonError::into_inner);
            // Drop interfaces without a request: only the map itself refers to their lock.
            all.retain(|_, interface| Arc::strong_count(&interface.lock) > 1);
            let interface = all.entry((claimant.owner().to_owned(), claimant.if_name.clone())).or_default();
            interface.newest_number += 1;
            interface.newest_container.clone_from(&claimant.container_id);
            set(&interface.superseded_below, interface.newest_number);
            (interface.newest_number, interface.lock.clone(), interface.superseded_below.clone())
        };
        InFlightRequest { number, superseded_below, record: None, _lock: lock.lock_owned().await }
    }

    /// Begins work for the record's interface, unless a request for it is in flight. A later request, or the release of the record,
    /// supersedes the work and waits for its end.
    pub fn begin_if_idle(&self, record: &Record) -> Option<InFlightRequest> {
        let mut all = self.by_interface.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, interface| Arc::strong_count(&interface.lock) > 1);
        let interface = all.entry((record.podref.clone(), record.if_name.clone())).or_default();
        let lock = interface.lock.clone().try_lock_owned().ok()?;
        interface.newest_number += 1;
        interface.newest_container.clone_from(&record.container_id);
        set(&interface.superseded_below, interface.newest_number);
        let superseded_below = interface.superseded_below.clone();
        Some(InFlightRequest { number: interface.newest_number, superseded_below, record: None, _lock: lock })
    }

    /// Supersedes the request of the record's container, if one is in flight, and waits until it has ended.
    pub async fn cancel(&self, record: &Record) {
        let lock = {
            let all = self.by_interface.lock().unwrap_or_else(PoisonError::into_inner);
            // The record does not say which of the two the request's owner was.
            let of = |owner: &String| all.get(&(owner.clone(), record.if_name.clone()));
            let owners = [&record.podref, &record.container_id];
            // A late DEL of an old sandbox must not end the request of the new one.
            let is_own = |interface: &&Interface| interface.newest_container == record.container_id;
            let Some(interface) = owners.into_iter().filter_map(of).find(is_own) else { return };
            set(&interface.superseded_below, interface.newest_number + 1);
            interface.lock.clone()
        };
        drop(lock.lock().await);
    }
}

fn set(superseded_below: &Mutex<u64>, number: u64) {
    *superseded_below.lock().unwrap_or_else(PoisonError::into_inner) = number;
}

impl InFlightRequest {
    /// The same request, which ends with the record.
    pub fn watching(self, record: Option<WatchedRecord>) -> Self {
        InFlightRequest { record, ..self }
    }

    /// Whether a newer call has superseded this request.
    pub fn is_superseded(&self) -> bool {
        self.is_deleted()
            || *self.superseded_below.lock().unwrap_or_else(PoisonError::into_inner) > self.number
    }

    /// Whether a DEL of the attachment has begun.
    pub fn is_deleted(&self) -> bool {
        self.record.as_ref().is_some_and(WatchedRecord::is_gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::testing::begun;
    use futures::FutureExt as _;

    fn claimant(container: &str) -> Claimant {
        Claimant {
            podref: "a/b".into(),
            pod_uid: Some("u".into()),
            if_name: "net1".into(),
            container_id: container.into(),
            node: None,
        }
    }

    fn record(container: &str) -> Record {
        begun(&claimant(container))
    }

    #[tokio::test]
    async fn a_newer_request_supersedes_the_earlier_one_and_waits_for_its_end() {
        let in_flight = InFlight::default();
        let first = in_flight.begin(&claimant("c1")).await;
        assert!(!first.is_superseded());
        let newer = claimant("c2");
        let mut second = std::pin::pin!(in_flight.begin(&newer));
        assert!(second.as_mut().now_or_never().is_none(), "the first request has not ended");
        assert!(first.is_superseded());
        drop(first);
        assert!(!second.await.is_superseded());
    }

    #[tokio::test]
    async fn a_release_supersedes_only_the_request_of_its_container() {
        let in_flight = InFlight::default();
        in_flight.cancel(&record("c1")).await;
        let request = in_flight.begin(&claimant("c2")).await;
        in_flight.cancel(&record("c1")).await;
        assert!(!request.is_superseded(), "a late release of an old sandbox supersedes nothing");
        let own = record("c2");
        let mut release = std::pin::pin!(in_flight.cancel(&own));
        assert!(release.as_mut().now_or_never().is_none());
        assert!(request.is_superseded());
        drop(request);
        release.await;
    }

    #[tokio::test]
    async fn work_for_an_interface_begins_only_while_no_request_is_in_flight() {
        let in_flight = InFlight::default();
        let own = record("c1");
        let request = in_flight.begin(&claimant("c2")).await;
        assert!(in_flight.begin_if_idle(&own).is_none());
        assert!(!request.is_superseded(), "the request goes on");
        drop(request);
        let work = in_flight.begin_if_idle(&own).unwrap();
        let mut release = std::pin::pin!(in_flight.cancel(&own));
        assert!(release.as_mut().now_or_never().is_none(), "the release waits for the end of the work");
        assert!(work.is_superseded());
        drop(work);
        release.await;
        let work = in_flight.begin_if_idle(&own).unwrap();
        let newer = claimant("c2");
        let mut second = std::pin::pin!(in_flight.begin(&newer));
        assert!(second.as_mut().now_or_never().is_none() && work.is_superseded());
        drop(work);
        assert!(!second.await.is_superseded());
    }

    #[tokio::test]
    async fn without_a_pod_uid_only_a_request_of_the_same_container_is_superseded() {
        let in_flight = InFlight::default();
        let without_uid = |container| Claimant { pod_uid: None, ..claimant(container) };
        let first = in_flight.begin(&without_uid("c1")).await;
        let second = in_flight.begin(&without_uid("c2")).await;
        assert!(!first.is_superseded() && !second.is_superseded());
        let own = record("c1");
        let mut release = std::pin::pin!(in_flight.cancel(&own));
        assert!(release.as_mut().now_or_never().is_none());
        assert!(first.is_superseded() && !second.is_superseded());
    }

    #[tokio::test]
    async fn requests_of_other_interfaces_do_not_wait() {
        let in_flight = InFlight::default();
        let _first = in_flight.begin(&claimant("c1")).await;
        let other = Claimant { if_name: "net2".into(), ..claimant("c1") };
        assert!(!in_flight.begin(&other).await.is_superseded());
    }
}
