//! The program `cert-approver` as a pod runs it: by its name, until a signal.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, clippy::indexing_slicing)]

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fake_api::{ApiServer, Key, kubeconfig};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_multus-daemon");

/// How long anything may take that should not take long.
const LIMIT: Duration = Duration::from_secs(30);

/// A process, until it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the multus of node `n1` requests with the credentials of its kubelet.
fn request() -> Value {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "system:multus:n1");
    params.distinguished_name.push(DnType::OrganizationName, "system:multus");
    let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    json!({
        "spec": {
            "request": STANDARD.encode(request),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["digital signature", "client auth"],
            "expirationSeconds": 600,
            "username": "system:node:n1",
            "groups": ["system:nodes", "system:authenticated"],
        },
    })
}

fn approved(api: &ApiServer, key: &Key) -> bool {
    api.get(key).unwrap()["status"]["conditions"][0]["type"] == "Approved"
}

#[test]
fn it_approves_until_a_signal_and_then_ends_without_an_error() {
    let api = ApiServer::default();
    let key = Key::new("certificatesigningrequests.certificates.k8s.io", "", "csr-1");
    api.put(&key, request());
    let folder = tempfile::tempdir().unwrap();
    let (config, program) = (folder.path().join("kubeconfig"), folder.path().join("cert-approver"));
    node::files::replace(&config, kubeconfig(&format!("http://{}", api.listen())).as_bytes()).unwrap();
    std::os::unix::fs::symlink(PROGRAM, &program).unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let child = Command::new(&program).arg("-kubeconfig").arg(&config).spawn().unwrap();
        let mut process = Process(child);
        let began = Instant::now();
        while !approved(&api, &key) {
            assert!(began.elapsed() < LIMIT, "nothing was approved: {:?}", api.received());
            std::thread::sleep(Duration::from_millis(10));
        }
        kill(Pid::from_raw(process.0.id().try_into().unwrap()), signal).unwrap();
        assert!(process.0.wait().unwrap().success(), "{signal}");
        api.put(&key, request());
    }
}

#[test]
fn an_unknown_flag_ends_it_with_an_error() {
    let output = Command::new(PROGRAM).args(["cert-approver", "--banana"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("--banana") && text.contains("--help"), "{text}");
}
