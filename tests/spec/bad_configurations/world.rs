//! A node whose files, network and API server are the test's own.

use std::collections::BTreeSet;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use fake_api::{ApiServer, Key};
use netlink::Socket;
use netlink::test_util::{NamedNetns, Testbed, create_bridge};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tests::driver::{Answer, run_in, write_script};
use tests::place;

/// The node's bridge.
pub const BRIDGE: &str = "br0";

/// Folders that the test must not share with this machine. All files that plugins keep between two calls are in the second.
const OWN_FOLDERS: [&str; 3] = ["/etc/cni", "/var/lib/cni", "/run/whereabouts"];
const STATE: &str = "/var/lib/cni";
const KUBECONFIG: &str = "/etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig";
const FLAT_FILE: &str = "/etc/cni/net.d/whereabouts.d/whereabouts.conf";
const NADS: &str = "network-attachment-definitions.k8s.cni.cncf.io";
const CLAIMS: &str = "overlappingrangeipreservations.whereabouts.cni.cncf.io";

/// Which plugins come first in the search path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugins {
    /// This project's, then Debian's.
    Ours,
    /// Debian's only.
    Debians,
}

/// Where multus gets what the API server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// From its kubeconfig, or from the daemon while there is one.
    Own,
    /// From the daemon only.
    Daemon,
}

/// A node, with an API server that has one pod and one definition.
pub struct Node {
    lab: Testbed,
    folder: tempfile::TempDir,
    api: ApiServer,
    plugins: Plugins,
    kubeconfig: String,
    /// More keys of multus' configuration.
    settings: Value,
    /// How many sandboxes there were.
    sandboxes: AtomicU32,
}

/// What sandboxes leave on a node: interfaces, files and claims, each by its name.
pub type Left = BTreeSet<String>;

/// A sandbox of the pod.
pub struct Sandbox<'a> {
    node: &'a Node,
    id: String,
    netns: NamedNetns,
}

/// A daemon. It ends with the test.
pub struct Daemon(Child);

impl Daemon {
    /// Sends the signal, and waits for the end.
    pub fn end(mut self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Node {
    /// Makes a node of the calling thread and of the threads that it starts.
    pub fn enter(plugins: Plugins) -> Node {
        Node::enter_with(plugins, json!({}))
    }

    /// The same, with these keys in multus' configuration.
    pub fn enter_with(plugins: Plugins, settings: Value) -> Node {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        for folder in OWN_FOLDERS {
            std::fs::create_dir_all(folder).unwrap();
            mount(none, folder, Some("tmpfs"), MsFlags::empty(), Some("mode=0755")).unwrap();
        }
        let lab = Testbed::new().unwrap();
        create_bridge(&lab.host.socket().unwrap(), BRIDGE).unwrap();
        let api = ApiServer::default();
        let address = lab.host.netns().run(|| api.listen()).unwrap();
        let (folder, sandboxes) = (tempfile::tempdir().unwrap(), AtomicU32::new(0));
        let kubeconfig = fake_api::kubeconfig(&format!("http://{address}"));
        let node = Node { lab, folder, api, plugins, kubeconfig, settings, sandboxes };
        let folder = Path::new(KUBECONFIG).parent().unwrap();
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).unwrap();
        node.write_kubeconfig(|text| text);
        let flat = json!({"kubernetes": {"kubeconfig": KUBECONFIG}}).to_string();
        node::files::write_atomic(Path::new(FLAT_FILE), flat.as_bytes(), 0o600).unwrap();
        // The default network of the cluster is none of the plugins under test.
        let result = r#"{"cniVersion":"0.3.1","interfaces":[{"name":"eth0","sandbox":"/x"}],"ips":[]}"#;
        write_script(
            &node.folder.path().join("main"),
            &format!("cat > /dev/null; [ $CNI_COMMAND = ADD ] && echo '{result}'; exit 0"),
        );
        node
    }

    /// Sets the definition `bad`, and what the pod requests of it.
    pub fn define(&self, config: &str, request: &Value) {
        self.api.put(&Key::new(NADS, "default", "bad"), json!({"spec": {"config": config}}));
        let mut element = json!({"name": "bad"});
        element.as_object_mut().unwrap().extend(request.as_object().cloned().unwrap_or_default());
        let annotations = json!({nad::NETWORKS: json!([element]).to_string()});
        let pod = json!({"metadata": {"uid": "u-1", "annotations": annotations}, "spec": {"nodeName": "n1"}});
        self.api.put(&Key::new("pods", "default", "pod0"), pod);
    }

    /// A new sandbox of the pod.
    pub fn sandbox(&self) -> Sandbox<'_> {
        let id = format!("c{}", self.sandboxes.fetch_add(1, Ordering::Relaxed));
        Sandbox { node: self, id, netns: NamedNetns::new().unwrap() }
    }

    /// Writes a plugin that is a shell script.
    pub fn script(&self, name: &str, body: &str) {
        write_script(&self.folder.path().join(name), body);
    }

    /// The API server.
    pub fn api(&self) -> &ApiServer {
        &self.api
    }

    /// The folder of the daemon's socket.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the kubeconfig, changed.
    pub fn write_kubeconfig(&self, change: impl FnOnce(String) -> String) {
        let text = change(self.kubeconfig.clone());
        node::files::write_atomic(Path::new(KUBECONFIG), text.as_bytes(), 0o600).unwrap();
    }

    /// Starts the daemon of multus, as the kubelet does.
    pub fn start_daemon(&self) -> Daemon {
        self.start(&mut self.daemon(), Stdio::null())
    }

    /// Starts both daemons. They log all they can: that of multus into the first file, that of whereabouts into the second.
    #[allow(clippy::disallowed_methods)] // a test takes the place of the kubelet
    pub fn start_daemons_with_logs(&self, logs: [std::fs::File; 2]) -> [Daemon; 2] {
        let mut whereabouts = Command::new(place::binaries().join("whereabouts-daemon"));
        whereabouts.args(["--kubeconfig", KUBECONFIG, "--node", "n1", "--namespace", "kube-system"]);
        let (mut multus, [first, second]) = (self.daemon(), logs);
        [(&mut multus, first), (&mut whereabouts, second)]
            .map(|(command, log)| self.start(command.env("DEBUG", "1"), log.into()))
    }

    #[allow(clippy::disallowed_methods)] // a test takes the place of the kubelet
    fn daemon(&self) -> Command {
        let mut command = Command::new(place::binaries().join("multus-daemon"));
        command.args(["--kubeconfig", KUBECONFIG, "--node", "n1", "--socket-dir"]).arg(self.socket_folder());
        command
    }

    fn start(&self, command: &mut Command, stderr: Stdio) -> Daemon {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        Daemon(self.lab.host.netns().run(|| command.spawn()).unwrap().unwrap())
    }

    /// What there is on the node: interfaces, files and claims.
    pub fn left(&self) -> Left {
        let links = self.lab.host.socket().unwrap().links().unwrap();
        let links = links.iter().map(|link| format!("link {}", link.name));
        let claims = self.api.list(CLAIMS);
        let claims = claims.iter().map(|claim| format!("claim {}", claim["metadata"]["name"]));
        links.chain(claims).chain(files(Path::new(STATE))).collect()
    }

    /// Writes a file that a plugin would keep.
    pub fn write(&self, file: &str, text: &str) {
        let file = Path::new(STATE).join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        node::files::write_atomic(&file, text.as_bytes(), 0o600).unwrap();
    }

    fn conf(&self, access: Access) -> Value {
        let main = json!({"cniVersion": "0.3.1", "name": "main", "type": "main"});
        let folder = match self.plugins {
            Plugins::Ours => place::binaries(),
            Plugins::Debians => place::go_plugins(),
        };
        // No daemon of this machine listens in that folder.
        let mut conf = json!({"cniVersion": "0.3.1", "name": "multus-cni-network", "type": "multus", "binDir": folder,
            "daemonSocketDir": self.socket_folder(), "delegates": [main]});
        if access == Access::Own {
            conf["kubeconfig"] = json!(KUBECONFIG);
        }
        conf.as_object_mut().unwrap().extend(self.settings.as_object().cloned().unwrap_or_default());
        conf
    }
}

impl Sandbox<'_> {
    /// Runs multus as a runtime does, with its own access to the API server.
    pub fn call(&self, verb: &str) -> Answer {
        self.call_with(verb, Access::Own)
    }

    /// The same, with this access.
    pub fn call_with(&self, verb: &str, access: Access) -> Answer {
        let path: Vec<PathBuf> = vec![self.node.folder.path().to_owned(), place::go_plugins()];
        let path = std::env::join_paths(path).unwrap().into_string().unwrap();
        let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod0;K8S_POD_UID=u-1";
        let variables = [
            ("CNI_COMMAND", verb.to_owned()),
            ("CNI_CONTAINERID", self.id.clone()),
            ("CNI_IFNAME", "eth0".to_owned()),
            ("CNI_NETNS", self.netns.path().display().to_string()),
            ("CNI_ARGS", args.to_owned()),
            ("CNI_PATH", path),
        ];
        let conf = self.node.conf(access).to_string();
        let host = self.node.lab.host.netns();
        Answer { output: run_in(host, &place::binaries().join("multus"), &variables, conf.as_bytes()) }
    }

    /// A socket in the sandbox.
    pub fn socket(&self) -> Socket {
        self.netns.socket().unwrap()
    }

    /// The interfaces in the sandbox, but for its loopback.
    pub fn links(&self) -> Vec<String> {
        let links = self.socket().links().unwrap();
        links.into_iter().map(|link| link.name).filter(|name| name != "lo").collect()
    }
}

/// The files below a folder, without those that plugins never delete and that say nothing about a sandbox.
fn files(folder: &Path) -> Left {
    let mut found = Left::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.append(&mut files(&path));
        } else if !is_constant(&path) {
            found.insert(format!("file {}", path.display()));
        }
    }
    found
}

/// host-local's lock and its last address; our whereabouts' hints and what it knows of a pool.
fn is_constant(file: &Path) -> bool {
    let name = file.file_name().unwrap().to_string_lossy();
    let is_hint = |part: &std::ffi::OsStr| part == "hints" || part == "pools";
    name == "lock" || name.starts_with("last_reserved_ip") || file.iter().any(is_hint)
}
