//! Rules of security for everything that a user applies: pods, rights and policies of deploy/ and of every overlay.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{HOTPLUG, containers, overlays, rbac};

/// Every pod that a user gets, with its folder and object. The program for running pods has rules of its own
/// (`the_container_for_running_pods_has_what_plugins_need_and_no_more`).
fn pods() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (folder, objects) in overlays::all() {
        for object in objects {
            let pod = object["spec"]["template"]["spec"].clone();
            if !pod.is_null() && pod["serviceAccountName"] != HOTPLUG {
                all.push((format!("{folder}: {} {}", object["kind"], object["metadata"]["name"]), pod));
            }
        }
    }
    assert!(all.len() > 12, "{}", all.len());
    all
}

fn each<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

#[test]
fn every_overlay_has_both_daemon_sets_their_rights_and_the_custom_resources() {
    for (folder, objects) in overlays::all() {
        let of_kind = |kind: &str| -> BTreeSet<String> {
            let found = objects.iter().filter(|object| object["kind"] == kind);
            found.map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect()
        };
        let hotplug = folder.ends_with("overlays/hotplug").then_some(HOTPLUG);
        let wanted = ["kube-multus-ds", "whereabouts"].into_iter().chain(hotplug);
        assert_eq!(of_kind("DaemonSet"), wanted.map(str::to_owned).collect(), "{folder}");
        assert_eq!(of_kind("CustomResourceDefinition").len(), 4, "{folder}");
        let accounts = of_kind("ServiceAccount");
        for object in &objects {
            let account = &object["spec"]["template"]["spec"]["serviceAccountName"];
            assert!(
                account.is_null() || accounts.contains(account.as_str().unwrap()),
                "{folder}: no account {account}"
            );
        }
    }
}

#[test]
fn no_pod_shares_a_namespace_of_the_node_but_the_network() {
    for (place, pod) in pods() {
        for key in ["hostPID", "hostIPC", "shareProcessNamespace"] {
            assert!(pod[key].is_null(), "{place}: {key}");
        }
        assert_eq!(pod["hostNetwork"], true, "{place}");
    }
}

#[test]
fn every_container_is_confined_and_has_limits() {
    let wanted = json!({
        "runAsUser": 0,
        "privileged": false,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    for (place, pod) in pods() {
        for container in containers(&pod) {
            let name = format!("{place}: {}", container["name"]);
            assert_eq!(container["securityContext"], wanted, "{name}");
            let resources = &container["resources"];
            for value in [
                &resources["requests"]["cpu"],
                &resources["requests"]["memory"],
                &resources["limits"]["memory"],
            ] {
                assert!(value.is_string(), "{name}: {resources}");
            }
            let image = container["image"].as_str().unwrap();
            assert!(
                !image.ends_with(":latest") && image.rsplit('/').next().unwrap().contains(':'),
                "{name}: {image}"
            );
            assert!(container["ports"].is_null(), "{name} has ports");
        }
    }
}

/// What pods may see of the node. Programs run as root there: a container that stays cannot write them.
#[test]
fn pods_see_the_folders_of_cni_and_of_the_sockets_alone() {
    let programs = [
        "/opt/cni/bin",
        "/home/kubernetes/bin",
        "/var/lib/rancher/k3s/data/cni",
        "/var/snap/microk8s/current/opt/cni/bin",
    ];
    let others = [
        "/etc/cni/net.d",
        "/var/lib/rancher/k3s/agent/etc/cni/net.d",
        "/var/snap/microk8s/current/args/cni-network",
        "/run/multus",
        "/run/whereabouts",
        "/var/lib/cni/whereabouts",
    ];
    for (place, pod) in pods() {
        for volume in each(&pod, "volumes") {
            let kinds: Vec<&String> =
                volume.as_object().unwrap().keys().filter(|key| *key != "name").collect();
            assert!(["hostPath", "configMap", "emptyDir"].contains(&kinds[0].as_str()), "{place}: {volume}");
            let Some(path) = volume["hostPath"]["path"].as_str() else { continue };
            assert!(programs.contains(&path) || others.contains(&path), "{place}: {path}");
            assert_eq!(volume["hostPath"]["type"], "DirectoryOrCreate", "{place}: {path}");
            let is_mounted = |container: &Value| {
                each(container, "volumeMounts").any(|mount| mount["name"] == volume["name"])
            };
            if programs.contains(&path) {
                assert!(
                    !each(&pod, "containers").any(is_mounted),
                    "{place}: a container that stays sees {path}"
                );
            }
        }
        for container in containers(&pod) {
            for mount in each(container, "volumeMounts") {
                assert!(mount["mountPropagation"].is_null(), "{place}: {mount}");
            }
        }
    }
}

/// Every user may write to an emptyDir itself, and the daemons refuse a socket in such a folder.
#[test]
fn a_socket_in_a_folder_of_the_pod_is_in_a_folder_that_its_program_makes() {
    for (place, pod) in pods() {
        let of_the_pod: Vec<&Value> =
            each(&pod, "volumes").filter(|volume| volume["emptyDir"].is_object()).collect();
        for container in each(&pod, "containers") {
            // Where the daemons listen if no flag says otherwise: whereabouts' has --socket, multus' has --socket-dir.
            let given = each(container, "args").find_map(|arg| {
                let arg = arg.as_str()?;
                let file = arg.strip_prefix("--socket=").and_then(|file| file.rsplit_once('/'));
                file.map(|(folder, _)| folder).or(arg.strip_prefix("--socket-dir="))
            });
            let folders = given.map_or(vec!["/run/whereabouts", "/run/multus"], |folder| vec![folder]);
            for mount in each(container, "volumeMounts") {
                let is_of_the_pod = of_the_pod.iter().any(|volume| volume["name"] == mount["name"]);
                let path = mount["mountPath"].as_str().unwrap();
                assert!(!(is_of_the_pod && folders.contains(&path)), "{place}: {path}");
            }
        }
    }
}

#[test]
fn no_container_gets_a_secret() {
    for (place, pod) in pods() {
        for container in containers(&pod) {
            assert!(container["envFrom"].is_null(), "{place}");
            for variable in each(container, "env") {
                let from = &variable["valueFrom"];
                assert!(from.is_null() || from["fieldRef"].is_object(), "{place}: {variable}");
            }
        }
    }
}

/// No wildcard, nothing with which an account could get other rights, and only reads of what decides what runs as root.
#[test]
fn rights_are_named_one_by_one_and_give_no_way_to_more() {
    for (folder, objects) in overlays::all() {
        for role in
            objects.iter().filter(|object| object["kind"] == "Role" || object["kind"] == "ClusterRole")
        {
            for rule in each(role, "rules") {
                let place = format!("{folder}: {}: {rule}", role["metadata"]["name"]);
                let texts = |key: &str| {
                    each(rule, key).map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>()
                };
                let (verbs, resources) = (texts("verbs"), texts("resources"));
                for list in [texts("apiGroups"), verbs.clone(), resources.clone()] {
                    assert!(!list.is_empty() && !list.contains(&"*".to_owned()), "{place}");
                }
                let reads = ["get", "list", "watch"];
                let writes: Vec<&String> =
                    verbs.iter().filter(|verb| !reads.contains(&verb.as_str())).collect();
                for verb in ["escalate", "bind", "impersonate", "deletecollection"] {
                    assert!(!verbs.contains(&verb.to_owned()), "{place}");
                }
                for resource in resources {
                    let group = texts("apiGroups").join(",");
                    let is_written = match (group.as_str(), resource.as_str()) {
                        ("", "pods/status" | "events") | ("coordination.k8s.io", "leases") => true,
                        ("resource.k8s.io", "resourceclaims/status") => true,
                        ("whereabouts.cni.cncf.io", "overlappingrangeipreservations" | "nodeslicepools") => {
                            true
                        }
                        ("whereabouts.cni.cncf.io", "ippools") => !verbs.contains(&"delete".to_owned()),
                        ("", "pods" | "nodes") | ("k8s.cni.cncf.io", "network-attachment-definitions") => {
                            false
                        }
                        ("resource.k8s.io", "resourceclaims" | "resourceslices") => false,
                        _ => panic!("{place}: nobody has said why"),
                    };
                    assert!(is_written || writes.is_empty(), "{place}");
                }
            }
        }
    }
}

#[test]
fn rights_are_given_to_accounts_and_to_nobody_else() {
    for (folder, objects) in overlays::all() {
        let manifests: Vec<(String, Value)> =
            objects.into_iter().map(|object| (folder.clone(), object)).collect();
        for (_, object) in &manifests {
            for subject in each(object, "subjects") {
                assert_eq!(subject["kind"], "ServiceAccount", "{folder}: {subject}");
                assert_eq!(subject["namespace"], "kube-system", "{folder}: {subject}");
            }
        }
        let known = ["multus", "multus-daemon", "whereabouts", "whereabouts-leader"];
        assert!(
            rbac::subjects(&manifests).iter().all(|account| known.contains(&account.as_str())),
            "{folder}"
        );
    }
}

#[test]
fn the_hardened_overlay_limits_users_and_nodes() {
    let all = overlays::all();
    let (_, objects) = all.iter().find(|(folder, _)| folder == "deploy/overlays/hardened").unwrap();
    let named = |kind: &str, name: &str| -> &Value {
        objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name).unwrap()
    };
    let config = named("ConfigMap", "multus-daemon-config")["data"]["daemon-config.json"].as_str().unwrap();
    let config: Value = serde_json::from_str(config).unwrap();
    assert_eq!(config["namespaceIsolation"], true);
    let plain = super::manifests().into_iter().find(|(_, object)| object["kind"] == "ConfigMap").unwrap().1;
    let plain: Value = serde_json::from_str(plain["data"]["daemon-config.json"].as_str().unwrap()).unwrap();
    let mut rest = config;
    rest.as_object_mut().unwrap().remove("namespaceIsolation");
    assert_eq!(rest, plain, "everything else is as in deploy/");
    let set = &named("DaemonSet", "whereabouts")["spec"]["template"]["spec"]["containers"][0];
    assert!(each(set, "args").any(|argument| argument == "--never-lead"), "{set}");
    named("Deployment", "whereabouts-leader");
    for policy in ["multus-node-limits", "whereabouts-node-limits", "whereabouts-leader-only"] {
        named("ValidatingAdmissionPolicy", policy);
        named("ValidatingAdmissionPolicyBinding", policy);
    }
}
