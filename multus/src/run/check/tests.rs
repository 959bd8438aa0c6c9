use serde_json::json;
use std::time::Duration;

use super::*;
use crate::testing::{Bench, FakeApi};

fn check_of(bench: &Bench) -> Result<(), CniError> {
    let call = bench.call();
    let conf = Conf::read(&call).unwrap();
    check(&conf, &bench.attachment(), &call, Deadline::after(Duration::from_secs(20))).map_err(|e| e.to_cni())
}

fn attached() -> Bench {
    let bench = Bench::new();
    let api = FakeApi::new(json!({"k8s.v1.cni.cncf.io/networks": "a,b"}))
        .with_nad("default/a", &json!({"cniVersion": "0.3.1", "type": "a"}))
        .with_nad("default/b", &json!({"cniVersion": "0.4.0", "type": "b"}));
    bench.script("a", r#"[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"0.3.1"}'; exit 0"#);
    bench.script("b", r#"[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"0.4.0"}'; exit 0"#);
    bench.add(Some(&api)).unwrap();
    bench.calls();
    bench
}

#[test]
fn every_recorded_network_since_0_4_0_is_checked_with_its_result() {
    let bench = attached();
    check_of(&bench).unwrap();
    let calls = bench.calls();
    assert!(
        calls[0].0.starts_with("main CHECK c1 eth0 ") && calls[1].0.starts_with("b CHECK c1 net2 "),
        "{calls:?}"
    );
    assert_eq!((calls.len(), &calls[0].1["prevResult"]["ips"][0]["address"]), (2, &json!("10.0.0.1/8")));
}

#[test]
fn the_error_of_a_failed_check_has_its_code_and_names_the_network() {
    let bench = attached();
    bench.script("b", &bench.fails("CHECK", 121));
    let error = check_of(&bench).unwrap_err();
    assert_eq!(error.code, Code::Other(121));
    assert!(error.msg.starts_with("[default/pod0/u-1:b]: error checking network \"b\": "), "{error}");
}

#[test]
fn a_sandbox_without_a_record_is_not_attached() {
    assert_eq!(check_of(&Bench::new()).unwrap_err().code, Code::UnknownContainer);
}
