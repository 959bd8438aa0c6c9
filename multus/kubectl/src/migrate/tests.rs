//! From objects, as upstream's manifests make them, to findings, plans and text.

use nad::NadRef;
use node::names::{DnsLabel, DnsSubdomain};
use serde_json::{Value, json};

use super::*;
use crate::definition::read;
use crate::finding::Severity;

const OURS: &str = "registry.example/multus-rs:v9";
const MULTUS: &str = "ghcr.io/k8snetworkplumbingwg/multus-cni:v4.3.0-thick";
const WHEREABOUTS: &str = "ghcr.io/k8snetworkplumbingwg/whereabouts:v0.9.4";

fn daemon_set(name: &str, pod: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "kube-system", "generation": 2, "resourceVersion": "7", "annotations": {"deprecated.daemonset.template.generation": "2"}},
        "spec": {"selector": {"matchLabels": {"name": name}}, "template": {"spec": pod}},
        "status": {"observedGeneration": 2, "desiredNumberScheduled": 2, "currentNumberScheduled": 2, "numberReady": 2, "numberMisscheduled": 0, "updatedNumberScheduled": 2}})
}

fn thick() -> Value {
    daemon_set(
        "kube-multus-ds",
        json!({
        "hostPID": true, "serviceAccountName": "multus",
        "initContainers": [{"name": "install", "image": MULTUS, "command": ["/usr/src/multus-cni/bin/install_multus", "-d", "/host/opt/cni/bin", "-t", "thick"], "securityContext": {"privileged": true}}],
        "containers": [
            {"name": "proxy", "image": "r/kube-rbac-proxy:1", "command": ["/proxy"]},
            {"name": "kube-multus", "image": MULTUS, "command": ["/usr/src/multus-cni/bin/multus-daemon"]}]}),
    )
}

fn whereabouts() -> Value {
    let script =
        "SLEEP=false source /install-cni.sh\n/token-watcher.sh &\n/ip-control-loop -log-level debug\n";
    daemon_set(
        "whereabouts",
        json!({"serviceAccountName": "whereabouts", "containers": [
        {"name": "whereabouts", "image": WHEREABOUTS, "command": ["/bin/sh"], "args": ["-c", script]}]}),
    )
}

fn deployment(name: &str, program: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "kube-system", "resourceVersion": "7"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {"spec": {"containers": [{"name": name, "image": WHEREABOUTS, "command": [program]}]}}},
        "status": {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}})
}

fn set(object: &Value) -> Workload {
    of_daemon_set(&serde_json::from_value(object.clone()).unwrap()).unwrap()
}

fn cluster() -> Facts {
    let deployment =
        |name, program| of_deployment(&serde_json::from_value(deployment(name, program)).unwrap()).unwrap();
    Facts {
        workloads: vec![
            set(&thick()),
            set(&whereabouts()),
            deployment("whereabouts-controller", "/node-slice-controller"),
            deployment("whereabouts-reconciler", "/ip-reconciler"),
        ],
        ..Facts::default()
    }
}

fn names(plan: &Plan) -> Vec<String> {
    let name = |step: &Step| match step {
        Step::Images(step) => step.object(),
        Step::Await(what) => format!("{what:?}"),
    };
    plan.steps.iter().map(name).collect()
}

fn images(plan: &Plan) -> Vec<&ImageStep> {
    let mut all = Vec::new();
    for step in &plan.steps {
        if let Step::Images(step) = step {
            all.push(step);
        }
    }
    all
}

/// The codes of what blocks.
fn blocking(facts: &Facts, direction: Direction) -> Vec<String> {
    let all = blocks(facts, &plan(facts, direction, OURS), OURS);
    all.iter().filter(|block| block.severity == Severity::Error).map(|block| block.code.to_string()).collect()
}

#[test]
fn upstreams_programs_are_found_by_their_commands() {
    let found = |image: &str, command: &[&str], args: &[&str]| {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        program::started(image, &texts(command), &texts(args))
    };
    use program::{Program, Started};
    let upstream = |program| Some(Started::Upstream(program));
    // Multus 3.7, 3.9, 4.0 thin; 4.2.1 thick; Whereabouts 0.5, 0.6, 0.9.
    assert_eq!(
        found("r/multus-cni:v3.8", &["/entrypoint.sh"], &["--multus-conf-file=auto"]),
        upstream(Program::MultusThin)
    );
    assert_eq!(
        found("r/x", &["cp", "/usr/src/multus-cni/bin/multus", "/host/opt/cni/bin/multus"], &[]),
        upstream(Program::MultusThin)
    );
    assert_eq!(found("r/x", &["/thin_entrypoint"], &[]), upstream(Program::MultusThin));
    assert_eq!(found("r/x", &["/usr/src/multus-cni/bin/multus-daemon"], &[]), upstream(Program::MultusThick));
    assert_eq!(
        found("r/tce/whereabouts@sha256:ab", &[], &[]),
        Some(Started::ByDefault(Program::Whereabouts))
    );
    assert_eq!(
        found(
            "r/x",
            &["/bin/sh"],
            &["-c", "SLEEP=false /install-cni.sh && /ip-control-loop -log-level debug"]
        ),
        upstream(Program::Whereabouts)
    );
    assert_eq!(found("r/x", &["/ip-reconciler", "-log-level=verbose"], &[]), upstream(Program::Reconciler));
    assert_eq!(found("r/multus-cni", &["/cert-approver"], &[]), upstream(Program::Certificates));
    assert_eq!(
        found("r/multus-rs", &["/whereabouts-daemon"], &["--listen=x"]),
        Some(Started::OwnManifest(Program::Whereabouts))
    );
    // Programs of others.
    for (image, command) in
        [("r/postgres", "/entrypoint.sh"), ("r/x", "/install-cni.sh"), ("calico/cni", "/opt/cni/bin/install")]
    {
        assert_eq!(found(image, &[command], &[]), None, "{image}");
    }
    assert_eq!(found("r/nginx:1", &[], &[]), None);
}

#[test]
fn versions_are_tags_or_digests() {
    for (name, want) in [
        (MULTUS, "v4.3.0-thick"),
        ("host:5000/a/b", ""),
        ("host:5000/a/b:1@sha256:0123456789abcdef", "1"),
        ("a/b@sha256:0123456789abcdef", "sha256:0123456789ab"),
    ] {
        assert_eq!(image::version(name), want);
    }
    assert!(
        image::is_ours("h:5/multus-rs:v1", OURS)
            && !image::is_ours(MULTUS, OURS)
            && image::is_ours("a/b:1", "a/b:1")
    );
}

#[test]
fn what_deletes_claims_changes_first_and_multus_last_and_back_it_is_the_other_way_round() {
    let mut facts = cluster();
    let there = plan(&facts, Direction::Apply, OURS);
    let want = [
        "deployment/whereabouts-reconciler",
        "deployment/whereabouts-controller",
        "daemonset/whereabouts",
        "daemonset/kube-multus-ds",
        "Claims",
    ];
    assert_eq!(names(&there), want);
    assert_eq!(blocking(&facts, Direction::Apply), [""; 0]);
    assert!(plan(&facts, Direction::Back, OURS).steps.is_empty());
    for workload in &mut facts.workloads {
        workload.previous =
            Some(Ok(workload.containers.iter().map(|c| (c.name.clone(), c.image.clone())).collect()));
        workload.containers.iter_mut().for_each(|container| container.image = OURS.to_owned());
    }
    let want = [
        "daemonset/kube-multus-ds",
        "Entries",
        "daemonset/whereabouts",
        "Entries",
        "deployment/whereabouts-controller",
        "deployment/whereabouts-reconciler",
    ];
    assert_eq!(names(&plan(&facts, Direction::Back, OURS)), want);
    assert!(plan(&facts, Direction::Apply, OURS).steps.is_empty(), "a second run has nothing to do");
}

#[test]
fn a_step_changes_the_images_of_upstreams_containers_alone_and_remembers_them() {
    let there = plan(&cluster(), Direction::Apply, OURS);
    let multus = *images(&there).last().unwrap();
    let patch = multus.patch().unwrap();
    let changed: Vec<&str> = patch
        .as_array()
        .unwrap()
        .iter()
        .filter(|op| op["op"] == "replace")
        .map(|op| op["path"].as_str().unwrap())
        .collect();
    assert_eq!(
        changed,
        ["/spec/template/spec/initContainers/0/image", "/spec/template/spec/containers/1/image"]
    );
    let tests = patch.as_array().unwrap().iter().filter(|op| op["op"] == "test").count();
    assert_eq!(tests, 4, "name and image of both: {patch}");
    let annotation = patch.as_array().unwrap().last().unwrap();
    assert_eq!(annotation["path"], "/metadata/annotations/multus-rs~1previous-image");
    let remembered: Value = serde_json::from_str(annotation["value"].as_str().unwrap()).unwrap();
    assert_eq!(remembered, json!({"install": MULTUS, "kube-multus": MULTUS}));
    assert_eq!(
        multus.commands()[1],
        format!(
            "kubectl --namespace kube-system set image daemonset/kube-multus-ds install={OURS} kube-multus={OURS}"
        )
    );
    // A workload without annotations gets the map, if it still has none.
    let reconciler = images(&there)[0].patch().unwrap();
    assert!(
        reconciler.to_string().contains(r#""path":"/metadata/resourceVersion","value":"7""#),
        "{reconciler}"
    );
}

#[test]
fn the_images_before_the_first_change_over_stay_remembered() {
    let mut object = thick();
    object["metadata"]["annotations"]["multus-rs/previous-image"] =
        json!(json!({"kube-multus": MULTUS, "install": MULTUS}).to_string());
    for pointer in ["/spec/template/spec/initContainers/0/image", "/spec/template/spec/containers/1/image"] {
        *object.pointer_mut(pointer).unwrap() = json!("r/multus-rs:v8");
    }
    let facts = Facts { workloads: vec![set(&object)], ..Facts::default() };
    let newer = plan(&facts, Direction::Apply, OURS);
    assert_eq!(images(&newer)[0].annotation, plan::Annotation::Keep);
    let back = plan(&facts, Direction::Back, OURS);
    let step = images(&back)[0];
    assert!(step.changes.iter().all(|change| change.to == MULTUS));
    assert_eq!(step.last_patch().unwrap()[0]["op"], "remove");
    assert!(
        step.commands()
            .last()
            .unwrap()
            .ends_with("annotate daemonset/kube-multus-ds multus-rs/previous-image-")
    );
}

#[test]
fn a_change_that_was_begun_is_waited_for_in_a_second_run() {
    let mut object = thick();
    object["metadata"]["annotations"]["multus-rs/previous-image"] =
        json!(json!({"kube-multus": MULTUS}).to_string());
    for pointer in ["/spec/template/spec/initContainers/0/image", "/spec/template/spec/containers/1/image"] {
        *object.pointer_mut(pointer).unwrap() = json!(OURS);
    }
    object["status"]["updatedNumberScheduled"] = json!(1);
    let facts = Facts { workloads: vec![set(&object)], ..Facts::default() };
    let again = plan(&facts, Direction::Apply, OURS);
    assert_eq!((images(&again).len(), images(&again)[0].patch()), (1, None));
    assert_eq!(blocking(&facts, Direction::Apply), [""; 0], "it is not ready because it is being changed");
}

#[test]
fn each_fault_of_a_workload_blocks_with_its_own_code() {
    let with = |edit: fn(&mut Value)| {
        let mut object = thick();
        edit(&mut object);
        blocking(&Facts { workloads: vec![set(&object)], ..Facts::default() }, Direction::Apply)
    };
    assert_eq!(with(|o| o["metadata"]["labels"] = json!({"kapp.k14s.io/app": "1"})), ["managed"]);
    assert_eq!(with(|o| o["metadata"]["annotations"]["meta.helm.sh/release-name"] = json!("m")), ["managed"]);
    assert_eq!(with(|o| o["spec"]["updateStrategy"] = json!({"type": "OnDelete"})), ["by-hand"]);
    assert_eq!(with(|o| o["status"]["numberReady"] = json!(1)), ["not-ready"]);
    assert_eq!(with(|o| o["status"]["observedGeneration"] = json!(1)), ["not-ready"]);
    assert_eq!(
        with(|o| o["metadata"]["annotations"]["multus-rs/previous-image"] = json!("[]")),
        ["annotation"]
    );
    let approver = with(|o| {
        o["spec"]["template"]["spec"]["containers"][0] =
            json!({"name": "c", "image": "r/multus-cni:1", "command": ["/cert-approver"]});
    });
    assert_eq!(approver, [""; 0]);
    assert_eq!(
        with(|o| o["spec"]["template"]["spec"]["containers"][0] =
            json!({"name": "c", "image": "r/multus-cni:1"})),
        ["default-command"]
    );
}

#[test]
fn two_installations_and_addresses_in_another_namespace_block() {
    let mut facts = cluster();
    let mut second = set(&whereabouts());
    second.namespace = "other".to_owned();
    facts.workloads.push(second);
    assert_eq!(blocking(&facts, Direction::Apply), ["twice"]);
    let mut facts = cluster();
    let claim =
        json!({"metadata": {"name": "10.1.0.5", "namespace": "whereabouts-cni"}, "spec": {"podref": "a/b"}});
    facts.claims = vec![serde_json::from_value(claim).unwrap()];
    assert_eq!(blocking(&facts, Direction::Apply), ["namespace"]);
}

fn pool(name: &str, range: &str, entries: Value) -> whereabouts::crd::ip_pool::Pool {
    serde_json::from_value(json!({"metadata": {"name": name, "namespace": "kube-system"}, "spec": {"range": range, "allocations": entries}})).unwrap()
}

fn claim(name: &str, podref: &str) -> whereabouts::crd::reservation::Reservation {
    serde_json::from_value(
        json!({"metadata": {"name": name, "namespace": "kube-system"}, "spec": {"podref": podref}}),
    )
    .unwrap()
}

fn network(name: &str, ipam: &str) -> crate::definition::Definition {
    let nad_ref = NadRef { namespace: DnsLabel::new("a").unwrap(), name: DnsSubdomain::new(name).unwrap() };
    read(
        &nad_ref,
        &format!(r#"{{"cniVersion":"1.0.0","type":"macvlan","ipam":{{"type":"whereabouts",{ipam}}}}}"#),
    )
}

#[test]
fn an_address_of_two_pods_blocks_unless_their_networks_are_separate() {
    let entry = |podref: &str| json!({"5": {"id": "c", "podref": podref, "ifname": "net1"}});
    let wide = || pool("10.1.0.0-16", "10.1.0.0/16", entry("a/one"));
    let narrow = |podref| pool("10.1.0.0-24", "10.1.0.0/24", entry(podref));
    let mut facts = cluster();
    facts.pools = vec![wide(), narrow("a/two")];
    assert_eq!(blocking(&facts, Direction::Apply), ["clash"]);
    facts.pools = vec![wide(), narrow("a/one")];
    assert_eq!(blocking(&facts, Direction::Apply), [""; 0], "one pod");
    // A reservation of another pod.
    facts.pools = vec![wide()];
    facts.claims = vec![claim("10.1.0.5", "a/three")];
    assert_eq!(blocking(&facts, Direction::Apply), ["clash"]);
    facts.claims = vec![claim("net-10.1.0.5", "a/three")];
    assert_eq!(blocking(&facts, Direction::Apply), [""; 0], "of another network_name");
    // Pools that may share addresses.
    facts.claims = vec![claim("10.1.0.5", "a/three")];
    facts.definitions = vec![network("n", r#""range":"10.1.0.0/16","enable_overlapping_ranges":false"#)];
    assert_eq!(blocking(&facts, Direction::Apply), [""; 0]);
}

#[test]
fn entries_wait_for_claims_there_and_claims_for_entries_back() {
    let pools = [pool(
        "10.1.0.0-24",
        "10.1.0.0/24",
        json!({"5": {"id": "c", "podref": "a/b"}, "6": {"id": "d", "podref": "a/c"}}),
    )];
    let claims = [claim("10.1.0.5", "a/b")];
    assert_eq!(without_claim(&pools, &claims, &[]), ["kube-system/10.1.0.0-24: 10.1.0.6"]);
    let ours = |name: &str| -> whereabouts::crd::reservation::Reservation {
        let annotations = json!({"whereabouts.multus-rs/pool": "10.1.0.0-24", "whereabouts.multus-rs/range": "10.1.0.0/24"});
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "kube-system", "annotations": annotations}, "spec": {"podref": "a/b"}})).unwrap()
    };
    assert_eq!(
        without_entry(&pools, &[ours("10.1.0.5"), ours("10.1.0.7"), claim("10.1.0.9", "a/b")]),
        ["kube-system/10.1.0.0-24: 10.1.0.7"]
    );
    // Named after the pool, in a network with enable_overlapping_ranges false; and a pool that is not there.
    assert_eq!(without_entry(&pools, &[ours("10.1.0.0-24-10.1.0.6")]), [""; 0]);
    assert_eq!(without_entry(&[], &[ours("10.1.0.5")]), ["kube-system/10.1.0.0-24: 10.1.0.5"]);
}

#[test]
fn a_network_that_an_add_would_refuse_blocks() {
    let mut facts = cluster();
    let wrong = crate::finding::Finding::new(Severity::Error, &["a/n"], "unknown mode", "");
    facts.findings = vec![wrong.clone(), crate::finding::Finding { severity: Severity::Warning, ..wrong }];
    assert_eq!(blocking(&facts, Direction::Apply), ["definitions"]);
    assert_eq!(Code::of("definitions"), Some(Code::Definitions));
    assert_eq!((Code::of("note"), Code::of("x")), (None, None));
}

#[test]
fn settings_that_our_daemon_refuses_block() {
    let mut facts = cluster();
    let config = json!({"perNodeCertificate": {"enabled": true}, "forceCNIVersion": true}).to_string();
    facts.daemon_configs = [("kube-system".to_owned(), config)].into();
    assert_eq!(blocking(&facts, Direction::Apply), ["daemon-config"]);
}

#[test]
fn an_account_that_was_narrowed_down_blocks_and_upstreams_does_not() {
    let role = |rules: Value| {
        Roles {
        cluster_roles: vec![serde_json::from_value(json!({"metadata": {"name": "multus"}, "rules": rules})).unwrap()],
        cluster_bindings: vec![serde_json::from_value(json!({"metadata": {"name": "multus"}, "roleRef": {"apiGroup": "", "kind": "ClusterRole", "name": "multus"},
            "subjects": [{"kind": "ServiceAccount", "name": "multus", "namespace": "kube-system"}]})).unwrap()],
        ..Roles::default()
    }
    };
    let mut facts = Facts { workloads: vec![set(&thick())], ..Facts::default() };
    let networks = json!({"apiGroups": ["k8s.cni.cncf.io"], "resources": ["*"], "verbs": ["*"]});
    let pods = json!({"apiGroups": [""], "resources": ["pods", "pods/status"], "verbs": ["get", "update"]});
    facts.roles = Some(role(json!([networks, pods])));
    assert_eq!(blocking(&facts, Direction::Apply), [""; 0]);
    facts.roles = Some(role(json!([networks])));
    assert_eq!(blocking(&facts, Direction::Apply), ["rights"]);
    assert_eq!(facts.accounts()[0].lacks, ["get pods", "update pods/status"]);
}

#[test]
fn with_certificates_for_each_node_their_group_needs_the_rights() {
    let roles = |subject: Value| Roles {
        cluster_roles: vec![
            serde_json::from_value(json!({"metadata": {"name": "multus"}, "rules": [
            {"apiGroups": ["k8s.cni.cncf.io"], "resources": ["*"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["pods", "pods/status"], "verbs": ["get", "update"]}]}))
            .unwrap(),
        ],
        cluster_bindings: vec![
            serde_json::from_value(json!({"metadata": {"name": "multus"}, "subjects": [subject],
            "roleRef": {"apiGroup": "", "kind": "ClusterRole", "name": "multus"}}))
            .unwrap(),
        ],
        ..Roles::default()
    };
    let group = json!({"kind": "Group", "name": "system:multus", "apiGroup": "rbac.authorization.k8s.io"});
    let account = json!({"kind": "ServiceAccount", "name": "multus", "namespace": "kube-system"});
    let config = json!({"PerNodeCertificate": {"Enabled": true}}).to_string();
    let mut facts = Facts { workloads: vec![set(&thick())], ..Facts::default() };
    facts.daemon_configs = [("kube-system".to_owned(), config)].into();
    facts.roles = Some(roles(group.clone()));
    assert_eq!(blocking(&facts, Direction::Apply), [""; 0]);
    facts.roles = Some(roles(account));
    assert_eq!(blocking(&facts, Direction::Apply), ["rights"]);
    assert_eq!(facts.accounts()[0].account, "system:multus");
    facts.daemon_configs.clear();
    facts.roles = Some(roles(group));
    assert_eq!(
        blocking(&facts, Direction::Apply),
        ["rights"],
        "without certificates the group has no member"
    );
}

#[test]
fn old_schemas_are_noted_by_the_fields_that_they_lack() {
    let old = json!({"spec": {"versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"properties": {"spec": {"properties": {"containerid": {}, "podref": {}}}}}}}]}});
    let found = custom_resource("overlappingrangeipreservations.whereabouts.cni.cncf.io", &old);
    assert_eq!((found.versions, found.without), (vec!["v1alpha1".to_owned()], vec!["ifname"]));
}

#[test]
fn pods_that_waiting_does_not_help_are_named() {
    let pod = |reason: &str| -> k8s_openapi::api::core::v1::Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": OURS}]}, "status": {"containerStatuses": [
            {"name": "c", "image": OURS, "imageID": "", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": reason, "message": "pull failed"}}}]}})).unwrap()
    };
    let new = [("c", OURS)];
    let found = stuck(&[pod("ContainerCreating"), pod("ImagePullBackOff")], &new).unwrap();
    assert_eq!(
        (found.node.as_str(), found.why),
        ("n1", format!("container c with image {OURS}: ImagePullBackOff: pull failed"))
    );
    assert_eq!(stuck(&[pod("ErrImagePull")], &new), None, "the kubelet tries again");
    let earlier = [("c", "registry/of/another:image")];
    assert_eq!(stuck(&[pod("ImagePullBackOff")], &earlier), None, "it is about to be replaced");
}

#[test]
fn the_text_has_what_is_there_what_would_change_and_what_blocks() {
    let mut facts = cluster();
    facts.definitions = vec![network("n", r#""range":"10.1.0.0/16","enable_overlapping_ranges":false"#)];
    facts.pools = vec![pool("10.1.0.0-16", "10.1.0.0/16", json!({"5": {"id": "c", "podref": "a/b"}}))];
    facts.workloads[1].managed_by = Some("kapp".to_owned());
    let there = plan(&facts, Direction::Apply, OURS);
    let found = blocks(&facts, &there, OURS);
    let report = Report::of(&facts, there, plan(&facts, Direction::Back, OURS), found);
    let text = render(&report);
    for want in [
        "kube-system/daemonset/kube-multus-ds            Multus, thick           v4.3.0-thick   2 of 2 ready",
        "enable_overlapping_ranges is false: a/n",
        "addresses: kube-system: IPPools 1, entries 1, reservations 0",
        "blocks [managed]: kube-system/daemonset/whereabouts",
        "3. kube-system/daemonset/whereabouts (Whereabouts): v0.9.4 to registry.example/multus-rs:v9",
        "     kubectl --namespace kube-system rollout status daemonset/whereabouts",
        "5. wait until every entry of an IPPool has its claim",
        "1 of the above block it",
    ] {
        assert!(text.contains(want), "{want}\n{text}");
    }
    assert_eq!(report.blocking(&[Code::Managed]).len(), 0);
}
