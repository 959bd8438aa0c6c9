//! What the commands read from the API server. Nothing here writes.

use k8s_openapi::api::core::v1::{Event, Node, Pod};
use nad::{NadRef, NetworkAttachmentDefinition, PodRef};
use node::client::{
    ApiClient, ApiError, Collection, Freshness, ListPage, ListQuery, MetadataOnly, ObjectPath, OnUnknown,
    Parts, ResourceKind, RetryPolicy, retry,
};
use node::deadline::Deadline;
use node::names::{DnsLabel, DnsSubdomain};
use serde::de::DeserializeOwned;
use whereabouts::crd::ip_pool::{POOLS, Pool as IpPool};
use whereabouts::crd::reservation::{RESERVATIONS, Reservation};

/// The reason of the kubelet's event about a refused ADD.
pub const REFUSED_ADD: &str = "FailedCreatePodSandBox";

/// The reason of multus' event about an attachment.
pub const ATTACHED: &str = "AddedInterface";

/// The reason of multus' event about a DEL that left something.
pub const NOT_DELETED: &str = "NetworkNotDeleted";

/// How many objects one request asks for.
const PAGE: u32 = 1000;

/// The cluster that a command reads.
#[derive(Clone, Copy, Debug)]
pub struct Cluster<'a> {
    /// The client.
    pub client: &'a ApiClient,
    /// When the command must be done.
    pub deadline: Deadline,
}

impl Cluster<'_> {
    /// The definitions of a namespace, or of all. Those with a name that the API server would not accept are left out.
    ///
    /// # Errors
    /// [`ApiError`]; as for all methods here.
    pub async fn definitions(
        &self,
        namespace: Option<&DnsLabel>,
    ) -> Result<Vec<(NadRef, NetworkAttachmentDefinition)>, ApiError> {
        let all: Vec<NetworkAttachmentDefinition> =
            self.list(NetworkAttachmentDefinition::KIND, namespace, None).await?;
        let named = |definition: NetworkAttachmentDefinition| {
            let namespace = DnsLabel::new(definition.metadata.namespace.as_str()).ok()?;
            let name = DnsSubdomain::new(definition.metadata.name.as_str()).ok()?;
            Some((NadRef { namespace, name }, definition))
        };
        Ok(all.into_iter().filter_map(named).collect())
    }

    /// One definition; `None` if it does not exist.
    pub async fn definition(
        &self,
        nad_ref: &NadRef,
    ) -> Result<Option<NetworkAttachmentDefinition>, ApiError> {
        self.object(&nad_ref.object()).await
    }

    /// The nodes.
    pub async fn nodes(&self) -> Result<Vec<Node>, ApiError> {
        self.list(ResourceKind::NODES, None, None).await
    }

    /// A pod; `None` if it does not exist.
    pub async fn pod(&self, pod: &PodRef) -> Result<Option<Pod>, ApiError> {
        self.object(&pod.object()).await
    }

    /// The events about a pod of this name.
    pub async fn events_of(&self, pod: &PodRef) -> Result<Vec<Event>, ApiError> {
        let fields = format!("involvedObject.kind=Pod,involvedObject.name={}", pod.name);
        self.list(ResourceKind::EVENTS, Some(&pod.namespace), Some(fields)).await
    }

    /// The events about refused ADDs of all pods.
    pub async fn refused_adds(&self) -> Result<Vec<Event>, ApiError> {
        self.list(ResourceKind::EVENTS, None, Some(format!("reason={REFUSED_ADD}"))).await
    }

    /// The claims of a namespace, or of all.
    pub async fn claims(&self, namespace: Option<&DnsLabel>) -> Result<Vec<Reservation>, ApiError> {
        self.list(RESERVATIONS, namespace, None).await
    }

    /// The IPPools of a namespace, or of all.
    pub async fn pools(&self, namespace: Option<&DnsLabel>) -> Result<Vec<IpPool>, ApiError> {
        self.list(POOLS, namespace, None).await
    }

    /// All objects of a kind; none if the API server does not know the kind.
    pub async fn all<T: DeserializeOwned>(&self, kind: ResourceKind) -> Result<Vec<T>, ApiError> {
        Ok(found(self.list(kind, None, None).await)?.unwrap_or_default())
    }

    /// The metadata of all pods.
    pub async fn pod_metadata(&self) -> Result<Vec<MetadataOnly>, ApiError> {
        let query = ListQuery::all(Freshness::Latest);
        self.pages(&ResourceKind::PODS.in_cluster(), &query, Parts::Metadata).await
    }

    /// The pods of a namespace with these labels.
    pub async fn pods_with(&self, namespace: &DnsLabel, labels: &str) -> Result<Vec<Pod>, ApiError> {
        let query = ListQuery { freshness: Freshness::Latest, labels: Some(labels.to_owned()), fields: None };
        self.pages(&ResourceKind::PODS.in_namespace(namespace), &query, Parts::Whole).await
    }

    /// One object of any kind; `None` if it, or its kind, does not exist.
    pub async fn object<T: DeserializeOwned>(&self, object: &ObjectPath) -> Result<Option<T>, ApiError> {
        found(retry(self.deadline, policy(), || self.client.get(object, self.deadline)).await)
    }

    async fn list<T: DeserializeOwned>(
        &self,
        kind: ResourceKind,
        namespace: Option<&DnsLabel>,
        fields: Option<String>,
    ) -> Result<Vec<T>, ApiError> {
        let collection: Collection = match namespace {
            Some(namespace) => kind.in_namespace(namespace),
            None => kind.in_cluster(),
        };
        let query = ListQuery { freshness: Freshness::Latest, labels: None, fields };
        self.pages(&collection, &query, Parts::Whole).await
    }

    async fn pages<T: DeserializeOwned>(
        &self,
        collection: &Collection,
        query: &ListQuery,
        parts: Parts,
    ) -> Result<Vec<T>, ApiError> {
        let mut page = ListPage { limit: PAGE, token: None, parts };
        let mut all = Vec::new();
        loop {
            let read = || self.client.list_page::<T>(collection, query, &page, self.deadline);
            let list = match retry(self.deadline, policy(), read).await {
                // The version of the first page is too old by now: begin again.
                Err(ApiError::Gone { .. }) if page.token.is_some() => {
                    page.token = None;
                    all.clear();
                    continue;
                }
                list => list?,
            };
            all.extend(list.items);
            page.token = list.metadata.continue_.filter(|token| !token.is_empty());
            if page.token.is_none() {
                return Ok(all);
            }
        }
    }
}

/// Reads can be repeated.
const fn policy() -> RetryPolicy {
    RetryPolicy::new(OnUnknown::Repeat)
}

fn found<T>(result: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match result {
        Ok(object) => Ok(Some(object)),
        Err(ApiError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
