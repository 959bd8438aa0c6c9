//! What the ipvlan tests ask of a bench beyond what all have: confs, further pods, an exchange between two namespaces.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netlink::test_util::NamedNetns;
use netlink::{IpvlanFlag, IpvlanMode, LinkKind, Netns, Socket};
use serde_json::{Value, json};
use tests::driver::{Answer, Call, Subject, merged, run_in, write_script};

use crate::support::{Bench, Place};

/// For tests that keep a virtual machine busy: one at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static BUSY: Mutex<()> = Mutex::new(());
    BUSY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A conf with host-local, `more` laid over it.
pub fn conf(bench: &Bench, more: Value) -> Value {
    let base =
        merged(&bench.conf("1.0.0", Place::Host), json!({"type": "ipvlan", "ipam": bench.host_local()}));
    merged(&base, more)
}

/// A conf with static addresses and routes, none of which has a gateway.
pub fn static_conf(bench: &Bench, addresses: &[&str], routes: &[&str], more: Value) -> Value {
    let mut ipam = bench.static_ipam(addresses);
    ipam["routes"] = routes.iter().map(|dst| json!({"dst": dst})).collect();
    merged(&conf(bench, json!({"ipam": ipam})), more)
}

/// The conf without `key`.
pub fn without(conf: &Value, key: &str) -> Value {
    let mut conf = conf.clone();
    conf.as_object_mut().unwrap().remove(key);
    conf
}

/// The bench's pod, without the wrapped IPAM plugins that confs of version 1.1.0 need: processes take long in a virtual machine.
pub fn direct(bench: &Bench) -> Call<'_> {
    Call { helpers: None, ..bench.call() }
}

/// A verb of ours on the bench's pod.
pub fn ours(bench: &Bench, verb: &str, conf: &Value) -> Answer {
    direct(bench).run(&Subject::ours(), verb, conf)
}

/// ADD of ours on the bench's pod, and its result.
#[track_caller]
pub fn add(bench: &Bench, conf: &Value) -> Value {
    ours(bench, "ADD", conf).ok()
}

#[track_caller]
pub fn nothing_is_left(bench: &Bench) {
    assert_eq!((bench.net1(), bench.held()), (None, Vec::<String>::new()));
}

/// Mode and flag of net1 in the bench's pod.
#[track_caller]
pub fn kind_of_net1(bench: &Bench) -> (IpvlanMode, IpvlanFlag) {
    kind(&bench.pod)
}

#[track_caller]
fn kind(pod: &Socket) -> (IpvlanMode, IpvlanFlag) {
    match pod.link_by_name("net1").unwrap().expect("net1 is there").kind {
        LinkKind::Ipvlan { mode, flag } => (mode, flag),
        other => panic!("no ipvlan: {other:?}"),
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

    /// A verb of ours on this pod.
    pub fn ours(&self, bench: &Bench, verb: &str, conf: &Value) -> Answer {
        self.call(bench).run(&Subject::ours(), verb, conf)
    }

    pub fn kind(&self) -> (IpvlanMode, IpvlanFlag) {
        kind(&self.socket)
    }
}

/// Sends a datagram from `from` to `address` in `to`, and another one back. What did not arrive, after several tries.
pub fn exchange(from: &Netns, to: &Netns, address: &str) -> Result<(), &'static str> {
    let address: IpAddr = address.parse().unwrap();
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let server = to.run(|| UdpSocket::bind((address, 0))).unwrap().expect("the address is there");
    let client = from.run(|| UdpSocket::bind(any)).unwrap().unwrap();
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    }
    client.connect(server.local_addr().unwrap()).map_err(|_| "there is no route")?;
    let mut buffer = [0; 8];
    for _ in 0..4 {
        if client.send(b"question").is_err() {
            continue;
        }
        let Ok((_, asker)) = server.recv_from(&mut buffer) else { continue };
        server.send_to(b"answer", asker).map_err(|_| "the answer has no route")?;
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

/// An IPAM plugin of this name that runs `body` at ADD and answers with `result`; other verbs succeed.
pub fn scripted_ipam(folder: &Path, name: &str, body: &str, result: &Value) {
    let text = format!("cat > /dev/null\n[ \"$CNI_COMMAND\" = ADD ] || exit 0\n{body}\necho '{result}'");
    write_script(&folder.join(name), &text);
}

/// An IPAM plugin that gives container N the address 10.1.2.(N+2) and notes it where host-local does. A hundred starts of host-local
/// take most of a minute in a virtual machine.
pub fn counting_ipam(folder: &Path) {
    let held = folder.join("spec");
    std::fs::create_dir(&held).unwrap();
    let body = format!(
        r#"cat > /dev/null
address=10.1.2.$((CNI_CONTAINERID + 2))
case $CNI_COMMAND in
ADD) : > {held}/$address; echo "{{\"cniVersion\":\"1.0.0\",\"ips\":[{{\"address\":\"$address/24\"}}]}}" ;;
DEL) rm -f {held}/$address ;;
esac"#,
        held = held.display()
    );
    write_script(&folder.join("counting"), &body);
}
