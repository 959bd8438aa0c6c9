//! Requests to a fake API server with an approver and a signer, on a paused clock.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fake_api::{ApiServer, Fault, Key, Loopback};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use node::client::{ApiClient, Credentials, Timeouts};
use node::deadline::Deadline;
use node::names::DnsSubdomain;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SignatureAlgorithm,
};
use serde_json::{Value, json};
use tokio::time::sleep;
use x509_cert::der::DecodePem as _;
use x509_cert::request::CertReq;

use super::keep::{Keeper, Kept};
use super::request::{Pair, RequestError, request};
use super::settings::Settings;
use super::store::Store;
use crate::approver;
use crate::csr::user_of;

const KIND: &str = "certificatesigningrequests.certificates.k8s.io";

/// The signer of a cluster.
pub(super) struct Signer {
    issuer: Issuer<'static, KeyPair>,
}

impl Signer {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Signer { issuer: Issuer::new(params, KeyPair::generate().unwrap()) }
    }

    /// A certificate for `user` with its key, in PEM.
    pub(super) fn pair(&self, user: &str, from: Timestamp, to: Timestamp) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (self.certificate(&key, user, from, to), key.serialize_pem())
    }

    fn certificate(&self, key: &impl PublicKeyData, user: &str, from: Timestamp, to: Timestamp) -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:multus");
        params.distinguished_name.push(DnType::CommonName, user);
        let time = |time: Timestamp| {
            rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(time.as_second().try_into().unwrap())
        };
        (params.not_before, params.not_after) = (time(from), time(to));
        params.signed_by(key, &self.issuer).unwrap().pem()
    }

    /// Signs the request of an object for `user`, valid for ten minutes from `from` on.
    fn sign(&self, object: &Value, user: &str, from: Timestamp) -> String {
        let text = STANDARD.decode(object["spec"]["request"].as_str().unwrap()).unwrap();
        let key = CertReq::from_pem(&text).unwrap().info.public_key.subject_public_key;
        let key = PublicKey(key.raw_bytes().to_vec());
        let certificate = self.certificate(&key, user, from, from + SignedDuration::from_mins(10));
        STANDARD.encode(certificate)
    }
}

/// The key of a request: ECDSA with P-256.
struct PublicKey(Vec<u8>);

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// What the signer of a cluster does with requests that are approved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signing {
    Signs,
    Fails,
    Absent,
}

/// A cluster in memory, with the real approver.
struct Cluster {
    server: ApiServer,
}

impl Cluster {
    /// The API server notes `user` as the requester.
    async fn start(user: &'static str, signing: Signing) -> Cluster {
        let cluster = Cluster { server: ApiServer::default() };
        // As the API server does at each creation. The fake one has no users.
        cluster.server.with(|store| {
            store.prune(KIND, move |object| {
                object["spec"]["username"] = user.into();
                object["spec"]["groups"] = json!(["system:nodes", "system:authenticated"]);
            });
        });
        tokio::spawn(approver::follow(cluster.client().await));
        let server = cluster.server.clone();
        tokio::spawn(async move {
            let signer = Signer::new();
            loop {
                sleep(Duration::from_secs(1)).await;
                for object in server.list(KIND) {
                    let name = object["metadata"]["name"].as_str().unwrap();
                    server.edit(&Key::new(KIND, "", name), |object| sign(object, signing, &signer));
                }
            }
        });
        cluster
    }

    async fn client(&self) -> ApiClient {
        ApiClient::from_service(self.server.clone(), Timeouts::default()).await
    }

    async fn request(&self) -> Result<Pair, RequestError> {
        let node = DnsSubdomain::new("n1").unwrap();
        let (day, deadline) = (Duration::from_hours(24), Deadline::after(Duration::from_mins(2)));
        request(&self.client().await, &node, day, deadline).await
    }

    /// The only request.
    fn object(&self) -> Value {
        let mut all = self.server.list(KIND);
        assert_eq!(all.len(), 1);
        all.remove(0)
    }
}

/// What the signer adds to a request.
fn sign(object: &mut Value, signing: Signing, signer: &Signer) {
    let is_approved = object["status"]["conditions"][0]["type"] == "Approved";
    let is_done =
        object["status"]["certificate"].is_string() || object["status"]["conditions"][1].is_object();
    match signing {
        _ if !is_approved || is_done => {}
        Signing::Absent => {}
        Signing::Fails => {
            let failed = json!({"type": "Failed", "status": "True", "message": "the key is weak"});
            object["status"]["conditions"].as_array_mut().unwrap().push(failed);
        }
        Signing::Signs => {
            object["status"]["certificate"] = signer.sign(object, &user_of("n1"), node::clock::now()).into();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_approver_approves_becomes_a_certificate() {
    let cluster = Cluster::start("system:node:n1", Signing::Signs).await;
    let pair = cluster.request().await.unwrap();
    assert!(pair.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
    KeyPair::from_pem(&pair.key).unwrap();
    let spec = &cluster.object()["spec"];
    assert_eq!(spec["signerName"], "kubernetes.io/kube-apiserver-client");
    assert_eq!(spec["usages"], json!(["digital signature", "client auth"]));
    assert_eq!(spec["expirationSeconds"], 86_400);
}

#[tokio::test(start_paused = true)]
async fn a_denied_request_says_why_and_by_which_object() {
    let cluster = Cluster::start("system:serviceaccount:kube-system:multus", Signing::Signs).await;
    let error = cluster.request().await.err().unwrap().to_string();
    let name = cluster.object()["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(error.starts_with(&format!("certificatesigningrequest {name} was denied: ")), "{error}");
    assert!(error.contains("spec.username") && error.contains("kubectl describe csr"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_for_a_certificate_is_named() {
    let cluster = Cluster { server: ApiServer::default() };
    let error = cluster.request().await.err().unwrap().to_string();
    assert!(error.contains("check that cert-approver runs"), "{error}");
    let cluster = Cluster::start("system:node:n1", Signing::Absent).await;
    let error = cluster.request().await.err().unwrap().to_string();
    assert!(error.contains("kube-controller-manager signs"), "{error}");
    let cluster = Cluster::start("system:node:n1", Signing::Fails).await;
    let error = cluster.request().await.err().unwrap().to_string();
    assert!(error.contains("was not signed: the key is weak"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_answer_was_lost_is_made_once() {
    let cluster = Cluster::start("system:node:n1", Signing::Signs).await;
    cluster.server.fail(|request| request.method == "POST", [Fault::Reset, Fault::Status(503)]);
    cluster.request().await.unwrap();
    cluster.object();
}

/// The answer with which a request is approved and signed.
const SIGNS: u16 = 201;

/// The answer with which it is made and denied.
const DENIES: u16 = 202;

/// The age of a certificate of ten minutes that must be renewed.
const OLD: Duration = Duration::from_secs(570);

/// A server on a port that approves and signs at once, unless it refuses. It counts the requests for certificates.
struct Port {
    _loopback: Loopback,
    asked: Arc<AtomicUsize>,
    /// Whether the certificate is no credential until the next one is made.
    refuses: Arc<AtomicBool>,
    folder: tempfile::TempDir,
    keeper: Keeper,
}

impl Port {
    /// Certificates are valid from `age` before now. The requests get these answers, and then [`SIGNS`].
    fn start(age: Duration, answers: &'static [u16]) -> Port {
        let (signer, asked, last) = (Signer::new(), Arc::<AtomicUsize>::default(), Mutex::new(Value::Null));
        let (count, refuses) = (asked.clone(), Arc::<AtomicBool>::default());
        let is_refused = refuses.clone();
        let from = node::clock::now() - SignedDuration::try_from(age).unwrap();
        let loopback = Loopback::start(move |asked| {
            let mut last = last.lock().unwrap();
            if asked.line.ends_with("/multus") {
                let code = if is_refused.load(Ordering::SeqCst) { 401 } else { 404 };
                return (code, json!({"kind": "Status", "code": code, "message": "no"}));
            }
            if asked.line.starts_with("POST") {
                let code = answers.get(count.fetch_add(1, Ordering::SeqCst)).copied().unwrap_or(SIGNS);
                if code == DENIES {
                    *last = asked.body.clone();
                    last["status"] =
                        json!({"conditions": [{"type": "Denied", "status": "True", "message": "no"}]});
                    return (SIGNS, last.clone());
                }
                if code != SIGNS {
                    return (code, json!({"kind": "Status", "code": code, "message": "no"}));
                }
                *last = asked.body.clone();
                let certificate = signer.sign(&last, &user_of("n1"), from);
                last["status"] = json!({"certificate": certificate, "conditions": [{"type": "Approved", "status": "True"}]});
                return (SIGNS, last.clone());
            }
            (200, json!({"metadata": {"resourceVersion": "1"}, "items": [*last]}))
        });
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        node::files::write_atomic(&path("bootstrap"), loopback.kubeconfig().as_bytes(), 0o600).unwrap();
        let settings = Settings {
            node: DnsSubdomain::new("n1").unwrap(),
            bootstrap: path("bootstrap"),
            folder: path("certs"),
            duration: Duration::from_mins(10),
        };
        let keeper = Keeper::new(settings, path("kubeconfig"));
        Port { _loopback: loopback, asked, refuses, folder, keeper }
    }

    /// One look at the certificate.
    async fn round(&mut self) -> Kept {
        let worth = self.keeper.worth();
        self.keeper.round(worth, Deadline::after(Duration::from_secs(20))).await
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn pair(&self) -> String {
        std::fs::read_to_string(Store::new(self.folder.path().join("certs")).current()).unwrap()
    }
}

#[tokio::test]
async fn a_good_certificate_is_kept_and_its_kubeconfig_is_usable() {
    let mut port = Port::start(Duration::from_secs(1), &[]);
    port.keeper.first().await.unwrap();
    let pair = port.pair();
    let kubeconfig = port.folder.path().join("kubeconfig");
    ApiClient::connect(Credentials::Kubeconfig(kubeconfig.clone()), Timeouts::default()).await.unwrap();
    std::fs::remove_file(&kubeconfig).unwrap();
    assert_eq!(port.round().await, Kept::Valid);
    assert_eq!((port.asked(), port.pair()), (1, pair));
    assert!(kubeconfig.exists(), "it is written again");
}

#[tokio::test]
async fn an_old_certificate_is_renewed() {
    let mut port = Port::start(OLD, &[SIGNS, SIGNS]);
    assert_eq!(port.round().await, Kept::Valid);
    let first = port.pair();
    assert_eq!(port.round().await, Kept::Valid);
    assert!(port.asked() == 2 && port.pair() != first);
}

#[tokio::test]
async fn what_the_old_certificate_may_not_the_bootstrap_kubeconfig_may() {
    let mut port = Port::start(OLD, &[SIGNS, 403, SIGNS]);
    assert_eq!(port.round().await, Kept::Valid);
    let first = port.pair();
    assert_eq!(port.round().await, Kept::Valid);
    assert!(port.asked() == 3 && port.pair() != first);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_renewed_stays_in_use_while_it_is_valid() {
    let mut port = Port::start(OLD, &[SIGNS, 422]);
    assert_eq!(port.round().await, Kept::Valid);
    let first = port.pair();
    assert_eq!(port.round().await, Kept::NotRenewed);
    assert_eq!((port.asked(), port.pair()), (2, first));
}

/// A daemon that is restarted serves at once.
#[tokio::test]
async fn the_start_does_not_wait_for_the_renewal_of_a_valid_certificate() {
    let mut port = Port::start(OLD, &[SIGNS, 422]);
    port.keeper.first().await.unwrap();
    port.keeper.first().await.unwrap();
    assert_eq!(port.asked(), 1);
}

/// The cluster has another authority for clients, and the node has its disk still.
#[tokio::test]
async fn a_certificate_that_the_api_server_refuses_is_requested_again_at_the_start() {
    let mut port = Port::start(Duration::from_secs(1), &[]);
    port.keeper.first().await.unwrap();
    let first = port.pair();
    port.refuses.store(true, Ordering::SeqCst);
    port.keeper.first().await.unwrap();
    assert!(port.asked() == 2 && port.pair() != first);
}

#[tokio::test]
async fn a_certificate_that_this_nodes_clock_finds_invalid_is_no_certificate() {
    let mut port = Port::start(Duration::from_hours(1), &[SIGNS]);
    assert_eq!(port.round().await, Kept::NotRenewed);
    assert!(!port.folder.path().join("certs").exists());
}

#[tokio::test]
async fn a_denial_ends_the_wait_at_once() {
    let mut port = Port::start(Duration::ZERO, &[DENIES]);
    let error = port.keeper.first().await.unwrap_err().to_string();
    assert!(error.contains("was denied: no") && port.asked() == 1, "{error}");
}

#[tokio::test]
async fn a_bootstrap_kubeconfig_that_must_be_changed_ends_the_wait_at_once() {
    let mut port = Port::start(Duration::ZERO, &[]);
    node::files::write_atomic(&port.folder.path().join("bootstrap"), b"[", 0o600).unwrap();
    let error = port.keeper.first().await.unwrap_err().to_string();
    assert!(error.contains("bootstrap: expected a kubeconfig"), "{error}");
}
