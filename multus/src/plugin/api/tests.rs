//! Who answers: the daemon of the node or the API server.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cni::plugin::Plugin;
use nad::rpc::{AttachedPod, CallOutcome, CallVerb, EndedCall, Failure, Request, Response, StatusWrite};
use nad::{Lookup, NetworkAttachmentDefinition};
use node::rpc::ClientRequest;
use serde_json::{Value, json};

use super::*;
use crate::conf::{DaemonNeed, DaemonSocket};
use crate::testing::{Bench, FakeApi, FakeDaemon, call, pod, pod_ref};

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// The pod requests the network `default/a`.
fn server() -> FakeApi {
    FakeApi::new(json!({"k8s.v1.cni.cncf.io/networks": "a"})).with_nad("default/a", &definition_a())
}

fn definition_a() -> Value {
    json!({"cniVersion": "1.0.0", "type": "a"})
}

/// What the daemon answers, if it knows what the server knows.
fn answer(request: Request) -> Response {
    match request {
        Request::Pod(_) => {
            let networks = Some("a".to_owned());
            Response::Pod(Pod { networks, ..pod("default", "pod0") })
        }
        Request::Definitions(wanted) => {
            let mut definition = NetworkAttachmentDefinition::default();
            definition.spec.config = definition_a().to_string();
            Response::Definitions(
                wanted.into_iter().map(|nad_ref| (nad_ref, Lookup::Found(definition.clone()))).collect(),
            )
        }
        Request::Attached(_) | Request::Events(_) | Request::Ended(_) => Response::Done,
        Request::Status(_) | Request::Changes(_) => panic!("only the program for running pods sends this"),
    }
}

fn conf_of(daemon: &FakeDaemon) -> Conf {
    let conf =
        json!({"name": "n", "type": "multus", "clusterNetwork": "x", "daemonSocketDir": daemon.folder()});
    Conf::read(&call(&conf, "/bin", "")).unwrap()
}

/// The daemon, and the API server behind it.
fn behind(daemon: &FakeDaemon, api: &FakeApi) -> Api {
    let daemon = Daemon::of(&conf_of(daemon)).unwrap();
    Api::with_client(Some(daemon), async { Ok(api.client().await) }).unwrap()
}

fn wanted() -> Vec<NadRef> {
    vec![serde_json::from_value(json!({"namespace": "default", "name": "a"})).unwrap()]
}

/// A status with an event.
fn attached() -> AttachedPod {
    let pod = pod_ref("default", "pod0");
    let events = vec![crate::report::network_not_deleted(&pod, "x", node::clock::now())];
    AttachedPod {
        status: StatusWrite { pod, status: "[{}]".to_owned() },
        events,
        began: node::clock::since_boot(),
    }
}

/// Does everything that an ADD does.
fn run_all(mut api: Api) -> Result<(), Error> {
    let pod = api.read_pod(&pod_ref("default", "pod0"), soon())?;
    assert_eq!(pod.networks.as_deref(), Some("a"));
    let definitions = api.read_definitions(&wanted(), soon())?;
    assert!(matches!(&definitions[&wanted()[0]], Lookup::Found(_)));
    api.report_attached(attached(), soon())?;
    if api.hand_over_events(soon()) == HandOver::NoDaemon {
        api.send_events(soon());
    }
    Ok(())
}

#[test]
fn a_daemon_that_answers_leaves_no_request_for_the_api_server() {
    let (daemon, server) = (FakeDaemon::new(answer), server());
    run_all(behind(&daemon, &server)).unwrap();
    assert_eq!(daemon.received(), ["Pod", "Definitions", "Attached"]);
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[test]
fn without_a_daemon_the_api_server_answers_the_same() {
    let (mut daemon, server) = (FakeDaemon::new(answer), server());
    daemon.kill();
    run_all(behind(&daemon, &server)).unwrap();
    assert_eq!(daemon.received(), Vec::<String>::new());
    assert_eq!((server.requests().len(), server.status().unwrap().as_str()), (4, "[{}]"));
}

#[test]
fn a_daemon_that_ends_during_an_add_does_not_fail_it() {
    let (daemon, server) = (Mutex::new(FakeDaemon::new(answer)), server());
    let mut api = behind(&daemon.lock().unwrap(), &server);
    api.read_pod(&pod_ref("default", "pod0"), soon()).unwrap();
    daemon.lock().unwrap().kill();
    api.report_attached(attached(), soon()).unwrap();
    assert_eq!((server.status().unwrap().as_str(), api.is_counted()), ("[{}]", false));
    assert_eq!(api.hand_over_events(soon()), HandOver::NoDaemon);
}

#[test]
fn a_right_that_the_daemon_lacks_leaves_it_to_the_plugins_own_credentials() {
    let server = server();
    let daemon = FakeDaemon::new(|_| Response::Failed(Failure::Denied("grant it".to_owned())));
    run_all(behind(&daemon, &server)).unwrap();
    // It is asked once, not for every request.
    assert_eq!((daemon.received(), server.requests().len()), (vec!["Pod".to_owned()], 4));
}

#[test]
fn a_status_that_the_daemon_may_not_write_is_the_plugins_to_write_and_its_events_too() {
    let server = server();
    let daemon = FakeDaemon::new(|request| match request {
        Request::Attached(_) => Response::Failed(Failure::Denied("grant it".to_owned())),
        other => answer(other),
    });
    run_all(behind(&daemon, &server)).unwrap();
    assert_eq!(daemon.received(), ["Pod", "Definitions", "Attached"]);
    assert_eq!((server.status().unwrap().as_str(), server.events().len()), ("[{}]", 1));
}

#[test]
fn what_the_daemon_says_about_the_pod_is_final() {
    let server = server();
    for (failure, want) in [
        (Failure::PodMissing, "pod default/pod0/u-1 does not exist at the API server"),
        (Failure::PodReplaced("u-2".to_owned()), "expected pod UID \"u-1\" but got \"u-2\" from Kube API"),
        (Failure::Unavailable("it is down".to_owned()), "the daemon of multus: it is down"),
    ] {
        let daemon = FakeDaemon::new(move |_| Response::Failed(failure.clone()));
        let error = behind(&daemon, &server).read_pod(&pod_ref("default", "pod0"), soon()).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
        assert_eq!(server.requests(), Vec::<String>::new());
    }
}

#[test]
fn an_answer_that_lacks_a_definition_is_not_used() {
    let server = server();
    let daemon = FakeDaemon::new(|_| Response::Definitions(Vec::new()));
    let definitions = behind(&daemon, &server).read_definitions(&wanted(), soon()).unwrap();
    assert!(matches!(&definitions[&wanted()[0]], Lookup::Found(_)));
    assert_eq!(server.requests().len(), 1);
}

/// Upstream's daemon listens at the same path and speaks HTTP.
#[test]
fn a_daemon_of_another_protocol_counts_as_away() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(nad::rpc::socket(folder.path())).unwrap();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n400 Bad Request")
            .unwrap();
        let _ = stream.read(&mut [0; 4096]);
    });
    let conf =
        json!({"name": "n", "type": "multus", "clusterNetwork": "x", "daemonSocketDir": folder.path()});
    let daemon = Daemon::of(&Conf::read(&call(&conf, "/bin", "")).unwrap());
    let server = server();
    run_all(Api::with_client(daemon, async { Ok(server.client().await) }).unwrap()).unwrap();
    assert_eq!(server.requests().len(), 4);
    other.join().unwrap();
}

/// What daemons knew before the end of an ADD was one request.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum EarlierRequest {
    Pod(PodRef),
    Definitions(Vec<NadRef>),
    Status(StatusWrite),
    Events(Vec<Event>),
    Ended(EndedCall),
}

impl ClientRequest for EarlierRequest {}

#[test]
fn a_daemon_of_an_earlier_release_gets_status_count_and_events_one_by_one() {
    let mut bench = Bench::new();
    let daemon = FakeDaemon::of_release(|request| match request {
        EarlierRequest::Pod(pod) => answer(Request::Pod(pod)),
        EarlierRequest::Definitions(wanted) => answer(Request::Definitions(wanted)),
        EarlierRequest::Status(write) if write.status.contains("net1") => Response::Done,
        EarlierRequest::Events(events) if events.len() == 2 => Response::Done,
        EarlierRequest::Ended(EndedCall { outcome: CallOutcome::Done, .. }) => Response::Done,
        other => panic!("{other:?}"),
    });
    add_by(&mut bench, daemon.folder()).unwrap();
    assert_eq!(daemon.received(), ["Pod", "Definitions", "Status", "Ended", "Events"]);
}

#[test]
fn a_configuration_asks_for_a_daemon_by_its_key_or_its_type() {
    let daemon = FakeDaemon::new(answer);
    let of = |conf: Value| {
        let mut all = json!({"name": "n", "clusterNetwork": "x"});
        all.as_object_mut().unwrap().extend(conf.as_object().unwrap().clone());
        Conf::read(&call(&all, "/bin", "")).unwrap().daemon
    };
    let here = of(json!({"type": "multus", "DaemonSocketDir": daemon.folder()}));
    assert_eq!((here.socket, here.need), (daemon.socket(), DaemonNeed::Required));
    let usual = nad::rpc::socket("/run/multus".as_ref());
    assert_eq!(
        of(json!({"type": "multus-shim"})),
        DaemonSocket { socket: usual.clone(), need: DaemonNeed::Required }
    );
    assert_eq!(of(json!({"type": "multus"})), DaemonSocket { socket: usual, need: DaemonNeed::IfPresent });
}

/// An ADD by the plugin itself, whose configuration names a daemon and no kubeconfig.
fn add_by(bench: &mut Bench, folder: &std::path::Path) -> Result<(), cni::CniError> {
    bench.conf["daemonSocketDir"] = folder.to_str().unwrap().into();
    let multus = crate::Multus::default();
    let added = multus.add(&bench.attachment(), &bench.call()).map(drop);
    multus.send_events();
    added
}

#[test]
fn without_daemon_and_kubeconfig_no_network_is_attached() {
    let (mut bench, folder) = (Bench::new(), tempfile::tempdir().unwrap());
    let error = add_by(&mut bench, folder.path()).unwrap_err();
    assert_eq!(error.code, cni::Code::TryAgainLater);
    assert!(error.msg.starts_with("no daemon at ") && error.msg.contains("has no kubeconfig"), "{error}");
    assert_eq!((bench.verbs(), bench.record().exists()), (Vec::<String>::new(), false));
}

#[test]
fn an_add_by_the_daemon_attaches_all_networks_and_reports_them() {
    let (mut bench, reported) = (Bench::new(), Arc::<Mutex<Vec<String>>>::default());
    let log = reported.clone();
    let daemon = FakeDaemon::new(move |request| {
        if let Request::Attached(attached) = &request {
            log.lock().unwrap().push(attached.status.status.clone());
            assert_eq!(attached.events.len(), 2);
        }
        answer(request)
    });
    add_by(&mut bench, daemon.folder()).unwrap();
    assert_eq!(bench.verbs(), ["main ADD eth0", "a ADD net1"]);
    let reported: Value = serde_json::from_str(&reported.lock().unwrap()[0]).unwrap();
    assert_eq!((&reported[0]["name"], &reported[1]["name"]), (&json!("main"), &json!("default/a")));
    assert_eq!(daemon.received(), ["Pod", "Definitions", "Attached"]);
}

#[test]
fn a_status_that_nobody_can_write_undoes_the_networks() {
    let mut bench = Bench::new();
    let daemon = FakeDaemon::new(|request| match request {
        Request::Attached(_) => Response::Failed(Failure::Unavailable("it is down".to_owned())),
        other => answer(other),
    });
    let error = add_by(&mut bench, daemon.folder()).unwrap_err();
    assert_eq!(error.code, cni::Code::TryAgainLater);
    assert_eq!(bench.verbs(), ["main ADD eth0", "a ADD net1", "a DEL net1", "main DEL eth0"]);
}

/// The calls of which a daemon learns, while the attachments of `bench` work or not.
fn ended_calls(bench: &mut Bench, calls: impl Fn(&crate::Multus, &Bench)) -> Vec<(CallVerb, CallOutcome)> {
    let ended = Arc::<Mutex<Vec<EndedCall>>>::default();
    let log = ended.clone();
    let daemon = FakeDaemon::new(move |request| {
        match &request {
            Request::Ended(call) => log.lock().unwrap().push(*call),
            Request::Attached(AttachedPod { began, .. }) => {
                let (verb, outcome) = (CallVerb::Add, CallOutcome::Done);
                let took = node::clock::since_boot().checked_sub(*began).unwrap();
                log.lock().unwrap().push(EndedCall { verb, outcome, took });
            }
            _ => {}
        }
        answer(request)
    });
    bench.conf["daemonSocketDir"] = daemon.folder().to_str().unwrap().into();
    let multus = crate::Multus::default();
    calls(&multus, bench);
    multus.send_events();
    let ended = ended.lock().unwrap();
    assert!(ended.iter().all(|call| call.took < Duration::from_secs(110)));
    ended.iter().map(|call| (call.verb, call.outcome)).collect()
}

#[test]
fn the_daemon_learns_how_each_call_ended() {
    let mut bench = Bench::new();
    let add = |multus: &crate::Multus, bench: &Bench| {
        let _ = multus.add(&bench.attachment(), &bench.call());
    };
    assert_eq!(ended_calls(&mut bench, add), [(CallVerb::Add, CallOutcome::Done)]);
    let del = |multus: &crate::Multus, bench: &Bench| {
        let cni::env::Attachment { container_id, if_name, netns } = bench.attachment();
        let detachment = cni::env::Detachment { container_id, if_name, netns: Some(netns) };
        multus.del(&detachment, &bench.call()).unwrap();
    };
    assert_eq!(ended_calls(&mut bench, del), [(CallVerb::Del, CallOutcome::Done)]);
    for (code, outcome) in [(11, CallOutcome::Later), (7, CallOutcome::Failed)] {
        let mut bench = Bench::new();
        bench.script("a", &bench.fails("ADD", code));
        assert_eq!(ended_calls(&mut bench, add), [(CallVerb::Add, outcome)]);
    }
}
