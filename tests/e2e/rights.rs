//! What the accounts may do, as the API server sees it.

use tests::cluster::Cluster;
use tests::place;

use crate::daemon::daemons;

pub const TESTS: &[crate::Test] = &[
    ("each_account_may_do_what_is_listed_and_nothing_else", listed),
    ("no_account_may_read_secrets_run_programs_or_get_more_rights", nothing_more),
];

const ACCOUNTS: [&str; 3] = ["multus", "multus-daemon", "whereabouts"];

fn account(name: &str) -> String {
    format!("--as=system:serviceaccount:kube-system:{name}")
}

/// `kubectl auth can-i --list`, one resource a line, sorted. The pages of the API server that everybody may read are left out.
fn rights(cluster: &Cluster, name: &str, namespace: &str) -> String {
    let list = cluster.kubectl(&["auth", "can-i", "--list", "--no-headers", &account(name), "-n", namespace]);
    let mut lines: Vec<String> =
        list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.retain(|line| !line.starts_with('['));
    for line in &mut lines {
        // The verbs of several rules are in no certain order.
        let (resource, verbs) = line.trim_end_matches(']').rsplit_once('[').unwrap();
        let mut verbs: Vec<&str> = verbs.split(' ').collect();
        verbs.sort_unstable();
        *line = format!("{resource}[{}]", verbs.join(" "));
    }
    lines.sort();
    lines.join("\n")
}

/// The lists are in tests/e2e/rights, each account's with those of its own namespace and of another one. They have the rights of every
/// authenticated user too.
fn listed(cluster: &Cluster) {
    daemons(cluster);
    for name in ACCOUNTS {
        let in_namespace =
            |namespace: &str| format!("namespace {namespace}:\n{}\n", rights(cluster, name, namespace));
        let found = ["kube-system", "default"].map(in_namespace).join("\n");
        let file = place::root().join("tests/e2e/rights").join(name);
        let wanted = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(found, wanted, "{}: found\n{found}", file.display());
    }
}

fn nothing_more(cluster: &Cluster) {
    daemons(cluster);
    for name in ACCOUNTS {
        for request in [
            &["get", "secrets"][..],
            &["list", "secrets", "-A"],
            &["create", "pods"],
            &["create", "pods/exec"],
            &["delete", "pods"],
            &["update", "nodes"],
            &["patch", "nodes/status"],
            &["create", "network-attachment-definitions.k8s.cni.cncf.io"],
            &["update", "network-attachment-definitions.k8s.cni.cncf.io"],
            &["delete", "ippools.whereabouts.cni.cncf.io"],
            &["deletecollection", "overlappingrangeipreservations.whereabouts.cni.cncf.io"],
            &["escalate", "clusterroles.rbac.authorization.k8s.io"],
            &["impersonate", "users"],
            &["create", "serviceaccounts/token"],
            &["*", "*"],
        ] {
            let all: Vec<&str> = ["auth", "can-i"].iter().chain(request).copied().collect();
            let account = account(name);
            let output = cluster.try_kubectl(&[&all[..], &[&account, "-n", "kube-system"]].concat(), "");
            let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            assert_eq!(answer, "no", "{name}: {request:?}");
        }
    }
}
