//! The plugins called as containerd calls them, on a node and against the real API server, where a kubelet would not do what is asked:
//! wrong calls, repeated verbs, a plugin killed half-way, an API server that is away.

use std::process::Output;
use std::time::Duration;

use cni::CniError;
use serde_json::{Value, json};
use tests::cluster::{Cluster, text, wait, wait_for};

use crate::objects::{claims, nothing_is_left, traces};

pub const TESTS: &[crate::Test] = &[
    ("wrong_calls_are_answered_with_the_right_codes", wrong_calls),
    ("add_twice_returns_the_same_address_and_del_twice_succeeds", repeated_verbs),
    ("a_plugin_killed_in_add_leaves_nothing_after_del", killed_half_way),
    ("with_the_api_server_away_add_says_try_again_and_del_is_made_up_for", api_server_away),
];

/// A call of a plugin on node1.
pub struct Call<'a> {
    pub cluster: &'a Cluster,
    pub verb: &'a str,
    pub container: &'a str,
    pub netns: &'a str,
    pub if_name: &'a str,
    pub pod: &'a str,
}

impl<'a> Call<'a> {
    pub fn new(cluster: &'a Cluster, verb: &'a str, container: &'a str) -> Self {
        Call { cluster, verb, container, netns: "/run/netns/by-hand", if_name: "net1", pod: "by-hand" }
    }

    /// Runs a program as a plugin.
    pub fn output(&self, program: &str, more: &[String], stdin: &str) -> Output {
        let pod = self.pod;
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_INFRA_CONTAINER_ID=x"
        );
        let mut env = vec![
            format!("CNI_COMMAND={}", self.verb),
            format!("CNI_CONTAINERID={}", self.container),
            format!("CNI_NETNS={}", self.netns),
            format!("CNI_IFNAME={}", self.if_name),
            format!("CNI_ARGS={args}"),
            "CNI_PATH=/opt/cni/bin".to_owned(),
        ];
        env.extend_from_slice(more);
        let mut command = vec!["env"];
        command.extend(env.iter().map(String::as_str));
        command.push(program);
        self.cluster.on("node1", &command, stdin)
    }

    /// Runs an installed plugin.
    pub fn run(&self, plugin: &str, stdin: &str) -> Result<Value, CniError> {
        let output = self.output(&format!("/opt/cni/bin/{plugin}"), &[], stdin);
        if output.status.success() {
            return Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null));
        }
        let shown = format!("{}{}", text(&output.stdout), text(&output.stderr));
        Err(CniError::from_json(&output.stdout).unwrap_or_else(|| panic!("no error object: {shown}")))
    }
}

/// A namespace that stands for a pod's; removed on drop.
pub struct Sandbox<'a>(&'a Cluster);

impl<'a> Sandbox<'a> {
    pub fn new(cluster: &'a Cluster) -> Self {
        cluster.sh("node1", "ip netns add by-hand");
        Sandbox(cluster)
    }
}

impl Drop for Sandbox<'_> {
    fn drop(&mut self) {
        let _ = self.0.on("node1", &["ip", "netns", "delete", "by-hand"], "");
    }
}

/// A macvlan network on eth0, for macvlan or its IPAM plugin.
pub fn conf(range: &str) -> String {
    json!({"cniVersion": "1.0.0", "name": "by-hand", "type": "macvlan", "master": "eth0",
        "ipam": {"type": "whereabouts", "range": range}})
    .to_string()
}

fn wrong_calls(cluster: &Cluster) {
    let _sandbox = Sandbox::new(cluster);
    for plugin in ["multus", "macvlan", "whereabouts"] {
        let code = |verb: &str, stdin: &str| {
            Call::new(cluster, verb, "c1").run(plugin, stdin).unwrap_err().code.number()
        };
        assert_eq!(code("NOPE", &conf("192.168.50.0/24")), 4, "{plugin}");
        assert_eq!(code("ADD", "this is no JSON"), 6, "{plugin}");
        assert_eq!(code("ADD", "{}"), 7, "{plugin}");
        assert_eq!(code("ADD", r#"{"name":"n","cniVersion":"9.9.9"}"#), 1, "{plugin}");
        let blank = Call { netns: "", ..Call::new(cluster, "ADD", "") }.run(plugin, "{}").unwrap_err();
        assert_eq!(blank.code.number(), 4, "{plugin}");
        assert!(blank.msg.contains("CNI_CONTAINERID,CNI_NETNS"), "{plugin}: {blank}");
        let version = Call::new(cluster, "VERSION", "").run(plugin, "").unwrap();
        assert_eq!(version["supportedVersions"].as_array().unwrap().len(), 7, "{plugin}");
        let bare = cluster.on("node1", &[&format!("/opt/cni/bin/{plugin}")], "");
        assert!(
            bare.status.success() && text(&bare.stderr).contains("CNI protocol versions supported: 0.1.0, "),
            "{plugin}"
        );
    }
    let no_netns = Call { netns: "/etc/hostname", ..Call::new(cluster, "ADD", "c1") };
    assert_eq!(no_netns.run("macvlan", &conf("192.168.50.0/24")).unwrap_err().code.number(), 8);
    nothing_is_left(cluster);
}

fn repeated_verbs(cluster: &Cluster) {
    let ipam = |verb: &str, container: &str| {
        Call::new(cluster, verb, container).run("whereabouts", &conf("192.168.51.0/24"))
    };
    let first = ipam("ADD", "c1").unwrap();
    // A sandbox made again for the same pod keeps the address, and the old sandbox's late DEL does not free it.
    let second = ipam("ADD", "c2").unwrap();
    assert_eq!(first["ips"], second["ips"]);
    ipam("DEL", "c1").unwrap();
    assert_eq!(claims(cluster), ["192.168.51.1"]);
    ipam("DEL", "c2").unwrap();
    ipam("DEL", "c2").unwrap();
    nothing_is_left(cluster);
}

fn killed_half_way(cluster: &Cluster) {
    let _sandbox = Sandbox::new(cluster);
    let stdin = conf("192.168.52.0/24");
    // SIGKILL after ever longer times: somewhere between the first byte read and the last byte written.
    for tenths in 0..30 {
        let container = format!("k{tenths}");
        let millis = f64::from(tenths) * 0.7;
        let script = format!(
            "export CNI_COMMAND=ADD CNI_CONTAINERID={container} CNI_NETNS=/run/netns/by-hand CNI_IFNAME=net1 CNI_PATH=/opt/cni/bin \
             CNI_ARGS='IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=by-hand'; \
             setsid /opt/cni/bin/macvlan >/dev/null 2>&1 & sleep {:.4}; pkill -KILL -x 'macvlan|whereabouts'; wait",
            millis / 1000.0
        );
        cluster.on("node1", &["sh", "-c", &script], &stdin);
        Call::new(cluster, "DEL", &container).run("macvlan", &stdin).unwrap();
        assert_eq!(claims(cluster), Vec::<String>::new(), "killed after {millis} ms");
        let links = cluster.sh("node1", "ip -n by-hand -o link show type macvlan | wc -l");
        assert_eq!(links, "0", "killed after {millis} ms");
    }
    nothing_is_left(cluster);
}

/// The API server, stopped until this is dropped; then it answers again.
pub struct ApiServerAway<'a> {
    cluster: &'a Cluster,
    pid: String,
}

impl<'a> ApiServerAway<'a> {
    pub fn new(cluster: &'a Cluster) -> Self {
        // Other clusters may run beside this one, and processes of the control plane are seen from everywhere.
        let of_this_cluster = format!("pgrep -f '^[^ ]*kube-apiserver .*/multus-rs/{}/'", cluster.name());
        let pid = cluster.sh("cp", &of_this_cluster);
        assert!(pid.parse::<u32>().is_ok(), "one API server, not {pid:?}");
        cluster.sh("cp", &format!("kill -STOP {pid}"));
        ApiServerAway { cluster, pid }
    }
}

impl Drop for ApiServerAway<'_> {
    fn drop(&mut self) {
        let _ = self.cluster.on("cp", &["kill", "-CONT", &self.pid], "");
        wait(Duration::from_secs(60), || {
            self.cluster.try_kubectl(&["get", "--raw", "/readyz"], "").status.success().then_some(())
        });
    }
}

fn api_server_away(cluster: &Cluster) {
    let ipam = |verb: &str, container: &str| {
        Call::new(cluster, verb, container).run("whereabouts", &conf("192.168.53.0/24"))
    };
    ipam("ADD", "c1").unwrap();
    {
        let _away = ApiServerAway::new(cluster);
        let error = ipam("ADD", "c9").unwrap_err();
        assert_eq!(error.code.number(), 11, "{error}");
        ipam("DEL", "c1").unwrap();
    }
    // The runtime's DEL of the failed ADD, as of any other call, makes up for what is owed.
    ipam("DEL", "c9").unwrap();
    wait_for("claims", &Vec::new(), || claims(cluster));
    wait_for("traces on node1", &Vec::new(), || traces(cluster, "node1"));
}
