//! Whether multus is being removed from the cluster, when the daemon is told to end.
//!
//! `00-multus.conf` stays over a restart of the daemon: without it pods would start with fewer networks. After a removal nothing may use it: the
//! plugin would have no rights any more, and no pod of the node could start.

use std::time::Duration;

use nad::NetworkAttachmentDefinition;
use node::client::{ApiClient, ApiError, Denial, Freshness, ListPage, ListQuery, Parts};
use node::deadline::Deadline;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use crate::cache::Cache;

/// How often the end looks. Whoever removes a manifest removes accounts and rights before the pods, but the API server notices some of that only
/// after a moment.
const LOOKS: u32 = 3;

/// The time between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the end waits for one answer.
const LIMIT: Duration = Duration::from_secs(2);

/// How long a daemon whose token is not accepted any more waits for a successor. A pod that was deleted by force has no valid token either.
const SUCCESSOR: Duration = Duration::from_secs(8);

/// Why the daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Another one follows, or nothing else is known.
    Restart,
    /// The rights that the daemon had, or the custom resource, are gone.
    Removal,
}

/// What it means if the API server does not accept the daemon's credentials any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The account of their token, or its pod, was deleted.
    IsDeleted,
    /// Their certificate may have expired. It is valid without an account and without a pod.
    MayBeExpired,
}

/// Why the daemon ends. Takes some seconds. A successor (`is_replaced`) proves that nothing is removed.
pub(crate) async fn ending(
    api: &ApiClient,
    cache: &Cache,
    refused: Refused,
    is_replaced: impl Fn() -> bool,
) -> Ending {
    // A refusal proves nothing if the account never had the right.
    if !cache.has_listed_definitions() {
        return Ending::Restart;
    }
    for look in 0..LOOKS {
        if look > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let one = ListPage { limit: 1, token: None, parts: Parts::Metadata };
        let definitions = NetworkAttachmentDefinition::KIND.in_cluster();
        let query = ListQuery::all(Freshness::Cached);
        let answer = api.list_page::<IgnoredAny>(&definitions, &query, &one, Deadline::after(LIMIT)).await;
        let patience = match answer {
            Err(ApiError::Denied { denial: Denial::Unauthenticated, .. }) => match refused {
                Refused::IsDeleted => SUCCESSOR,
                Refused::MayBeExpired => continue,
            },
            Err(ApiError::NotFound { .. } | ApiError::Denied { .. }) => Duration::ZERO,
            _ => continue,
        };
        return without_successor(patience, is_replaced).await;
    }
    Ending::Restart
}

async fn without_successor(patience: Duration, is_replaced: impl Fn() -> bool) -> Ending {
    let end = Instant::now() + patience;
    loop {
        if is_replaced() {
            return Ending::Restart;
        }
        if Instant::now() >= end {
            return Ending::Removal;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use fake_api::Fault;

    use super::*;
    use crate::cache::follow_definitions;
    use crate::testing::{Node, settle};

    /// How a daemon without a successor ends that had listed the definitions, on a server that then answers like this.
    async fn after(change: impl FnOnce(&Node)) -> Ending {
        with_successor(change, None).await
    }

    /// As [`after`], with a successor after this time.
    async fn with_successor(change: impl FnOnce(&Node), successor: Option<Duration>) -> Ending {
        with(change, Refused::IsDeleted, successor).await
    }

    async fn with(change: impl FnOnce(&Node), refused: Refused, successor: Option<Duration>) -> Ending {
        let node = Node::new();
        let service = node.service().await;
        let following = tokio::spawn(follow_definitions(service.cache.clone(), service.api.clone()));
        settle().await;
        following.abort();
        change(&node);
        let began = Instant::now();
        let is_replaced = || successor.is_some_and(|after| began.elapsed() >= after);
        ending(&service.api, &service.cache, refused, is_replaced).await
    }

    fn refuse_the_token(node: &Node) {
        node.server.fail(|_| true, std::iter::repeat(Fault::Status(401)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_with_a_successor_is_restarted_whatever_its_rights() {
        let at_once = Some(Duration::ZERO);
        assert_eq!(with_successor(|node| node.server.grant([]), at_once).await, Ending::Restart);
        // A pod that was deleted by force: its token ends before its successor starts.
        let soon = Some(Duration::from_secs(6));
        assert_eq!(with_successor(refuse_the_token, soon).await, Ending::Restart);
        assert_eq!(after(refuse_the_token).await, Ending::Removal);
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_keeps_its_rights_is_restarted() {
        assert_eq!(after(|_| ()).await, Ending::Restart);
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_that_has_expired_proves_nothing_and_lost_rights_do() {
        assert_eq!(with(refuse_the_token, Refused::MayBeExpired, None).await, Ending::Restart);
        assert_eq!(with(|node| node.server.grant([]), Refused::MayBeExpired, None).await, Ending::Removal);
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_has_lost_its_rights_is_removed() {
        assert_eq!(after(|node| node.server.grant([])).await, Ending::Removal);
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_that_never_could_list_proves_nothing() {
        let node = Node::with_rights(&[]);
        let service = node.service().await;
        assert_eq!(ending(&service.api, &service.cache, Refused::IsDeleted, || false).await, Ending::Restart);
    }
}
