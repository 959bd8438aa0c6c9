//! The targets, by the crate that they are about.

mod cni_calls;
mod cni_confs;
mod cni_results;
mod daemons;
mod interface_confs;
mod kubectl;
mod multus;
mod netlink;
mod node;
mod whereabouts;
mod whereabouts_range;

pub use cni_calls::{cni_args, cni_call, cni_exec_output};
pub use cni_confs::{cni_conf, cni_list};
pub use cni_results::{cni_cache, cni_error, cni_prev_result, cni_result};
pub use daemons::{
    certificate_request, daemon_request, daemon_response, kubelet_checkpoint, kubelet_message,
};
pub use interface_confs::{ipvlan_conf, macvlan_conf};
pub use kubectl::kubectl_check;
pub use multus::{multus_nad, multus_networks, multus_record};
pub use netlink::{announcement, netlink_reply};
pub use node::kubeconfig;
pub use whereabouts::{whereabouts_claim_name, whereabouts_conf, whereabouts_pool, whereabouts_record};
pub use whereabouts_range::whereabouts_range;
