//! Which ResourceClaims a pod has.

use std::collections::BTreeSet;

use node::names::DnsSubdomain;
use serde_json::Value;

/// The ResourceClaims of a pod, all in its namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodClaims {
    /// Those that its spec names or that were made from a template of its spec.
    pub(super) named: Vec<DnsSubdomain>,
    /// The one that the scheduler made for resources of containers (`status.extendedResourceClaimStatus`).
    pub(super) extended: Option<ExtendedClaim>,
}

/// The claim for resources that containers request as they request those of device plugins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExtendedClaim {
    /// The claim.
    pub(super) name: DnsSubdomain,
    /// Which request of the claim is for which resource.
    pub(super) mappings: Vec<RequestMapping>,
}

/// A request of a claim, and the resource that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestMapping {
    /// The name of the request in the claim.
    pub(super) request: String,
    /// The resource that a container requests.
    pub(super) resource: String,
}

impl PodClaims {
    /// The claims of a pod object. Those from a template are in its status, under the name that they got.
    pub(crate) fn of(pod: &Value) -> PodClaims {
        let all = list(pod, "/status/resourceClaimStatuses").chain(list(pod, "/spec/resourceClaims"));
        PodClaims {
            named: all.filter_map(claim_name).collect(),
            extended: pod.pointer("/status/extendedResourceClaimStatus").and_then(ExtendedClaim::of),
        }
    }

    /// All claims, each once.
    pub(crate) fn names(&self) -> BTreeSet<&DnsSubdomain> {
        self.named.iter().chain(self.extended.as_ref().map(|extended| &extended.name)).collect()
    }
}

impl ExtendedClaim {
    fn of(status: &Value) -> Option<ExtendedClaim> {
        let mapping = |one: &Value| RequestMapping {
            request: text(one, "requestName").to_owned(),
            resource: text(one, "resourceName").to_owned(),
        };
        let mappings = list(status, "/requestMappings").map(mapping).collect();
        Some(ExtendedClaim { name: claim_name(status)?, mappings })
    }
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A template that made no claim, and a claim that is not made yet, have no name.
fn claim_name(object: &Value) -> Option<DnsSubdomain> {
    DnsSubdomain::new(text(object, "resourceClaimName")).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_has_claims_by_name_by_template_and_for_resources_of_containers() {
        let pod = json!({
            "spec": {"resourceClaims": [{"name": "a", "resourceClaimTemplateName": "t"}, {"name": "b", "resourceClaimName": "own"}]},
            "status": {"resourceClaimStatuses": [{"name": "a", "resourceClaimName": "pod-a"}, {"name": "none"}],
                "extendedResourceClaimStatus": {"resourceClaimName": "pod-x",
                    "requestMappings": [{"containerName": "c", "requestName": "r", "resourceName": "example.com/nic"}]}}});
        let claims = PodClaims::of(&pod);
        let names: Vec<&str> = claims.names().into_iter().map(DnsSubdomain::as_str).collect();
        assert_eq!(names, ["own", "pod-a", "pod-x"]);
        let mapping = RequestMapping { request: "r".to_owned(), resource: "example.com/nic".to_owned() };
        assert_eq!(claims.extended.unwrap().mappings, [mapping]);
        assert_eq!(PodClaims::of(&json!({"status": {"resourceClaimStatuses": null}})), PodClaims::default());
    }
}
