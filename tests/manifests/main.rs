//! The manifests of `deploy/` grant what the code uses, and nothing else. What the code uses is in a table in each crate (`RIGHTS`), which the
//! crate's unit tests compare with the requests that its code sends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod lint;
mod overlays;
mod rbac;
mod versions;

use std::collections::BTreeSet;
use std::path::Path;

use node::client::{Reach, Right};
use rbac::Granted;
use serde_json::Value;
use tests::place;

/// The program for running pods: its account, DaemonSet and container. It runs plugins, so it has what no other container has.
const HOTPLUG: &str = "multus-hotplug";

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
        // Templates and overlays, whose objects `tests/packages/render` compares with these.
        let is_package = ["helm", "carvel"].iter().any(|name| path.ends_with(name));
        if is_package {
            continue;
        }
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

/// What the tests of RBAC cannot see: that they would fail. Each verb of each rule is taken away once.
#[test]
fn taking_any_verb_of_any_rule_away_is_noticed() {
    let accounts = ["multus", "multus-daemon", "whereabouts", "whereabouts-leader"];
    let whole = manifests();
    let granted = |manifests: &[(String, Value)]| accounts.map(|account| rbac::granted(manifests, account));
    let all = granted(&whole);
    let mut taken = 0;
    for (at, (file, object)) in whole.iter().enumerate() {
        for (rule, value) in object["rules"].as_array().into_iter().flatten().enumerate() {
            for verb in 0..value["verbs"].as_array().unwrap().len() {
                let mut without = whole.clone();
                let verbs = &mut without[at].1["rules"][rule]["verbs"];
                let verb = verbs.as_array_mut().unwrap().remove(verb);
                assert_ne!(
                    granted(&without),
                    all,
                    "{file}: {verb} of {value} is granted twice, or to nobody"
                );
                taken += 1;
            }
        }
    }
    assert!(taken > 30, "{taken}");
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
    // That of the program for running pods has no right, and its pod no token.
    let known = known.into_iter().chain([HOTPLUG.to_owned()]).collect::<BTreeSet<_>>();
    assert_eq!(accounts, known);
}

/// Every pod of the manifests, with its file.
fn pods() -> Vec<(String, Value)> {
    let pod = |(file, object): (String, Value)| Some((file, object["spec"]["template"]["spec"].clone()));
    manifests().into_iter().filter_map(pod).filter(|(_, pod)| !pod.is_null()).collect()
}

/// The containers of a pod, those that run first included.
fn containers(pod: &Value) -> Vec<&Value> {
    ["initContainers", "containers"]
        .iter()
        .flat_map(|key| pod[key].as_array().into_iter().flatten())
        .collect()
}

/// A pod that runs as an account of another name would have no rights, and no policy would limit it.
#[test]
fn pods_run_as_these_accounts() {
    let of = |(_, pod): &(String, Value)| pod["serviceAccountName"].as_str().unwrap().to_owned();
    let found: BTreeSet<String> = pods().iter().map(of).collect();
    let known = ["multus-daemon", HOTPLUG, "whereabouts", "whereabouts-leader"];
    assert_eq!(found, known.map(str::to_owned).into());
}

/// The pod of the program for running pods.
fn hotplug() -> Value {
    let mut found = pods().into_iter().map(|(_, pod)| pod).filter(|pod| pod["serviceAccountName"] == HOTPLUG);
    let pod = found.next().unwrap();
    assert!(found.next().is_none() && containers(&pod).len() == 1);
    pod
}

/// The one container that runs plugins has the capabilities for that, and nothing else: no credential, no device, no host process.
#[test]
fn the_container_for_running_pods_has_what_plugins_need_and_no_more() {
    let pod = hotplug();
    assert_eq!(pod["automountServiceAccountToken"], false);
    let wanted = serde_json::json!({
        "runAsUser": 0,
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW", "SYS_ADMIN"]},
        "seccompProfile": {"type": "RuntimeDefault"},
        "appArmorProfile": {"type": "Unconfined"},
    });
    let container = containers(&pod).remove(0).clone();
    assert_eq!(container["securityContext"], wanted);
    let mut writable = Vec::new();
    for mount in container["volumeMounts"].as_array().unwrap() {
        let volume = pod["volumes"].as_array().unwrap().iter().find(|v| v["name"] == mount["name"]).unwrap();
        let (on_node, here) = (&volume["hostPath"]["path"], mount["mountPath"].as_str().unwrap());
        // The plugins get the node's paths.
        assert!(on_node == here || format!("/var{}", on_node.as_str().unwrap()) == here, "{mount}");
        if mount["readOnly"] != true {
            writable.push(here.to_owned());
        }
        if here.ends_with("/netns") {
            assert_eq!(mount["mountPropagation"], "HostToContainer", "namespaces of later pods are seen too");
        }
    }
    assert_eq!(writable, ["/var/lib/cni"]);
}

/// Programs of the node run as root there. What stays could be taken over; what ends cannot.
#[test]
fn only_containers_that_end_see_the_nodes_programs() {
    let folders = ["/etc/cni/net.d", "/run/multus", "/run/whereabouts", "/var/lib/cni/whereabouts"];
    let mut installing = 0;
    for (file, pod) in pods().into_iter().filter(|(_, pod)| pod["serviceAccountName"] != HOTPLUG) {
        let volumes = pod["volumes"].as_array().cloned().unwrap_or_default();
        for (key, list) in [("initContainers", true), ("containers", false)] {
            for mount in pod[key]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|c| c["volumeMounts"].as_array().into_iter().flatten())
            {
                let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
                let Some(path) = volume["hostPath"]["path"].as_str() else { continue };
                installing += usize::from(list && path == "/opt/cni/bin");
                assert!(
                    folders.contains(&path) || (list && path == "/opt/cni/bin"),
                    "{file}: {key} see {path}"
                );
            }
        }
    }
    assert_eq!(installing, 2);
}

/// Nodes are updated without a moment in which a plugin's token is invalid, and before any pod of a user.
#[test]
fn daemon_sets_run_everywhere_and_start_the_new_pod_first() {
    let sets: Vec<_> = manifests().into_iter().filter(|(_, object)| object["kind"] == "DaemonSet").collect();
    assert_eq!(sets.len(), 3);
    for (file, set) in sets {
        let update = &set["spec"]["updateStrategy"]["rollingUpdate"];
        assert_eq!((&update["maxUnavailable"], &update["maxSurge"]), (&0.into(), &"25%".into()), "{file}");
        let pod = &set["spec"]["template"]["spec"];
        assert_eq!(pod["priorityClassName"], "system-node-critical", "{file}");
        assert_eq!(pod["hostNetwork"], true, "{file}");
        assert_eq!(pod["tolerations"], serde_json::json!([{"operator": "Exists"}]), "{file}");
    }
}

/// One image, whose paths are in a table.
#[test]
fn containers_start_programs_of_the_one_image() {
    let paths = std::fs::read_to_string(place::root().join("deploy/image/paths")).unwrap();
    let mut images = BTreeSet::new();
    for (file, pod) in pods() {
        for container in containers(&pod) {
            images.insert(container["image"].as_str().unwrap().to_owned());
            let program = container["command"][0].as_str().unwrap();
            let is_listed = paths.lines().any(|line| line.split_whitespace().nth(1) == Some(program));
            let is_script =
                place::root().join("deploy/image/rootfs").join(program.trim_start_matches('/')).exists();
            assert!(is_listed || is_script, "{file}: {program}");
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(images, [format!("ghcr.io/multus-rs/multus-rs:v{version}")].into());
}

/// kustomize does not notice a file that no list names.
#[test]
fn every_manifest_is_in_a_kustomization() {
    for folder in ["crds", "rbac", "daemons", "hotplug", "node-limits"] {
        let path = place::root().join("deploy").join(folder);
        let text = std::fs::read_to_string(path.join("Kustomization")).unwrap();
        let list: Value = serde_saphyr::from_str(&text).unwrap();
        let names =
            |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut there: Vec<String> = std::fs::read_dir(&path).unwrap().map(names).collect();
        there.retain(|name| name.ends_with(".yaml"));
        there.sort();
        assert_eq!(list["resources"], serde_json::json!(there), "{folder}");
    }
}

#[test]
fn every_policy_denies_and_fails_closed() {
    let manifests = manifests();
    let of_kind = |kind: &str| -> Vec<&Value> {
        manifests.iter().map(|(_, object)| object).filter(|object| object["kind"] == kind).collect()
    };
    let policies = of_kind("ValidatingAdmissionPolicy");
    assert_eq!(policies.len(), 4);
    for policy in policies {
        let name = &policy["metadata"]["name"];
        assert_eq!(policy["spec"]["failurePolicy"], "Fail", "{name}");
        let bindings = of_kind("ValidatingAdmissionPolicyBinding");
        let bound = bindings.iter().find(|binding| binding["spec"]["policyName"] == *name).unwrap();
        assert_eq!(bound["spec"]["validationActions"], serde_json::json!(["Deny"]), "{name}");
        assert!(bound["spec"]["matchResources"].is_null(), "{name} must apply everywhere");
    }
}

#[test]
fn the_policy_for_antreas_agent_keeps_the_annotation_of_the_code() {
    let file = place::root().join("deploy/overlays/antrea/keep-network-status.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(&format!("\"'{}'\"", nad::NETWORK_STATUS)));
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
