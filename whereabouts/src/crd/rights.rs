//! The rights that this crate's requests need.

use nad::NetworkAttachmentDefinition;
use node::client::{Reach, ResourceKind, Right, Verb};

use super::ip_pool::POOLS;
use super::node_slice_pool::NODE_SLICE_POOLS;
use super::reservation::RESERVATIONS;

/// The name of our leader's lease. Whereabouts' own lease is called `whereabouts`.
pub const LEASE: &str = "whereabouts-daemon";

const fn right(kind: ResourceKind, verbs: &'static [Verb], reach: Reach) -> Right {
    Right { kind, subresource: None, verbs, reach }
}

/// What whereabouts and its daemon need of the API server. `deploy/rbac/whereabouts.yaml` grants exactly this.
pub const RIGHTS: &[Right] = &[
    right(
        RESERVATIONS,
        &[Verb::Get, Verb::List, Verb::Watch, Verb::Create, Verb::Update, Verb::Delete],
        Reach::Namespace,
    ),
    right(RESERVATIONS, &[Verb::List], Reach::Cluster),
    right(POOLS, &[Verb::Get, Verb::List, Verb::Watch, Verb::Create, Verb::Patch], Reach::Namespace),
    right(
        NODE_SLICE_POOLS,
        &[Verb::Get, Verb::List, Verb::Watch, Verb::Create, Verb::Update, Verb::Delete],
        Reach::Namespace,
    ),
    right(ResourceKind::LEASES, &[Verb::Get, Verb::Update], Reach::Object(LEASE)),
    right(ResourceKind::LEASES, &[Verb::Create], Reach::Namespace),
    right(ResourceKind::PODS, &[Verb::Get, Verb::List, Verb::Watch], Reach::Cluster),
    right(ResourceKind::NODES, &[Verb::List, Verb::Watch], Reach::Cluster),
    right(NetworkAttachmentDefinition::KIND, &[Verb::List, Verb::Watch], Reach::Cluster),
    right(ResourceKind::EVENTS, &[Verb::Create], Reach::Cluster),
];

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use fake_api::Access;

    use super::*;

    /// The access that the rights give.
    pub(crate) fn granted() -> impl Iterator<Item = Access> {
        let reaches = |right: &Right| match right.reach {
            Reach::Cluster => vec![fake_api::Reach::Namespace, fake_api::Reach::Cluster],
            Reach::Namespace | Reach::Object(_) => vec![fake_api::Reach::Namespace],
        };
        let all = RIGHTS.iter().flat_map(|right| right.verbs.iter().map(move |verb| (right, verb)));
        all.flat_map(move |(right, verb)| {
            let access = |reach| Access { verb: verb.to_string(), resource: right.to_string(), reach };
            reaches(right).into_iter().map(access)
        })
    }

    /// The fake API server of the tests denies what is not in the table, so the table has all; this test finds rows that no code uses. Of
    /// the lease the election's tests in `node` show the same.
    #[test]
    fn the_code_uses_every_right() {
        let folder = tempfile::tempdir().unwrap();
        let filters = ["leader::", "claims::", "daemon::"];
        let Some(mut used) = fake_api::used_by_tests(&filters, &folder.path().join("log")) else { return };
        used.extend(node::lease::VERBS.iter().map(|verb| format!("{verb} {}", ResourceKind::LEASES)));
        let granted: BTreeSet<String> =
            granted().map(|access| format!("{} {}", access.verb, access.resource)).collect();
        assert_eq!(granted, used);
    }
}
