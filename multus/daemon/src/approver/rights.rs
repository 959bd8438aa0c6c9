//! The rights that the requests of `cert-approver` need.

use node::client::{Reach, ResourceKind, Right, Verb};

use crate::csr::KIND;

/// What `cert-approver` needs of the API server. A ClusterRole must also grant the verb `approve` on `signers` (API group
/// `certificates.k8s.io`) with the resourceName `kubernetes.io/kube-apiserver-client`: the API server checks it when a condition is written. It
/// belongs to no request of its own, so this table cannot have it.
///
/// Events about these objects are in the namespace `default`, so a Role there may grant `create` on events.
pub const RIGHTS: &[Right] = &[
    Right {
        kind: KIND,
        subresource: None,
        verbs: &[Verb::Get, Verb::List, Verb::Watch],
        reach: Reach::Cluster,
    },
    Right { kind: KIND, subresource: Some("approval"), verbs: &[Verb::Update], reach: Reach::Cluster },
    Right { kind: ResourceKind::EVENTS, subresource: None, verbs: &[Verb::Create], reach: Reach::Cluster },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rights::tests::granted;

    #[test]
    fn the_code_uses_every_right() {
        let folder = tempfile::tempdir().unwrap();
        let Some(used) = fake_api::used_by_tests(&["approver::tests::"], &folder.path().join("log")) else {
            return;
        };
        let granted: BTreeSet<String> =
            granted(RIGHTS).iter().map(|access| format!("{} {}", access.verb, access.resource)).collect();
        assert_eq!(granted, used);
    }
}
