//! What `CNI_ARGS` says.

use cni::args::CniArgs;

/// The pod that `CNI_ARGS` names, as `namespace/name`, and its UID; `None` where it names none.
pub fn pod(args: &CniArgs) -> Option<(String, Option<String>)> {
    let text = |key: &str| args.get(key).filter(|value| !value.is_empty());
    let name = text("K8S_POD_NAME")?;
    let namespace = args.get("K8S_POD_NAMESPACE").unwrap_or_default();
    Some((format!("{namespace}/{name}"), text("K8S_POD_UID").map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_is_named_by_the_args() {
        let args = CniArgs::parse("K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_UID=u").unwrap();
        assert_eq!(pod(&args), Some(("a/b".to_owned(), Some("u".to_owned()))));
        assert_eq!(pod(&CniArgs::default()), None);
    }
}
