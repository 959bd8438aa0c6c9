//! Thousands of attachments while the node's links come and go: none fails, nothing is left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use netlink::Netns;
use netlink::lab::{Lab, NamedNetns, create_veth};
use serde_json::{Value, json};
use tests::driver::{Subject, merged};

use crate::macvlan_bench::with_ipam;
use crate::support::Bench;

const THREADS: usize = 4;

/// How many pairs of ADD and DEL: `$MRS_ENDURANCE`.
fn pairs() -> usize {
    std::env::var("MRS_ENDURANCE")
        .map_or(2_000, |count| count.parse().expect("MRS_ENDURANCE must be a number"))
}

/// Makes and deletes links on the node, so that every listing of them changes under way now and then.
fn churn(bench: &Bench, stop: &AtomicBool) -> usize {
    let (host, peer) = (bench.lab.host.socket().unwrap(), bench.lab.peer.socket().unwrap());
    let mut made = 0;
    while !stop.load(Ordering::Relaxed) {
        let name = format!("churn{}", made % 7);
        let (link, _) = create_veth(&host, &name, &peer, &name).unwrap();
        host.delete_link(&link).unwrap();
        made += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    made
}

/// Of the attachments of one thread every hundredth has addresses of an IPAM plugin too.
fn attach_and_detach(bench: &Bench, thread: usize, count: usize, pod: &NamedNetns, confs: [&Value; 2]) {
    let [plain, with_addresses] = confs;
    for number in 0..count {
        let conf = if number % 100 == 0 { with_addresses } else { plain };
        let id = format!("endure-{thread}-{number}");
        let mut call = bench.call();
        call.container_id = &id;
        call.netns = Some(pod.path());
        let result = call.run(&Subject::ours(), "ADD", conf).ok();
        assert_eq!(result["interfaces"][0]["name"], "net1");
        call.run(&Subject::ours(), "DEL", conf).ok();
    }
}

/// How many descriptors of this process hold one of these namespaces.
fn holders(namespaces: &[&Netns]) -> usize {
    use std::os::fd::{AsFd, AsRawFd};
    let link = |fd: String| std::fs::read_link(fd).ok();
    let wanted: Vec<_> =
        namespaces.iter().filter_map(|n| link(format!("/proc/self/fd/{}", n.as_fd().as_raw_fd()))).collect();
    assert_eq!(wanted.len(), namespaces.len());
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).filter(|to| wanted.contains(to)).count()
}

#[test]
fn thousands_of_attachments_on_a_restless_node_all_succeed_and_leave_nothing() {
    let bench = Bench::new();
    let master = bench.host.link_by_name(Lab::MASTER).unwrap().unwrap();
    bench.host.add_address(&master, "198.51.100.7/24".parse().unwrap(), netlink::Dad::Kernel).unwrap();
    // By its subnet, the master is found by lists of links and of addresses.
    let with_addresses = with_ipam(&bench, json!({"master": {"subnet": "198.51.100.0/24"}}));
    let plain = merged(&with_addresses, json!({"ipam": {}}));
    let pods: Vec<NamedNetns> = (0..THREADS).map(|_| NamedNetns::new().unwrap()).collect();
    let namespaces: Vec<&Netns> =
        pods.iter().map(NamedNetns::netns).chain([bench.lab.host.netns()]).collect();
    let before = (holders(&namespaces), bench.host.links().unwrap().len());
    let stop = AtomicBool::new(false);
    let churned = std::thread::scope(|scope| {
        let churn = scope.spawn(|| churn(&bench, &stop));
        let (bench, confs) = (&bench, [&plain, &with_addresses]);
        let attach = |(thread, pod)| {
            scope.spawn(move || attach_and_detach(bench, thread, pairs() / THREADS, pod, confs))
        };
        let workers: Vec<_> = pods.iter().enumerate().map(attach).collect();
        let failed = workers.into_iter().map(|worker| worker.join()).filter(Result::is_err).count();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(failed, 0, "threads failed, see above");
        churn.join().unwrap()
    });
    assert!(churned > 10, "the node was quiet: {churned} links");
    assert_eq!((holders(&namespaces), bench.host.links().unwrap().len()), before);
    assert_eq!(bench.held(), Vec::<String>::new());
    for pod in &pods {
        let left: Vec<String> = pod.socket().unwrap().links().unwrap().into_iter().map(|l| l.name).collect();
        assert_eq!(left, ["lo"]);
    }
}
