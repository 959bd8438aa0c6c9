//! The process `multus hotplug`: a daemon at a real socket, scripted plugins, a real network namespace, and its end by signals.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::indexing_slicing, clippy::panic)]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nad::rpc::{AttachedPod, Request, Response, socket};
use nad::{Changes, Life, Lookup, NetworkAttachmentDefinition, Pod, PodRef, RunningPod};
use netlink::test_util::NamedNetns;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use node::names::PodUid;
use serde_json::json;

/// Longer than anything here takes, on any machine.
const LONG: Duration = Duration::from_secs(60);

/// Waits until `probe` returns something.
#[track_caller]
fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LONG;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A node with a pod `default/pod0`, whose annotation requests `a` since it runs.
struct Node {
    folder: tempfile::TempDir,
    netns: NamedNetns,
    statuses: Arc<Mutex<Vec<String>>>,
}

impl Node {
    fn new() -> Node {
        let folder = tempfile::tempdir().unwrap();
        let node = Node { folder, netns: NamedNetns::new().unwrap(), statuses: Arc::default() };
        node.script("main", "");
        node.script("a", "");
        let conf = json!({"cniVersion": "1.0.0", "name": "multus-cni-network", "type": "multus",
            "binDir": node.folder.path(), "cniDir": node.path("cni"), "daemonSocketDir": node.path("run"),
            "delegates": [{"cniVersion": "1.0.0", "name": "main", "type": "main"}]});
        std::fs::create_dir_all(node.path("net.d")).unwrap();
        std::fs::create_dir_all(node.path("run")).unwrap();
        std::fs::set_permissions(node.path("run"), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(node.path("net.d/00-multus.conf"), conf.to_string()).unwrap();
        node.serve();
        node.add(&conf.to_string());
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A plugin that logs its call, runs `before`, and answers ADD with one interface.
    fn script(&self, name: &str, before: &str) {
        let log = self.path("log");
        let result = r#"{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"$CNI_IFNAME\",\"sandbox\":\"/x\"}],\"ips\":[]}"#;
        let mut file = std::fs::File::create(self.path(name)).unwrap();
        write!(
            file,
            "#!/bin/sh\ncat > /dev/null\necho \"{name} $CNI_COMMAND $CNI_IFNAME\" >> {}\n{before}\n[ $CNI_COMMAND = ADD ] && echo \"{result}\"\nexit 0\n",
            log.display()
        )
        .unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Serves as the node's daemon until the test's process ends. The pod requests nothing when its ADD asks, and `a` afterwards.
    fn serve(&self) {
        let (path, statuses) = (socket(&self.path("run")), self.statuses.clone());
        let pod = |networks: Option<&str>| Pod {
            pod_ref: PodRef { uid: Some(PodUid::new("u-1").unwrap()), ..pod_ref() },
            networks: networks.map(str::to_owned),
            default_network: None,
            node: Some("n1".to_owned()),
        };
        let answer = move |request: Request| match request {
            Request::Pod(_) => Response::Pod(pod(None)),
            Request::Changes(query) => {
                let status = statuses.lock().unwrap().last().cloned();
                let running = RunningPod { pod: pod(Some("a")), uid_on_node: None, status, life: Life::Runs };
                let pods = if query.after == 0 { vec![running] } else { Vec::new() };
                Response::Changes(Changes { version: 1, pods })
            }
            Request::Definitions(wanted) => {
                let mut definition = NetworkAttachmentDefinition::default();
                definition.spec.config = json!({"cniVersion": "1.0.0", "type": "a"}).to_string();
                let found = |nad_ref| (nad_ref, Lookup::Found(definition.clone()));
                Response::Definitions(wanted.into_iter().map(found).collect())
            }
            Request::Status(write) | Request::Attached(AttachedPod { status: write, .. }) => {
                statuses.lock().unwrap().push(write.status);
                Response::Done
            }
            Request::Events(_) | Request::Ended(_) => Response::Done,
        };
        let answer = Arc::new(answer);
        let at = path.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = node::rpc::bind(&at).unwrap();
                let handler = move |request: Request| {
                    let answer = answer.clone();
                    async move { answer(request) }
                };
                node::rpc::serve(listener, handler, std::future::pending(), Duration::from_secs(1)).await;
            });
        });
        until("the socket", || path.exists().then_some(()));
    }

    /// The ADD of the runtime.
    fn add(&self, conf: &str) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_multus"))
            .env("CNI_COMMAND", "ADD")
            .env("CNI_CONTAINERID", "hot1")
            .env("CNI_IFNAME", "eth0")
            .env("CNI_NETNS", self.netns.path())
            .env("CNI_PATH", "/nowhere")
            .env("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod0;K8S_POD_UID=u-1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(conf.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    fn hotplug(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_multus"))
            .args(["hotplug", "--conf-dir"])
            .arg(self.path("net.d"))
            .spawn()
            .unwrap()
    }

    /// Waits until the daemon was told a status with the network.
    fn wait_for_status(&self) {
        until("a status with the network", || {
            let last = self.statuses.lock().unwrap().last().cloned();
            last.filter(|status| status.contains("\"default/a\""))
        });
    }
}

fn pod_ref() -> PodRef {
    "default/pod0".parse().unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

#[test]
fn the_program_adds_a_network_and_ends_on_sigterm() {
    let node = Node::new();
    let mut program = node.hotplug();
    node.wait_for_status();
    assert_eq!(node.log(), ["main ADD eth0", "a ADD net1"]);
    signal(&program, Signal::SIGTERM);
    assert!(program.wait().unwrap().success());
}

#[test]
fn a_plugin_ends_with_a_killed_program_and_the_next_one_makes_the_network_again() {
    let node = Node::new();
    // The first ADD hangs, and would write when it goes on.
    let (pid, go) = (node.path("pid"), node.path("go"));
    let hangs = format!(
        "if [ $CNI_COMMAND = ADD ] && [ ! -e {0} ]; then echo $$ > {0}; while [ ! -e {1} ]; do sleep 0.01; done; fi",
        pid.display(),
        go.display()
    );
    node.script("a", &hangs);
    let mut program = node.hotplug();
    let plugin = until("the plugin", || std::fs::read_to_string(&pid).ok()?.trim().parse::<i32>().ok());
    signal(&program, Signal::SIGKILL);
    program.wait().unwrap();
    until("the end of the plugin", || kill(Pid::from_raw(plugin), None).is_err().then_some(()));
    assert!(!node.statuses.lock().unwrap().iter().any(|status| status.contains("default/a")));
    let mut next = node.hotplug();
    node.wait_for_status();
    assert_eq!(node.log(), ["main ADD eth0", "a ADD net1", "a DEL net1", "a ADD net1"]);
    signal(&next, Signal::SIGTERM);
    assert!(next.wait().unwrap().success());
}
