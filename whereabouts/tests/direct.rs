//! The plugin without a daemon, as a process. The API server is one of the test, and a mount namespace with empty folders takes the place of the
//! node.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use fake_api::{Asked, Loopback};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

/// Longer than anything here takes, on any machine.
const LONG: Duration = Duration::from_secs(60);

const FOLDER: &str = "/etc/cni/net.d/whereabouts.d";
const STATE: &str = "/var/lib/cni/whereabouts";
const CLAIM: &str =
    "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/overlappingrangeipreservations";

/// Gives this thread, and the processes that it starts, a node that has only the files of an installation.
fn enter_node(server: &Loopback) {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    for folder in ["/etc/cni", "/var/lib/cni", "/run/whereabouts"] {
        std::fs::create_dir_all(folder).unwrap();
        mount(none, folder, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    }
    std::fs::create_dir_all(FOLDER).unwrap();
    let kubeconfig = Path::new(FOLDER).join("whereabouts.kubeconfig");
    node::files::write_atomic(&kubeconfig, server.kubeconfig().as_bytes(), 0o600).unwrap();
    let flat = json!({"kubernetes": {"kubeconfig": kubeconfig}}).to_string();
    node::files::write_atomic(&Path::new(FOLDER).join("whereabouts.conf"), flat.as_bytes(), 0o600).unwrap();
}

fn run(verb: &str, container: &str) -> Output {
    let ipam = json!({"type": "whereabouts", "range": "10.66.0.0/24"});
    let conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "macvlan", "ipam": ipam});
    let mut child = Command::new(env!("CARGO_BIN_EXE_whereabouts"))
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", container)
        .env("CNI_IFNAME", "net1")
        .env("CNI_NETNS", "/run/netns/none")
        .env("CNI_PATH", "/bin")
        .env(
            "CNI_ARGS",
            format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={container};K8S_POD_UID=u-1"),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(conf.to_string().as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The pool's object, whose naming is fixed.
fn pool() -> Value {
    let annotations = json!({"whereabouts.multus-rs/claim-names": "address"});
    json!({"metadata": {"name": "10.66.0.0-24", "uid": "p", "resourceVersion": "3", "annotations": annotations}})
}

/// What a server answers that has the pool, no claims, and creates and deletes everything.
fn usual(asked: &Asked) -> (u16, Value) {
    match asked.line.split(' ').next() {
        Some("POST") => {
            let mut made = asked.body.clone();
            made.get_mut("metadata")
                .unwrap()
                .as_object_mut()
                .unwrap()
                .insert("resourceVersion".into(), "7".into());
            (201, made)
        }
        Some("GET") if asked.line.ends_with("/ippools/10.66.0.0-24") => (200, pool()),
        Some("GET") if asked.line.ends_with("reservations") => (200, json!({"metadata": {}, "items": []})),
        Some("DELETE") => (200, json!({})),
        _ => (404, json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "none"})),
    }
}

fn files(folder: &str) -> usize {
    std::fs::read_dir(Path::new(STATE).join(folder)).unwrap().count()
}

/// What happens when the caller of an ADD was killed. The server answers the create of the claim only after the DEL has ended: the DEL found no
/// claim.
#[test]
fn an_add_that_claims_after_the_del_releases_the_address_and_fails() {
    let (seen, requests) = channel();
    let (answers, wanted) = channel::<()>();
    let wanted = Mutex::new(wanted);
    let server = Loopback::start(move |asked| {
        let _ = seen.send(asked.line.clone());
        if asked.line.starts_with("POST ") {
            let _ = wanted.lock().unwrap().recv();
        }
        usual(asked)
    });
    enter_node(&server);
    let next = |line: &str| loop {
        if requests.recv_timeout(LONG).unwrap() == line {
            return;
        }
    };

    // A thread shares the mount namespace of the one that starts it.
    let add = std::thread::spawn(|| run("ADD", "c1"));
    next(&format!("POST {CLAIM}"));
    let deleted = run("DEL", "c1");
    assert!(deleted.status.success(), "{deleted:?}");
    answers.send(()).unwrap();
    let added = add.join().unwrap();
    let error: Value = serde_json::from_slice(&added.stdout).unwrap();
    assert!(!added.status.success() && error["code"] == 3, "{added:?}");
    next(&format!("DELETE {CLAIM}/10.66.0.1"));
    assert_eq!((files("claims"), files("tombstones")), (0, 0));
}

/// A network that is removed from a running pod while its claim cannot be deleted, and added again: container and interface are the same. The
/// release that is left must not take the new claim away.
#[test]
fn an_interface_that_is_attached_again_keeps_its_new_claim() {
    let (seen, requests) = channel();
    let refused = AtomicUsize::new(0);
    let server = Loopback::start(move |asked| {
        let _ = seen.send(asked.line.clone());
        let is_refused = asked.line.starts_with("DELETE ") && refused.fetch_add(1, Ordering::SeqCst) < 2;
        let forbidden = json!({"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no"});
        if is_refused { (403, forbidden) } else { usual(asked) }
    });
    enter_node(&server);
    assert!(run("ADD", "c1").status.success());
    assert!(run("DEL", "c1").status.success());
    assert_eq!((files("claims"), files("tombstones")), (0, 1));
    // While it cannot be released, nothing is claimed.
    let claims = |requests: &std::sync::mpsc::Receiver<String>| {
        let lines: Vec<String> = requests.try_iter().collect();
        let verbs =
            lines.iter().filter(|line| line.contains(CLAIM)).filter_map(|line| line.split(' ').next());
        verbs.map(str::to_owned).collect::<Vec<_>>()
    };
    claims(&requests);
    let output = run("ADD", "c1");
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["code"], 11, "{error}");
    let message = error["msg"].as_str().unwrap();
    assert!(
        message
            .starts_with("net1 of container c1 was attached before, and its address is not released yet: "),
        "{message}"
    );
    assert_eq!(claims(&requests), ["DELETE"]);
    assert_eq!((files("claims"), files("tombstones")), (0, 1));

    assert!(run("ADD", "c1").status.success());
    assert_eq!(claims(&requests), ["DELETE", "POST"]);
    assert_eq!((files("claims"), files("tombstones")), (1, 0));
}

#[test]
fn an_add_without_a_daemon_sends_one_request_once_its_pool_is_known() {
    let (seen, requests) = channel();
    let server = Loopback::start(move |asked| {
        let _ = seen.send((asked.connection, asked.line.clone()));
        usual(asked)
    });
    enter_node(&server);
    let output = run("ADD", "c0");
    assert!(output.status.success(), "{output:?}");
    // The first ADD asks how the pool's claims are named, and again after its own.
    let first: Vec<_> = requests.try_iter().collect();
    assert_eq!(first.len(), 3, "{first:?}");
    // While the node holds that address:
    for verb in ["ADD", "DEL"] {
        let output = run(verb, "c1");
        assert!(output.status.success(), "{output:?}");
    }
    let lines: Vec<String> = requests.try_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, [format!("POST {CLAIM}"), format!("DELETE {CLAIM}/10.66.0.2")]);
}
