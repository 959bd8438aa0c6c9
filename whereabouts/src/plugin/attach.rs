//! ADD and DEL.

use super::args::pod;
use crate::conf::StaticAddress;
use crate::conf::files::node_name;
use crate::pool::request;
use cni::crash_point;
use cni::env::{Attachment, Detachment};
use cni::plugin::Call;
use cni::result::CniResult;
use cni::result::Ip;
use ipnet::IpNet;

use crate::claims::error::Cleanup;
use crate::claims::tombstones;
use crate::conf::Conf;
use crate::node_state::record::{Record, Stage};
use crate::plugin::session::{assignment, conf, namespace, records, source};
use crate::pool::request::{AllocationRequest, Claimant, PoolRequest};
use crate::rpc::error::CallError;
use crate::rpc::wire::Release;
use crate::rpc::wire::{ADD_LIMIT, DEL_LIMIT};

/// Claims an address in each range, all or none, and returns them with what the configuration adds.
pub fn add(attachment: &Attachment, call: &Call) -> Result<CniResult, CallError> {
    let conf = conf(call)?;
    let wanted = assignment(call, &conf)?;
    let (podref, pod_uid) = pod(&call.args).ok_or(CallError::NoPod)?;
    let records = records()?;
    let node = node_name(conf.configuration_path.as_deref());
    let pools = pools(&conf, node.as_deref())?;
    let claimant = Claimant {
        podref,
        pod_uid,
        if_name: attachment.if_name.to_string(),
        container_id: attachment.container_id.to_string(),
        node,
    };
    let order = AllocationRequest::new(claimant, namespace(&conf), pools, &wanted);
    let mut record = record_of(&order, &conf);
    records.write(&record)?;
    crash_point!("add-after-record");
    let served = match source(&records, conf.kubeconfig.clone(), ADD_LIMIT).claim(&order) {
        Ok(served) => served,
        Err(failure) => {
            if failure.cleanup == Cleanup::NotNeeded {
                let _ = records.remove(&record.container_id, &record.if_name);
            }
            return Err(failure.error);
        }
    };
    record.claims = served.claimed.into_iter().map(|claimed| claimed.claim).collect();
    record.stage = served.stage;
    records.update(&record)?;
    crash_point!("add-after-claims");
    let addresses: Vec<_> = record.claims.iter().map(|claim| claim.address).collect();
    Ok(CniResult {
        interfaces: Vec::new(),
        ips: ips(&conf, &addresses, &wanted.addresses),
        routes: conf.routes,
        dns: conf.dns,
    })
}

/// The pools of a configuration. A range that is cut into slices needs the node's name.
pub fn pools(conf: &Conf, node: Option<&str>) -> Result<Vec<PoolRequest>, CallError> {
    if conf.slice_size.is_some() && node.is_none() {
        return Err(CallError::NoNodeName);
    }
    Ok(request::pools(conf, node))
}

fn record_of(order: &AllocationRequest, conf: &Conf) -> Record {
    Record {
        container_id: order.claimant.container_id.clone(),
        if_name: order.claimant.if_name.clone(),
        podref: order.claimant.podref.clone(),
        network: conf.name.clone(),
        kubeconfig: conf.kubeconfig.clone(),
        namespace: order.namespace.clone(),
        stage: Stage::Claiming,
        claims: Vec::new(),
    }
}

/// Releases what an attachment holds, by its record alone. With the API server away it leaves a tombstone and succeeds.
pub fn del(detachment: &Detachment, call: &Call) -> Result<(), CallError> {
    let records = records()?;
    let known = records.read(&detachment.container_id, &detachment.if_name);
    let release = match known {
        Ok(Some(record)) => Release { record, upstream: Vec::new() },
        // Made by Whereabouts, or its record is lost: the claims are found by their label, the pool's entries by their container.
        Ok(None) | Err(_) => unrecorded(detachment, call)?,
    };
    let record = &release.record;
    match source(&records, record.kubeconfig.clone(), DEL_LIMIT).release(&release) {
        Ok(()) => {}
        Err(CallError::Record(error)) => return Err(error.into()),
        // The pod can go; its addresses follow as soon as the API server is back.
        Err(_) => return Ok(records.bury(record)?),
    }
    records.remove(&record.container_id, &record.if_name)?;
    tombstones::forget(record);
    Ok(())
}

fn unrecorded(detachment: &Detachment, call: &Call) -> Result<Release, CallError> {
    let conf = conf(call)?;
    let record = Record {
        container_id: detachment.container_id.to_string(),
        if_name: detachment.if_name.to_string(),
        podref: pod(&call.args).map(|(podref, _)| podref).unwrap_or_default(),
        network: conf.name.clone(),
        kubeconfig: conf.kubeconfig.clone(),
        namespace: namespace(&conf),
        stage: Stage::Claiming,
        claims: Vec::new(),
    };
    // Without a node's name no slice of it can hold anything.
    let upstream = pools(&conf, node_name(conf.configuration_path.as_deref()).as_deref()).unwrap_or_default();
    Ok(Release { record, upstream })
}

/// The addresses of a result: those from pools first, each with the network's gateway, then those given as they stand.
fn ips(conf: &Conf, claimed: &[IpNet], fixed: &[StaticAddress]) -> Vec<Ip> {
    let claimed =
        claimed.iter().map(|address| Ip { interface: None, address: *address, gateway: conf.gateway });
    let fixed =
        fixed.iter().map(|given| Ip { interface: None, address: given.address, gateway: given.gateway });
    claimed.chain(fixed).collect()
}
