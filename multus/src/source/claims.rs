//! ResourceClaims and ResourceSlices (`resource.k8s.io/v1`): which devices a pod has, and what became of them.

use futures::future::try_join_all;
use nad::api::{SourceError, within};
use node::client::{ApiClient, ApiError, Freshness, ListQuery, OnUnknown, ResourceKind, RetryPolicy, retry};
use node::deadline::Deadline;
use node::names::{DnsLabel, DnsSubdomain};
use serde_json::Value;

use crate::device::{Claims, NetworkData, ResourceSlice, with_network_data};

/// The kind of claims.
pub(super) const CLAIMS: ResourceKind = ResourceKind::new("resource.k8s.io", "v1", "resourceclaims");
/// The kind of slices, which have no namespace.
pub(super) const SLICES: ResourceKind = ResourceKind::new("resource.k8s.io", "v1", "resourceslices");

/// The most attempts to write into a claim. Others write into it while a pod starts.
const MAX_ATTEMPTS: usize = 5;

/// Reads these claims, all at once.
pub(crate) async fn read_claims(
    client: &ApiClient,
    namespace: &DnsLabel,
    names: impl IntoIterator<Item = &DnsSubdomain>,
    deadline: Deadline,
) -> Result<Claims, SourceError> {
    let read = async |name: &DnsSubdomain, deadline: Deadline| {
        let path = CLAIMS.in_namespace(namespace).object(name);
        let policy = RetryPolicy::new(OnUnknown::Repeat);
        let claim: Value = retry(deadline, policy, || client.get(&path, deadline)).await?;
        Ok::<_, SourceError>((name.clone(), claim))
    };
    within(deadline, async |deadline| {
        let answers = names.into_iter().map(|name| read(name, deadline));
        Ok(try_join_all(answers).await?.into_iter().collect())
    })
    .await
}

/// Lists the slices of a driver: those of a node, or of the whole cluster, where devices of no single node are.
pub(crate) async fn read_slices(
    client: &ApiClient,
    driver: &DnsSubdomain,
    node: Option<&DnsSubdomain>,
    deadline: Deadline,
) -> Result<Vec<ResourceSlice>, SourceError> {
    let of_node = node.map(|node| format!(",spec.nodeName={node}")).unwrap_or_default();
    let fields = Some(format!("spec.driver={driver}{of_node}"));
    let query = ListQuery { fields, ..ListQuery::all(Freshness::Latest) };
    let collection = SLICES.in_cluster();
    within(deadline, async |deadline| {
        let policy = RetryPolicy::new(OnUnknown::Repeat);
        let list = retry(deadline, policy, || client.list(&collection, &query, deadline)).await?;
        Ok(list.items)
    })
    .await
}

/// Writes the attachments of a claim's devices into its status. `claim` is the object as last read.
pub(crate) async fn write_network_data(
    client: &ApiClient,
    namespace: &DnsLabel,
    name: &DnsSubdomain,
    claim: Value,
    attachments: &[NetworkData],
    deadline: Deadline,
) -> Result<(), SourceError> {
    let path = CLAIMS.in_namespace(namespace).object(name);
    within(deadline, async |deadline| {
        let mut current = claim;
        let mut attempts = 1;
        loop {
            let Some(written) = with_network_data(current, attachments) else { return Ok(()) };
            match client.replace_status(&path, &written, deadline).await {
                Ok(_) => return Ok(()),
                Err(ApiError::Conflict { .. }) if attempts < MAX_ATTEMPTS => {
                    current = client.get(&path, deadline).await?;
                    attempts = attempts.saturating_add(1);
                }
                Err(error) => return Err(error.into()),
            }
        }
    })
    .await
}
