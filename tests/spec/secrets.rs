//! What programs write while they work and while they fail: the token of a kubeconfig is in none of it, at the highest level of each log.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use fake_api::Fault;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::bad_configurations::world::{Access, Node, Plugins};

/// The token. No other text of the test has it.
const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.canary-5f1d.signature";

/// Multus' own log on the node.
const LOG: &str = "/var/lib/cni/multus.log";

/// A network whose addresses both daemons serve.
fn network() -> Value {
    let ipam = json!({"type": "whereabouts", "range": "10.66.0.0/24", "log_level": "debug"});
    json!({"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "master": "mst0", "ipam": ipam})
}

/// What was written, each with its origin.
struct Written(Vec<(String, String)>);

impl Written {
    fn add(&mut self, origin: impl Into<String>, text: impl Into<String>) {
        self.0.push((origin.into(), text.into()));
    }

    /// An ADD and a DEL of a new sandbox.
    fn add_and_del(&mut self, node: &Node, access: Access, origin: &str) {
        let sandbox = node.sandbox();
        for verb in ["ADD", "CHECK", "DEL"] {
            let output = sandbox.call_with(verb, access).output;
            self.add(format!("{verb}, {origin}"), String::from_utf8_lossy(&output.stdout));
            self.add(format!("{verb}, {origin}"), String::from_utf8_lossy(&output.stderr));
        }
    }

    /// Every file below a folder.
    fn add_files(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.add_files(&path);
            } else {
                let text = std::fs::read(&path).unwrap();
                self.add(path.display().to_string(), String::from_utf8_lossy(&text));
            }
        }
    }
}

/// Waits until a log says something.
fn wait_for(log: &Path, text: &str) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let said = std::fs::read_to_string(log).unwrap();
        if said.contains(text) {
            return;
        }
        assert!(Instant::now() < end, "{}: no {text:?}: {said}", log.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Pods come and go while the API server answers, refuses, fails and breaks connections, with daemons and without, and with kubeconfigs that
/// cannot be used.
fn written(node: &Node, logs: &Path) -> Written {
    let mut written = Written(Vec::new());
    let faults = [
        None,
        Some(Fault::Status(401)),
        Some(Fault::Status(403)),
        Some(Fault::Message(500, "the server failed")),
        Some(Fault::Reset),
    ];
    let paths = ["multus", "whereabouts"].map(|name| logs.join(name));
    node.write_kubeconfig(|text| text.replace("token: t", &format!("token: {TOKEN}")));
    let daemons = node.start_daemons_with_logs(paths.clone().map(|path| File::create(path).unwrap()));
    for path in &paths {
        wait_for(path, "serving");
    }
    node.define(&network().to_string(), &json!({}));
    for fault in &faults {
        node.api().fail(|_| true, std::iter::repeat_n(*fault, 6).flatten());
        written.add_and_del(node, Access::Own, &format!("daemons, {fault:?}"));
    }
    daemons.into_iter().for_each(|daemon| daemon.end(Signal::SIGTERM));
    for fault in &faults {
        node.api().fail(|_| true, std::iter::repeat_n(*fault, 6).flatten());
        written.add_and_del(node, Access::Own, &format!("no daemon, {fault:?}"));
    }
    // Errors of parsers often show the line.
    for damaged in [
        format!("token: {TOKEN}, ]"),
        format!("token: [{TOKEN}]"),
        format!("token: \"{TOKEN}\\n\""),
        format!("password: {TOKEN}"),
    ] {
        node.write_kubeconfig(|text| text.replace("token: t", &damaged));
        written.add_and_del(node, Access::Own, &damaged.replace(TOKEN, "TOKEN"));
    }
    for (name, path) in ["log of multus-daemon", "log of whereabouts-daemon"].iter().zip(paths) {
        written.add(*name, std::fs::read_to_string(&path).unwrap());
    }
    written
}

#[test]
fn a_token_is_in_no_output_no_log_no_file_and_no_event() {
    let work = || {
        let settings = json!({"logLevel": "debug", "logToStderr": true, "logFile": LOG});
        let (node, logs) = (Node::enter_with(Plugins::Ours, settings), tempfile::tempdir().unwrap());
        let mut written = written(&node, logs.path());
        // Records, tombstones, hints and multus' log.
        written.add_files(Path::new("/var/lib/cni"));
        for event in node.api().list("events") {
            written.add("event", event.to_string());
        }
        let received = node.api().received();
        for program in ["(multus)", "(multus-daemon)", "(whereabouts)", "(whereabouts-daemon)"] {
            let mut sent = received.iter().filter(|one| one.user_agent.ends_with(program));
            assert!(sent.any(|one| one.authorization.ends_with(TOKEN)), "{program} sent no token");
        }
        // The test would prove nothing if a log had other levels, or said nothing.
        let daemons = ["log of multus-daemon", "log of whereabouts-daemon"];
        for (wanted, says) in [(LOG, "pod0"), ("event", "pod0"), (daemons[0], "DEBUG"), (daemons[1], "DEBUG")]
        {
            let mut texts = written.0.iter().filter(|(origin, _)| origin == wanted);
            assert!(texts.any(|(_, text)| text.contains(says)), "{wanted} does not say {says}");
        }
        for (origin, text) in &written.0 {
            // A log may cut or quote it.
            assert!(!text.contains("canary-5f1d"), "{origin}: {text}");
        }
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap());
}
