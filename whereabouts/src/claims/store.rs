//! The requests about claims, each with its retries. What they are for is decided by the files that use them: `acquire`, `alternate`,
//! `release`, `adopt`. Nothing else in the crate writes claims, except the leader, which deletes those of pods that are gone.

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

/// Where claims are kept, and how long may be spent on them.
#[derive(Clone, Debug)]
pub struct Claims<'a> {
    /// The API server.
    pub api: &'a ApiClient,
    /// The namespace of claims and pools.
    pub namespace: &'a DnsLabel,
    /// When to give up.
    pub deadline: Deadline,
}

impl Claims<'_> {
    pub(super) fn collection(&self) -> Collection {
        RESERVATIONS.in_namespace(self.namespace)
    }

    /// The claim of this name, `None` if there is none.
    pub(super) async fn get(&self, name: &DnsSubdomain) -> Result<Option<Reservation>, ApiError> {
        let path = self.collection().object(name);
        match retry(self.deadline, POLICY, || self.api.get(&path, self.deadline)).await {
            Ok(claim) => Ok(Some(claim)),
            Err(ApiError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the claim in the version that `new` carries. `None` if it changed or went since it was read.
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
    /// [`ApiError::Conflict`] if it has another one by now, [`ApiError::NotFound`] if it is gone.
    pub(super) async fn delete(&self, name: &DnsSubdomain, resource_version: &str) -> Result<(), ApiError> {
        let path = self.collection().object(name);
        let exactly = Preconditions { uid: None, resource_version: Some(resource_version.to_owned()) };
        retry(self.deadline, POLICY, || self.api.delete(&path, &exactly, self.deadline)).await
    }

    /// Deletes a claim in the version that the holder knows, or in its present version if `is_own` holds for that one.
    pub(super) async fn delete_own(
        &self,
        claim: &HeldClaim,
        is_own: impl Fn(&Reservation) -> bool,
    ) -> Result<(), ApiError> {
        let mut version = claim.resource_version.clone();
        loop {
            match self.delete(&claim.name, &version).await {
                Ok(()) | Err(ApiError::NotFound { .. }) => return Ok(()),
                Err(ApiError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
            match self.get(&claim.name).await? {
                Some(present) if is_own(&present) => {
                    version = present.metadata.resource_version.unwrap_or_default();
                }
                // It is gone, or another container holds the address now.
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

    /// Every claim that `query` selects, read page by page and handed to `each`. `restart` is called when the pages so far are void.
    pub(super) async fn for_each(&self, query: &ListQuery, listed: &mut impl Listed) -> Result<(), ApiError> {
        let all = self.collection();
        let mut page = ListPage { limit: PAGE, token: None, parts: Parts::Whole };
        loop {
            let list = || self.api.list_page::<Reservation>(&all, query, &page, self.deadline);
            let list = match retry(self.deadline, POLICY, list).await {
                // 410 in the middle of a list: the server compacted the version that the pages belong to. Begin again.
                Err(ApiError::Gone { .. }) if page.token.is_some() => {
                    page.token = None;
                    listed.restart();
                    continue;
                }
                list => list?,
            };
            list.items.into_iter().for_each(|claim| listed.add(claim));
            page.token = list.metadata.continue_.filter(|token| !token.is_empty());
            if page.token.is_none() {
                return Ok(());
            }
        }
    }
}

/// What takes in the claims of a list.
pub(super) trait Listed {
    /// Takes in a claim.
    fn add(&mut self, claim: Reservation);
    /// Forgets all claims so far: the list begins again.
    fn restart(&mut self);
}
