//! `migrate` against a fake API server, whose workloads are always ready.

use std::time::Duration;

use fake_api::{ApiServer, Key};
use node::client::{ApiClient, Timeouts, block_on};
use node::deadline::Deadline;
use serde_json::{Value, json};

use super::Outcome;
use super::answer::Answer;
use super::migrate::migrate;
use super::pace::Pace;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::options::{Command, Request, parse};

const OURS: &str = "registry.example/multus-rs:v9";

fn cluster() -> ApiServer {
    let api = ApiServer::default();
    let put = |name: &str, image: &str, program: &str| {
        let pod = json!({"containers": [{"name": "c", "image": image, "command": [program]}]});
        let object = json!({"spec": {"selector": {"matchLabels": {"name": name}}, "template": {"spec": pod}},
            "status": {"desiredNumberScheduled": 1, "currentNumberScheduled": 1, "numberReady": 1, "numberMisscheduled": 0, "updatedNumberScheduled": 1}});
        api.put(&Key::new("daemonsets.apps", "kube-system", name), object);
    };
    put("kube-multus-ds", "r/multus-cni:v4", "/thin_entrypoint");
    put("whereabouts", "r/whereabouts:v0.8.0", "/ip-control-loop");
    let rbac = |plural: &str| Key::new(&format!("{plural}.rbac.authorization.k8s.io"), "", "all");
    let rules = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    api.put(&rbac("clusterroles"), json!({"rules": rules}));
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "all"});
    let account = json!({"kind": "ServiceAccount", "name": "default", "namespace": "kube-system"});
    api.put(&rbac("clusterrolebindings"), json!({"roleRef": role, "subjects": [account]}));
    api
}

fn run(api: &ApiServer, args: &[&str]) -> (Result<Answer, Failure>, String) {
    let Request::Run(options) = parse(args.iter().map(std::ffi::OsString::from)).unwrap() else {
        panic!("{args:?}")
    };
    let Command::Migrate(request) = &options.command else { panic!("{args:?}") };
    let deadline = Deadline::after(Duration::from_secs(20));
    let (look, settle) = (Duration::from_millis(1), Duration::ZERO);
    let pace = Pace { look, settle, step: Duration::from_secs(20) };
    let mut progress = Vec::new();
    let answer = block_on(deadline, async {
        let client = ApiClient::from_service(api.clone(), Timeouts::default()).await;
        migrate(&options, request, Cluster { client: &client, deadline }, pace, &mut progress).await
    })
    .unwrap();
    (answer, String::from_utf8(progress).unwrap())
}

fn set(api: &ApiServer, name: &str) -> Value {
    api.get(&Key::new("daemonsets.apps", "kube-system", name)).unwrap()
}

fn image(api: &ApiServer, name: &str) -> String {
    set(api, name)["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

fn writes(api: &ApiServer) -> Vec<String> {
    api.take_received().iter().map(|request| request.line()).filter(|line| !line.starts_with("GET")).collect()
}

#[test]
fn without_a_flag_nothing_is_written() {
    let api = cluster();
    let answer = run(&api, &["migrate", "--image", OURS]).0.unwrap();
    assert_eq!(answer.outcome, Outcome::Right);
    assert!(
        answer.text.contains("what would change (kubectl multus migrate --apply does it):"),
        "{}",
        answer.text
    );
    assert_eq!(writes(&api), [""; 0]);
}

#[test]
fn apply_changes_the_images_back_restores_them_and_both_may_run_again() {
    let api = cluster();
    let (answer, progress) = run(&api, &["migrate", "--apply", "--image", OURS]);
    let answer = answer.unwrap();
    assert_eq!(answer.outcome, Outcome::Right, "{}", answer.text);
    assert!(progress.starts_with("1 of 3: kube-system/daemonset/whereabouts"), "{progress}");
    assert!(answer.text.ends_with("done: all workloads run our image\n"), "{}", answer.text);
    assert_eq!(
        (image(&api, "kube-multus-ds"), image(&api, "whereabouts")),
        (OURS.to_owned(), OURS.to_owned())
    );
    assert_eq!(
        set(&api, "whereabouts")["metadata"]["annotations"]["multus-rs/previous-image"],
        r#"{"c":"r/whereabouts:v0.8.0"}"#
    );
    api.take_received();
    let again = run(&api, &["migrate", "--apply", "--image", OURS]).0.unwrap();
    assert!(again.text.contains("nothing to change"), "{}", again.text);
    assert_eq!(writes(&api), [""; 0]);
    let back = run(&api, &["migrate", "--back", "-o", "json"]).0.unwrap();
    let json: Value = serde_json::from_str(&back.text).unwrap();
    assert_eq!((back.outcome, json["done"].as_array().unwrap().len()), (Outcome::Right, 4), "{}", back.text);
    assert_eq!(
        (image(&api, "kube-multus-ds"), image(&api, "whereabouts")),
        ("r/multus-cni:v4".to_owned(), "r/whereabouts:v0.8.0".to_owned())
    );
    assert!(set(&api, "whereabouts")["metadata"]["annotations"]["multus-rs/previous-image"].is_null());
    api.take_received();
    assert!(run(&api, &["migrate", "--back"]).0.unwrap().text.contains("nothing to go back to"));
    assert_eq!(writes(&api), [""; 0]);
}

#[test]
fn it_stops_at_the_first_fault_and_says_how_to_go_on() {
    let api = cluster();
    let state = json!({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}});
    let status =
        json!({"name": "c", "image": OURS, "imageID": "", "ready": false, "restartCount": 0, "state": state});
    let pod = json!({"metadata": {"labels": {"name": "whereabouts"}}, "spec": {"nodeName": "n1", "containers": []}, "status": {"containerStatuses": [status]}});
    api.put(&Key::new("pods", "kube-system", "whereabouts-x"), pod);
    let answer = run(&api, &["migrate", "--apply", "--image", OURS]).0.unwrap();
    assert_eq!(answer.outcome, Outcome::Wrong);
    for want in [
        "pod whereabouts-x on node n1",
        "ImagePullBackOff: not found",
        "to go back:                  kubectl multus migrate --back",
    ] {
        assert!(answer.text.replace("\n         ", " ").contains(want), "{want}: {}", answer.text);
    }
    assert_eq!(image(&api, "kube-multus-ds"), "r/multus-cni:v4", "the next step was not taken");
    api.remove(&Key::new("pods", "kube-system", "whereabouts-x"));
    let back = run(&api, &["migrate", "--back"]).0.unwrap();
    assert_eq!(back.outcome, Outcome::Right, "{}", back.text);
    assert_eq!(image(&api, "whereabouts"), "r/whereabouts:v0.8.0");
}

#[test]
fn what_blocks_is_not_gone_over_unless_it_is_accepted() {
    let api = cluster();
    let definition =
        json!({"spec": {"config": r#"{"cniVersion":"1.0.0","type":"macvlan","mode":"bridged"}"#}});
    api.put(&Key::new("network-attachment-definitions.k8s.cni.cncf.io", "ns", "a"), definition);
    let answer = run(&api, &["migrate", "--apply", "--image", OURS]).0.unwrap();
    assert_eq!(answer.outcome, Outcome::Wrong);
    assert!(answer.text.contains("nothing was changed: definitions"), "{}", answer.text);
    assert_eq!(writes(&api), [""; 0]);
    let error = run(&api, &["migrate", "--apply", "--accept", "everything"]).0.unwrap_err().to_string();
    assert!(error.contains("everything"), "{error}");
    let accepted = run(&api, &["migrate", "--apply", "--image", OURS, "--accept", "definitions"]).0.unwrap();
    assert_eq!(accepted.outcome, Outcome::Right, "{}", accepted.text);
}

#[test]
fn a_step_that_takes_too_long_ends() {
    let api = cluster();
    api.edit(&Key::new("daemonsets.apps", "kube-system", "whereabouts"), |set| {
        set["status"]["numberReady"] = json!(0);
    });
    let args = ["migrate", "--apply", "--image", OURS, "--accept", "not-ready", "--timeout", "1"];
    let answer = run(&api, &args).0.unwrap();
    assert!(
        answer.text.replace("\n         ", " ").contains("not done after 1 s (--timeout)"),
        "{}",
        answer.text
    );
}
