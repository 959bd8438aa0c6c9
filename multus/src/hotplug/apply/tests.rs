//! Changes of a running pod with scripted plugins, a real network namespace and a fake API server.

use std::time::SystemTime;

use cni::plugin::Call;
use nad::Life;
use serde_json::{Value, json};

use super::*;
use crate::record;
use crate::run::{Detach, Gc, check, gc};
use crate::testing::{Bench, FakeApi, network, pod};

fn nad(plugin: &str) -> Value {
    json!({"cniVersion": "1.0.0", "type": plugin, "capabilities": {"ips": true}})
}

/// A node with the pod `default/pod0`, which runs.
struct Node {
    bench: Bench,
    api: FakeApi,
    memory: Memory,
    counts: Counts,
}

impl Node {
    /// The pod started with this annotation.
    fn new(networks: &str) -> Node {
        let api = FakeApi::new(json!({nad::NETWORKS: networks}))
            .with_nad("default/a", &nad("a"))
            .with_nad("default/b", &nad("b"))
            .with_device_nad("default/sriov", &nad("a"), "example.com/nic");
        let node = Node { bench: Bench::new(), api, memory: Memory::default(), counts: Counts::default() };
        node.bench.add(Some(&node.api)).unwrap();
        node.bench.verbs();
        node
    }

    fn call(&self) -> Call {
        self.bench.call()
    }

    /// What the daemon tells about the pod.
    fn running(&self) -> RunningPod {
        let mut pod = pod("default", "pod0");
        let object = self.api.pod();
        pod.networks = object["metadata"]["annotations"][nad::NETWORKS].as_str().map(str::to_owned);
        RunningPod { pod, uid_on_node: None, status: self.api.status(), life: Life::Runs }
    }

    /// Changes the annotation.
    fn annotate(&self, networks: &str) {
        self.api.edit_pod(|pod| pod["metadata"]["annotations"][nad::NETWORKS] = networks.into());
    }

    /// Gives the pod what it requests.
    fn change(&mut self) -> Outcome {
        // A child that a test beside this one starts has our descriptors until it runs its program, and keeps the lock so long.
        for _ in 0..500 {
            match self.try_change() {
                Outcome::Busy => std::thread::sleep(Duration::from_millis(10)),
                outcome => return outcome,
            }
        }
        Outcome::Busy
    }

    /// The same without another attempt.
    fn try_change(&mut self) -> Outcome {
        let (running, conf) = (self.running(), Conf::read(&self.call()).unwrap());
        let container_id = self.bench.attachment().container_id;
        let mut api = self.api.api();
        let (memory, counts) = (&mut self.memory, &mut self.counts);
        let (running, container_id) = (&running, &container_id);
        let outcome = Apply { conf: &conf, running, container_id, api: &mut api, memory, counts }.run();
        api.send_events(Deadline::after(Duration::from_secs(20)));
        outcome
    }

    /// `name@interface` of each entry of network-status.
    fn status(&self) -> Vec<String> {
        let status: Vec<Value> = serde_json::from_str(&self.api.status().unwrap()).unwrap();
        let text = |entry: &Value| {
            format!("{}@{}", entry["name"].as_str().unwrap(), entry["interface"].as_str().unwrap())
        };
        status.iter().map(text).collect()
    }

    /// `label@interface` of each recorded network.
    fn recorded(&self) -> Vec<String> {
        let conf = Conf::read(&self.call()).unwrap();
        let attachment = self.bench.attachment();
        let record = record::read(&conf.cni_dir, &attachment.container_id, &attachment.if_name);
        let delegates = record.unwrap().map(|record| record.delegates).unwrap_or_default();
        delegates.iter().map(|one| format!("{}@{}", one.network.label, one.if_name)).collect()
    }

    /// The events that do not belong to the ADD.
    fn events(&self) -> Vec<String> {
        let mut events = self.api.events();
        events.retain(|event| event.starts_with("pod "));
        events
    }

    /// Deletes the sandbox, and returns what ran.
    fn delete(&self) -> Vec<String> {
        self.bench.del_in(self.bench.netns.path()).unwrap();
        assert!(!self.bench.record().exists());
        assert_eq!(self.bench.own_files(), Vec::<String>::new());
        self.bench.verbs()
    }
}

const MAIN: &str = "main@eth0";

#[test]
fn a_network_is_added_recorded_reported_and_removed_by_del() {
    let mut node = Node::new("");
    node.annotate("a");
    assert_eq!(node.change(), Outcome::Settled);
    assert_eq!(node.bench.verbs(), ["a ADD net1"]);
    assert_eq!(node.recorded(), [MAIN, "default/a@net1"]);
    assert_eq!(node.status(), [MAIN, "default/a@net1"]);
    let event = "pod [default/pod0]: added interface net1 to network: default/a(ips: [10.1.0.1/16], mac: 02:00:00:00:00:01)";
    assert_eq!(node.events(), [event]);
    // Nothing is left to do, and nothing is said twice.
    assert_eq!(node.change(), Outcome::Settled);
    assert_eq!((node.bench.verbs(), node.events().len()), (Vec::new(), 1));
    assert_eq!((node.counts.attached, node.counts.detached), (1, 0));
    assert_eq!(node.delete(), ["a DEL net1", "main DEL eth0"]);
    assert!(!node.bench.cached("a", "net1").exists());
}

#[test]
fn a_network_is_removed_and_the_others_stay() {
    let mut node = Node::new("a,b");
    node.annotate("b");
    assert_eq!(node.change(), Outcome::Settled);
    assert_eq!(node.bench.verbs(), ["a DEL net1"]);
    assert_eq!(node.recorded(), [MAIN, "default/b@net2"]);
    assert_eq!(node.status(), [MAIN, "default/b@net2"]);
    assert_eq!(node.events(), ["pod [default/pod0]: removed interface net1 from network: default/a"]);
    assert!(!node.bench.cached("a", "net1").exists());
    node.annotate("");
    assert_eq!(node.change(), Outcome::Settled);
    assert_eq!((node.bench.verbs(), node.status()), (vec!["b DEL net2".to_owned()], vec![MAIN.to_owned()]));
    assert_eq!(node.delete(), ["main DEL eth0"]);
}

#[test]
fn several_networks_come_and_go_in_one_change_and_one_write_of_the_status() {
    let mut node = Node::new("a");
    node.annotate(r#"[{"name":"b","interface":"data"},{"name":"b"}]"#);
    let before = node.api.requests().len();
    assert_eq!(node.change(), Outcome::Settled);
    assert_eq!(node.bench.verbs(), ["a DEL net1", "b ADD data", "b ADD net2"]);
    assert_eq!(node.status(), [MAIN, "default/b@data", "default/b@net2"]);
    let requests = node.api.requests();
    assert_eq!(requests[before..].iter().filter(|line| line.starts_with("PUT")).count(), 1, "{requests:?}");
    // The order is that of the annotation.
    node.annotate("a@first,b@data,b");
    assert_eq!(node.change(), Outcome::Settled);
    assert_eq!(node.status(), [MAIN, "default/a@first", "default/b@data", "default/b@net2"]);
    assert_eq!(node.delete(), ["a ADD first", "a DEL first", "b DEL net2", "b DEL data", "main DEL eth0"]);
}

#[test]
fn the_new_pod_of_the_same_annotation_has_the_same_status() {
    let mut node = Node::new("");
    node.annotate("b@data,a");
    node.change();
    let changed = node.api.status().unwrap();
    let fresh = Node::new("b@data,a");
    let netns = |node: &Node| node.bench.netns.path().to_str().unwrap().to_owned();
    assert_eq!(changed.replace(&netns(&node), ""), fresh.api.status().unwrap().replace(&netns(&fresh), ""));
}

#[test]
fn a_failed_addition_is_undone_said_once_and_made_up_for() {
    let mut node = Node::new("");
    node.bench.script("a", &node.bench.fails("ADD", 7));
    node.annotate("a,b");
    assert_eq!(node.change(), Outcome::Failed);
    assert_eq!(node.bench.verbs(), ["a ADD net1", "a DEL net1", "b ADD net2"]);
    assert_eq!((node.recorded(), node.status()), (node.status(), vec![MAIN.into(), "default/b@net2".into()]));
    assert_eq!(node.change(), Outcome::Failed);
    let failed =
        node.events().into_iter().filter(|event| event.contains("failed adding")).collect::<Vec<_>>();
    assert!(
        matches!(&failed[..], [one] if one.contains("interface net1 to network: default/a: ") && one.contains("no ADD")),
        "{failed:?}"
    );
    node.bench.script("a", &node.bench.answer("10.1.0.1/16"));
    assert_eq!(node.change(), Outcome::Settled);
    assert_eq!(node.status(), [MAIN, "default/a@net1", "default/b@net2"]);
    assert_eq!((node.counts.attached, node.counts.attach_failed), (2, 2));
    let want = ["a ADD net1", "a DEL net1", "a ADD net1", "a DEL net1", "b DEL net2", "main DEL eth0"];
    assert_eq!(node.delete(), want);
}

#[test]
fn a_removal_that_fails_stays_recorded_and_is_tried_again() {
    let mut node = Node::new("a");
    node.bench.script("a", &node.bench.fails("DEL", 999));
    node.annotate("b");
    assert_eq!(node.change(), Outcome::Failed);
    assert_eq!(node.recorded(), [MAIN, "default/a@net1", "default/b@net2"]);
    assert!(
        node.events()
            .iter()
            .any(|event| event.contains("failed removing interface net1 from network: default/a"))
    );
    node.bench.script("a", &node.bench.answer("10.1.0.1/16"));
    assert_eq!(node.change(), Outcome::Settled);
    assert_eq!(node.recorded(), [MAIN, "default/b@net2"]);
    assert_eq!(node.status(), [MAIN, "default/b@net2"]);
}

#[test]
fn an_annotation_that_is_not_understood_removes_nothing() {
    let mut node = Node::new("a");
    node.annotate("a/b/c");
    assert_eq!(node.change(), Outcome::Failed);
    assert_eq!(node.change(), Outcome::Failed);
    assert_eq!((node.bench.verbs(), node.recorded().len()), (Vec::new(), 2));
    let events = node.events();
    assert!(matches!(&events[..], [one] if one.contains("its networks stay as they are")), "{events:?}");
}

#[test]
fn what_a_running_pod_cannot_get_is_said_with_what_to_do() {
    let mut node = Node::new("");
    node.annotate(r#"[{"name":"sriov"},{"name":"a","default-route":["10.1.0.254"]},{"name":"b","interface":"eth0"},{"name":"nope"}]"#);
    assert_eq!(node.change(), Outcome::Failed);
    assert_eq!((node.bench.verbs(), node.recorded()), (Vec::new(), vec![MAIN.to_owned()]));
    let events = node.events();
    for part in [
        "needs a device of resource example.com/nic",
        "\"default-route\" changes the routes",
        "interface eth0 belongs to another network of the pod",
        "cannot find a network-attachment-definition (nope)",
    ] {
        assert!(events.iter().any(|event| event.contains(part)), "{part}: {events:#?}");
    }
}

#[test]
fn arguments_alone_are_not_changed_and_that_is_said_once() {
    let mut node = Node::new(r#"[{"name":"a","ips":["10.1.0.5/16"]}]"#);
    assert_eq!(node.change(), Outcome::Settled);
    node.annotate(r#"[{"name":"a","ips":["10.1.0.6/16"]}]"#);
    assert_eq!(node.change(), Outcome::Settled);
    assert_eq!(node.change(), Outcome::Settled);
    assert_eq!(node.bench.verbs(), Vec::<String>::new());
    let events = node.events();
    assert!(
        matches!(&events[..], [one] if one.contains("interface net1 of network default/a keeps the arguments")),
        "{events:?}"
    );
}

/// The journal of the sandbox, as another process holds it.
fn journal(node: &Node) -> Journal {
    let conf = Conf::read(&node.call()).unwrap();
    let id = node.bench.attachment().container_id;
    for _ in 0..500 {
        match Journal::resume(&conf.cni_dir, &id, &Moment::now()).unwrap() {
            Resumed::Held(journal) => return journal,
            Resumed::Busy => std::thread::sleep(Duration::from_millis(10)),
            Resumed::Over => panic!("the sandbox is deleted"),
        }
    }
    panic!("the sandbox stays locked")
}

#[test]
fn nothing_is_changed_while_an_add_runs_or_after_a_del_began() {
    let mut node = Node::new("");
    node.annotate("a");
    let held = journal(&node);
    assert_eq!(node.try_change(), Outcome::Busy);
    drop(held);
    node.bench.script("main", &node.bench.fails("DEL", 999));
    node.bench.del_in(node.bench.netns.path()).unwrap_err();
    node.bench.verbs();
    assert_eq!(node.change(), Outcome::Settled);
    assert_eq!((node.bench.verbs(), node.recorded()), (Vec::new(), vec![MAIN.to_owned()]));
}

#[test]
fn a_del_during_an_addition_removes_what_was_begun() {
    let mut node = Node::new("");
    node.annotate("a,b");
    // The runtime's DEL comes while the first plugin runs. The plugin ends once DEL has noted itself; then DEL waits for the lock.
    let (started, progress) =
        (node.bench.path().join("started"), node.bench.path().join("cni/multus-rs/progress/c1"));
    let wait = format!(
        "if [ $CNI_COMMAND = ADD ]; then touch {}; until grep -q firstDel {}; do sleep 0.01; done; fi",
        started.display(),
        progress.display()
    );
    node.bench.script("a", &format!("{wait}; {}", node.bench.answer("10.1.0.1/16")));
    let (call, netns) = (node.call(), node.bench.netns.path().to_owned());
    let del = std::thread::spawn(move || {
        while !started.exists() {
            std::thread::yield_now();
        }
        let (conf, id) = (Conf::read(&call).unwrap(), ContainerId::parse("c1").unwrap());
        let (if_name, now, deadline) =
            (IfName::parse("eth0").unwrap(), Moment::now(), Deadline::after(Duration::from_secs(60)));
        let (conf, container_id, if_name, now) = (&conf, &id, &if_name, &now);
        let (netns, args, cluster) = (netns.to_str().unwrap(), &call.args, &());
        Detach { conf, container_id, if_name, netns, args, now, cluster, deadline }.run().unwrap();
    });
    assert_eq!(node.change(), Outcome::Settled);
    del.join().unwrap();
    assert!(!node.bench.record().exists());
    assert_eq!(node.bench.own_files(), Vec::<String>::new());
    let verbs = node.bench.verbs();
    assert!(!verbs.iter().any(|verb| verb.starts_with("b ")), "{verbs:?}");
    assert_eq!(verbs[0], "a ADD net1");
    assert!(
        verbs.contains(&"a DEL net1".to_owned()) && verbs.contains(&"main DEL eth0".to_owned()),
        "{verbs:?}"
    );
}

#[test]
fn what_a_killed_program_left_half_made_is_made_again() {
    let mut node = Node::new("");
    node.annotate("a");
    let (conf, running) = (Conf::read(&node.call()).unwrap(), node.running());
    {
        // As far as the program comes before its plugin ends.
        let (journal, id) = (journal(&node), node.bench.attachment().container_id);
        let sandbox = Sandbox::read(&conf, &id).unwrap().unwrap();
        let network = Network::from_object(nad_object("a"), Some("default/a".to_owned())).unwrap();
        let if_name = IfName::parse("net1").unwrap();
        let request = crate::request::parse("a", &running.pod.pod_ref.namespace).unwrap().remove(0).request;
        let delegate = plan::plan_additional(&id, if_name.clone(), network, request).unwrap();
        record::add_network(&conf.cni_dir, &id, &sandbox.owner, &delegate).unwrap();
        cni::chain::AddObserver::begins(&journal.of_network(&if_name), 0).unwrap();
    }
    assert_eq!(node.change(), Outcome::Settled);
    assert_eq!(node.bench.verbs(), ["a DEL net1", "a ADD net1"]);
    assert_eq!((node.recorded(), node.status()), (node.status(), vec![MAIN.into(), "default/a@net1".into()]));
    assert_eq!(node.delete(), ["a DEL net1", "main DEL eth0"]);
}

/// Its address is released, but its result is still cached.
#[test]
fn a_network_whose_removal_was_killed_is_not_taken_for_attached() {
    let mut node = Node::new("a");
    {
        let journal = journal(&node);
        journal.detaching(&IfName::parse("net1").unwrap()).unwrap();
    }
    // Meanwhile the annotation requests it again.
    assert_eq!(node.change(), Outcome::Settled);
    assert_eq!(node.bench.verbs(), ["a DEL net1", "a ADD net1"]);
    assert_eq!(node.delete(), ["a DEL net1", "main DEL eth0"]);
}

fn nad_object(plugin: &str) -> serde_json::Map<String, Value> {
    let mut conf = nad(plugin);
    conf["name"] = plugin.into();
    conf.as_object().unwrap().clone()
}

#[test]
fn a_status_that_a_killed_program_did_not_write_is_written_and_no_other() {
    let mut node = Node::new("");
    let before = node.api.status().unwrap();
    node.annotate("a");
    node.change();
    let after = node.api.status().unwrap();
    // Killed before the status was written.
    node.memory = Memory::default();
    node.api.edit_pod(|pod| pod["metadata"]["annotations"][nad::NETWORK_STATUS] = before.as_str().into());
    assert_eq!(node.change(), Outcome::Settled);
    assert_eq!(node.api.status().unwrap(), after);
    // Another program that takes it out again and again gets no answer.
    node.api.edit_pod(|pod| pod["metadata"]["annotations"][nad::NETWORK_STATUS] = before.as_str().into());
    assert_eq!(node.change(), Outcome::Settled);
    assert_eq!(node.api.status().unwrap(), before);
}

/// A missing network-status is not written again by itself: its writer deleted it. A change of the pod's networks writes it.
#[test]
fn a_change_whose_status_could_not_be_written_is_reported_later() {
    let mut node = Node::new("");
    let without = |node: &Node| {
        node.api.edit_pod(|pod| {
            pod["metadata"]["annotations"].as_object_mut().unwrap().remove(nad::NETWORK_STATUS);
        });
    };
    without(&node);
    node.annotate("a");
    node.api.refuse("PUT", &[403]);
    assert_eq!(node.change(), Outcome::Failed);
    assert_eq!(
        (node.recorded(), node.api.status()),
        (vec![MAIN.to_owned(), "default/a@net1".to_owned()], None)
    );
    assert_eq!(node.change(), Outcome::Settled);
    assert_eq!(node.status(), [MAIN, "default/a@net1"]);
    // From now on it is reported.
    without(&node);
    assert_eq!((node.change(), node.api.status()), (Outcome::Settled, None));
}

#[test]
fn check_and_gc_know_the_changed_sandbox() {
    let mut node = Node::new("");
    node.annotate("a");
    node.change();
    let (conf, attachment) = (Conf::read(&node.call()).unwrap(), node.bench.attachment());
    node.bench.verbs();
    check(&conf, &attachment, &node.call(), Deadline::after(Duration::from_secs(20))).unwrap();
    assert_eq!(node.bench.verbs(), ["main CHECK eth0", "a CHECK net1"]);
    node.annotate("");
    node.change();
    node.bench.verbs();
    check(&conf, &attachment, &node.call(), Deadline::after(Duration::from_secs(20))).unwrap();
    assert_eq!(node.bench.verbs(), ["main CHECK eth0"]);
    node.annotate("a");
    node.change();
    node.bench.verbs();
    let (default, since_boot) = (network("main", "1.0.0"), &node.bench.now);
    let (now, deadline) =
        (SystemTime::now() + Duration::from_secs(600), Deadline::after(Duration::from_secs(20)));
    // The runtime lists no sandbox.
    gc(Gc { conf: &conf, default: &default, valid: &[], now, since_boot, cluster: &(), deadline }).unwrap();
    assert_eq!(node.bench.verbs(), ["a DEL net1", "main DEL eth0"]);
}

#[test]
fn a_sandbox_that_is_gone_is_left_alone() {
    let mut node = Node::new("");
    node.annotate("a");
    assert_eq!(node.delete(), ["main DEL eth0"]);
    assert_eq!(node.try_change(), Outcome::NotYet);
    assert_eq!(node.bench.verbs(), Vec::<String>::new());
}
