//! The approver against a fake API server, on a paused clock.

use std::time::Duration;

use fake_api::{ApiServer, Fault, Key, Received};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use node::client::{ApiClient, Right, Timeouts};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::RIGHTS;
use super::later::LONGEST;
use super::run::follow;
use super::testing::{condition, request};
use crate::rights::tests::granted;
use crate::testing::settle;

const KIND: &str = "certificatesigningrequests.certificates.k8s.io";

fn server() -> ApiServer {
    with_rights(RIGHTS)
}

fn with_rights(rights: &[Right]) -> ApiServer {
    let server = ApiServer::default();
    server.grant(granted(rights));
    server
}

fn key(name: &str) -> Key {
    Key::new(KIND, "", name)
}

/// Makes a request on the server, as its `metadata.name` says.
fn put(server: &ApiServer, request: &CertificateSigningRequest) {
    let key = key(request.metadata.name.as_deref().unwrap());
    server.put(&key, serde_json::to_value(request).unwrap());
}

/// A request of `alice` for the certificate of node `n1`.
fn foul(name: &str) -> CertificateSigningRequest {
    let mut request = request(name, "n1");
    request.spec.username = Some("alice".to_owned());
    request
}

/// Starts an approver, and waits until it has decided about what there is.
async fn start(server: &ApiServer) -> JoinHandle<()> {
    let api = ApiClient::from_service(server.clone(), Timeouts::default()).await;
    let running = tokio::spawn(follow(api));
    settle().await;
    running
}

/// The conditions of a request, as `type reason`.
fn conditions(server: &ApiServer, name: &str) -> Vec<String> {
    let object = server.get(&key(name)).unwrap();
    let all = object["status"]["conditions"].as_array().into_iter().flatten();
    all.map(|one| format!("{} {}", one["type"].as_str().unwrap(), one["reason"].as_str().unwrap_or_default()))
        .collect()
}

/// The writes since the last time, as `METHOD path`.
fn writes(server: &ApiServer) -> Vec<String> {
    let all = server.take_received();
    all.iter().filter(|request| request.method != "GET").map(Received::line).collect()
}

fn is_approval(request: &Received) -> bool {
    request.path.ends_with("/approval")
}

fn events(server: &ApiServer) -> Vec<Value> {
    server.list("events")
}

#[tokio::test(start_paused = true)]
async fn a_request_of_multus_is_approved_whether_it_was_there_or_comes() {
    let server = server();
    put(&server, &request("csr-1", "n1"));
    let _running = start(&server).await;
    put(&server, &request("csr-2", "n2"));
    settle().await;
    for name in ["csr-1", "csr-2"] {
        assert_eq!(conditions(&server, name), ["Approved AutoApproved"]);
        let condition = server.get(&key(name)).unwrap()["status"]["conditions"][0].clone();
        assert_eq!(condition["status"], "True");
        assert_eq!(condition["message"], "cert-approver approved this request of multus");
    }
    let events = events(&server);
    assert_eq!(events.len(), 2);
    assert_eq!((&events[0]["reason"], &events[0]["type"]), (&json!("CSRApproved"), &json!("Normal")));
    assert_eq!(events[0]["metadata"]["namespace"], "default");
    let all = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let approvals = server.received().into_iter().filter(is_approval).map(|request| request.line());
    let expected = ["csr-1", "csr-2"].map(|name| format!("PUT {all}/{name}/approval"));
    assert_eq!(approvals.collect::<Vec<_>>(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_breaks_a_rule_is_denied_and_the_reason_is_said() {
    let server = server();
    put(&server, &foul("csr-1"));
    let _running = start(&server).await;
    assert_eq!(conditions(&server, "csr-1"), ["Denied CSRDenied"]);
    let message = server.get(&key("csr-1")).unwrap()["status"]["conditions"][0]["message"].clone();
    assert!(message.as_str().unwrap().starts_with("spec.username is \"alice\", and must be"), "{message}");
    let event = events(&server).remove(0);
    assert_eq!((&event["reason"], &event["type"]), (&json!("CSRDenied"), &json!("Warning")));
    assert!(event["message"].as_str().unwrap().contains("spec.username is \"alice\""), "{event}");
}

#[tokio::test(start_paused = true)]
async fn the_requests_of_others_are_left_alone() {
    let server = server();
    let mut kubelet = request("csr-kubelet", "n1");
    kubelet.spec.signer_name = "kubernetes.io/kube-apiserver-client-kubelet".to_owned();
    let mut rubbish = request("csr-rubbish", "n1");
    rubbish.spec.request.0 = b"rubbish".to_vec();
    let mut decided = request("csr-decided", "n1");
    decided.status.get_or_insert_default().conditions = Some(vec![condition("Denied")]);
    // The API server accepts nearly every name; those of multus are DNS names.
    let named = request("csr_X", "n1");
    for request in [&kubelet, &rubbish, &decided, &named] {
        put(&server, request);
    }
    let _running = start(&server).await;
    put(&server, &rubbish);
    tokio::time::sleep(2 * LONGEST).await;
    assert_eq!(writes(&server), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_changed_is_read_and_decided_again() {
    let server = server();
    server.fail(is_approval, [Fault::Status(409), Fault::Status(409)]);
    put(&server, &request("csr-1", "n1"));
    let _running = start(&server).await;
    assert_eq!(conditions(&server, "csr-1"), ["Approved AutoApproved"]);
    let received = server.received();
    let of_one = |request: &&Received| request.path.contains("/csr-1");
    let methods: Vec<_> = received.iter().filter(of_one).map(|request| request.method.as_str()).collect();
    assert_eq!(methods, ["PUT", "GET", "PUT", "GET", "PUT"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_always_changes_is_tried_again_later() {
    let server = server();
    server.fail(is_approval, [Fault::Status(409); 5]);
    put(&server, &request("csr-1", "n1"));
    let _running = start(&server).await;
    assert_eq!(conditions(&server, "csr-1"), Vec::<String>::new());
    assert_eq!(writes(&server).len(), 5);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(conditions(&server, "csr-1"), ["Approved AutoApproved"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_gone_is_forgotten() {
    let server = server();
    server.fail(is_approval, [Fault::Status(404), Fault::Status(500)]);
    put(&server, &request("csr-1", "n1"));
    put(&server, &request("csr-2", "n2"));
    let _running = start(&server).await;
    server.remove(&key("csr-2"));
    tokio::time::sleep(2 * LONGEST).await;
    assert_eq!(writes(&server).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_waited_for_without_haste() {
    let without = RIGHTS.iter().filter(|right| right.subresource.is_none()).copied().collect::<Vec<_>>();
    let server = with_rights(&without);
    put(&server, &request("csr-1", "n1"));
    let _running = start(&server).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    // A change of the object is no reason to hurry either.
    for n in 0..100 {
        server.edit(&key("csr-1"), |object| object["metadata"]["labels"]["n"] = json!(n.to_string()));
        settle().await;
    }
    let tries = writes(&server).len();
    assert!((10..40).contains(&tries), "{tries} tries in an hour");
    server.grant(granted(RIGHTS));
    tokio::time::sleep(LONGEST).await;
    assert_eq!(conditions(&server, "csr-1"), ["Approved AutoApproved"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_which_rights_are_needed() {
    let server = server();
    // What the API server says without the right to approve for the signer.
    let refusal =
        "user not permitted to approve requests with signerName \"kubernetes.io/kube-apiserver-client\"";
    server.fail(is_approval, [Fault::Message(403, refusal)]);
    put(&server, &request("csr-1", "n1"));
    let api = ApiClient::from_service(server.clone(), Timeouts::default()).await;
    let name = node::names::DnsSubdomain::new("csr-1").unwrap();
    let text = super::settle::settle(&api, &name, None).await.unwrap_err().to_string();
    for part in [
        "update certificatesigningrequests.certificates.k8s.io/approval csr-1",
        refusal,
        "\"update\" on certificatesigningrequests/approval",
        "\"approve\" on signers with the resourceName kubernetes.io/kube-apiserver-client",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_of_which_nobody_knows_the_outcome_is_looked_at_again() {
    let server = server();
    server.fail(is_approval, [Fault::Reset, Fault::Silence, Fault::Status(503)]);
    put(&server, &request("csr-1", "n1"));
    let _running = start(&server).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(conditions(&server, "csr-1"), ["Approved AutoApproved"]);
}

#[tokio::test(start_paused = true)]
async fn a_decision_counts_without_its_event() {
    let server = server();
    server.fail(|request| request.method == "POST", std::iter::repeat(Fault::Silence));
    put(&server, &request("csr-1", "n1"));
    put(&server, &foul("csr-2"));
    let _running = start(&server).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(conditions(&server, "csr-1"), ["Approved AutoApproved"]);
    assert_eq!(conditions(&server, "csr-2"), ["Denied CSRDenied"]);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_approver_decides_nothing_twice() {
    let server = server();
    put(&server, &request("csr-1", "n1"));
    put(&server, &foul("csr-2"));
    start(&server).await.abort();
    assert_eq!(writes(&server).len(), 4, "two decisions and their events");
    let _running = start(&server).await;
    tokio::time::sleep(2 * LONGEST).await;
    assert_eq!(writes(&server), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn of_several_approvers_one_decides() {
    let server = server();
    let mut number = 0_u64;
    server.delay(move || {
        number += 1;
        Duration::from_millis(number % 7)
    });
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(start(&server).await);
    }
    for number in 0..20 {
        put(&server, &request(&format!("csr-{number}"), "n1"));
        put(&server, &foul(&format!("foul-{number}")));
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    for number in 0..20 {
        assert_eq!(conditions(&server, &format!("csr-{number}")), ["Approved AutoApproved"]);
        assert_eq!(conditions(&server, &format!("foul-{number}")), ["Denied CSRDenied"]);
    }
    assert_eq!(events(&server).len(), 40);
    let approvals = server.received().into_iter().filter(is_approval).count();
    assert!(approvals > 40, "no two approvers met");
}
