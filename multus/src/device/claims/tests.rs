use serde_json::json;

use super::*;
use crate::device::pod_claims::{ExtendedClaim, RequestMapping};

const NIC: &str = "example.com/nic";

fn name(text: &str) -> DnsSubdomain {
    DnsSubdomain::new(text).unwrap()
}

/// A claim that got these devices of the pool `p`: `<request>=<device>`.
fn claim(devices: &[&str]) -> Value {
    let result = |text: &&str| {
        let (request, device) = text.split_once('=').unwrap();
        json!({"request": request, "driver": "nic.example.com", "pool": "p", "device": device})
    };
    let results: Vec<Value> = devices.iter().map(result).collect();
    json!({"metadata": {"name": "c"}, "status": {"allocation": {"devices": {"results": results}}}})
}

fn slice(pool: &str, generation: i64, devices: Value) -> ResourceSlice {
    let spec = json!({"driver": "nic.example.com", "pool": {"name": pool, "generation": generation}, "devices": devices});
    serde_json::from_value(json!({"spec": spec})).unwrap()
}

fn device(name: &str, id: &str, resource: &str) -> Value {
    json!({"name": name, "attributes": {DEVICE_ID: {"string": id}, RESOURCE_NAME: {"string": resource}, "x": {"int": 1}}})
}

fn slices() -> Vec<ResourceSlice> {
    vec![
        slice("other", 9, json!([device("d1", "wrong", NIC)])),
        slice("p", 1, json!([device("d1", "old", NIC)])),
        slice("p", 2, json!([device("d1", "0000:01:00.1", NIC), {"name": "gpu"}])),
        slice(
            "p",
            2,
            json!([device("d2", "0000:01:00.2", NIC), {"name": "odd", "attributes": {DEVICE_ID: {"string": "7"}}}]),
        ),
        slice("p", 2, json!(null)),
    ]
}

fn found(pod: &PodClaims, claims: &Claims) -> Result<(Vec<String>, Vec<String>), String> {
    let mut devices = Devices::default();
    devices.add(NIC, Device::of_plugin("plugin"));
    let warnings = add_claimed(&mut devices, pod, claims, &slices()).map_err(|e| e.to_string())?;
    Ok((devices.ids(NIC).into_iter().map(str::to_owned).collect(), warnings))
}

fn named(claims: &[&str]) -> PodClaims {
    PodClaims { named: claims.iter().map(|text| name(text)).collect(), extended: None }
}

fn extended(request: &str, resource: &str) -> PodClaims {
    let mappings = vec![RequestMapping { request: request.to_owned(), resource: resource.to_owned() }];
    PodClaims { named: Vec::new(), extended: Some(ExtendedClaim { name: name("c"), mappings }) }
}

fn refused(pod: &PodClaims, claims: &Claims) -> String {
    let error = found(pod, claims).unwrap_err();
    let start = "getKubernetesDelegate: failed to get resourceMap from DRA client: ";
    error.strip_prefix(start).unwrap_or_else(|| panic!("{error}")).to_owned()
}

#[test]
fn the_devices_of_claims_follow_those_of_device_plugins() {
    let claims = Claims::from([(name("c"), claim(&["r=d2"])), (name("b"), claim(&["r=d1", "r=gpu"]))]);
    let (ids, warnings) = found(&named(&["c", "b"]), &claims).unwrap();
    assert_eq!(ids, ["plugin", "0000:01:00.2", "0000:01:00.1"]);
    assert_eq!(
        warnings,
        [
            "allocated device \"gpu\" (driver \"nic.example.com\", pool \"p\") has no attribute \"k8s.cni.cncf.io/deviceID\": no network gets it"
        ]
    );
}

#[test]
fn a_claim_for_the_resources_of_containers_is_mapped_by_request() {
    let claims = Claims::from([(name("c"), claim(&["r=d1", "other=d2"]))]);
    assert_eq!(found(&extended("r", NIC), &claims).unwrap().0, ["plugin", "0000:01:00.1"]);
    assert_eq!(refused(&extended("no", NIC), &claims), "request no not found in claim c");
    assert_eq!(
        refused(&extended("r", "x/y"), &claims),
        "device d1: k8s.cni.cncf.io/resourceName is \"example.com/nic\" but extended resource mapping for request \"r\" is \"x/y\""
    );
    let claims = Claims::from([(name("c"), claim(&["r=odd"]))]);
    assert!(refused(&extended("r", "x/y"), &claims).ends_with(" and extended mapping \"x/y\")"));
}

#[test]
fn what_is_missing_is_reported_in_upstreams_words() {
    for (object, want) in [
        (json!({}), "claim c has no device allocation"),
        (json!({"status": {"allocation": {"devices": {}}}}), "claim c has no device allocation"),
        (json!({"status": 3}), "claim c cannot be read: "),
        (
            claim(&["r=nope"]),
            "device nope not found for claim resource nic.example.com/p in any matching resource slice",
        ),
        (
            claim(&["r=odd"]),
            "device odd missing required attribute k8s.cni.cncf.io/resourceName (must match NAD k8s.v1.cni.cncf.io/resourceName)",
        ),
    ] {
        let error = refused(&named(&["c"]), &Claims::from([(name("c"), object)]));
        assert!(error.starts_with(want), "{error}");
    }
    let mut foreign = claim(&["r=d1"]);
    foreign["status"]["allocation"]["devices"]["results"][0]["pool"] = "q".into();
    let error = refused(&named(&["c"]), &Claims::from([(name("c"), foreign)]));
    assert_eq!(error, "no resource slice found for driver/pool nic.example.com/q");
}
