//! Whether multus is being removed from the cluster, when the daemon is told to end.
//!
//! `00-multus.conf` stays over a restart of the daemon: without it pods would start with fewer networks. After a removal nothing may use it: the
//! plugin would have no rights any more, and no pod of the node could start.

use std::time::Duration;

use nad::NetworkAttachmentDefinition;
use node::client::{ApiClient, ApiError, Freshness, ListPage, ListQuery, Parts};
use node::deadline::Deadline;
use serde::de::IgnoredAny;

use crate::cache::Cache;

/// How often the end looks. Whoever removes a manifest removes accounts and rights before the pods, but the API server notices some of that only
/// after a moment.
const LOOKS: u32 = 3;

/// The time between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the end waits for one answer.
const LIMIT: Duration = Duration::from_secs(2);

/// Why the daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Another one follows, or nothing else is known.
    Restart,
    /// The rights that the daemon had, or the custom resource, are gone.
    Removal,
}

/// Why the daemon ends. Takes some seconds.
pub(crate) async fn ending(api: &ApiClient, cache: &Cache) -> Ending {
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
        if let Err(ApiError::NotFound { .. } | ApiError::Denied { .. }) = answer {
            return Ending::Removal;
        }
    }
    Ending::Restart
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::follow_definitions;
    use crate::testing::{Node, settle};

    /// How a daemon ends that had listed the definitions, on a server that then answers like this.
    async fn after(change: impl FnOnce(&Node)) -> Ending {
        let node = Node::new();
        let service = node.service().await;
        let following = tokio::spawn(follow_definitions(service.cache.clone(), service.api.clone()));
        settle().await;
        following.abort();
        change(&node);
        ending(&service.api, &service.cache).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_keeps_its_rights_is_restarted() {
        assert_eq!(after(|_| ()).await, Ending::Restart);
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_has_lost_its_rights_is_removed() {
        assert_eq!(after(|node| node.server.grant([])).await, Ending::Removal);
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_that_never_could_list_proves_nothing() {
        let node = Node::with_rights(&[]);
        let service = node.service().await;
        assert_eq!(ending(&service.api, &service.cache).await, Ending::Restart);
    }
}
