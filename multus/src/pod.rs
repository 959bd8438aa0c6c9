//! Whose sandbox this is, as the runtime says, and what its pod asks for, as the API server says.

use std::fmt;

use cni::args::CniArgs;
use cni::{CniError, Code};
use node::names::{DnsLabel, DnsSubdomain, PodUid};

const NAMESPACE: &str = "K8S_POD_NAMESPACE";
const NAME: &str = "K8S_POD_NAME";
const CONTAINER: &str = "K8S_POD_INFRA_CONTAINER_ID";
const UID: &str = "K8S_POD_UID";

/// The pairs of `CNI_ARGS` that multus knows.
const KNOWN: &[&str] = &["IP", NAME, NAMESPACE, CONTAINER, UID];

/// The pod that a sandbox is for, as `CNI_ARGS` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: DnsLabel,
    /// Its name.
    pub name: DnsSubdomain,
    /// Its UID; older runtimes give none.
    pub uid: Option<PodUid>,
}

/// A pod, as far as multus needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its names and its UID at the API server.
    pub at: PodRef,
    /// The annotation [`NETWORKS`](crate::selection::NETWORKS).
    pub networks: Option<String>,
    /// The annotation [`DEFAULT_NETWORK`](crate::selection::DEFAULT_NETWORK).
    pub default_network: Option<String>,
    /// Its node.
    pub node: Option<String>,
}

impl PodRef {
    /// The pod of a call; `None` where `CNI_ARGS` names none, as outside Kubernetes. Code 4 for names that no pod can have, and for
    /// pairs that are not known unless `IgnoreUnknown` is set.
    pub fn of_call(args: &CniArgs) -> Result<Option<PodRef>, CniError> {
        args.only(KNOWN)?;
        Self::of_args(args).map_err(|e| CniError::new(Code::InvalidEnvironment, format!("CNI_ARGS: {e}")))
    }

    /// As [`PodRef::of_call`], for DEL, which a name must not stop.
    pub fn of_removal(args: &CniArgs) -> Option<PodRef> {
        Self::of_args(args).ok().flatten()
    }

    fn of_args(args: &CniArgs) -> Result<Option<PodRef>, node::names::NameError> {
        let given = |key: &str| args.get(key).filter(|v| !v.is_empty());
        let (Some(namespace), Some(name)) = (given(NAMESPACE), given(NAME)) else { return Ok(None) };
        let uid = given(UID).map(PodUid::new).transpose()?;
        Ok(Some(PodRef { namespace: DnsLabel::new(namespace)?, name: DnsSubdomain::new(name)?, uid }))
    }
}

impl fmt::Display for PodRef {
    /// `<namespace>/<name>/<uid>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.name, self.uid.as_ref().map_or("", PodUid::as_str))
    }
}

/// `CNI_ARGS` for the delegates: the pod's pairs in upstream's order, then whatever else the runtime gave. A pair given twice is passed
/// on once, the last one. `pod` fills in what the runtime left out.
pub fn delegate_args(given: &CniArgs, pod: Option<&PodRef>) -> CniArgs {
    let known = |key: &str| given.get(key).filter(|v| !v.is_empty()).map(str::to_owned);
    let ours = |text: fn(&PodRef) -> Option<&str>| pod.and_then(text).map(str::to_owned);
    let first = [
        ("IgnoreUnknown", Some("true".to_owned())),
        (NAMESPACE, known(NAMESPACE).or_else(|| ours(|p| Some(p.namespace.as_str())))),
        (NAME, known(NAME).or_else(|| ours(|p| Some(p.name.as_str())))),
        (CONTAINER, known(CONTAINER)),
        (UID, known(UID).or_else(|| ours(|p| p.uid.as_ref().map(PodUid::as_str)))),
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

    const FULL: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u-1";

    fn args(text: &str) -> CniArgs {
        CniArgs::parse(text).unwrap()
    }

    #[test]
    fn a_pod_is_named_by_namespace_name_and_uid() {
        let pod = PodRef::of_call(&args(FULL)).unwrap().unwrap();
        assert_eq!(pod.to_string(), "default/web-0/u-1");
        assert_eq!(PodRef::of_call(&args("IgnoreUnknown=1")).unwrap(), None);
        assert_eq!(PodRef::of_call(&args("K8S_POD_NAMESPACE=;K8S_POD_NAME=")).unwrap(), None);
    }

    #[test]
    fn a_name_that_no_pod_can_have_is_refused_at_add_and_passed_over_at_del() {
        let hostile = args("IgnoreUnknown=1;K8S_POD_NAMESPACE=..;K8S_POD_NAME=web-0");
        assert_eq!(PodRef::of_call(&hostile).unwrap_err().code, Code::InvalidEnvironment);
        assert_eq!(PodRef::of_removal(&hostile), None);
    }

    #[test]
    fn unknown_pairs_are_refused_unless_the_runtime_allows_them() {
        assert!(PodRef::of_call(&args("NOPE=1")).is_err());
        assert!(PodRef::of_call(&args("IgnoreUnknown=1;NOPE=1")).is_ok());
    }

    #[test]
    fn delegates_get_the_pods_pairs_first_and_each_pair_once() {
        let given = args(&format!("EXTRA=a;{FULL};EXTRA=b"));
        let want = "IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u-1;EXTRA=b";
        assert_eq!(delegate_args(&given, None).to_text(), want);
    }

    #[test]
    fn a_recorded_pod_fills_in_what_the_runtime_left_out() {
        let pod = PodRef::of_call(&args(FULL)).unwrap();
        let text = delegate_args(&CniArgs::default(), pod.as_ref()).to_text();
        assert_eq!(text, "IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_UID=u-1");
    }
}
