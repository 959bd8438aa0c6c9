//! `CNI_ARGS` of the delegates.

use cni::args::CniArgs;
use nad::PodRef;
use node::names::PodUid;

use crate::request::pod::{CONTAINER, NAME, NAMESPACE, UID};

/// Returns `CNI_ARGS` for the delegates: the pairs of the pod in upstream's order, then the other pairs of the runtime. Of a pair that
/// the runtime gives twice, the last one stays. If the runtime does not name the pod, `pod` does.
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
    let is_first = |key: &str| first.iter().any(|(k, _)| *k == key);
    let mut rest = CniArgs::default();
    for (key, value) in given.pairs().iter().filter(|(key, _)| !is_first(key)) {
        rest.set(key, value);
    }
    let pairs = first.iter().filter_map(|(key, value)| Some(((*key).to_owned(), value.clone()?)));
    pairs.chain(rest.pairs().iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn the_recorded_pod_supplies_pairs_that_the_runtime_does_not_give() {
        let pod = pod_of_add(&args(FULL)).unwrap();
        let text = delegate_args(&CniArgs::default(), pod.as_ref()).to_text();
        assert_eq!(text, "IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_UID=u-1");
    }
}
