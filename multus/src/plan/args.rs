//! `CNI_ARGS` of the delegates.

use cni::args::CniArgs;
use nad::PodRef;
use node::names::PodUid;

use super::delegates::{Delegate, Role};
use crate::request::pod::{CONTAINER, NAME, NAMESPACE, UID};

/// The pairs that request an address of one interface. Plugins read the names as written here.
const OF_INTERFACE: &[&str] = &["IP", "GATEWAY", "MAC"];

/// Returns `CNI_ARGS` for all delegates and verbs: the pairs of the pod in upstream's order, then the other pairs of the runtime, without
/// those of an interface. Of a pair that the runtime gives twice, the last one stays. If the runtime does not name the pod, `pod` does.
pub(crate) fn delegate_args(given: &CniArgs, pod: Option<&PodRef>) -> CniArgs {
    let from_runtime = |key: &str| given.get(key).filter(|v| !v.is_empty()).map(str::to_owned);
    let from_pod = |text: fn(&PodRef) -> Option<&str>| pod.and_then(text).map(str::to_owned);
    let first = [
        // Plugins refuse pairs that they do not know without this one.
        ("IgnoreUnknown", Some("true".to_owned())),
        (NAMESPACE, from_runtime(NAMESPACE).or_else(|| from_pod(|p| Some(p.namespace.as_str())))),
        (NAME, from_runtime(NAME).or_else(|| from_pod(|p| Some(p.name.as_str())))),
        (CONTAINER, from_runtime(CONTAINER)),
        (UID, from_runtime(UID).or_else(|| from_pod(|p| p.uid.as_ref().map(PodUid::as_str)))),
    ];
    let is_rest = |key: &str| !OF_INTERFACE.contains(&key) && !first.iter().any(|(k, _)| *k == key);
    let mut rest = CniArgs::default();
    for (key, value) in given.pairs().iter().filter(|(key, _)| is_rest(key)) {
        rest.set(key, value);
    }
    let pairs = first.iter().filter_map(|(key, value)| Some(((*key).to_owned(), value.clone()?)));
    pairs.chain(rest.pairs().iter().cloned()).collect()
}

/// Returns `CNI_ARGS` for the ADD of one delegate: those of all, and what is requested of its interface. The requests of the runtime are for
/// the interface that it names, the default network's. The requests of the pod replace them.
pub(crate) fn add_args(all: &CniArgs, given: &CniArgs, delegate: &Delegate) -> CniArgs {
    let mut args = all.clone();
    if delegate.role == Role::Default {
        for key in OF_INTERFACE {
            given.get(key).into_iter().for_each(|value| args.set(key, value));
        }
    }
    // Upstream gives plugins both requests in CNI_ARGS too, on ADD only.
    if let Some(mac) = &delegate.request.mac {
        args.set("MAC", mac);
    }
    if !delegate.request.ips.is_empty() {
        args.set("IP", &delegate.request.ips.join(","));
    }
    args
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::plan::RouteEdit;
    use crate::request::AttachmentRequest;
    use crate::request::pod::pod_of_add;

    const FULL: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u-1";

    fn args(text: &str) -> CniArgs {
        CniArgs::parse(text).unwrap()
    }

    #[test]
    fn the_pairs_of_the_pod_come_first_and_each_pair_once() {
        let given = args(&format!("EXTRA=a;{FULL};EXTRA=b"));
        let want = "IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u-1;EXTRA=b";
        assert_eq!(delegate_args(&given, None).to_text(), want);
    }

    /// `CNI_ARGS` for the ADD of a network, where the runtime requests addresses and the pod `ips` and `mac`.
    fn added(role: Role, ips: &[&str], mac: Option<&str>) -> String {
        let given = args("IgnoreUnknown=1;IP=10.0.0.9;EXTRA=e;GATEWAY=10.0.0.1;MAC=02:00:00:00:00:09");
        let ips = ips.iter().map(|ip| (*ip).to_owned()).collect();
        let delegate = Delegate {
            network: crate::testing::network("a", "1.0.0"),
            role,
            if_name: cni::names::IfName::parse("net1").unwrap(),
            request: AttachmentRequest { ips, mac: mac.map(str::to_owned), ..AttachmentRequest::default() },
            capability_args: Map::new(),
            route_edit: RouteEdit::default(),
        };
        add_args(&delegate_args(&given, None), &given, &delegate).to_text()
    }

    #[test]
    fn addresses_that_the_runtime_requests_are_for_the_default_network_only() {
        assert_eq!(
            added(Role::Default, &[], None),
            "IgnoreUnknown=true;EXTRA=e;IP=10.0.0.9;GATEWAY=10.0.0.1;MAC=02:00:00:00:00:09"
        );
        assert_eq!(added(Role::Additional, &[], None), "IgnoreUnknown=true;EXTRA=e");
    }

    #[test]
    fn the_requests_of_the_pod_replace_those_of_the_runtime() {
        let request = (["10.1.0.5", "fd00::5"].as_slice(), Some("02:00:00:00:00:05"));
        assert_eq!(
            added(Role::Default, request.0, request.1),
            "IgnoreUnknown=true;EXTRA=e;GATEWAY=10.0.0.1;MAC=02:00:00:00:00:05;IP=10.1.0.5,fd00::5"
        );
        assert_eq!(
            added(Role::Additional, request.0, request.1),
            "IgnoreUnknown=true;EXTRA=e;MAC=02:00:00:00:00:05;IP=10.1.0.5,fd00::5"
        );
    }

    #[test]
    fn the_recorded_pod_supplies_pairs_that_the_runtime_does_not_give() {
        let pod = pod_of_add(&args(FULL)).unwrap();
        let text = delegate_args(&CniArgs::default(), pod.as_ref()).to_text();
        assert_eq!(text, "IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_UID=u-1");
    }
}
