//! The plugins called directly on a node, as containerd calls them, for what a kubelet does not do on request: wrong calls, repeated verbs,
//! a plugin that is killed, an API server that does not answer.

use std::process::Output;
use std::time::Duration;

use cni::CniError;
use serde_json::{Value, json};
use tests::cluster::{Cluster, text, wait, wait_for};

use crate::objects::{claims, nothing_is_left, traces};

pub const TESTS: &[crate::Test] = &[
    ("wrong_calls_return_the_codes_of_the_spec", wrong_calls),
    ("add_twice_returns_the_same_address_and_del_twice_succeeds", repeated_verbs),
    ("an_add_killed_at_any_time_leaves_nothing_after_del", killed_at_any_time),
    ("without_the_api_server_add_returns_code_11_and_del_is_completed_later", api_server_away),
];

/// A call of a plugin on node1.
pub struct Call<'a> {
    pub cluster: &'a Cluster,
    pub verb: &'a str,
    pub container: &'a str,
    pub netns: &'a str,
    pub if_name: &'a str,
    pub pod: &'a str,
    /// The pod's UID. A caller that is no kubelet gives none.
    pub uid: Option<&'a str>,
}

impl<'a> Call<'a> {
    pub fn new(cluster: &'a Cluster, verb: &'a str, container: &'a str) -> Self {
        Call {
            cluster,
            verb,
            container,
            netns: "/run/netns/by-hand",
            if_name: "net1",
            pod: "by-hand",
            uid: None,
        }
    }

    /// Runs a program as a plugin, with `more` variables.
    pub fn output(&self, program: &str, more: &[String], stdin: &str) -> Output {
        let pod = self.pod;
        let mut args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_INFRA_CONTAINER_ID=x"
        );
        if let Some(uid) = self.uid {
            args.push_str(&format!(";K8S_POD_UID={uid}"));
        }
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

    /// Runs an installed plugin; its result, or its error object.
    pub fn run(&self, plugin: &str, stdin: &str) -> Result<Value, CniError> {
        let output = self.output(&format!("/opt/cni/bin/{plugin}"), &[], stdin);
        if output.status.success() {
            // DEL, CHECK and STATUS print nothing.
            if output.stdout.is_empty() {
                return Ok(Value::Null);
            }
            return Ok(serde_json::from_slice(&output.stdout).expect("a plugin that succeeds prints JSON"));
        }
        let shown = format!("{}{}", text(&output.stdout), text(&output.stderr));
        Err(CniError::from_json(&output.stdout).unwrap_or_else(|| panic!("no error object: {shown}")))
    }
}

/// The network namespace of a pod that does not exist; removed on drop.
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

/// The conf of a macvlan network on eth0 with this range, for macvlan or for its IPAM plugin.
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
    let of = |uid: Option<&'static str>| {
        move |verb: &str, container: &str| {
            let call = Call { uid, ..Call::new(cluster, verb, container) };
            call.run("whereabouts", &conf("192.168.51.0/24"))
        }
    };
    let ipam = of(Some("8b3c0f5e-0000-4000-8000-000000000001"));
    let first = ipam("ADD", "c1").unwrap();
    // A new sandbox of the same pod gets the same address, and the late DEL of the old sandbox does not release it.
    let second = ipam("ADD", "c2").unwrap();
    assert_eq!(first["ips"], second["ips"]);
    ipam("DEL", "c1").unwrap();
    assert_eq!(claims(cluster), ["192.168.51.1"]);
    ipam("DEL", "c2").unwrap();
    ipam("DEL", "c2").unwrap();
    nothing_is_left(cluster);
    // Without a UID nobody knows that two containers are of one pod.
    let ipam = of(None);
    let first = ipam("ADD", "c1").unwrap();
    assert_eq!(ipam("ADD", "c1").unwrap()["ips"], first["ips"]);
    assert_ne!(ipam("ADD", "c2").unwrap()["ips"], first["ips"]);
    ipam("DEL", "c1").unwrap();
    ipam("DEL", "c2").unwrap();
    nothing_is_left(cluster);
}

/// The number of ADDs that are killed, and the least number of kills that must hit a running plugin.
const KILLS: u32 = 30;
const LEAST_HITS: usize = 3;

/// The exit code that a shell reports for a process that SIGKILL ended.
const KILLED: i32 = 128 + 9;

/// SIGKILL at times spread evenly over the length of an ADD, between the first byte read and the last byte written.
fn killed_at_any_time(cluster: &Cluster) {
    let _sandbox = Sandbox::new(cluster);
    let stdin = conf("192.168.52.0/24");
    // The first ADD on a new cluster takes longer than those that follow, and kills spread over its length would miss most of them.
    let lengths = [(); 3].map(|()| length_of_an_add(cluster, &stdin));
    let whole = lengths.into_iter().min().unwrap();
    let mut codes = Vec::new();
    for number in 0..KILLS {
        let container = format!("k{number}");
        let after = whole * number / KILLS;
        codes.push(add_killed_after(cluster, &container, &stdin, after));
        Call::new(cluster, "DEL", &container).run("macvlan", &stdin).unwrap();
        assert_eq!(claims(cluster), Vec::<String>::new(), "claims after SIGKILL at {after:?}");
        assert_eq!(links_in_the_sandbox(cluster), Vec::<String>::new(), "links after SIGKILL at {after:?}");
    }
    let hits = codes.iter().filter(|code| **code == KILLED).count();
    assert!(
        hits >= LEAST_HITS,
        "only {hits} of {KILLS} kills hit a plugin within {whole:?}: exit codes {codes:?}"
    );
    nothing_is_left(cluster);
}

/// Shell code that exports the variables of an ADD of `container`.
fn exported(container: &str) -> String {
    format!(
        "export CNI_COMMAND=ADD CNI_CONTAINERID={container} CNI_NETNS=/run/netns/by-hand CNI_IFNAME=net1 CNI_PATH=/opt/cni/bin \
         CNI_ARGS='IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=by-hand'"
    )
}

/// The length of an uninterrupted ADD, measured on the node.
fn length_of_an_add(cluster: &Cluster, stdin: &str) -> Duration {
    let script = format!(
        "{}; began=$(date +%s%N); /opt/cni/bin/macvlan >/dev/null || exit; echo $(($(date +%s%N) - began))",
        exported("whole")
    );
    let output = cluster.on("node1", &["sh", "-c", &script], stdin);
    assert!(output.status.success(), "an uninterrupted ADD: {}", text(&output.stderr));
    Call::new(cluster, "DEL", "whole").run("macvlan", stdin).unwrap();
    let nanoseconds = text(&output.stdout).trim().parse();
    Duration::from_nanos(nanoseconds.expect("date +%s%N prints nanoseconds"))
}

/// Starts an ADD, kills macvlan and its IPAM plugin after some time, and returns macvlan's exit code: 0 if it ended before, else [`KILLED`].
fn add_killed_after(cluster: &Cluster, container: &str, stdin: &str, after: Duration) -> i32 {
    // The shell gives a background job /dev/null as standard input, so the conf goes through descriptor 3.
    let script = format!(
        "exec 3<&0; {}; setsid /opt/cni/bin/macvlan <&3 >/dev/null 2>&1 & plugin=$!; sleep {:.4}; \
         pkill -KILL -x 'macvlan|whereabouts'; wait $plugin; echo $?",
        exported(container),
        after.as_secs_f64()
    );
    let output = cluster.on("node1", &["sh", "-c", &script], stdin);
    let code = text(&output.stdout).trim().parse().expect("the shell prints an exit code");
    assert!([0, KILLED].contains(&code), "macvlan failed with {code} before SIGKILL at {after:?}");
    code
}

/// The interfaces of the sandbox without `lo`, a line of `ip` each.
#[track_caller]
pub fn links_in_the_sandbox(cluster: &Cluster) -> Vec<String> {
    let links = cluster.sh("node1", "ip -n by-hand -o link show");
    links.lines().filter(|line| !line.contains(" lo:")).map(str::to_owned).collect()
}

/// The API server does not answer while this lives: SIGSTOP, and SIGCONT on drop.
pub struct ApiServerAway<'a> {
    cluster: &'a Cluster,
    pid: String,
}

impl<'a> ApiServerAway<'a> {
    pub fn new(cluster: &'a Cluster) -> Self {
        // The control plane runs in the host's pid namespace, where other clusters' API servers are visible too.
        let of_this_cluster = format!("pgrep -f '^[^ ]*kube-apiserver .*/multus-rs/{}/'", cluster.name());
        let pid = cluster.sh("cp", &of_this_cluster);
        assert!(pid.parse::<u32>().is_ok(), "expected one API server of {}, found {pid:?}", cluster.name());
        cluster.sh("cp", &format!("kill -STOP {pid}"));
        ApiServerAway { cluster, pid }
    }
}

impl Drop for ApiServerAway<'_> {
    fn drop(&mut self) {
        let _ = self.cluster.on("cp", &["kill", "-CONT", &self.pid], "");
        let ready = wait(Duration::from_secs(60), || {
            self.cluster.try_kubectl(&["get", "--raw", "/readyz"], "").status.success().then_some(())
        });
        // A second panic during a panic aborts the program before the cluster is taken down.
        assert!(
            ready.is_some() || std::thread::panicking(),
            "the API server is not ready a minute after SIGCONT"
        );
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
    // The next call that reaches the API server, here the DEL of the failed ADD, drains the tombstones.
    ipam("DEL", "c9").unwrap();
    wait_for("claims", &Vec::new(), || claims(cluster));
    wait_for("traces on node1", &Vec::new(), || traces(cluster, "node1"));
}
