//! The methods of getting an address: a plugin as a process, which uses the daemon if there is one; the daemon's socket without a process; the
//! allocation in this process without a daemon.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use node::client::{ApiClient, Credentials, Freshness, ListQuery, MetadataOnly, ResourceKind, Timeouts};
use node::deadline::Deadline;
use node::names::{DnsLabel, DnsSubdomain};
use node::rpc;
use serde_json::Value;
use whereabouts::claims::allocate;
use whereabouts::claims::allocate::PriorAttempt;
use whereabouts::claims::release;
use whereabouts::claims::store::Claims;
use whereabouts::crd::rights::LEASE;
use whereabouts::node_state::hints::{HintStore, NodeHints};
use whereabouts::node_state::installation::Writer;
use whereabouts::node_state::record::{Record, Records, STATE, Stage};
use whereabouts::pool::held_claim::Claimed;
use whereabouts::rpc::wire::{Release, Request, Response, socket};

use crate::api::NAMESPACE;
use crate::attachment::Attachment;
use crate::node::KUBECONFIG;

/// The deadline of a call. Runtimes wait longer for a plugin.
const LIMIT: Duration = Duration::from_secs(30);

/// A method of getting an address.
#[derive(Clone, Debug)]
pub enum Method {
    /// A process of this program for each call.
    Plugin(PathBuf),
    /// A process of this program with the verb VERSION, to measure the process alone.
    Version(PathBuf),
    /// The daemon of the node, over its socket.
    Socket,
    /// [`allocate::serve`] in this process, with a connection that stays open and the hints of the node.
    Claims,
}

/// The outcome of an ADD.
#[derive(Clone, Debug)]
pub struct Held {
    /// The attachment.
    pub attachment: Attachment,
    /// Its address; none for [`Method::Version`].
    pub address: Option<IpAddr>,
    record: Option<Record>,
}

/// A method with what it needs on one thread of a node.
pub enum Worker {
    /// See [`Method::Plugin`].
    Plugin(PathBuf),
    /// See [`Method::Version`].
    Version(PathBuf),
    /// See [`Method::Socket`].
    Socket(String),
    /// See [`Method::Claims`].
    Claims(Box<Inside>),
}

impl Method {
    /// Opens connections. The calling thread must be of the node.
    pub fn ready(&self, node: &str) -> Worker {
        match self {
            Method::Plugin(program) => Worker::Plugin(program.clone()),
            Method::Version(program) => Worker::Version(program.clone()),
            Method::Socket => Worker::Socket(node.to_owned()),
            Method::Claims => Worker::Claims(Box::new(Inside::new(node))),
        }
    }
}

impl Worker {
    /// ADD.
    pub fn add(&mut self, attachment: &Attachment) -> Result<Held, String> {
        let held = |address, record| Held { attachment: attachment.clone(), address, record };
        match self {
            Worker::Plugin(program) => {
                let output = run(program, "ADD", attachment)?;
                Ok(held(Some(address(&output)?), None))
            }
            Worker::Version(program) => run(program, "VERSION", attachment).map(|_| held(None, None)),
            Worker::Socket(node) => {
                let order = Box::new(attachment.order(node));
                match ask(&Request::Claim(order))? {
                    Response::Claimed(allocated) => {
                        let record = record(attachment, allocated.claims);
                        Ok(held(record.claims.first().map(|claim| claim.address.addr()), Some(record)))
                    }
                    other => Err(format!("{other:?}")),
                }
            }
            Worker::Claims(inside) => {
                let record = record(attachment, inside.claim(attachment)?);
                Ok(held(record.claims.first().map(|claim| claim.address.addr()), Some(record)))
            }
        }
    }

    /// DEL.
    pub fn del(&mut self, held: &Held) -> Result<(), String> {
        let record = || held.record.clone().ok_or_else(|| "there is no record to release".to_owned());
        match self {
            Worker::Plugin(program) => run(program, "DEL", &held.attachment).map(drop),
            Worker::Version(_) => Ok(()),
            Worker::Socket(_) => {
                let release = Box::new(Release {
                    record: record()?,
                    upstream: Vec::new(),
                    writer: Writer::ThisInstallation,
                });
                match ask(&Request::Release(release))? {
                    Response::Done => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            }
            Worker::Claims(inside) => inside.release(&record()?),
        }
    }
}

impl Worker {
    /// DEL after a failed ADD. Its outcome does not matter here: the report counts the claims that are left.
    pub fn undo(&mut self, attachment: &Attachment) {
        let record = Record { stage: Stage::Claiming, ..record(attachment, Vec::new()) };
        let held = Held { attachment: attachment.clone(), address: None, record: Some(record) };
        let _ = self.del(&held);
    }
}

fn ask(request: &Request) -> Result<Response, String> {
    rpc::call(socket(), request, Deadline::after(LIMIT)).map_err(|error| error.to_string())
}

/// The record that a plugin would write.
fn record(attachment: &Attachment, claimed: Vec<Claimed>) -> Record {
    Record {
        container_id: attachment.container_id(),
        if_name: attachment.if_name.clone(),
        podref: String::new(),
        network: String::new(),
        kubeconfig: None,
        namespace: Some(DnsLabel::new(NAMESPACE).expect("a namespace")),
        pod_uid: None,
        stage: Stage::Held,
        claims: claimed.into_iter().map(|claimed| claimed.claim).collect(),
    }
}

/// The allocation in this process, with the credentials of the node.
pub struct Inside {
    node: String,
    runtime: tokio::runtime::Runtime,
    api: ApiClient,
    namespace: DnsLabel,
    hints: HintStore,
    records: Records,
}

impl Inside {
    /// Connects. The calling thread must be of the node.
    pub fn new(node: &str) -> Inside {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let credentials = Credentials::Kubeconfig(KUBECONFIG.into());
        let api = runtime.block_on(ApiClient::connect(credentials, Timeouts::default()));
        let api = api.expect("the node's credentials");
        runtime.block_on(connected(&api));
        let namespace = DnsLabel::new(NAMESPACE).expect("a namespace");
        let hints = NodeHints::open(Path::new(STATE)).of(&namespace);
        let records = Records::open(Path::new(STATE)).expect("the node's records");
        Inside { node: node.to_owned(), api, runtime, namespace, hints, records }
    }

    fn claims(&self) -> Claims<'_> {
        Claims { api: &self.api, namespace: &self.namespace, deadline: Deadline::after(LIMIT) }
    }

    fn claim(&self, attachment: &Attachment) -> Result<Vec<Claimed>, String> {
        let (claims, order) = (self.claims(), attachment.order(&self.node));
        // Without its record a call claims nothing.
        let begun = Record { stage: Stage::Claiming, ..record(attachment, Vec::new()) };
        self.records.update(&begun).map_err(|error| error.to_string())?;
        let served =
            self.runtime.block_on(allocate::serve(&claims, &order, &self.hints, PriorAttempt::Absent));
        served.map_err(|failure| failure.error.to_string())
    }

    fn release(&self, record: &Record) -> Result<(), String> {
        let claims = self.claims();
        let released =
            self.runtime.block_on(release::release(&claims, record, Writer::ThisInstallation, &[]));
        let removed = self.records.remove(&record.container_id, &record.if_name);
        released.map_err(|error| error.to_string())?;
        removed.map_err(|error| error.to_string())
    }

    /// The number of claims with these labels, read from etcd.
    pub fn count(&self, labels: String) -> usize {
        let query = ListQuery { labels: Some(labels), ..ListQuery::all(Freshness::Latest) };
        let all = whereabouts::crd::reservation::RESERVATIONS.in_namespace(&self.namespace);
        let listed = self.api.list::<MetadataOnly>(&all, &query, Deadline::after(LIMIT));
        self.runtime.block_on(listed).expect("claims can be listed").items.len()
    }
}

/// Opens the connection by a request that the figures do not count.
async fn connected(api: &ApiClient) {
    let leases = ResourceKind::LEASES.in_namespace(&DnsLabel::new(NAMESPACE).expect("a namespace"));
    let lease = leases.object(&DnsSubdomain::new(LEASE).expect("a name"));
    let _ = api.get_metadata(&lease, Deadline::after(LIMIT)).await;
}

/// Runs a plugin on the node of the calling thread.
#[allow(clippy::disallowed_methods)] // the benchmark takes the place of the runtime
fn run(program: &Path, verb: &str, attachment: &Attachment) -> Result<Output, String> {
    let mut child = Command::new(program)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(attachment.env(verb))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    // VERSION closes the pipe without reading it.
    let _ = child.stdin.take().expect("a pipe").write_all(attachment.conf().to_string().as_bytes());
    let output = child.wait_with_output().expect("the plugin ends");
    let printed =
        || [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat();
    if output.status.success() { Ok(output) } else { Err(format!("{verb}: {}", printed())) }
}

fn address(output: &Output) -> Result<IpAddr, String> {
    let wrong = |what: String| format!("{what}: {}", String::from_utf8_lossy(&output.stdout));
    let result: Value = serde_json::from_slice(&output.stdout).map_err(|e| wrong(e.to_string()))?;
    let text = result["ips"][0]["address"].as_str().and_then(|text| text.split('/').next());
    text.and_then(|text| text.parse().ok()).ok_or_else(|| wrong("no address".to_owned()))
}
