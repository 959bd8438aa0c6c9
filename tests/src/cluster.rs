//! A real cluster, made by the scripts of `tests/cluster` and taken down when the value is dropped.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::place;

/// The image that pods run.
pub const IMAGE: &str = "docker.io/library/busybox:mrs";

/// The annotation that requests networks.
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// The annotation that reports a pod's networks.
pub const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// A running cluster with our plugins installed.
#[derive(Debug)]
pub struct Cluster {
    name: String,
}

impl Cluster {
    /// Starts the cluster `name` and installs the plugins on it.
    pub fn up(name: &str) -> Cluster {
        let cluster = Cluster::bare(name, "");
        let status = script_command("install").arg(name).status().expect("a script can be run");
        assert!(status.success(), "tests/cluster/install {name} failed, see above");
        cluster
    }

    /// Starts the cluster `name` with nothing but its primary network, and more of Debian's plugins, such as `macvlan static`, on its nodes.
    pub fn bare(name: &str, plugins: &str) -> Cluster {
        let cluster = Cluster { name: name.to_owned() };
        let mut script = script_command("up");
        let status = script.env("MRS_CNI_EXTRA", plugins).arg(name).status().expect("a script can be run");
        assert!(status.success(), "tests/cluster/up {name} failed, see above");
        cluster
    }

    /// The name of the cluster, which is also that of its folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Installs what users install, with additional arguments for whereabouts-daemon.
    pub fn deploy(&self, arguments: &str) {
        let mut script = script_command("deploy");
        let status = script.env("MRS_DAEMON_ARGS", arguments).args([self.name.as_str(), "up"]).status();
        assert!(status.expect("a script can be run").success(), "tests/cluster/deploy failed, see above");
    }

    /// Runs kubectl, which must succeed, and returns its standard output.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> String {
        let output = self.try_kubectl(args, "");
        assert!(output.status.success(), "kubectl {args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs kubectl with standard input and returns its outcome.
    #[must_use = "kubectl may have failed"]
    pub fn try_kubectl(&self, args: &[&str], stdin: &str) -> Output {
        run(script_command("kubectl").env("MRS_CLUSTER", &self.name).args(args), stdin)
    }

    /// An object, or a list, as JSON.
    #[track_caller]
    pub fn get(&self, args: &[&str]) -> Value {
        let all: Vec<&str> = ["get", "-o", "json"].iter().chain(args).copied().collect();
        serde_json::from_str(&self.kubectl(&all)).unwrap()
    }

    /// An object as JSON; none if it does not exist.
    #[track_caller]
    pub fn find(&self, args: &[&str]) -> Option<Value> {
        let all: Vec<&str> =
            ["get", "--ignore-not-found", "-o", "json"].iter().chain(args).copied().collect();
        let text = self.kubectl(&all);
        (!text.is_empty()).then(|| serde_json::from_str(&text).unwrap())
    }

    /// Applies objects.
    #[track_caller]
    pub fn apply(&self, objects: &[Value]) {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let output = self.try_kubectl(&["apply", "-f", "-"], &list.to_string());
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// Runs a command on `node1`, `node2` or `cp` (the control plane) and returns its outcome.
    #[must_use = "the command may have failed"]
    pub fn on(&self, machine: &str, args: &[&str], stdin: &str) -> Output {
        run(script_command("on").env("MRS_CLUSTER", &self.name).arg(machine).args(args), stdin)
    }

    /// Runs a shell command on a machine, which must succeed, and returns its standard output.
    #[track_caller]
    pub fn sh(&self, machine: &str, command: &str) -> String {
        let output = self.on(machine, &["sh", "-c", command], "");
        assert!(output.status.success(), "on {machine}: {command}: {}", text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    }

    /// The entries of a pod's network-status; none if it has no such annotation.
    #[track_caller]
    pub fn network_status(&self, pod: &str) -> Vec<Value> {
        let pod = self.get(&["pod", pod]);
        let annotation = pod["metadata"]["annotations"][NETWORK_STATUS].as_str();
        annotation.map_or_else(Vec::new, |text| serde_json::from_str(text).unwrap())
    }

    /// Waits until the pods are Ready.
    #[track_caller]
    pub fn wait_ready(&self, pods: &[&str]) {
        let names: Vec<String> = pods.iter().map(|pod| format!("pod/{pod}")).collect();
        let mut args = vec!["wait", "--for=condition=Ready", "--timeout=120s"];
        args.extend(names.iter().map(String::as_str));
        let output = self.try_kubectl(&args, "");
        if !output.status.success() {
            let describe: Vec<&str> = ["describe", "pods"].iter().chain(pods).copied().collect();
            panic!("{}{}", text(&output.stderr), text(&self.try_kubectl(&describe, "").stdout));
        }
    }

    /// Deletes pods and waits until the API server has removed them.
    #[track_caller]
    pub fn delete_pods(&self, pods: &[&str]) {
        let args: Vec<&str> =
            ["delete", "pod", "--ignore-not-found", "--timeout=90s"].iter().chain(pods).copied().collect();
        self.kubectl(&args);
    }

    /// The messages of a pod's events with this reason.
    pub fn events(&self, pod: &str, reason: &str) -> Vec<String> {
        let selector = format!("involvedObject.name={pod},reason={reason}");
        let events = self.get(&["events", "--field-selector", &selector]);
        let items = events["items"].as_array().expect("a list has items");
        items.iter().filter_map(|event| event["message"].as_str()).map(str::to_owned).collect()
    }

    /// Waits up to a minute for an event of the pod whose message contains `part`, and returns that message.
    #[track_caller]
    pub fn wait_event(&self, pod: &str, reason: &str, part: &str) -> String {
        let mut seen = Vec::new();
        let found = wait(Duration::from_secs(60), || {
            seen = self.events(pod, reason);
            seen.iter().find(|message| message.contains(part)).cloned()
        });
        found.unwrap_or_else(|| panic!("no event {reason} of {pod} contains {part:?}: {seen:#?}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = script_command("down").arg(&self.name).status();
    }
}

/// Calls `probe` every 200 ms until it returns something or the time is over.
#[must_use = "none means that the time is over"]
pub fn wait<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        let answer = probe();
        if answer.is_some() || Instant::now() >= end {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Waits up to a minute until `state` is `wanted`.
#[track_caller]
pub fn wait_for<T: PartialEq + std::fmt::Debug>(what: &str, wanted: &T, mut state: impl FnMut() -> T) {
    let mut last = None;
    let done = wait(Duration::from_secs(60), || {
        let now = state();
        let reached = (now == *wanted).then_some(());
        last = Some(now);
        reached
    });
    assert!(done.is_some(), "{what}: expected {wanted:?}, still {last:?} after a minute");
}

/// What promtool finds wrong with the text of a page with metrics. Empty: nothing.
#[allow(clippy::disallowed_methods)] // runs a script, not a plugin
pub fn wrong_with_metrics(page: &str) -> String {
    let check = run(Command::new(place::root().join("tests/monitoring/check")).arg("metrics"), page);
    let found = text(&check.stdout) + &text(&check.stderr);
    assert!(check.status.success() || !found.is_empty(), "{check:?}");
    found
}

#[allow(clippy::disallowed_methods)] // runs scripts, not plugins
fn script_command(name: &str) -> Command {
    Command::new(place::cluster_script(name))
}

fn run(command: &mut Command, stdin: &str) -> Output {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.expect("a script can be run");
    // A command that does not read its input closes the pipe.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin.as_bytes());
    child.wait_with_output().expect("the script ends")
}

/// Bytes of a program's output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
