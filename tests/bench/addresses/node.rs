//! A node of the benchmark: a mount namespace with records, hints, socket and configuration of its own, in the network from which the API
//! server is reached. What is started from it, threads and processes, is in it. With the value everything goes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use node::files::write_atomic;

use crate::api::Api;
use crate::daemon::Daemon;

/// Where a plugin looks for its flat file by itself.
const CONF: &str = "/etc/cni/net.d/whereabouts.d";

/// The credentials of plugin and daemon.
pub const KUBECONFIG: &str = "/etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig";

/// Where the records of a node are.
#[derive(Clone, Debug)]
pub enum Files {
    /// In memory: many nodes on one disk would wait for each other's writes as real ones do not.
    Memory,
    /// In this folder, on disk, as on a real node.
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

    /// A node with a daemon that serves.
    pub fn with_daemon(api: &Api, name: &str, program: &Path, port: u16) -> Node {
        let mut node = Node::new(api, name, Files::Memory);
        let (program, own) = (program.to_owned(), node.name.clone());
        node.daemon = Some(node.run(move || Daemon::start(&program, &own, port)));
        node
    }

    /// Starts a thread that is in the node.
    pub fn spawn<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        // A thread has the namespaces of the thread that starts it.
        self.run(move || std::thread::spawn(task))
    }

    /// Runs a task on the node's own thread, which lives as long as the node.
    pub fn run<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, answered) = channel();
        let job = move || drop(answer.send(task()));
        let jobs = self.jobs.as_ref().expect("the node lives");
        jobs.send(Box::new(job)).expect("the node lives");
        answered.recv().expect("the node is made and the task ends")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.daemon.take());
        drop(self.jobs.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Makes this thread a node: the host's files to read, what matters laid over them.
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
