//! The API server of the benchmark: a cluster without nodes, and the number of requests that it served.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use netlink::Netns;
use serde_json::Value;
use tests::place;

/// The cluster's name.
const CLUSTER: &str = "bench";

/// The namespace of claims and pools.
pub const NAMESPACE: &str = "kube-system";

/// The running API server; taken down when the value is dropped.
pub struct Api {
    _down: Down,
    /// The network namespace from which it is reachable.
    pub netns: Netns,
    /// The credentials of plugins and daemons. Those of the service account `whereabouts`, unless a benchmark changes them.
    pub kubeconfig: String,
}

struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        let _ = script("down").arg(CLUSTER).status();
    }
}

impl Api {
    /// Starts etcd, with fsync as in production, and the API server, and applies our custom resources and roles.
    pub fn up() -> Api {
        let down = Down;
        let status = script("up").arg(CLUSTER).envs([("UP_ONLY", "api"), ("ETCD_FSYNC", "1")]).status();
        assert!(status.is_ok_and(|s| s.success()), "tests/cluster/up {CLUSTER} failed, see above");
        let deploy = |folder| place::root().join("deploy").join(folder).display().to_string();
        let (crds, rbac) = (deploy("crds"), deploy("rbac"));
        kubectl(&["apply", "-f", &crds, "-f", &rbac]);
        kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "-f", &crds]);
        let netns = Netns::open(Path::new(&format!("/run/netns/mrs-{CLUSTER}-cp")));
        let netns = netns.expect("the control plane's namespace");
        Api { _down: down, netns, kubeconfig: kubeconfig("whereabouts") }
    }

    /// Gives the account of whereabouts what other programs need besides: Whereabouts' plugin elects a leader in each call.
    pub fn allow_other_leases(&self) {
        let lease = ["--namespace", NAMESPACE, "create"];
        let role = ["role", "other-leases", "--verb=get,create,update", "--resource=leases"];
        kubectl(&[&lease[..], &role].concat());
        let account = format!("--serviceaccount={NAMESPACE}:whereabouts");
        let binding = ["rolebinding", "other-leases", "--role=other-leases", &account];
        kubectl(&[&lease[..], &binding].concat());
    }

    /// The requests for claims and pools since the start of the API server.
    pub fn requests(&self) -> Requests {
        Requests::parse(&kubectl(&["get", "--raw", "/metrics"]))
    }

    /// The holder of the daemons' lease.
    pub fn leader(&self) -> Option<String> {
        let lease =
            try_kubectl(&["--namespace", NAMESPACE, "get", "lease", "whereabouts-daemon", "-o", "json"]);
        let lease: Value = serde_json::from_slice(&lease.stdout).ok()?;
        lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
    }

    /// Removes a pool as administrator: the service account must not.
    pub fn remove_pool(&self, name: &str) {
        kubectl(&[
            "--namespace",
            NAMESPACE,
            "delete",
            "--ignore-not-found",
            "ippools.whereabouts.cni.cncf.io",
            name,
        ]);
    }
}

/// A kubeconfig of a service account, in the form that `tests/cluster/install` writes.
pub fn kubeconfig(account: &str) -> String {
    let admin: Value = serde_json::from_str(&kubectl(&["config", "view", "--raw", "-o", "json"])).unwrap();
    let cluster = &admin["clusters"][0]["cluster"];
    let token = kubectl(&["create", "token", account, "--namespace", NAMESPACE, "--duration", "24h"]);
    format!(
        "apiVersion: v1\nkind: Config\n\
         clusters: [{{name: local, cluster: {{server: {}, certificate-authority-data: {}}}}}]\n\
         users: [{{name: whereabouts, user: {{token: {}}}}}]\n\
         contexts: [{{name: whereabouts-context, context: {{cluster: local, user: whereabouts, namespace: {NAMESPACE}}}}}]\n\
         current-context: whereabouts-context\n",
        cluster["server"],
        cluster["certificate-authority-data"],
        token.trim()
    )
}

/// Numbers of requests for claims and pools, by verb and HTTP code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests(BTreeMap<(String, String), u64>);

impl Requests {
    /// Reads the metrics of the API server. Watches do not count: they belong to no call.
    fn parse(metrics: &str) -> Requests {
        let mut requests = Requests::default();
        for line in metrics.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
            let label = |key: &str| line.split(&format!("{key}=\"")).nth(1)?.split('"').next();
            let (Some(verb), Some(code)) = (label("verb"), label("code")) else { continue };
            if label("group") != Some("whereabouts.cni.cncf.io") || verb == "WATCH" {
                continue;
            }
            let count = line.rsplit(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
            *requests.0.entry((verb.to_owned(), code.to_owned())).or_default() += count as u64;
        }
        requests
    }

    /// The requests since `before`.
    pub fn since(&self, before: &Requests) -> Requests {
        let count = |(key, count): (&(String, String), &u64)| {
            (key.clone(), count - before.0.get(key).copied().unwrap_or_default())
        };
        Requests(self.0.iter().map(count).filter(|(_, count)| *count > 0).collect())
    }

    /// Their number.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Text such as `POST 201: 50, GET 404: 1`.
    pub fn text(&self) -> String {
        let all: Vec<String> =
            self.0.iter().map(|((verb, code), count)| format!("{verb} {code}: {count}")).collect();
        all.join(", ")
    }
}

/// Runs kubectl, which must succeed, and returns its standard output.
pub fn kubectl(args: &[&str]) -> String {
    let output = try_kubectl(args);
    assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("kubectl writes text")
}

fn try_kubectl(args: &[&str]) -> Output {
    let mut command = script("kubectl");
    command.env("MRS_CLUSTER", CLUSTER).args(args).stdin(Stdio::null());
    command.output().expect("kubectl can be run")
}

#[allow(clippy::disallowed_methods)] // the benchmark drives the cluster from outside
fn script(name: &str) -> Command {
    let _ = std::io::stdout().flush();
    Command::new(place::cluster_script(name))
}
