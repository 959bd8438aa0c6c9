//! A node of the benchmark: a mount namespace with its own records, hints, socket and configuration, in the network namespace from which the API
//! server is reachable. Threads and processes that the node starts are in it. Everything ends when the value is dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use node::files::write_atomic;

use crate::api::Api;
use crate::daemon::Daemon;

/// The folder in which a plugin looks for its flat file by default.
const CONF: &str = "/etc/cni/net.d/whereabouts.d";

/// The credentials of plugin and daemon.
pub const KUBECONFIG: &str = "/etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig";

/// The file system of a node's records.
#[derive(Clone, Debug)]
pub enum Files {
    /// Memory. On one disk many nodes would wait for each other's writes, which real nodes do not.
    Memory,
    /// A folder on disk, as on a real node.
    Disk(PathBuf),
}

type Job = Box<dyn FnOnce() + Send>;

/// A node.
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its daemon, if it has one; ends before the node does.
    pub daemon: Option<Daemon>,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// A node without a daemon.
    pub fn new(api: &Api, name: &str, files: Files) -> Node {
        let (jobs, received) = channel::<Job>();
        let (netns, kubeconfig, own) = (api.netns.clone(), api.kubeconfig.clone(), name.to_owned());
        let live = move || {
            make(&own, &kubeconfig, &files);
            received.into_iter().for_each(|job| job());
        };
        let thread =
            std::thread::spawn(move || netns.run(live).expect("the API server's network can be entered"));
        let node = Node { name: name.to_owned(), daemon: None, jobs: Some(jobs), thread: Some(thread) };
        node.run(|| ());
        node
    }

    /// A node with a daemon that is ready to serve.
    pub fn with_daemon(api: &Api, name: &str, program: &Path, port: u16) -> Node {
        let mut node = Node::new(api, name, Files::Memory);
        let (program, own) = (program.to_owned(), node.name.clone());
        node.daemon = Some(node.run(move || Daemon::start(&program, &own, port)));
        node
    }

    /// Starts a thread in the node.
    pub fn spawn<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        // A new thread has the namespaces of the thread that starts it.
        self.run(move || std::thread::spawn(task))
    }

    /// Runs a task on the node's own thread, which lives as long as the node.
    pub fn run<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, answered) = channel();
        let job = move || drop(answer.send(task()));
        let jobs = self.jobs.as_ref().expect("the node lives");
        jobs.send(Box::new(job)).expect("the node lives");
        answered.recv().expect("the task ends without a panic")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.daemon.take());
        drop(self.jobs.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Makes this thread a node: it sees the host's files, with its own /run and /var/lib and an overlay on /etc.
fn make(name: &str, kubeconfig: &str, files: &Files) {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).expect("a mount namespace can be made: be root");
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    for folder in ["/run", "/var/lib"] {
        mount(Some("bench"), folder, Some("tmpfs"), MsFlags::empty(), Some("mode=0755")).unwrap();
    }
    fs::create_dir_all("/run/bench/upper").and_then(|()| fs::create_dir("/run/bench/work")).unwrap();
    let layers = "lowerdir=/etc,upperdir=/run/bench/upper,workdir=/run/bench/work";
    mount(Some("bench"), "/etc", Some("overlay"), MsFlags::empty(), Some(layers)).unwrap();
    fs::create_dir_all("/var/lib/cni").and_then(|()| fs::create_dir_all(CONF)).unwrap();
    if let Files::Disk(folder) = files {
        mount(Some(folder), "/var/lib/cni", none, MsFlags::MS_BIND, none).unwrap();
    }
    let flat = serde_json::json!({
        "datastore": "kubernetes",
        "kubernetes": { "kubeconfig": KUBECONFIG },
        "configuration_path": CONF,
    });
    let write =
        |file: &str, text: &str| write_atomic(&Path::new(CONF).join(file), text.as_bytes(), 0o600).unwrap();
    write("whereabouts.kubeconfig", kubeconfig);
    write("nodename", name);
    write("whereabouts.conf", &flat.to_string());
}
