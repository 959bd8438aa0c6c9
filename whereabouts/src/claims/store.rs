//! The requests about claims, each with its retries. Outside this folder only the leader writes claims: it deletes those of deleted pods and
//! updates those whose allocation Whereabouts refreshed.

use node::client::{
    ApiClient, ApiError, Collection, Freshness, ListPage, ListQuery, OnUnknown, Parts, Preconditions,
    RetryPolicy, retry,
};
use node::deadline::Deadline;
use node::names::{DnsLabel, DnsSubdomain};

use crate::crd::reservation::{LABEL_CONTAINER, RESERVATIONS, Reservation, label};
use crate::pool::held_claim::HeldClaim;

/// Every request here may be sent again after an unknown outcome: creates are by name, and all other writes carry a resourceVersion.
pub(super) const POLICY: RetryPolicy = RetryPolicy::new(OnUnknown::Repeat);

/// Claims in one page of a list.
const PAGE: u32 = 500;

/// Access to the claims of one namespace, until a deadline.
#[derive(Clone, Debug)]
pub struct Claims<'a> {
    /// The API server.
    pub api: &'a ApiClient,
    /// The namespace of claims and pools.
    pub namespace: &'a DnsLabel,
    /// When requests and retries end.
    pub deadline: Deadline,
}

impl Claims<'_> {
    pub(super) fn collection(&self) -> Collection {
        RESERVATIONS.in_namespace(self.namespace)
    }

    /// Returns the claim of this name, `None` if it does not exist.
    pub(super) async fn get(&self, name: &DnsSubdomain) -> Result<Option<Reservation>, ApiError> {
        let path = self.collection().object(name);
        match retry(self.deadline, POLICY, || self.api.get(&path, self.deadline)).await {
            Ok(claim) => Ok(Some(claim)),
            Err(ApiError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the claim at the resourceVersion that `new` carries. `None` if it changed or was deleted since it was read.
    pub(super) async fn replace(
        &self,
        name: &DnsSubdomain,
        new: &Reservation,
    ) -> Result<Option<Reservation>, ApiError> {
        let path = self.collection().object(name);
        match retry(self.deadline, POLICY, || self.api.replace(&path, new, self.deadline)).await {
            Ok(claim) => Ok(Some(claim)),
            Err(ApiError::Conflict { .. } | ApiError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes the claim, if it still has this resourceVersion.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] if the claim changed since, [`ApiError::NotFound`] if it does not exist.
    pub(super) async fn delete(&self, name: &DnsSubdomain, resource_version: &str) -> Result<(), ApiError> {
        let path = self.collection().object(name);
        let preconditions = Preconditions { uid: None, resource_version: Some(resource_version.to_owned()) };
        retry(self.deadline, POLICY, || self.api.delete(&path, &preconditions, self.deadline)).await
    }

    /// Deletes a claim that was read, unless somebody took it over or deleted it since.
    pub(super) async fn delete_unchanged(
        &self,
        name: &DnsSubdomain,
        claim: Reservation,
    ) -> Result<(), ApiError> {
        match self.delete(name, &claim.metadata.resource_version.unwrap_or_default()).await {
            Ok(()) | Err(ApiError::NotFound { .. } | ApiError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes an address's claims at the resourceVersions of its record. If one changed since, deletes the present version, but only if
    /// `is_own` accepts it.
    pub(super) async fn delete_own(
        &self,
        claim: &HeldClaim,
        is_own: impl Fn(&Reservation) -> bool,
    ) -> Result<(), ApiError> {
        for (name, version) in claim.objects() {
            self.delete_one(name, version, &is_own).await?;
        }
        Ok(())
    }

    async fn delete_one(
        &self,
        name: &DnsSubdomain,
        version: &str,
        is_own: impl Fn(&Reservation) -> bool,
    ) -> Result<(), ApiError> {
        let mut version = version.to_owned();
        loop {
            match self.delete(name, &version).await {
                Ok(()) | Err(ApiError::NotFound { .. }) => return Ok(()),
                Err(ApiError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
            match self.get(name).await? {
                Some(present) if is_own(&present) => {
                    version = present.metadata.resource_version.unwrap_or_default();
                }
                // The claim is gone, or another container holds the address now.
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// The claims whose label names this container. The label is cut, so the caller must compare the whole container id.
    pub(super) async fn of_container(&self, container_id: &str) -> Result<Vec<Reservation>, ApiError> {
        let labels = Some(format!("{LABEL_CONTAINER}={}", label(container_id)));
        let query = ListQuery { labels, ..ListQuery::all(Freshness::Latest) };
        let all = self.collection();
        let list = || self.api.list::<Reservation>(&all, &query, self.deadline);
        Ok(retry(self.deadline, POLICY, list).await?.items)
    }

    /// Reads every claim that `query` selects, page by page, and adds it to `sink`.
    pub(super) async fn for_each(
        &self,
        query: &ListQuery,
        sink: &mut impl ClaimSink,
    ) -> Result<(), ApiError> {
        let all = self.collection();
        let mut page = ListPage { limit: PAGE, token: None, parts: Parts::Whole };
        loop {
            let list = || self.api.list_page::<Reservation>(&all, query, &page, self.deadline);
            let list = match retry(self.deadline, POLICY, list).await {
                // 410 between two pages: etcd compacted the version that this list reads. Begin again.
                Err(ApiError::Gone { .. }) if page.token.is_some() => {
                    page.token = None;
                    sink.restart();
                    continue;
                }
                list => list?,
            };
            list.items.into_iter().for_each(|claim| sink.add(claim));
            page.token = list.metadata.continue_.filter(|token| !token.is_empty());
            if page.token.is_none() {
                return Ok(());
            }
        }
    }
}

/// Collects the claims of a list.
pub(super) trait ClaimSink {
    /// Adds a claim.
    fn add(&mut self, claim: Reservation);
    /// Drops all claims so far: the list begins again.
    fn restart(&mut self);
}
