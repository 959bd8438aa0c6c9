//! The rights that the daemon's requests need.

use nad::NetworkAttachmentDefinition;
use node::client::{Reach, ResourceKind, Right, Verb};

const fn right(kind: ResourceKind, subresource: Option<&'static str>, verbs: &'static [Verb]) -> Right {
    Right { kind, subresource, verbs, reach: Reach::Cluster }
}

/// What the daemon needs of the API server. `deploy/rbac/multus.yaml` grants exactly this. It also works with upstream's rules, which lack some:
/// without `list` and `watch` it reads each object when it is needed, and without `patch` it reads the pod before it writes.
pub const RIGHTS: &[Right] = &[
    right(ResourceKind::PODS, None, &[Verb::Get, Verb::List, Verb::Watch]),
    right(ResourceKind::PODS, Some("status"), &[Verb::Update, Verb::Patch]),
    right(NetworkAttachmentDefinition::KIND, None, &[Verb::Get, Verb::List, Verb::Watch]),
    right(ResourceKind::EVENTS, None, &[Verb::Create]),
];

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use fake_api::Access;

    use super::*;

    /// The access that these rights give.
    pub(crate) fn granted(rights: &[Right]) -> BTreeSet<Access> {
        let access = |right: &Right, verb: &Verb, reach| Access {
            verb: verb.to_string(),
            resource: right.to_string(),
            reach,
        };
        let reaches = [fake_api::Reach::Namespace, fake_api::Reach::Cluster];
        let all = rights.iter().flat_map(|right| right.verbs.iter().map(move |verb| (right, verb)));
        all.flat_map(move |(right, verb)| reaches.map(|reach| access(right, verb, reach))).collect()
    }

    /// The fake API server of the tests denies what is not in the table, so the table has all; this test finds rows that no code uses.
    #[test]
    fn the_code_uses_every_right() {
        let folder = tempfile::tempdir().unwrap();
        let filters = ["serve::", "cache::", "status::", "events::"];
        let Some(used) = fake_api::used_by_tests(&filters, &folder.path().join("log")) else { return };
        let granted: BTreeSet<String> =
            granted(RIGHTS).iter().map(|access| format!("{} {}", access.verb, access.resource)).collect();
        assert_eq!(granted, used);
    }
}
