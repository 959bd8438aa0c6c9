//! What Roles and ClusterRoles grant to an account.

use std::collections::BTreeSet;

use serde_json::Value;

/// One right of an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Granted {
    /// The namespace of the Role; `None` for a ClusterRole.
    pub namespace: Option<String>,
    /// Plural, group and subresource.
    pub resource: String,
    /// The only object, if the rule names one.
    pub name: Option<String>,
    /// The verb.
    pub verb: String,
}

/// The rights of a service account in kube-system.
pub fn granted(manifests: &[(String, Value)], account: &str) -> BTreeSet<Granted> {
    let mut all = BTreeSet::new();
    for (_, binding) in manifests {
        if !texts(&binding["subjects"], "name").contains(account) {
            continue;
        }
        let subject = &binding["subjects"][0];
        assert!(subject["kind"] == "ServiceAccount" && subject["namespace"] == "kube-system", "{subject}");
        let namespace = match text(&binding["kind"]).as_str() {
            "RoleBinding" => Some(text(&binding["metadata"]["namespace"])),
            "ClusterRoleBinding" => None,
            other => panic!("{other} has subjects"),
        };
        let role = &binding["roleRef"];
        let is_meant = |object: &Value| {
            object["kind"] == role["kind"]
                && object["metadata"]["name"] == role["name"]
                && object["metadata"]["namespace"].as_str() == namespace.as_deref()
        };
        let (_, role) = manifests.iter().find(|(_, object)| is_meant(object)).expect("the role is in deploy");
        for rule in role["rules"].as_array().unwrap() {
            rights_of(rule, namespace.as_ref(), &mut all);
        }
    }
    all
}

/// The accounts that a binding names.
pub fn subjects(manifests: &[(String, Value)]) -> BTreeSet<String> {
    manifests.iter().flat_map(|(_, binding)| texts(&binding["subjects"], "name")).collect()
}

fn rights_of(rule: &Value, namespace: Option<&String>, all: &mut BTreeSet<Granted>) {
    let list = |key: &str| -> Vec<String> { rule[key].as_array().into_iter().flatten().map(text).collect() };
    let mut names: Vec<Option<String>> = list("resourceNames").into_iter().map(Some).collect();
    if names.is_empty() {
        names.push(None);
    }
    assert!(rule["nonResourceURLs"].is_null(), "{rule}");
    for group in list("apiGroups") {
        for resource in list("resources") {
            let (plural, sub) = resource
                .split_once('/')
                .map_or((resource.as_str(), String::new()), |(plural, sub)| (plural, format!("/{sub}")));
            let group = if group.is_empty() { String::new() } else { format!(".{group}") };
            for verb in list("verbs") {
                all.extend(names.iter().map(|name| Granted {
                    namespace: namespace.cloned(),
                    resource: format!("{plural}{group}{sub}"),
                    name: name.clone(),
                    verb: verb.clone(),
                }));
            }
        }
    }
}

fn texts(list: &Value, key: &str) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(|element| text(&element[key])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
