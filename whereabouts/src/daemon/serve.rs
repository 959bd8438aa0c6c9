//! Serving the requests of the node's plugins.

use std::sync::Arc;
use std::time::Duration;

use cni::CniError;
use node::client::ApiClient;
use node::deadline::Deadline;
use node::names::DnsLabel;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::in_flight::InFlight;
use super::pool_cache::{PoolCaches, RequestCandidates};
use crate::claims::allocate::{self, PriorAttempt};
use crate::claims::error::Cleanup;
use crate::claims::release;
use crate::claims::status;
use crate::claims::store::Claims;
use crate::metrics::{Metrics, RequestKind, RequestOutcome};
use crate::node_state::installation::Writer;
use crate::node_state::record::Record;
use crate::pool::held_claim::Claimed;
use crate::pool::request::AllocationRequest;
use crate::rpc::error::CallError;
use crate::rpc::wire::{
    ADD_LIMIT, Allocated, DEL_LIMIT, Refusal, Release, Request, Response, STATUS_LIMIT, StatusQuery,
};

/// Allocation requests that are served at the same time; others wait. One API server handles about 1,000 creates per second for all nodes
/// together.
const AT_ONCE: usize = 32;

/// The daemon gives up this long before the plugin does, so that its error reaches the plugin.
const MARGIN: Duration = Duration::from_millis(500);

/// A request that failed.
struct Failure {
    error: CallError,
    cleanup: Cleanup,
}

impl Failure {
    fn new(error: impl Into<CallError>, cleanup: Cleanup) -> Self {
        Failure { error: error.into(), cleanup }
    }
}

/// What is needed to serve requests. Clones share everything.
#[derive(Clone, Debug)]
pub struct Service {
    /// The API server.
    pub(super) api: ApiClient,
    /// The namespace of the claims.
    pub(super) namespace: DnsLabel,
    /// The caches of the pools in use.
    pub(super) caches: Arc<PoolCaches>,
    /// The daemon's metrics.
    pub(super) metrics: Metrics,
    permits: Arc<Semaphore>,
    pub(super) in_flight: Arc<InFlight>,
}

impl Service {
    /// A service without requests in flight.
    pub fn new(api: ApiClient, namespace: DnsLabel, caches: Arc<PoolCaches>, metrics: Metrics) -> Self {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        Service { api, namespace, caches, metrics, permits, in_flight: Arc::default() }
    }

    /// Serves one request.
    pub async fn answer(&self, request: Request) -> Response {
        let began = Instant::now();
        let (kind, result) = match request {
            Request::Claim(request) => (RequestKind::Claim, self.claim(&request).await),
            Request::Release(release) => (RequestKind::Release, self.release(&release).await),
            Request::Check(record) => (RequestKind::Check, self.check(&record).await),
            Request::Status(query) => (RequestKind::Status, self.status(&query).await),
        };
        let outcome = if result.is_ok() { RequestOutcome::Done } else { RequestOutcome::Refused };
        self.metrics.answered(kind, outcome, began.elapsed());
        result.unwrap_or_else(|failure| refusal(&failure.error.to_cni(), failure.cleanup))
    }

    /// The claims of a namespace, for an upkeep or a release; `None` is the daemon's own.
    pub(super) fn claims_until<'a>(
        &'a self,
        namespace: Option<&'a DnsLabel>,
        deadline: Deadline,
    ) -> Claims<'a> {
        Claims { api: &self.api, namespace: namespace.unwrap_or(&self.namespace), deadline }
    }

    /// Access to the claims of a record, in whichever namespace they are: the daemon may have served another one before.
    fn claims_of<'a>(&'a self, record: &'a Record) -> Claims<'a> {
        Claims { namespace: record.namespace.as_ref().unwrap_or(&self.namespace), ..self.claims(DEL_LIMIT) }
    }

    /// Access to the claims of the daemon's own namespace.
    fn claims(&self, limit: Duration) -> Claims<'_> {
        let deadline = Deadline::after(limit.saturating_sub(MARGIN));
        Claims { api: &self.api, namespace: &self.namespace, deadline }
    }

    /// Refuses to allocate in another namespace: no leader writes its views there, and two daemons with different caches would serve it.
    fn check_namespace(&self, requested: Option<&DnsLabel>) -> Result<(), Failure> {
        match requested.filter(|requested| **requested != self.namespace) {
            None => Ok(()),
            Some(requested) => {
                let (requested, served) = (requested.clone(), self.namespace.clone());
                Err(Failure::new(CallError::OtherNamespace { requested, served }, Cleanup::NotNeeded))
            }
        }
    }

    /// The addresses of a record are released.
    pub(super) fn released(&self, record: &Record) {
        // The caches are those of the pools of the daemon's namespace.
        if record.namespace.as_ref().is_none_or(|namespace| *namespace == self.namespace) {
            self.caches.released(record);
        }
    }

    async fn claim(&self, request: &AllocationRequest) -> Result<Response, Failure> {
        self.check_namespace(request.namespace.as_ref())?;
        let claims = self.claims(ADD_LIMIT);
        let record = self.caches.record_of(&request.claimant);
        let admission = async {
            // First the interface, then the permit: a request that waits for an earlier one of its interface must not occupy a permit.
            let in_flight = self.in_flight.begin(&request.claimant).await;
            // acquire() fails only if the semaphore is closed, which it never is.
            (in_flight, self.permits.acquire().await)
        };
        let Ok((in_flight, _permit)) = tokio::time::timeout(claims.deadline.remaining(), admission).await
        else {
            return Err(Failure::new(CallError::Busy, Cleanup::NotNeeded));
        };
        let in_flight = Arc::new(in_flight.watching(record));
        let candidates = RequestCandidates { caches: &self.caches, in_flight: Some(in_flight.clone()) };
        match allocate::serve(&claims, request, &candidates, PriorAttempt::Absent).await {
            // The plugin looks too, but its caller may have killed it.
            Ok(made) if in_flight.is_deleted() => Err(self.give_back(&claims, request, made).await),
            Ok(claims) => Ok(Response::Claimed(Allocated { namespace: self.namespace.clone(), claims })),
            Err(failure) => {
                tracing::warn!(
                    pod = %request.claimant.podref, interface = %request.claimant.if_name, error = %failure.error,
                    "no address is allocated"
                );
                Err(Failure::new(failure.error, failure.cleanup))
            }
        }
    }

    /// Releases the addresses of a request whose attachment was deleted meanwhile, as a DEL that found no claim.
    async fn give_back(
        &self,
        claims: &Claims<'_>,
        request: &AllocationRequest,
        made: Vec<Claimed>,
    ) -> Failure {
        let made = made.into_iter().map(|claimed| claimed.claim).collect();
        let record = Record::to_give_back(&request.claimant, made);
        self.caches.remove_pins(&record);
        match release::release(claims, &record, Writer::ThisInstallation, &[]).await {
            Ok(()) => self.released(&record),
            Err(error) => {
                tracing::warn!(pod = %record.podref, interface = %record.if_name, %error, "the address of a deleted interface is not released");
            }
        }
        let Record { container_id, if_name, .. } = record;
        Failure::new(CallError::Deleted { container_id, if_name }, Cleanup::Needed)
    }

    async fn release(&self, release: &Release) -> Result<Response, Failure> {
        let claims = self.claims_of(&release.record);
        self.in_flight.cancel(&release.record).await;
        self.caches.remove_pins(&release.record);
        let released = release::release(&claims, &release.record, release.writer, &release.upstream).await;
        released.map_err(|error| Failure::new(error, Cleanup::Needed))?;
        self.released(&release.record);
        Ok(Response::Done)
    }

    async fn check(&self, record: &Record) -> Result<Response, Failure> {
        let claims = self.claims_of(record);
        let missing = claims.first_missing(record).await;
        let missing = missing.map_err(|error| Failure::new(error, Cleanup::NotNeeded))?;
        Ok(missing.map_or(Response::Done, Response::Missing))
    }

    async fn status(&self, query: &StatusQuery) -> Result<Response, Failure> {
        self.check_namespace(query.namespace.as_ref())?;
        let claims = self.claims(STATUS_LIMIT);
        let candidates = RequestCandidates { caches: &self.caches, in_flight: None };
        let status = status::status(&claims, &query.pools, &candidates).await;
        status.map(|()| Response::Done).map_err(|error| Failure::new(error, Cleanup::NotNeeded))
    }
}

fn refusal(error: &CniError, cleanup: Cleanup) -> Response {
    Response::Refused(Refusal::new(error, cleanup))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::claims::testing::begun;
    use crate::leader::tests::server::Server;
    use crate::node_state::hints::NodeHints;
    use crate::node_state::installation::Writer;
    use crate::node_state::record::Records;
    use crate::pool::request::Claimant;

    const CLAIMS: &str = "overlappingrangeipreservations";

    fn namespace(name: &str) -> DnsLabel {
        DnsLabel::new(name).unwrap()
    }

    /// The daemon of the namespace "wa".
    async fn service(server: &Server) -> Service {
        service_in(server, tempfile::tempdir().unwrap().path()).await
    }

    /// The same, with this folder of records and hints.
    async fn service_in(server: &Server, state: &std::path::Path) -> Service {
        let (metrics, _) = Metrics::new();
        let (caches, _started) =
            PoolCaches::new(NodeHints::open(state).of(&namespace("wa")), metrics.clone());
        Service::new(server.client().await, namespace("wa"), Arc::new(caches), metrics)
    }

    fn order(named: Option<&str>) -> Request {
        let pool: crate::pool::request::PoolRequest = serde_json::from_value(json!({
            "range": {"net": "10.70.0.0/24", "start": null, "end": null, "excludes": []},
            "network": null, "overlapping": "Protected", "slice": null,
        }))
        .unwrap();
        Request::Claim(Box::new(AllocationRequest {
            claimant: claimant(),
            namespace: named.map(namespace),
            pools: vec![pool],
            wanted: vec![crate::conf::request::Claim { range: 0, requested: None }],
        }))
    }

    #[tokio::test]
    async fn an_order_for_another_namespace_is_refused_and_nothing_is_claimed() {
        let server = Server::default();
        let service = service(&server).await;
        let Response::Refused(refusal) = service.answer(order(Some("kube-system"))).await else { panic!() };
        assert_eq!((refusal.code, refusal.cleanup), (7, Cleanup::NotNeeded), "{}", refusal.text);
        for part in ["kube-system", "wa", "WHEREABOUTS_NAMESPACE", "kubeconfig"] {
            assert!(refusal.text.contains(part), "{}", refusal.text);
        }
        assert_eq!(server.names(CLAIMS), Vec::<String>::new());
        let status = StatusQuery { namespace: Some(namespace("kube-system")), pools: Vec::new() };
        assert!(matches!(service.answer(Request::Status(status)).await, Response::Refused(_)));
    }

    #[tokio::test]
    async fn an_order_without_a_namespace_is_served_in_the_daemons_and_the_response_names_it() {
        let server = Server::default();
        let service = service(&server).await;
        for named in [None, Some("wa")] {
            let response = service.answer(order(named)).await;
            let Response::Claimed(allocated) = response else { panic!("{response:?}") };
            assert_eq!((allocated.namespace, allocated.claims.len()), (namespace("wa"), 1));
        }
        assert!(server.get(CLAIMS, "wa", "10.70.0.1").is_some());
    }

    fn claimant() -> Claimant {
        Claimant {
            podref: "a/b".into(),
            pod_uid: Some("u".into()),
            if_name: "net1".into(),
            container_id: "c".into(),
            node: None,
        }
    }

    /// A daemon and the node's records, with that of the attachment that [`order`] is for.
    async fn recorded(server: &Server, state: &std::path::Path) -> (Service, Records) {
        let records = Records::open(state).unwrap();
        records.write(&begun(&claimant())).unwrap();
        (service_in(server, state).await, records)
    }

    /// The plugin was killed by its runtime, and another daemon of the node, or a plugin without one, serves the DEL.
    #[tokio::test]
    async fn a_request_whose_attachment_is_deleted_meanwhile_leaves_no_claim() {
        let (server, state) = (Server::default(), tempfile::tempdir().unwrap());
        let (service, records) = recorded(&server, state.path()).await;
        let removed = records.clone();
        server.on_request(move |method, path| {
            if method == "POST" && path.ends_with(CLAIMS) {
                removed.begin_release(&begun(&claimant())).unwrap();
            }
        });
        let Response::Refused(refusal) = service.answer(order(None)).await else { panic!() };
        assert!(refusal.text.contains("net1 of container c was deleted"), "{}", refusal.text);
        let requests = server.take_requests();
        assert!(requests.contains(&"POST 10.70.0.1".to_owned()), "{requests:?}");
        assert_eq!(server.names(CLAIMS), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_request_of_a_deleted_attachment_claims_nothing() {
        let (server, state) = (Server::default(), tempfile::tempdir().unwrap());
        let (service, records) = recorded(&server, state.path()).await;
        assert!(matches!(service.answer(order(None)).await, Response::Claimed(_)));
        // It waited in the queue of the socket while the DEL was served elsewhere.
        records.begin_release(&begun(&claimant())).unwrap();
        server.take_requests();
        assert!(matches!(service.answer(order(None)).await, Response::Refused(_)));
        let requests = server.take_requests();
        assert!(!requests.iter().any(|request| request.starts_with("P")), "{requests:?}");
    }

    #[tokio::test]
    async fn a_claim_in_another_namespace_is_released_where_its_record_says() {
        let server = Server::default();
        let claim = json!({
            "metadata": {"labels": {"whereabouts.multus-rs/container": "c"}},
            "spec": {"podref": "a/b", "ifname": "net1", "containerid": "c"},
        });
        for place in ["kube-system", "wa"] {
            server.put(CLAIMS, place, "10.70.0.1", claim.clone());
        }
        let release =
            Release { record: begun(&claimant()), upstream: Vec::new(), writer: Writer::ThisInstallation };
        let response = service(&server).await.answer(Request::Release(Box::new(release))).await;
        assert!(matches!(response, Response::Done), "{response:?}");
        let left = ["kube-system", "wa"].map(|place| server.get(CLAIMS, place, "10.70.0.1").is_some());
        assert_eq!(left, [false, true]);
    }
}
