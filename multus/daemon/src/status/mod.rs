//! Writing network-status, and writing it again where another writer replaced it.
//!
//! Antrea's agent, with its secondary networks on, replaces the annotation of a pod that has one of them after the pod's addresses are set. The
//! entries of the plugin are merged in again then.

mod merge;
mod order;
#[cfg(test)]
mod tests;
mod written;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nad::PodRef;
use nad::api::{SourceError, edit_status, patch_status, write_status};
use node::client::{ApiClient, ApiError, Denial};
use node::deadline::Deadline;
use tokio::time::Instant;

use crate::cache::{Cache, Observation, PodName};
use crate::metrics::{Metrics, Outcome, Write};
use merge::merged;
use order::{Occasion, Order, Superseded};
use written::Written;

/// How long the right to patch counts as missing after the API server denied it.
const FORBIDDEN_RETRY: Duration = Duration::from_secs(600);

/// How long one merge may take, all attempts together.
const MERGE_LIMIT: Duration = Duration::from_secs(20);

/// The writer of network-status.
#[derive(Debug)]
pub(crate) struct Statuses {
    api: ApiClient,
    cache: Arc<Cache>,
    metrics: Metrics,
    order: Order,
    written: Written,
    /// Until then no patch is tried.
    no_patch_until: Mutex<Option<Instant>>,
}

impl Statuses {
    /// A writer that has written nothing.
    pub(crate) fn new(api: ApiClient, cache: Arc<Cache>, metrics: Metrics) -> Self {
        let (order, written) = (Order::default(), Written::default());
        Statuses { api, cache, metrics, order, written, no_patch_until: Mutex::default() }
    }

    /// Writes the annotation of a pod: by a patch if the pod is cached and the account may patch, else by reading and replacing. A pod that is
    /// gone needs no status.
    ///
    /// # Errors
    /// Those of [`write_status`], and [`SourceError::Superseded`] if another call for the pod began meanwhile.
    pub(crate) async fn write(
        &self,
        pod: &PodRef,
        status: &str,
        deadline: Deadline,
    ) -> Result<(), SourceError> {
        let write = self.report(pod, status, deadline);
        let written = self.order.run(pod, Occasion::Report, write).await;
        written.unwrap_or_else(|Superseded| Err(SourceError::Superseded(pod.clone())))
    }

    async fn report(&self, pod: &PodRef, status: &str, deadline: Deadline) -> Result<(), SourceError> {
        let cached = self.cache.pod(pod);
        // Before the write, so that no replacement after it goes unnoticed.
        let noted = cached.as_ref().map(|cached| self.written.note(PodName::of(pod), cached, status));
        let uid = cached.and_then(|cached| cached.uid()).filter(|_| self.may_patch());
        let done = match &uid {
            Some(uid) => match patch_status(&self.api, pod, uid, status, deadline).await {
                Err(error) if self.can_replace_after(&error) => self.replace(pod, status, deadline).await,
                patched => {
                    self.metrics.status_write(Write::Patch, Outcome::of(&patched));
                    patched.map_err(SourceError::from)
                }
            },
            None => self.replace(pod, status, deadline).await,
        };
        if let (Ok(()), Some(noted)) = (&done, noted) {
            noted.keep();
        }
        done
    }

    async fn replace(&self, pod: &PodRef, status: &str, deadline: Deadline) -> Result<(), SourceError> {
        let written = write_status(&self.api, pod, None, status, deadline).await;
        self.metrics.status_write(Write::Replace, Outcome::of(&written));
        written
    }

    /// Whether a read and a replacement may succeed, or say more, where the patch failed. Notes that the account may not patch.
    fn can_replace_after(&self, error: &ApiError) -> bool {
        match error {
            ApiError::Denied { denial: Denial::Forbidden, .. } => {
                let mut until = self.no_patch_until.lock().unwrap_or_else(PoisonError::into_inner);
                if until.is_none() {
                    tracing::warn!(%error, "network-status is written by reading and replacing the pod, which takes longer");
                }
                *until = Some(Instant::now() + FORBIDDEN_RETRY);
                true
            }
            // The UID differs from the cached one: the pod was replaced, or was made again as the mirror of the same static pod.
            ApiError::Conflict { .. } | ApiError::Invalid { .. } => true,
            _ => false,
        }
    }

    fn may_patch(&self) -> bool {
        let until = self.no_patch_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_none_or(|until| until <= Instant::now())
    }

    /// Takes note of what a watch shows.
    pub(crate) fn observe(&self, observation: Observation<'_>) {
        match observation {
            Observation::Pod(name, pod, status) => self.written.observe(name, pod, status),
            Observation::Gone(name) => self.written.remove(name),
            Observation::Ended => self.written.clear(),
        }
    }

    /// Merges entries in where they were replaced. Never returns.
    pub(crate) async fn run_merges(&self) {
        loop {
            let (name, replacement) = self.written.next_replaced().await;
            let (pod, merge) = (name.with_uid(None), self.merge(&name, replacement));
            // A newer report is what the pod has now; if it is replaced too, that is another merge.
            let _ = self.order.run(&pod, Occasion::Merge, merge).await;
        }
    }

    async fn merge(&self, name: &PodName, replacement: written::Digest) {
        let Some((uid, ours)) = self.written.get(name) else { return };
        let pod = name.with_uid(Some(uid));
        let edit = |current: Option<&str>| merged(&ours, current?);
        // It decides by the annotation as it is now, and again after each conflict.
        match edit_status(&self.api, &pod, None, edit, Deadline::after(MERGE_LIMIT)).await {
            Ok(None) => {}
            Ok(Some(status)) => {
                self.metrics.status_write(Write::Merge, Outcome::Done);
                tracing::info!(%pod, "another writer replaced network-status; the entries of multus are in it again");
                self.written.merged(name, status, replacement);
            }
            Err(error) => {
                self.metrics.status_write(Write::Merge, Outcome::Failed);
                tracing::warn!(%pod, %error, "another writer replaced network-status, and the entries of multus are not merged in");
            }
        }
    }
}
