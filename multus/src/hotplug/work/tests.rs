//! Rounds with a daemon at a real socket, scripted plugins and a real network namespace.

use std::sync::{Arc, Mutex};

use nad::rpc::{Request, Response};
use nad::{Changes, Life, Lookup, NetworkAttachmentDefinition};
use serde_json::json;

use super::*;
use crate::testing::{Bench, FakeApi, FakeDaemon, pod};

/// What the daemon was asked and told.
#[derive(Default)]
struct Heard {
    queries: Vec<ChangesQuery>,
    statuses: Vec<String>,
    events: Vec<String>,
}

/// A daemon that tells once about a pod, which requests the network `default/a`.
fn daemon(heard: Arc<Mutex<Heard>>) -> FakeDaemon {
    let mut pod = pod("default", "pod0");
    pod.networks = Some("a".to_owned());
    let status = Some(r#"[{"name":"main","interface":"eth0"}]"#.to_owned());
    let running = RunningPod { pod, uid_on_node: None, status, life: Life::Runs };
    FakeDaemon::new(move |request| {
        let mut heard = heard.lock().unwrap();
        match request {
            Request::Changes(query) => {
                let pods = if query.after == 0 { vec![running.clone()] } else { Vec::new() };
                heard.queries.push(query);
                Response::Changes(Changes { version: 7, pods })
            }
            Request::Definitions(wanted) => {
                let mut definition = NetworkAttachmentDefinition::default();
                definition.spec.config = json!({"cniVersion": "1.0.0", "type": "a"}).to_string();
                let found = |nad_ref| (nad_ref, Lookup::Found(definition.clone()));
                Response::Definitions(wanted.into_iter().map(found).collect())
            }
            Request::Status(write) => {
                heard.statuses.push(write.status);
                Response::Done
            }
            Request::Events(events) => {
                heard.events.extend(events.into_iter().filter_map(|event| event.message));
                Response::Done
            }
            Request::Ended(_) => Response::Done,
            Request::Pod(_) => panic!("the pods are told with their annotations"),
            Request::Attached(_) => panic!("only an ADD reports this"),
        }
    })
}

#[test]
fn a_round_changes_the_pods_that_the_daemon_names_and_tells_it_what_was_done() {
    let mut bench = Bench::new();
    bench.add(Some(&FakeApi::new(json!({})))).unwrap();
    bench.verbs();
    let heard = Arc::<Mutex<Heard>>::default();
    let daemon = daemon(heard.clone());
    bench.conf["daemonSocketDir"] = json!(daemon.folder());
    bench.write("net.d/00-multus.conf", &bench.conf.to_string());
    let mut work = Work::new(bench.path().join("net.d"));
    work.round(|| true);
    assert_eq!(bench.verbs(), Vec::<String>::new(), "a program that ends begins nothing");
    // Another attempt, should a child of a test beside this one hold the lock until it runs its program.
    for _ in 0..500 {
        work.round(|| false);
        if !heard.lock().unwrap().events.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    work.round(|| false);
    assert_eq!(bench.verbs(), ["a ADD net1"]);
    let heard = heard.lock().unwrap();
    assert!(heard.statuses.len() == 1 && heard.statuses[0].contains("\"default/a\""), "{:?}", heard.statuses);
    assert!(matches!(&heard.events[..], [one] if one.contains("added interface net1")), "{:?}", heard.events);
    let (first, last) = (&heard.queries[0], heard.queries.last().unwrap());
    assert_eq!((first.after, last.after), (0, 7));
    let counts: Vec<Counts> = heard.queries.iter().map(|query| query.counts).collect();
    let told = counts.iter().filter(|counts| **counts != Counts::default());
    assert_eq!(told.collect::<Vec<_>>(), [&Counts { attached: 1, ..Counts::default() }]);
}
