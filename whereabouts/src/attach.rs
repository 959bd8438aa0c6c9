//! ADD and DEL.

use std::path::Path;

use cni::crash_point;
use cni::env::{Attachment, Detachment};
use cni::plugin::Call;
use cni::result::CniResult;
use node::deadline::Deadline;

use crate::adopt;
use crate::choose::Hints;
use crate::claim::{Claimant, Claimed, Claims, Origin, Search};
use crate::conf::Conf;
use crate::conf::request::Assignment;
use crate::hint::HintStore;
use crate::node_slice;
use crate::pool::{Pool, ips};
use crate::record::{HeldClaim, Record, Records, STATE, Stage};
use crate::session::{ADD_LIMIT, DEL_LIMIT, Pod, SessionError, assignment, conf, records, with_api};

/// So many tombstones are drained by one call, after its own work.
const DRAINED_BY_A_CALL: usize = 8;

/// Claims an address in each range, all or none, and returns them with what the configuration adds.
pub fn add(attachment: &Attachment, call: &Call) -> Result<CniResult, SessionError> {
    let conf = conf(call)?;
    let wanted = assignment(call, &conf)?;
    let pod = Pod::of(&call.args)?;
    let records = records()?;
    let kubeconfig = conf.kubeconfig()?.to_owned();
    let deadline = Deadline::after(ADD_LIMIT);
    let claimed = with_api(&kubeconfig, deadline, async |api, namespace| {
        let claims = Claims { api, namespace, deadline };
        let pools = pools(&claims, &conf).await?;
        let mut record = Record {
            container_id: attachment.container_id.to_string(),
            if_name: attachment.if_name.to_string(),
            podref: pod.podref.clone(),
            network: conf.name.clone(),
            kubeconfig: kubeconfig.display().to_string(),
            stage: Stage::Claiming,
            claims: Vec::new(),
        };
        records.write(&record)?;
        crash_point!("add-after-record");
        record.claims = claim_all(&claims, &pools, &wanted, &pod, &record, &records).await?;
        record.stage = Stage::Held;
        records.update(&record)?;
        crash_point!("add-after-claims");
        drain(&claims, &records).await;
        Ok(record.claims)
    })?;
    let addresses: Vec<_> = claimed.iter().map(|claim| claim.address).collect();
    Ok(CniResult {
        interfaces: Vec::new(),
        ips: ips(&conf, &addresses, &wanted.addresses),
        routes: conf.routes.clone(),
        dns: conf.dns.clone(),
    })
}

/// The pool of each range, its earlier entries adopted.
async fn pools(claims: &Claims<'_>, conf: &Conf) -> Result<Vec<Pool>, SessionError> {
    let node = match conf.slice_size {
        Some(_) => Some(node_slice::node_name(conf)?),
        None => None,
    };
    let mut pools = Vec::with_capacity(conf.ranges.len());
    for range in &conf.ranges {
        let pool = match &node {
            Some(node) => Pool::of_slice(conf, range, node_slice::slice_of(claims, conf, node).await?, node)?,
            None => Pool::of_range(conf, range)?,
        };
        adopt::adopt(claims, &pool).await?;
        pools.push(pool);
    }
    Ok(pools)
}

/// Claims what is wanted, in order. When one cannot be had the new ones are given back.
async fn claim_all(
    claims: &Claims<'_>,
    pools: &[Pool],
    wanted: &Assignment,
    pod: &Pod,
    record: &Record,
    records: &Records,
) -> Result<Vec<HeldClaim>, SessionError> {
    let who = Claimant {
        podref: &pod.podref,
        if_name: &record.if_name,
        container_id: &record.container_id,
        pod_uid: pod.uid.as_deref(),
    };
    let hints = HintStore::open(Path::new(STATE));
    let mut held: Vec<Claimed> = Vec::new();
    for claim in &wanted.claims {
        let Some(pool) = pools.get(claim.range) else { continue };
        let name = pool.name.as_str();
        let look = Hints {
            wish: claim.wish,
            previous: hints.previous(name, &pod.podref, &record.if_name),
            start: hints.get(name),
        };
        match claims.claim(pool, &who, look).await {
            Ok(claimed) => held.push(claimed),
            Err(error) => {
                give_back(claims, record, &held, records).await;
                return Err(error.into());
            }
        }
        crash_point!("add-after-claim");
    }
    for Claimed { claim, search, .. } in &held {
        let ip = claim.address.addr();
        hints.set_previous(&claim.pool, &pod.podref, &record.if_name, Some(ip));
        if *search == Search::InOrder {
            hints.set(&claim.pool, crate::ip::add(ip, 1).unwrap_or(ip));
        }
    }
    Ok(held.into_iter().map(|claimed| claimed.claim).collect())
}

/// What a failed ADD had got. Where it cannot be given back now the record stays, and the runtime's DEL does it.
async fn give_back(claims: &Claims<'_>, record: &Record, held: &[Claimed], records: &Records) {
    let new = held.iter().filter(|claimed| claimed.origin == Origin::New);
    let given = Record { claims: new.map(|claimed| claimed.claim.clone()).collect(), ..record.clone() };
    let kept_one = held.iter().any(|claimed| claimed.origin == Origin::TakenOver);
    if claims.release(&Record { stage: Stage::Held, ..given }).await.is_ok() && !kept_one {
        let _ = records.remove(&record.container_id, &record.if_name);
    }
}

/// Releases what an attachment holds, by its record alone. With the API server away it leaves a tombstone and succeeds.
pub fn del(detachment: &Detachment, call: &Call) -> Result<(), SessionError> {
    let records = records()?;
    let known = records.read(&detachment.container_id, &detachment.if_name);
    if let Ok(Some(record)) = known {
        return release_or_bury(&record, &records, None);
    }
    // Made by Whereabouts, or its record is lost: the claims are found by their label, the pool's entries by their container.
    let conf = conf(call)?;
    let record = Record {
        container_id: detachment.container_id.to_string(),
        if_name: detachment.if_name.to_string(),
        podref: Pod::of(&call.args).map(|pod| pod.podref).unwrap_or_default(),
        network: conf.name.clone(),
        kubeconfig: conf.kubeconfig()?.display().to_string(),
        stage: Stage::Claiming,
        claims: Vec::new(),
    };
    release_or_bury(&record, &records, Some(&conf))
}

fn release_or_bury(record: &Record, records: &Records, conf: Option<&Conf>) -> Result<(), SessionError> {
    let deadline = Deadline::after(DEL_LIMIT);
    let released = with_api(Path::new(&record.kubeconfig), deadline, async |api, namespace| {
        let claims = Claims { api, namespace, deadline };
        if let Some(conf) = conf {
            remove_upstream_entries(&claims, conf, record).await?;
        }
        claims.release(record).await?;
        records.remove(&record.container_id, &record.if_name)?;
        forget(record, records);
        drain(&claims, records).await;
        Ok(())
    });
    match released {
        Ok(()) => Ok(()),
        Err(SessionError::Record(error)) => Err(error.into()),
        // The pod can go; its addresses follow as soon as the API server is back.
        Err(_) => Ok(records.bury(record)?),
    }
}

/// Entries that Whereabouts wrote for a container that is deleted now. A configuration whose pools cannot be named has none.
async fn remove_upstream_entries(
    claims: &Claims<'_>,
    conf: &Conf,
    record: &Record,
) -> Result<(), SessionError> {
    let Ok(pools) = pools(claims, conf).await else { return Ok(()) };
    for pool in pools {
        adopt::remove_entries(claims, &pool, &record.container_id, &record.if_name).await?;
    }
    Ok(())
}

/// The addresses are free: look there first. The interface has none any more, unless a newer sandbox took it over.
fn forget(record: &Record, records: &Records) {
    let hints = HintStore::open(Path::new(STATE));
    let newer = |other: &Record| other.podref == record.podref && other.if_name == record.if_name;
    let taken_over = records.all().is_ok_and(|all| all.iter().any(newer));
    for claim in record.claims.iter().filter(|_| !taken_over) {
        hints.lower(&claim.pool, claim.address.addr());
        hints.set_previous(&claim.pool, &record.podref, &record.if_name, None);
    }
}

/// Deletes what earlier calls could not. It is owed, not part of this call: a failure leaves it to the next one.
pub async fn drain(claims: &Claims<'_>, records: &Records) {
    let Ok(tombstones) = records.tombstones() else { return };
    for tombstone in tombstones.into_iter().take(DRAINED_BY_A_CALL) {
        if claims.release(&tombstone).await.is_err() {
            return;
        }
        let _ = records.drained(&tombstone);
        forget(&tombstone, records);
    }
}
