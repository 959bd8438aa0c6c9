//! The manifests of `deploy/` grant what the code uses, and nothing else. What the code uses is in a table in each crate (`RIGHTS`), which the
//! crate's unit tests compare with the requests that its code sends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod rbac;

use std::collections::BTreeSet;
use std::path::Path;

use node::client::{Reach, Right};
use rbac::Granted;
use serde_json::Value;
use tests::place;

/// Every object of the manifests, with its file.
fn manifests() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    read_folder(&place::root().join("deploy"), &mut all);
    assert!(all.len() > 10, "{all:?}");
    all
}

fn read_folder(folder: &Path, all: &mut Vec<(String, Value)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_folder(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let objects: Vec<Value> = serde_saphyr::from_multiple(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            all.extend(objects.into_iter().map(|object| (path.display().to_string(), object)));
        }
    }
}

/// The rights of a table, as the manifests grant them to an account in kube-system.
fn needed(rights: &[Right]) -> BTreeSet<Granted> {
    let one = |right: &Right, verb: &node::client::Verb| Granted {
        namespace: match right.reach {
            Reach::Cluster => None,
            Reach::Namespace | Reach::Object(_) => Some("kube-system".to_owned()),
        },
        resource: right.to_string(),
        name: match right.reach {
            Reach::Object(name) => Some(name.to_owned()),
            Reach::Cluster | Reach::Namespace => None,
        },
        verb: verb.to_string(),
    };
    rights.iter().flat_map(|right| right.verbs.iter().map(move |verb| one(right, verb))).collect()
}

#[test]
fn each_account_has_the_rights_that_its_code_uses_and_no_others() {
    let manifests = manifests();
    for (account, rights) in [
        ("multus", multus::RIGHTS),
        ("multus-daemon", daemon::RIGHTS),
        ("whereabouts", whereabouts::crd::rights::RIGHTS),
        ("whereabouts-leader", whereabouts::crd::rights::RIGHTS),
    ] {
        let (granted, needed) = (rbac::granted(&manifests, account), needed(rights));
        let missing: Vec<_> = needed.difference(&granted).collect();
        let unused: Vec<_> = granted.difference(&needed).collect();
        assert!(missing.is_empty() && unused.is_empty(), "{account}: missing {missing:?}, unused {unused:?}");
    }
}

#[test]
fn no_other_account_gets_a_right() {
    let manifests = manifests();
    let known: BTreeSet<String> =
        ["multus", "multus-daemon", "whereabouts", "whereabouts-leader"].map(str::to_owned).into();
    assert_eq!(rbac::subjects(&manifests), known);
    let accounts = manifests.iter().filter(|(_, object)| object["kind"] == "ServiceAccount");
    let accounts: BTreeSet<String> =
        accounts.map(|(_, object)| object["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(accounts, known);
}

/// A pod that runs as an account of another name would have no rights, and no policy would limit it.
#[test]
fn pods_run_as_these_accounts_without_capabilities() {
    let mut found = BTreeSet::new();
    for (file, object) in manifests() {
        let pod = &object["spec"]["template"]["spec"];
        if pod.is_null() {
            continue;
        }
        found.insert(pod["serviceAccountName"].as_str().unwrap().to_owned());
        for container in pod["containers"].as_array().unwrap() {
            let context = &container["securityContext"];
            assert_eq!(context["capabilities"]["drop"][0], "ALL", "{file}");
            assert_eq!(context["privileged"], false, "{file}");
            assert!(context["capabilities"]["add"].is_null(), "{file}");
        }
    }
    assert_eq!(found, ["multus-daemon", "whereabouts", "whereabouts-leader"].map(str::to_owned).into());
}

#[test]
fn every_policy_denies_and_fails_closed() {
    let manifests = manifests();
    let of_kind = |kind: &str| -> Vec<&Value> {
        manifests.iter().map(|(_, object)| object).filter(|object| object["kind"] == kind).collect()
    };
    let policies = of_kind("ValidatingAdmissionPolicy");
    assert_eq!(policies.len(), 3);
    for policy in policies {
        let name = &policy["metadata"]["name"];
        assert_eq!(policy["spec"]["failurePolicy"], "Fail", "{name}");
        let bindings = of_kind("ValidatingAdmissionPolicyBinding");
        let bound = bindings.iter().find(|binding| binding["spec"]["policyName"] == *name).unwrap();
        assert_eq!(bound["spec"]["validationActions"], serde_json::json!(["Deny"]), "{name}");
        assert!(bound["spec"]["matchResources"].is_null(), "{name} must apply everywhere");
    }
}

/// The policies name an annotation, a label, a lease and a flag as texts.
#[test]
fn the_policies_use_the_words_of_the_code() {
    let text =
        |file: &str| std::fs::read_to_string(place::root().join("deploy/node-limits").join(file)).unwrap();
    assert!(text("multus.yaml").contains(&format!("\"'{}'\"", nad::NETWORK_STATUS)));
    let claims = text("whereabouts.yaml");
    assert!(claims.contains(&format!("'{}'", whereabouts::crd::reservation::LABEL_NODE)));
    assert!(claims.contains(&format!("'{}'", whereabouts::crd::rights::LEASE)));
}
