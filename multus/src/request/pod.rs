//! Which pod a sandbox is for, as `CNI_ARGS` says.

use cni::args::CniArgs;
use cni::{CniError, Code};
use nad::PodRef;
use node::names::{DnsLabel, DnsSubdomain, NameError, PodUid};

/// The pair of `CNI_ARGS` with the namespace of the pod.
pub(crate) const NAMESPACE: &str = "K8S_POD_NAMESPACE";
/// The pair of `CNI_ARGS` with the name of the pod.
pub(crate) const NAME: &str = "K8S_POD_NAME";
/// The pair of `CNI_ARGS` with the id of the sandbox.
pub(crate) const CONTAINER: &str = "K8S_POD_INFRA_CONTAINER_ID";
/// The pair of `CNI_ARGS` with the UID of the pod.
pub(crate) const UID: &str = "K8S_POD_UID";

/// The pairs of `CNI_ARGS` that are allowed without `IgnoreUnknown`.
const KNOWN: &[&str] = &["IP", NAME, NAMESPACE, CONTAINER, UID];

/// Returns the pod of a call; its UID is the one on the node. `None` if `CNI_ARGS` names no pod, as outside Kubernetes. Code 4 for names
/// that are not valid, and for unknown pairs unless `IgnoreUnknown` is set.
pub(crate) fn pod_of_add(args: &CniArgs) -> Result<Option<PodRef>, CniError> {
    args.only(KNOWN)?;
    pod_of(args).map_err(|e| CniError::new(Code::InvalidEnvironment, format!("CNI_ARGS: {e}")))
}

/// As [`pod_of_add`], for DEL and CHECK: a wrong name must not stop them, so it counts as no name.
pub(crate) fn pod_of_del(args: &CniArgs) -> Option<PodRef> {
    pod_of(args).ok().flatten()
}

fn pod_of(args: &CniArgs) -> Result<Option<PodRef>, NameError> {
    let given = |key: &str| args.get(key).filter(|v| !v.is_empty());
    // Other runtimes than Kubernetes' give neither.
    let (Some(namespace), Some(name)) = (given(NAMESPACE), given(NAME)) else { return Ok(None) };
    // Older runtimes give no UID.
    let uid = given(UID).map(PodUid::new).transpose()?;
    Ok(Some(PodRef { namespace: DnsLabel::new(namespace)?, name: DnsSubdomain::new(name)?, uid }))
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
        let pod = pod_of_add(&args(FULL)).unwrap().unwrap();
        assert_eq!(pod.with_uid().to_string(), "default/web-0/u-1");
        assert_eq!(pod_of_add(&args("IgnoreUnknown=1")).unwrap(), None);
        assert_eq!(pod_of_add(&args("K8S_POD_NAMESPACE=;K8S_POD_NAME=")).unwrap(), None);
    }

    #[test]
    fn an_invalid_name_fails_add_and_is_ignored_at_del() {
        let hostile = args("IgnoreUnknown=1;K8S_POD_NAMESPACE=..;K8S_POD_NAME=web-0");
        assert_eq!(pod_of_add(&hostile).unwrap_err().code, Code::InvalidEnvironment);
        assert_eq!(pod_of_del(&hostile), None);
    }

    #[test]
    fn unknown_pairs_are_refused_unless_the_runtime_allows_them() {
        assert!(pod_of_add(&args("NOPE=1")).is_err());
        assert!(pod_of_add(&args("IgnoreUnknown=1;NOPE=1")).is_ok());
    }
}
