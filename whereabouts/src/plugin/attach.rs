//! ADD and DEL.

use cni::env::{Attachment, Detachment};
use cni::plugin::Call;
use cni::result::{CniResult, Ip};
use ipnet::IpNet;

use super::args::pod;
use super::session::{
    assignment, attachments, conf, conf_for_removal, kubeconfig_of_node, namespace, run, warn,
};
use crate::conf::Conf;
use crate::conf::families::Families;
use crate::conf::files::node_name;
use crate::conf::request::Assignment;
use crate::node_state::installation::Writer;
use crate::node_state::record::{Record, Stage};
use crate::pool::request::{self, AllocationRequest, Claimant, PoolRequest};
use crate::rpc::error::CallError;
use crate::rpc::wire::Release;

/// Allocates an address in each range, all or none, and returns them with the routes and DNS settings of the configuration.
pub(super) fn add(attachment: &Attachment, call: &Call) -> Result<CniResult, CallError> {
    let conf = conf(call)?.of_families(Families::of(&call.conf.runtime_config)?)?;
    conf.warnings.iter().for_each(|warning| warn(warning));
    let wanted = assignment(call, &conf)?;
    let (podref, pod_uid) = pod(&call.args).ok_or(CallError::NoPod)?;
    let attachments = attachments()?;
    let node = node_name(conf.configuration_path.as_deref());
    let mut pools = pools(&conf, node.as_deref())?;
    pools.extend(request::outside_pools(&conf, &wanted.outside));
    let claimant = Claimant {
        podref,
        pod_uid,
        if_name: attachment.if_name.to_string(),
        container_id: attachment.container_id.to_string(),
        node,
    };
    let request = AllocationRequest::new(claimant, namespace(conf.kubeconfig.as_deref())?, pools, &wanted);
    let record = record_of(&request, &conf);
    let record = run(attachments.attach(&request, record))?;
    let addresses: Vec<_> = record.claims.iter().map(|claim| claim.address).collect();
    Ok(CniResult {
        interfaces: Vec::new(),
        ips: ips(&conf, &addresses, &wanted),
        routes: conf.routes,
        dns: conf.dns,
    })
}

/// The pools of a configuration.
///
/// # Errors
/// [`CallError::NoNodeName`] if the ranges are cut into slices and the node's name is unknown.
pub(super) fn pools(conf: &Conf, node: Option<&str>) -> Result<Vec<PoolRequest>, CallError> {
    if conf.slice_size.is_some() && node.is_none() {
        return Err(CallError::NoNodeName);
    }
    Ok(request::pools(conf, node))
}

fn record_of(request: &AllocationRequest, conf: &Conf) -> Record {
    Record {
        container_id: request.claimant.container_id.clone(),
        if_name: request.claimant.if_name.clone(),
        podref: request.claimant.podref.clone(),
        network: conf.name.clone(),
        kubeconfig: conf.kubeconfig.clone(),
        namespace: request.namespace.clone(),
        pod_uid: request.claimant.pod_uid.clone(),
        stage: Stage::Claiming,
        claims: Vec::new(),
    }
}

/// Releases the addresses of an attachment. Needs only the attachment's record, not the configuration. If the API server cannot be reached,
/// leaves a tombstone and succeeds.
pub(super) fn del(detachment: &Detachment, call: &Call) -> Result<(), CallError> {
    let Detachment { container_id, if_name, .. } = detachment;
    let unrecorded = || unrecorded(detachment, call);
    run(attachments()?.detach(container_id, if_name, unrecorded, |text| warn(&text)))
}

/// The release of an attachment without a record. Without a usable configuration the claims are still found by their container label, by the
/// daemon or with the credentials that the node's flat file names.
fn unrecorded(detachment: &Detachment, call: &Call) -> Release {
    let conf = conf_for_removal(call).inspect_err(|error| {
        warn(&format_args!("{error}; DEL releases what it finds by the container's label"));
    });
    let conf = conf.ok();
    let kubeconfig = conf.as_ref().map_or_else(kubeconfig_of_node, |conf| conf.kubeconfig.clone());
    // A DEL that fails keeps the pod in Terminating, and the claims that this one misses are reclaimed once the pod is gone.
    let namespace = namespace(kubeconfig.as_deref()).unwrap_or_else(|error| {
        warn(&format_args!("{error}; DEL releases what it finds in the daemon's namespace"));
        None
    });
    let (podref, pod_uid) = pod(&call.args).unwrap_or_default();
    let record = Record {
        container_id: detachment.container_id.to_string(),
        if_name: detachment.if_name.to_string(),
        podref,
        network: conf.as_ref().map_or_else(String::new, |conf| conf.name.clone()),
        namespace,
        kubeconfig,
        pod_uid,
        stage: Stage::Claiming,
        claims: Vec::new(),
    };
    let pools_of = |conf: &Conf| pools(conf, node_name(conf.configuration_path.as_deref()).as_deref());
    // Without the node's name no address can have been allocated from a slice.
    let upstream = conf.as_ref().map(pools_of).and_then(Result::ok).unwrap_or_default();
    Release { record, upstream, writer: Writer::Unknown }
}

/// The addresses of a result: first the claimed ones, with the network's gateway or the one requested with them, then those without a claim.
fn ips(conf: &Conf, claimed: &[IpNet], wanted: &Assignment) -> Vec<Ip> {
    let from_ranges = wanted.claims.iter().filter(|claim| claim.range < conf.ranges.len()).count();
    let claimed = claimed.iter().enumerate().map(|(at, address)| {
        let outside = at.checked_sub(from_ranges).and_then(|at| wanted.outside.get(at));
        let gateway = outside.map_or(conf.gateway, |outside| outside.gateway);
        Ip { interface: None, address: *address, gateway }
    });
    let fixed = wanted.addresses.iter().map(|address| Ip {
        interface: None,
        address: address.address,
        gateway: address.gateway,
    });
    claimed.chain(fixed).collect()
}
