//! What the ipvlan tests need beyond a bench: confs, further pods, an exchange of packets between two namespaces.

use std::net::{IpAddr, UdpSocket};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netlink::test_util::NamedNetns;
use netlink::{IpvlanFlag, IpvlanMode, LinkKind, Netns, Socket};
use serde_json::{Value, json};
use tests::driver::{Answer, Call, Subject, merged, run_in, write_script};

use crate::support::{Bench, Place};

/// Keeps tests that load the virtual machine from running at the same time. Hold what it returns.
pub fn alone() -> MutexGuard<'static, ()> {
    static BUSY: Mutex<()> = Mutex::new(());
    BUSY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A conf of version 1.0.0 with host-local, `more` laid over it.
pub fn conf(bench: &Bench, more: Value) -> Value {
    let base =
        merged(&bench.conf("1.0.0", Place::Host), json!({"type": "ipvlan", "ipam": bench.host_local()}));
    merged(&base, more)
}

/// The same with static addresses, and with routes without a gateway.
pub fn static_conf(bench: &Bench, addresses: &[&str], routes: &[&str], more: Value) -> Value {
    let mut ipam = bench.static_ipam(addresses);
    ipam["routes"] = routes.iter().map(|dst| json!({"dst": dst})).collect();
    merged(&conf(bench, json!({"ipam": ipam})), more)
}

/// The bench's pod, without the scripts in front of the IPAM plugins, which only confs of version 1.1.0 need: every process takes long to
/// start in the virtual machine.
pub fn direct(bench: &Bench) -> Call<'_> {
    Call { helpers: None, ..bench.call() }
}

/// Runs a verb of our plugin on the bench's pod.
pub fn ours(bench: &Bench, verb: &str, conf: &Value) -> Answer {
    direct(bench).run(&Subject::ours(), verb, conf)
}

/// Runs ADD of our plugin on the bench's pod and returns the result.
#[track_caller]
pub fn add(bench: &Bench, conf: &Value) -> Value {
    ours(bench, "ADD", conf).ok()
}

/// Mode and flag of net1 in the bench's pod.
#[track_caller]
pub fn kind_of_net1(bench: &Bench) -> (IpvlanMode, IpvlanFlag) {
    kind(&bench.pod)
}

#[track_caller]
fn kind(pod: &Socket) -> (IpvlanMode, IpvlanFlag) {
    match pod.link_by_name("net1").unwrap().expect("net1 is in the pod").kind {
        LinkKind::Ipvlan { mode, flag } => (mode, flag),
        other => panic!("net1 is no ipvlan link: {other:?}"),
    }
}

/// A pod beside the bench's own.
pub struct Neighbour {
    pub netns: NamedNetns,
    pub socket: Socket,
    pub id: String,
}

impl Neighbour {
    pub fn new(id: &str) -> Neighbour {
        let netns = NamedNetns::new().unwrap();
        let socket = netns.socket().unwrap();
        Neighbour { netns, socket, id: id.to_owned() }
    }

    pub fn call<'a>(&'a self, bench: &'a Bench) -> Call<'a> {
        Call { container_id: &self.id, netns: Some(self.netns.path()), ..direct(bench) }
    }

    /// Runs a verb of our plugin on this pod.
    pub fn ours(&self, bench: &Bench, verb: &str, conf: &Value) -> Answer {
        self.call(bench).run(&Subject::ours(), verb, conf)
    }

    pub fn kind(&self) -> (IpvlanMode, IpvlanFlag) {
        kind(&self.socket)
    }
}

/// Sends a datagram from `from` to `address` in `to`, and another one back, in up to four tries. The error says what did not arrive.
pub fn exchange(from: &Netns, to: &Netns, address: &str) -> Result<(), &'static str> {
    let address: IpAddr = address.parse().unwrap();
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let server = to.run(|| UdpSocket::bind((address, 0))).unwrap().expect("the namespace has the address");
    let client = from.run(|| UdpSocket::bind(any)).unwrap().unwrap();
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    }
    client.connect(server.local_addr().unwrap()).map_err(|_| "there is no route")?;
    let mut buffer = [0; 8];
    // The first datagram may be lost while the kernel resolves the neighbour.
    for _ in 0..4 {
        if client.send(b"question").is_err() {
            continue;
        }
        let Ok((_, sender)) = server.recv_from(&mut buffer) else { continue };
        server.send_to(b"answer", sender).map_err(|_| "the answer has no route")?;
        return client.recv(&mut buffer).map(drop).map_err(|_| "the answer did not arrive");
    }
    Err("the question did not arrive")
}

/// Runs `ip` with `arguments` in `netns`.
#[track_caller]
pub fn ip(bench: &Bench, netns: &Netns, arguments: &str) {
    let script = bench.folder.path().join("ip-command");
    write_script(&script, &format!("ip {arguments}"));
    let output = run_in(netns, &script, &[], b"");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}
