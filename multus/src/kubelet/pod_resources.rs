//! The messages of the kubelet's API `v1.PodResourcesLister` (k8s.io/kubelet/pkg/apis/podresources/v1), as far as they are used: the decoder
//! skips other fields.

use nad::PodRef;

use crate::device::{Device, Devices};

/// The request of `List`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ListRequest {}

/// The answer of `List`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ListResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) pods: Vec<PodResources>,
}

/// One pod.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PodResources {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) namespace: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) containers: Vec<Container>,
}

/// One container.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Container {
    /// From device plugins. A resource has an entry for each NUMA node.
    #[prost(message, repeated, tag = "2")]
    pub(crate) devices: Vec<ContainerDevices>,
    /// From resource claims.
    #[prost(message, repeated, tag = "5")]
    pub(crate) dynamic_resources: Vec<DynamicResource>,
}

/// Devices of one resource.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ContainerDevices {
    #[prost(string, tag = "1")]
    pub(crate) resource_name: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) device_ids: Vec<String>,
}

/// What one claim gives to a container.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DynamicResource {
    #[prost(string, tag = "2")]
    pub(crate) claim_name: String,
    #[prost(message, repeated, tag = "4")]
    pub(crate) claim_resources: Vec<ClaimResource>,
}

/// One device of a claim.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ClaimResource {
    #[prost(message, repeated, tag = "1")]
    pub(crate) cdi_devices: Vec<CdiDevice>,
}

/// A name for the container runtime: `<vendor>/<class>=<device>`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CdiDevice {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

/// The devices of a pod, in the kubelet's order of containers. Within one container they are sorted: the kubelet lists them in the order of a
/// Go map, and other agents sort them, so both count the same way.
pub(super) fn devices(answer: &ListResponse, pod: &PodRef) -> Devices {
    let is_meant =
        |one: &&PodResources| one.name == pod.name.as_str() && one.namespace == pod.namespace.as_str();
    let mut devices = Devices::default();
    for container in answer.pods.iter().filter(is_meant).flat_map(|one| &one.containers) {
        let of_plugins = container
            .devices
            .iter()
            .flat_map(|entry| entry.device_ids.iter().map(|id| (entry.resource_name.as_str(), id.as_str())));
        let mut sorted: Vec<(&str, &str)> = of_plugins.collect();
        sorted.sort_unstable();
        // Multus up to 4.3 names a claim in the place of a resource. Such definitions stay valid.
        let of_claims = container.dynamic_resources.iter().flat_map(|resource| {
            let names = resource.claim_resources.iter().flat_map(|device| &device.cdi_devices);
            let ids = names.filter_map(|cdi| cdi.name.split_once('=').map(|(_, id)| id));
            ids.map(|id| (resource.claim_name.as_str(), id))
        });
        for (resource, id) in sorted.into_iter().chain(of_claims) {
            devices.add(resource, Device::of_plugin(id));
        }
    }
    devices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{kubelet, pod_ref};

    #[test]
    fn containers_keep_their_order_and_the_ids_of_one_are_sorted() {
        let nic = "example.com/nic";
        let answer = ListResponse {
            pods: vec![
                kubelet::pod("other", "pod0", &[&[(nic, &["9"])]]),
                kubelet::pod("default", "pod1", &[&[(nic, &["8"])]]),
                kubelet::pod(
                    "default",
                    "pod0",
                    &[&[(nic, &["5", "4"]), ("x/gpu", &["7"]), (nic, &["3"])], &[(nic, &["2", "5", "1"])]],
                ),
            ],
        };
        let devices = devices(&answer, &pod_ref("default", "pod0"));
        assert_eq!(devices.ids(nic), ["3", "4", "5", "1", "2"]);
        assert_eq!(devices.ids("x/gpu"), ["7"]);
    }

    #[test]
    fn the_name_of_a_claim_counts_as_a_resource() {
        let cdi = |name: &str| CdiDevice { name: name.to_owned() };
        let claim_resources =
            vec![ClaimResource { cdi_devices: vec![cdi("x.com/nic=0000:01:00.1"), cdi("wrong")] }];
        let dynamic_resources = vec![DynamicResource { claim_name: "nics".to_owned(), claim_resources }];
        let container = Container { dynamic_resources, ..Container::default() };
        let pod = PodResources { containers: vec![container], ..kubelet::pod("default", "pod0", &[]) };
        let devices = devices(&ListResponse { pods: vec![pod] }, &pod_ref("default", "pod0"));
        assert_eq!(devices.ids("nics"), ["0000:01:00.1"]);
    }
}
