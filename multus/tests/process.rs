//! The process: what it leaves to a child after its answer, what it passes on, and what ends with it. With a real kubeconfig, over TCP.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::indexing_slicing, clippy::panic)]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use fake_api::{Asked, Loopback};
use netlink::test_util::NamedNetns;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// Longer than anything here takes, on any machine.
const LONG: Duration = Duration::from_secs(60);

/// The line of a request that creates an event.
const EVENT: &str = "POST /api/v1/namespaces/default/events";

/// An API server with one pod and the definition `a`.
struct Server {
    http: Loopback,
    /// The requests: the number of the connection, and the line.
    requests: Receiver<(usize, String)>,
    /// Each message lets one event be answered.
    answers: Sender<()>,
}

impl Server {
    fn start(networks: &'static str) -> Server {
        let (seen, requests) = channel();
        let (answers, wanted) = channel();
        let wanted = Mutex::new(wanted);
        let http = Loopback::start(move |asked| {
            // A test that does not look has ended its receiver.
            let _ = seen.send((asked.connection, asked.line.clone()));
            if asked.line == EVENT {
                let _ = wanted.lock().unwrap().recv();
            }
            answer(asked, networks)
        });
        Server { http, requests, answers }
    }

    fn next(&self) -> (usize, String) {
        self.requests.recv_timeout(LONG).unwrap()
    }
}

fn answer(asked: &Asked, networks: &str) -> (u16, Value) {
    let pod = json!({"metadata": {"name": "pod0", "namespace": "default", "uid": "u-1", "resourceVersion": "1",
        "annotations": {"k8s.v1.cni.cncf.io/networks": networks}}, "spec": {"nodeName": "n1"}});
    let definition = json!({"metadata": {"name": "a"},
        "spec": {"config": json!({"cniVersion": "1.0.0", "type": "a"}).to_string()}});
    match asked.line.rsplit('/').next().unwrap() {
        "pod0" => (200, pod),
        "a" => (200, definition),
        "status" | "events" => (200, asked.body.clone()),
        _ => (404, json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "none"})),
    }
}

/// A folder with the plugins `main` and `a`, a kubeconfig, and a network namespace.
struct Node {
    folder: tempfile::TempDir,
    netns: NamedNetns,
    container: String,
}

impl Node {
    fn new(server: &Server, container: &str) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let text = server.http.kubeconfig();
        node::files::write_atomic(&folder.path().join("kubeconfig"), text.as_bytes(), 0o600).unwrap();
        let container = format!("{container}-{}", std::process::id());
        let node = Node { folder, netns: NamedNetns::new().unwrap(), container };
        let result = r#"{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"$CNI_IFNAME\",\"sandbox\":\"/x\"}],\"ips\":[]}"#;
        for plugin in ["main", "a"] {
            node.script(
                plugin,
                &format!("cat > /dev/null; [ $CNI_COMMAND = ADD ] && echo \"{result}\"; exit 0"),
            );
        }
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn script(&self, name: &str, body: &str) {
        let mut file = std::fs::File::create(self.path(name)).unwrap();
        write!(file, "#!/bin/sh\n{body}\n").unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Starts an ADD.
    fn start(&self, variables: &[(&str, &str)]) -> Child {
        self.start_with(&json!({}), variables)
    }

    /// Starts an ADD with further keys in its configuration.
    fn start_with(&self, keys: &Value, variables: &[(&str, &str)]) -> Child {
        let mut conf = json!({"cniVersion": "1.0.0", "name": "multus-cni-network", "type": "multus",
            "binDir": self.folder.path(), "cniDir": self.path("cni"), "kubeconfig": self.path("kubeconfig"),
            "delegates": [{"cniVersion": "1.0.0", "name": "main", "type": "main"}]});
        conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let mut child = Command::new(env!("CARGO_BIN_EXE_multus"))
            .env("CNI_COMMAND", "ADD")
            .env("CNI_CONTAINERID", &self.container)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_NETNS", self.netns.path())
            .env("CNI_PATH", self.folder.path())
            .env("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod0;K8S_POD_UID=u-1")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(conf.to_string().as_bytes()).unwrap();
        child
    }

    /// Runs an ADD as a runtime does: until the process has ended, and stdout and stderr are closed.
    fn add(&self, variables: &[(&str, &str)]) -> Output {
        self.start(variables).wait_with_output().unwrap()
    }

    /// The processes of this node's calls.
    fn processes(&self) -> Vec<PathBuf> {
        let is_own = |process: &PathBuf| {
            let variables = std::fs::read(process.join("environ")).unwrap_or_default();
            let own = format!("CNI_CONTAINERID={}", self.container);
            !ended(process) && variables.split(|byte| *byte == 0).any(|variable| variable == own.as_bytes())
        };
        let all = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        all.filter(is_own).collect()
    }
}

/// Whether a process is gone. In a container without init nothing reaps an orphan: it stays a zombie.
fn ended(process: &Path) -> bool {
    std::fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "))
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What the descriptors of a process are.
fn descriptors(process: &Path) -> Vec<String> {
    let all = std::fs::read_dir(process.join("fd")).unwrap().flatten();
    all.filter_map(|entry| std::fs::read_link(entry.path()).ok()).map(|to| to.display().to_string()).collect()
}

/// The server answers no event until the process has ended. If the process waited for its events, it would end after its limit, and the second
/// one would never be sent.
#[test]
fn events_are_sent_after_the_end_of_the_process_over_its_connection() {
    let server = Server::start("a");
    let node = Node::new(&server, "events");
    let output = node.add(&[]);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success() && result["interfaces"][0]["name"] == "eth0", "{output:?}");
    let before: Vec<(usize, String)> = (0..4).map(|_| server.next()).collect();
    let nad = "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions/a";
    let want = [
        "GET /api/v1/namespaces/default/pods/pod0",
        &format!("GET {nad}"),
        "PUT /api/v1/namespaces/default/pods/pod0/status",
        EVENT,
    ];
    assert_eq!(before.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>(), want);

    let child = node.processes();
    assert_eq!(child.len(), 1, "{child:?}");
    let open = descriptors(&child[0]);
    assert!(open.iter().all(|to| !to.starts_with("pipe:") && !to.contains("net:[")), "{open:?}");
    assert_eq!(open.iter().filter(|to| *to == "/dev/null").count(), 3, "{open:?}");
    let stat = std::fs::read_to_string(child[0].join("stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let pid = child[0].file_name().unwrap().to_str().unwrap();
    assert_eq!((fields[2], fields[3]), (pid, pid), "process group and session");

    server.answers.send(()).unwrap();
    server.answers.send(()).unwrap();
    assert_eq!(server.next(), (0, EVENT.to_owned()));
    assert!(before.iter().all(|(connection, _)| *connection == 0), "{before:?}");
    wait_until("the child ends", || ended(&child[0]));
    assert!(server.requests.try_recv().is_err(), "each event is sent once");
}

#[test]
fn the_event_of_an_error_is_sent_after_the_error_was_answered() {
    let server = Server::start("missing");
    let node = Node::new(&server, "error");
    let output = node.add(&[]);
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!output.status.success() && error["msg"].as_str().unwrap().contains("missing"), "{output:?}");
    let lines: Vec<String> = (0..3).map(|_| server.next().1).collect();
    assert_eq!(lines[2], EVENT);
}

#[test]
fn the_child_ends_when_nobody_answers_its_events() {
    let server = Server::start("");
    let node = Node::new(&server, "silent");
    assert!(node.add(&[]).status.success());
    assert_eq!(node.processes().len(), 1);
    wait_until("the child ends", || node.processes().is_empty());
}

#[test]
fn a_plugin_ends_with_its_killed_caller() {
    let server = Server::start("");
    let node = Node::new(&server, "killed");
    let pid_file = node.path("pid");
    node.script("main", &format!("echo $$ > {}; exec sleep 600", pid_file.display()));
    let mut multus = node.start(&[]);
    let read = || std::fs::read_to_string(&pid_file).unwrap_or_default();
    wait_until("the plugin starts", || read().ends_with('\n'));
    kill(Pid::from_raw(multus.id().try_into().unwrap()), Signal::SIGKILL).unwrap();
    multus.wait().unwrap();
    let plugin = Path::new("/proc").join(read().trim());
    wait_until("the plugin ends", || ended(&plugin));
}

/// A runtime reads the answer at once, and the log that the call has rotated becomes smaller later.
#[test]
fn a_log_that_the_call_has_rotated_is_compressed_after_its_answer() {
    let server = Server::start("");
    let node = Node::new(&server, "rotated");
    let log = node.path("multus.log");
    node::files::replace(&log, "an old line\n".repeat((1 << 20) / 12).as_bytes()).unwrap();
    let keys = json!({"logFile": log, "logLevel": "verbose", "logOptions": {"maxSize": 1}});
    let output = node.start_with(&keys, &[]).wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let compressed = || {
        let names = std::fs::read_dir(node.folder.path()).unwrap().flatten().map(|entry| entry.file_name());
        let mut names = names.filter_map(|name| name.into_string().ok());
        names.find(|name| name.starts_with("multus-") && name.ends_with(".log.gz"))
    };
    assert_eq!(compressed(), None, "the runtime does not wait for it");
    wait_until("the old file is compressed", || compressed().is_some());
    wait_until("the child ends", || node.processes().is_empty());
    let size = std::fs::metadata(node.path(&compressed().unwrap())).unwrap().len();
    assert!(size < 100_000, "{size}");
    assert!(std::fs::read_to_string(&log).unwrap().contains("[verbose]"));
}

#[test]
fn the_variables_of_a_trace_reach_the_plugins() {
    let server = Server::start("");
    let node = Node::new(&server, "trace");
    let seen = node.path("seen");
    node.script("main", &format!("env > {}; exit 1", seen.display()));
    let trace = [
        ("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("TRACESTATE", "vendor=1"),
        ("BAGGAGE", "pod=web-0"),
    ];
    node.add(&trace);
    let seen = std::fs::read_to_string(seen).unwrap();
    for (name, value) in trace {
        assert!(seen.lines().any(|line| line == format!("{name}={value}")), "{seen}");
    }
}
