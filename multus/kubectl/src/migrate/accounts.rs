//! What the service accounts of the workloads may do. Upstream's manifests of every release grant enough for our programs: this finds clusters
//! where somebody has narrowed the rights down.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding};
use serde::Serialize;

use super::program::Program;
use super::workload::Workload;

/// The roles of the cluster and who has them.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    /// All ClusterRoles.
    pub cluster_roles: Vec<ClusterRole>,
    /// All Roles.
    pub roles: Vec<Role>,
    /// All ClusterRoleBindings.
    pub cluster_bindings: Vec<ClusterRoleBinding>,
    /// All RoleBindings.
    pub bindings: Vec<RoleBinding>,
}

/// As whom the programs of a workload ask the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// As the service account of their pods.
    Account,
    /// As multus on their node, by a certificate of the node (`perNodeCertificate`): a member of the group [`GROUP`].
    Node,
}

/// The group of the certificates.
pub const GROUP: &str = "system:multus";

/// One account, and what it lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// `<namespace>/<name>` of a service account, or the name of a group.
    pub account: String,
    /// The roles that it has.
    pub roles: Vec<String>,
    /// What our programs need and it may not do, as `<verb> <resource>`.
    pub lacks: Vec<String>,
}

/// What our programs cannot do without: verb, group, resource. Everything else only makes them better: a cache, events, reclaim.
const MULTUS: &[(&str, &str, &str)] = &[
    ("get", "k8s.cni.cncf.io", "network-attachment-definitions"),
    ("get", "", "pods"),
    ("update", "", "pods/status"),
];

/// The same for whereabouts.
const WHEREABOUTS: &[(&str, &str, &str)] = &[
    ("get", "whereabouts.cni.cncf.io", "overlappingrangeipreservations"),
    ("list", "whereabouts.cni.cncf.io", "overlappingrangeipreservations"),
    ("create", "whereabouts.cni.cncf.io", "overlappingrangeipreservations"),
    ("update", "whereabouts.cni.cncf.io", "overlappingrangeipreservations"),
    ("delete", "whereabouts.cni.cncf.io", "overlappingrangeipreservations"),
    ("get", "whereabouts.cni.cncf.io", "ippools"),
    ("create", "whereabouts.cni.cncf.io", "ippools"),
    ("patch", "whereabouts.cni.cncf.io", "ippools"),
];

/// The account of a workload, by these roles.
pub fn account(workload: &Workload, identity: Identity, roles: &Roles) -> Account {
    let mut names = BTreeSet::new();
    let mut rules: Vec<&PolicyRule> = Vec::new();
    let is_subject = |subjects: Option<&Vec<k8s_openapi::api::rbac::v1::Subject>>, of: Option<&str>| {
        subjects.into_iter().flatten().any(|subject| match identity {
            Identity::Node => subject.kind == "Group" && subject.name == GROUP,
            Identity::Account => {
                let namespace = subject.namespace.as_deref().or(of);
                subject.kind == "ServiceAccount"
                    && subject.name == workload.account
                    && namespace == Some(workload.namespace.as_str())
            }
        })
    };
    let cluster_role =
        |name: &str| roles.cluster_roles.iter().find(|role| role.metadata.name.as_deref() == Some(name));
    for binding in roles.cluster_bindings.iter().filter(|binding| is_subject(binding.subjects.as_ref(), None))
    {
        names.insert(format!("ClusterRole {}", binding.role_ref.name));
        rules.extend(
            cluster_role(&binding.role_ref.name).and_then(|role| role.rules.as_ref()).into_iter().flatten(),
        );
    }
    for binding in &roles.bindings {
        let namespace = binding.metadata.namespace.as_deref();
        // Rights in another namespace than the workload's are of no use to it.
        if namespace != Some(workload.namespace.as_str()) || !is_subject(binding.subjects.as_ref(), namespace)
        {
            continue;
        }
        names.insert(format!("{} {}", binding.role_ref.kind, binding.role_ref.name));
        let of_role = roles.roles.iter().find(|role| {
            role.metadata.namespace.as_deref() == namespace
                && role.metadata.name.as_deref() == Some(&binding.role_ref.name)
        });
        let found = match binding.role_ref.kind.as_str() {
            "Role" => of_role.and_then(|role| role.rules.as_ref()),
            _ => cluster_role(&binding.role_ref.name).and_then(|role| role.rules.as_ref()),
        };
        rules.extend(found.into_iter().flatten());
    }
    let needed = match workload.program {
        Program::MultusThin | Program::MultusThick => MULTUS,
        Program::Whereabouts => WHEREABOUTS,
        // The daemons of the nodes do their work.
        Program::Reconciler | Program::SliceController | Program::Certificates => &[],
    };
    let lacking = needed
        .iter()
        .filter(|(verb, group, resource)| !rules.iter().any(|rule| grants(rule, verb, group, resource)));
    Account {
        account: match identity {
            Identity::Account => format!("{}/{}", workload.namespace, workload.account),
            Identity::Node => GROUP.to_owned(),
        },
        roles: names.into_iter().collect(),
        lacks: lacking.map(|(verb, _, resource)| format!("{verb} {resource}")).collect(),
    }
}

fn grants(rule: &PolicyRule, verb: &str, group: &str, resource: &str) -> bool {
    let has = |list: &[String], wanted: &str| list.iter().any(|text| text == wanted || text == "*");
    let subresource = resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
    let resources = rule.resources.as_deref().unwrap_or_default();
    has(&rule.verbs, verb)
        && has(rule.api_groups.as_deref().unwrap_or_default(), group)
        && (has(resources, resource) || subresource.is_some_and(|any| resources.contains(&any)))
        && rule.resource_names.as_ref().is_none_or(Vec::is_empty)
}
