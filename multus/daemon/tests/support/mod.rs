//! An API server on a port, and the program as a process.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fake_api::{ApiServer, Key};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nad::PodRef;
use nad::rpc::{Request, Response, socket};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use node::deadline::Deadline;
use node::names::PodUid;
use node::rpc::{RpcError, call};
use serde_json::json;
use tower::Service as _;

/// How long anything may take that should not take long.
const LIMIT: Duration = Duration::from_secs(30);

/// The pod number `n`.
pub fn pod(n: usize) -> PodRef {
    let uid = Some(PodUid::new(format!("u-{n}")).unwrap());
    PodRef { uid, ..PodRef::from_str(&format!("default/web-{n}")).unwrap() }
}

/// An API server in memory, on a port of this host.
pub struct Server {
    pub api: ApiServer,
    port: u16,
    token: Arc<Mutex<String>>,
    most: Arc<AtomicUsize>,
}

impl Server {
    pub fn start() -> Server {
        let (api, token) = (ApiServer::default(), Arc::new(Mutex::new("first".to_owned())));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Server { api: api.clone(), port, token: token.clone(), most: most.clone() };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (api, token) = (api.clone(), token.clone());
                    let (now, most) = (now.clone(), most.clone());
                    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                        let expected = format!("Bearer {}", token.lock().unwrap());
                        let sent = request.headers().get("authorization").cloned();
                        let (mut api, now, most) = (api.clone(), now.clone(), most.clone());
                        async move {
                            if sent.is_none_or(|sent| sent != expected.as_str()) {
                                let refused =
                                    fake_api::response::Response::failure(401, "Unauthorized", "no");
                                return Ok(refused.into_http());
                            }
                            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            let answer = api.call(request).await;
                            now.fetch_sub(1, Ordering::SeqCst);
                            answer
                        }
                    });
                    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
                }
            });
        });
        server
    }

    /// The only token that it accepts from now on.
    pub fn accept_token(&self, token: &str) {
        token.clone_into(&mut self.token.lock().unwrap());
    }

    /// Makes pods of the usual size on the node.
    pub fn put_pods(&self, count: usize) {
        for n in 0..count {
            let PodRef { name, .. } = pod(n);
            let managed = json!([{"manager": "m", "fieldsV1": {"f:x": "y".repeat(3_000)}}]);
            let annotations = json!({nad::NETWORKS: "a,b", "other": "z".repeat(500)});
            self.api.put(
                &Key::new("pods", "default", name.as_str()),
                json!({"metadata": {"uid": format!("u-{n}"), "annotations": annotations, "managedFields": managed},
                    "spec": {"nodeName": "n1", "containers": [{"env": "e".repeat(5_000)}]}, "status": {"phase": "Pending"}}),
            );
        }
    }

    /// Waits for a request whose path has this text.
    pub fn wait_for(&self, text: &str) {
        until(|| self.api.received().iter().any(|request| request.path.contains(text)));
    }

    /// The largest number of requests that it answered at the same time.
    pub fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// The program, until it is dropped.
pub struct Process {
    child: Child,
    folder: Arc<tempfile::TempDir>,
}

/// Sizes in KiB, from /proc.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code)] // printed
pub struct Memory {
    pub anonymous: u64,
    pub resident: u64,
    pub peak: u64,
}

impl Process {
    pub fn start(server: &Server) -> Process {
        Process::start_in(server, Arc::new(tempfile::tempdir().unwrap()))
    }

    /// Starts it in the folder of an earlier one.
    pub fn start_in(server: &Server, folder: Arc<tempfile::TempDir>) -> Process {
        let child = command(server, folder.path()).spawn().unwrap();
        let process = Process { child, folder };
        process.write_token(&server.token.lock().unwrap());
        until(|| process.call(&Request::Events(Vec::new())).is_ok());
        process
    }

    pub fn folder(&self) -> Arc<tempfile::TempDir> {
        self.folder.clone()
    }

    pub fn write_token(&self, token: &str) {
        node::files::replace(&self.folder.path().join("token"), token.as_bytes()).unwrap();
    }

    pub fn call(&self, request: &Request) -> Result<Response, RpcError> {
        call(&self.socket(), request, Deadline::after(LIMIT))
    }

    /// Calls on a thread of its own.
    pub fn call_later(&self, request: Request) -> JoinHandle<Result<Response, RpcError>> {
        let socket = self.socket();
        std::thread::spawn(move || call(&socket, &request, Deadline::after(LIMIT)))
    }

    fn socket(&self) -> PathBuf {
        socket(&self.folder.path().join("run"))
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub fn memory(&self) -> Memory {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let size = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Memory { anonymous: size("RssAnon:"), resident: size("VmRSS:"), peak: size("VmHWM:") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(server: &Server, folder: &Path) -> Command {
    let kubeconfig = folder.join("kubeconfig");
    let text = format!(
        "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: \"http://127.0.0.1:{}\"}}}}]\n\
         users: [{{name: u, user: {{tokenFile: {}}}}}]\n",
        server.port,
        folder.join("token").display()
    );
    node::files::replace(&kubeconfig, text.as_bytes()).unwrap();
    node::files::replace(&folder.join("token"), server.token.lock().unwrap().as_bytes()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_multus-daemon"));
    command
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["--node", "n1", "--socket-dir"])
        .arg(folder.join("run"));
    command.stdin(Stdio::null());
    command
}

/// What it says on standard error until it ends.
pub fn output(server: &Server, folder: &Path, limit: Duration) -> String {
    let mut child =
        command(server, folder).arg("--socket-dir").arg(folder).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    });
    let end = Instant::now() + limit;
    while child.try_wait().unwrap().is_none() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
    reader.join().unwrap()
}

fn until(condition: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "it takes too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}
