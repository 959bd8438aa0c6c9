//! The IPAM plugin `dhcp`, with its daemon on the node and a DHCP server on the wire. It is the one that needs the link at DEL.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use netlink::Netns;
use netlink::test_util::{NamedNetns, Testbed};
use serde_json::{Value, json};
use tests::driver::{Call, Subject, merged};
use tests::place;

use crate::support::{Bench, Place, address_of};

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program in the namespace.
#[allow(clippy::disallowed_methods)] // a test takes the place of the node's administrator
fn start(netns: &Netns, program: &Path, args: &[&str]) -> Running {
    let spawn = || Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).spawn();
    Running(netns.run(spawn).unwrap().unwrap())
}

/// A DHCP server in the peer's namespace with two addresses.
fn start_server(bench: &Bench) -> Running {
    let peer = bench.lab.peer.socket().unwrap();
    let wire = peer.link_by_name(Testbed::WIRE).unwrap().unwrap();
    peer.add_address(&wire, "10.1.2.1/24".parse().unwrap(), netlink::Dad::Kernel).unwrap();
    let folder = bench.folder.path().display();
    let conf = bench.folder.path().join("udhcpd.conf");
    let text = format!(
        "start 10.1.2.10\nend 10.1.2.11\ninterface {}\nlease_file {folder}/leases\npidfile {folder}/pid\n\
         opt subnet 255.255.255.0\nopt lease 3600\n",
        Testbed::WIRE
    );
    std::fs::File::create(&conf).unwrap().write_all(text.as_bytes()).unwrap();
    std::fs::File::create(bench.folder.path().join("leases")).unwrap();
    // -a: how long it waits for an answer to its ARP ping of a free address, in milliseconds.
    start(
        bench.lab.peer.netns(),
        Path::new("/bin/busybox"),
        &["udhcpd", "-f", "-a", "50", &conf.display().to_string()],
    )
}

/// The daemon of the IPAM plugin, and its socket.
fn start_daemon(bench: &Bench) -> (Running, PathBuf) {
    let socket = bench.folder.path().join("dhcp.sock");
    let path = socket.display().to_string();
    let daemon =
        start(bench.lab.host.netns(), &place::go_plugins().join("dhcp"), &["daemon", "-socketpath", &path]);
    let end = Instant::now() + Duration::from_secs(10);
    while !socket.exists() {
        assert!(Instant::now() < end, "the dhcp daemon made no socket");
        std::thread::sleep(Duration::from_millis(20));
    }
    (daemon, socket)
}

#[test]
fn del_sends_dhcps_release_so_that_another_pod_gets_the_address() {
    let bench = Bench::new();
    let (_server, (_daemon, socket)) = (start_server(&bench), start_daemon(&bench));
    let ipam = json!({"type": "dhcp", "daemonSocketPath": socket});
    let conf = merged(&bench.conf("1.0.0", Place::Host), json!({"ipam": ipam}));
    let subject = Subject::ours();
    let pods = [NamedNetns::new().unwrap(), NamedNetns::new().unwrap(), NamedNetns::new().unwrap()];
    let run = |pod: usize, verb: &str, conf: &Value| {
        let id = format!("dhcp-{pod}");
        let call = Call { container_id: &id, netns: Some(pods[pod].path()), ..bench.call() };
        call.run(&subject, verb, conf)
    };
    let results = [0, 1].map(|pod| run(pod, "ADD", &conf).ok());
    run(0, "DEL", &merged(&conf, json!({"prevResult": results[0]}))).ok();
    let third = run(2, "ADD", &conf).ok();
    assert_eq!(address_of(&third), address_of(&results[0]));
    for pod in [1, 2] {
        run(pod, "DEL", &conf).ok();
    }
}
