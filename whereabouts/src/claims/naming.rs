//! How the claims of a pool are named: read from the pool's object, or fixed there by this call. [`crate::pool::claim_names`] has the rules
//! and the argument why they are enough.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use node::client::{ApiError, Freshness, ListQuery, Patch, retry};
use node::names::DnsSubdomain;
use serde::de::IgnoredAny;
use serde_json::json;

use super::adopt::{self, Adopted};
use super::store::{ClaimSink, Claims, POLICY};
use crate::crd::ip_pool::{self, CLAIM_NAMES, ClaimNaming, POOLS, claim_naming};
use crate::crd::reservation::{LABEL_WHOLE, Reservation, label};
use crate::pool::claim_names::{ClaimNames, Evidence};
use crate::pool::naming;
use crate::pool::range_pool::NamedPool;

/// How the pool's claims are named. If its object does not say so, this call fixes it, after each allocation of Whereabouts got its claim.
/// If there is no object, it creates one.
pub(crate) async fn naming_of(claims: &Claims<'_>, pool: NamedPool<'_>) -> Result<ClaimNaming, ApiError> {
    let naming = loop {
        match read(claims, pool.names.whole).await? {
            Found::Fixed(naming) => break naming,
            Found::Unfixed => {
                if let Some(naming) = fix(claims, pool.whole()).await? {
                    break naming;
                }
            }
            Found::Absent => create(claims, pool.whole()).await?,
        }
    };
    // A slice has an object of its own if it has claims, or if Whereabouts allocated from it. The annotation there says that it is adopted.
    if pool.is_slice() && matches!(read(claims, pool.names.pool).await?, Found::Unfixed) {
        adopt_slice(claims, pool, naming).await?;
    }
    Ok(naming)
}

/// What the object of a pool says.
enum Found {
    Fixed(ClaimNaming),
    /// It says nothing: Whereabouts or the leader made it, or somebody removed the annotation.
    Unfixed,
    Absent,
}

async fn read(claims: &Claims<'_>, pool: &DnsSubdomain) -> Result<Found, ApiError> {
    let path = POOLS.in_namespace(claims.namespace).object(pool);
    match retry(claims.deadline, POLICY, || claims.api.get_metadata(&path, claims.deadline)).await {
        Ok(metadata) => Ok(claim_naming(&metadata).map_or(Found::Unfixed, Found::Fixed)),
        Err(ApiError::NotFound { .. }) => Ok(Found::Absent),
        Err(error) => Err(error),
    }
}

/// Creates the object without a naming. The list of claims that decides the naming must come after it.
pub(super) async fn create(claims: &Claims<'_>, pool: NamedPool<'_>) -> Result<(), ApiError> {
    let collection = POOLS.in_namespace(claims.namespace);
    let new = ip_pool::Pool::new(pool.names.pool.as_str(), pool.range);
    let create = || claims.api.create::<IgnoredAny>(&collection, &new, claims.deadline);
    match retry(claims.deadline, POLICY, create).await {
        Ok(_) | Err(ApiError::AlreadyExists { .. }) => Ok(()),
        // A create that returns 404 means that the IPPool definition is not installed.
        Err(error) => Err(error),
    }
}

/// Fixes the naming of a pool whose object has none. `None` if the object is gone meanwhile.
async fn fix(claims: &Claims<'_>, pool: NamedPool<'_>) -> Result<Option<ClaimNaming>, ApiError> {
    let path = POOLS.in_namespace(claims.namespace).object(pool.names.pool);
    let get = || claims.api.get::<ip_pool::Pool>(&path, claims.deadline);
    let object = match retry(claims.deadline, POLICY, get).await {
        Ok(object) => object,
        Err(ApiError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    if let Some(naming) = claim_naming(&object.metadata) {
        return Ok(Some(naming));
    }
    let mut naming = evidence(claims, pool.names).await?.naming(pool.names.overlapping);
    let adopted = adopt::adopt_allocations(claims, pool.with(naming), &object).await?;
    // A pod of Whereabouts has an address whose shared name belongs to another pool: only the name by pool can protect it.
    if naming == ClaimNaming::Address && adopted == Adopted::SharedNamesTaken {
        naming = ClaimNaming::Both;
        adopt::adopt_allocations(claims, pool.with(naming), &object).await?;
    }
    annotate(claims, pool.names.pool, object.metadata, naming).await
}

/// Writes the naming into the object, if it has none. Returns the one that it has then; `None` if the object is gone.
async fn annotate(
    claims: &Claims<'_>,
    pool: &DnsSubdomain,
    mut metadata: ObjectMeta,
    naming: ClaimNaming,
) -> Result<Option<ClaimNaming>, ApiError> {
    let path = POOLS.in_namespace(claims.namespace).object(pool);
    let uid = metadata.uid.clone();
    loop {
        // With the resourceVersion: of concurrent callers one writes.
        let patch = Patch::Merge(json!({ "metadata": {
            "resourceVersion": metadata.resource_version,
            "annotations": { CLAIM_NAMES: naming.text() },
        } }));
        let patch = || claims.api.patch::<IgnoredAny>(&path, &patch, claims.deadline);
        match retry(claims.deadline, POLICY, patch).await {
            Ok(_) => return Ok(Some(naming)),
            Err(ApiError::NotFound { .. }) => return Ok(None),
            Err(ApiError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
        // Another caller fixed it; or Whereabouts wrote an allocation, which the leader adopts.
        metadata =
            match retry(claims.deadline, POLICY, || claims.api.get_metadata(&path, claims.deadline)).await {
                Ok(metadata) => metadata,
                Err(ApiError::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(error),
            };
        if let Some(naming) = claim_naming(&metadata) {
            return Ok(Some(naming));
        }
        // Another object of this name: the list is older than it.
        if metadata.uid != uid {
            return Ok(None);
        }
    }
}

/// Adopts the allocations that Whereabouts wrote into the object of a node's slice.
async fn adopt_slice(claims: &Claims<'_>, pool: NamedPool<'_>, naming: ClaimNaming) -> Result<(), ApiError> {
    let path = POOLS.in_namespace(claims.namespace).object(pool.names.pool);
    let object = match retry(claims.deadline, POLICY, || claims.api.get(&path, claims.deadline)).await {
        Ok(object) => object,
        Err(ApiError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    adopt::adopt_allocations(claims, pool.with(naming), &object).await?;
    annotate(claims, pool.names.pool, object.metadata, naming).await.map(drop)
}

/// The claims of the range now.
async fn evidence(claims: &Claims<'_>, names: ClaimNames<'_>) -> Result<Evidence<String>, ApiError> {
    let labels = Some(format!("{LABEL_WHOLE}={}", label(names.whole.as_str())));
    let query = ListQuery { labels, ..ListQuery::all(Freshness::Latest) };
    let mut listed = ListedNames { names, evidence: Evidence::default() };
    claims.for_each(&query, &mut listed).await?;
    Ok(listed.evidence)
}

/// The claims of a list, by the kind of their names. A holder is a container.
struct ListedNames<'a> {
    names: ClaimNames<'a>,
    evidence: Evidence<String>,
}

impl ClaimSink for ListedNames<'_> {
    fn add(&mut self, claim: Reservation) {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        let holder = claim.container().to_owned();
        if let Some(ip) = naming::claimed_address(name, self.names.by_pool()) {
            self.evidence.by_pool.insert(ip, holder);
        } else if let Some(ip) = naming::claimed_address(name, self.names.by_address()) {
            self.evidence.by_address.insert(ip, holder);
        }
    }

    fn restart(&mut self) {
        self.evidence = Evidence::default();
    }
}

#[cfg(test)]
mod tests;
