//! Which networks to delete that no record names: those with a cached result, those that the pod requests, or those of the configuration.

use cni::cache::{Cache, Key};
use cni::list::NetworkList;
use cni::names::{ContainerId, IfName};
use nad::PodRef;
use node::files::FileError;
use serde_json::{Map, Value};

use crate::conf::{Conf, DefaultNetworks};
use crate::log::warn;
use crate::network::{Network, is_self};
use crate::plan;
use crate::record::Recorded;
use crate::request::{
    Definitions, NetworkRequest, Origin, Pod, auxiliary_network, network_requests, resolve,
};

/// The networks that have a cached result for this sandbox, with the configuration of their ADD.
pub(super) fn cached_networks(cache: &Cache, container_id: &ContainerId) -> Vec<Recorded> {
    let keys = cache.of_container(container_id).into_iter();
    let networks = keys.filter_map(|key| match key.and_then(|key| cached_network(cache, key)) {
        Ok(network) => network,
        Err(error) => {
            warn(&error);
            None
        }
    });
    networks.collect()
}

fn cached_network(cache: &Cache, key: Key) -> Result<Option<Recorded>, FileError> {
    let Some(entry) = cache.read(&key)? else { return Ok(None) };
    let object = cni::json::parse_object(&entry.config).ok();
    // The runtime's own result, of multus itself, is in the same folder if both use the default one.
    if object.as_ref().is_some_and(runs_multus) {
        return Ok(None);
    }
    let Some(network) = object.and_then(|object| Network::from_object(object, None).ok()) else {
        let Key { network, if_name, .. } = key;
        warn(&format_args!(
            "the cached result of network {network} on {if_name} names no plugins: it cannot be deleted"
        ));
        return Ok(None);
    };
    let (if_name, capability_args) = (key.if_name, entry.capability_args);
    Ok(Some(Recorded { network, if_name, capability_args, requested: None }))
}

fn runs_multus(object: &Map<String, Value>) -> bool {
    NetworkList::from_object(object.clone())
        .is_ok_and(|list| list.plugins.iter().any(|p| is_self(p.plugin_type.as_str())))
}

/// The networks that the configuration gives to every pod, without those that only the API server knows. For a DEL without record and
/// cached results: it repeats an earlier DEL, or follows an ADD of which upstream lost the record. An error means no networks, because
/// such a DEL must succeed.
pub(super) fn configured_networks(conf: &Conf, if_name: &IfName, pod: Option<&PodRef>) -> Vec<Recorded> {
    let Ok(defaults) = conf.default_networks() else { return Vec::new() };
    let requests = network_requests(conf, &defaults, pod.map(|pod| &pod.namespace), None).unwrap_or_default();
    let requests = match defaults {
        DefaultNetworks::Inline(_) => requests,
        // The place of a further network depends on the namespace of the pod, which may be unknown here.
        DefaultNetworks::Cluster { .. } => requests.into_iter().take(1).collect(),
    };
    let is_on_node =
        |request: &NetworkRequest| !matches!(request.origin, Origin::Named(_) | Origin::Definition(_));
    recorded(conf, if_name, &requests, &Definitions::new(), is_on_node)
}

/// The networks that a pod requests. Those that cannot be determined are left out: a definition may be gone or wrong by now.
pub(super) fn networks_of_pod(
    conf: &Conf,
    if_name: &IfName,
    pod: &Pod,
    definitions: &Definitions,
) -> Vec<Recorded> {
    let Ok(defaults) = conf.default_networks() else { return Vec::new() };
    let namespace = Some(&pod.pod_ref.namespace);
    let requests = network_requests(conf, &defaults, namespace, Some(pod)).unwrap_or_default();
    let mut networks = recorded(conf, if_name, &requests, definitions, |_| true);
    // As in ADD, the auxiliary chain is the last network.
    if let Ok(Some(network)) = auxiliary_network(conf)
        && let Ok(if_name) = plan::interface(requests.len(), None, if_name)
    {
        networks.push(Recorded { network, if_name, capability_args: Map::new(), requested: None });
    }
    networks
}

/// The requested networks that `wanted` accepts, as ADD would record them.
fn recorded(
    conf: &Conf,
    if_name: &IfName,
    requests: &[NetworkRequest],
    definitions: &Definitions,
    wanted: impl Fn(&NetworkRequest) -> bool,
) -> Vec<Recorded> {
    let network = |(at, request): (usize, &NetworkRequest)| -> Option<Recorded> {
        let network = resolve(request, definitions, &conf.conf_dir, None).ok()?;
        let if_name = plan::interface(at, request.attachment.interface.as_ref(), if_name).ok()?;
        // As in the plan of ADD: only the default network gets the capability arguments of the runtime.
        let mut capability_args = if at == 0 { conf.runtime_config.clone() } else { Map::new() };
        capability_args.extend(plan::capabilities(&request.attachment));
        Some(Recorded { network, if_name, capability_args, requested: None })
    };
    // The place in the whole list makes the name of the interface.
    requests.iter().enumerate().filter(|(_, request)| wanted(request)).filter_map(network).collect()
}
