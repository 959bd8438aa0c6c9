//! The pod in `CNI_ARGS`.

use cni::args::CniArgs;

/// The pod that `CNI_ARGS` names, as `namespace/name`, and its UID if the runtime sends it. `None` if no pod is named.
pub(super) fn pod(args: &CniArgs) -> Option<(String, Option<String>)> {
    let text = |key: &str| args.get(key).filter(|value| !value.is_empty());
    let name = text("K8S_POD_NAME")?;
    let namespace = args.get("K8S_POD_NAMESPACE").unwrap_or_default();
    Some((format!("{namespace}/{name}"), text("K8S_POD_UID").map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_args_name_the_pod_and_its_uid() {
        let args = CniArgs::parse("K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_UID=u").unwrap();
        assert_eq!(pod(&args), Some(("a/b".to_owned(), Some("u".to_owned()))));
        assert_eq!(pod(&CniArgs::default()), None);
    }
}
