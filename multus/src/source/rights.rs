//! The rights that the requests of this folder need.

use node::client::{Reach, ResourceKind, Right, Verb};

use super::claims::{CLAIMS, SLICES};

/// What multus needs of the API server. `deploy/rbac/multus.yaml` grants exactly this.
pub const RIGHTS: &[Right] = &[
    Right { kind: ResourceKind::PODS, subresource: None, verbs: &[Verb::Get], reach: Reach::Cluster },
    Right {
        kind: ResourceKind::PODS,
        subresource: Some("status"),
        verbs: &[Verb::Update],
        reach: Reach::Cluster,
    },
    Right {
        kind: nad::NetworkAttachmentDefinition::KIND,
        subresource: None,
        verbs: &[Verb::Get],
        reach: Reach::Cluster,
    },
    Right { kind: CLAIMS, subresource: None, verbs: &[Verb::Get], reach: Reach::Cluster },
    Right { kind: CLAIMS, subresource: Some("status"), verbs: &[Verb::Update], reach: Reach::Cluster },
    Right { kind: SLICES, subresource: None, verbs: &[Verb::List], reach: Reach::Cluster },
    Right { kind: ResourceKind::EVENTS, subresource: None, verbs: &[Verb::Create], reach: Reach::Cluster },
];

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use fake_api::Access;

    use super::*;

    /// The access that the rights give.
    pub(crate) fn granted() -> impl Iterator<Item = Access> {
        let access = |right: &Right, verb: &Verb, reach| Access {
            verb: verb.to_string(),
            resource: right.to_string(),
            reach,
        };
        let reaches = [fake_api::Reach::Namespace, fake_api::Reach::Cluster];
        let all = RIGHTS.iter().flat_map(|right| right.verbs.iter().map(move |verb| (right, verb)));
        all.flat_map(move |(right, verb)| reaches.map(|reach| access(right, verb, reach)))
    }

    /// The fake API server of the tests denies what is not in the table, so the table has all; this test finds rows that no code uses.
    #[test]
    fn the_code_uses_every_right() {
        let folder = tempfile::tempdir().unwrap();
        let Some(used) = fake_api::used_by_tests(&["source::", "plugin::"], &folder.path().join("log"))
        else {
            return;
        };
        let granted: BTreeSet<String> =
            granted().map(|access| format!("{} {}", access.verb, access.resource)).collect();
        assert_eq!(granted, used);
    }
}
