//! Plugins that are not ours. They have their own readers, so this finds what can be seen from outside only.

use cni::list::PluginConf;
use serde_json::{Map, Value};

use super::report::Report;

/// Our own plugins.
const OURS: &[&str] = &["macvlan", "ipvlan", "whereabouts", "passthru"];

/// Plugins of the CNI project and of well-known networks. Another name may be a typing error.
const KNOWN: &[&str] = &[
    "antrea",
    "aws-cni",
    "azure-vnet",
    "bandwidth",
    "bond",
    "bridge",
    "calico",
    "calico-ipam",
    "cilium-cni",
    "dhcp",
    "dummy",
    "firewall",
    "flannel",
    "host-device",
    "host-local",
    "ib-sriov",
    "infiniband-sriov",
    "kube-ovn",
    "kube-router",
    "loopback",
    "nsx",
    "ovn-k8s-cni-overlay",
    "ovs",
    "portmap",
    "ptp",
    "rdma",
    "sbr",
    "spiderpool",
    "sriov",
    "static",
    "tap",
    "tuning",
    "vlan",
    "vrf",
    "weave-net",
];

/// Whether the plugin is one of ours.
pub(super) fn is_ours(plugin_type: &str) -> bool {
    OURS.contains(&plugin_type)
}

/// A note about a plugin that nobody knows.
pub(super) fn check_type(plugin_type: &str, report: &mut Report<'_>) {
    if !is_ours(plugin_type) && !KNOWN.contains(&plugin_type) {
        report.note(
            format!("plugin {plugin_type:?} is not known here: a file of this name must be in the plugin folder of every node"),
            "check the name",
        );
    }
}

/// What a network of Antrea's agent needs, and what the agent does besides.
pub(super) fn note_antrea(report: &mut Report<'_>) {
    report.note(
        "antrea-agent attaches this network, not multus. It does so only with its feature gate SecondaryNetwork, which is off by default. With the \
         gate on, it also removes network-status from pods that use none of its networks",
        "turn the gate on in Antrea's configuration; to keep network-status, refuse its removal by antrea-agent with a ValidatingAdmissionPolicy",
    );
}

/// Checks the `ipam` of host-local.
pub(super) fn check_host_local(plugin: &PluginConf, ipam: &Map<String, Value>, report: &mut Report<'_>) {
    let mut folded = ipam.clone();
    let of_whereabouts = ["range", "range_start", "range_end", "ipRanges", "exclude"];
    cni::json::fold_keys(&mut folded, &[&["subnet", "ranges"], of_whereabouts.as_slice()].concat());
    let found: Vec<String> = of_whereabouts
        .iter()
        .filter(|key| folded.contains_key(**key))
        .map(|key| format!("{key:?}"))
        .collect();
    if !found.is_empty() {
        report.warn(
            format!("{} of ipam is a key of whereabouts and has no effect with host-local", found.join(", ")),
            "set ipam.type to \"whereabouts\", or use \"ranges\" and \"subnet\"",
        );
    }
    let has_ranges = folded.get("ranges").and_then(Value::as_array).is_some_and(|ranges| !ranges.is_empty());
    let has_subnet = folded.get("subnet").and_then(Value::as_str).is_some_and(|subnet| !subnet.is_empty());
    let from_runtime = plugin.capabilities.iter().any(|capability| capability == "ipRanges");
    if !has_ranges && !has_subnet && !from_runtime {
        report.error(
            "ipam of host-local has neither \"ranges\" nor \"subnet\", so that it has no addresses to give",
            "add \"subnet\"",
        );
    }
    if ["macvlan", "ipvlan"].contains(&plugin.plugin_type.as_str()) {
        report.warn(
            "host-local knows the addresses of its own node only, so that pods of two nodes get the same address on one wire",
            "use ipam type whereabouts, whose addresses are unique in the cluster",
        );
    }
}

/// Checks the `ipam` of static.
pub(super) fn check_static(plugin: &PluginConf, ipam: &Map<String, Value>, report: &mut Report<'_>) {
    let mut folded = ipam.clone();
    cni::json::fold_keys(&mut folded, &["addresses"]);
    let has_addresses =
        folded.get("addresses").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let from_pod = plugin.capabilities.iter().any(|capability| capability == "ips");
    if has_addresses && !from_pod {
        report.warn(
            "every pod of this network gets the same address, that of ipam.addresses",
            "declare the capability ips and request the address in the pod's annotation, or use ipam type whereabouts",
        );
    }
}
