//! Whether Whereabouts gave the address of a claim to a later sandbox of the same pod.
//!
//! For a pod of a name that it knows, Whereabouts uses the entry that is there again: it writes the new container into the entry's `id` and
//! leaves the claim alone. Until somebody has written that container into the claim, the claim names the lost sandbox. A DEL of that one, or
//! its tombstone, must not delete it: it writes the later sandbox into it. So does the leader, where no DEL comes.
//!
//! To ask costs a read of the pool's object. So only a release asks whose record may be older than the latest use of Whereabouts on this node
//! ([`Writer::Unknown`]).

use std::net::IpAddr;

use node::client::{ApiError, Denial, retry};
use node::names::DnsSubdomain;

use super::store::{Claims, POLICY};
use crate::crd::ip_pool::{self, Allocation, POOLS};
use crate::crd::reservation::{Reservation, ReservationOwner, ReservationSpec};
use crate::node_state::installation::Writer;
use crate::node_state::record::Record;
use crate::pool::claim_reader::ClaimNameReader;
use crate::pool::held_claim::HeldClaim;

/// Whether a claim stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Yes,
    No,
}

/// Where the entry of a claim's address is.
pub(super) struct Place {
    pub pool: DnsSubdomain,
    pub ip: IpAddr,
}

impl Place {
    /// That of a claim in a record. `None` if the record names a pool that cannot be one.
    pub fn of_held(claim: &HeldClaim) -> Option<Self> {
        Some(Place { pool: DnsSubdomain::new(claim.pool.as_str()).ok()?, ip: claim.address.addr() })
    }

    /// That of a claim that was read. `None` if it has no labels of ours.
    pub fn of(claim: &Reservation) -> Option<Self> {
        let (pool, range) = (claim.pool()?, claim.range()?);
        let ip = ClaimNameReader::of(pool, &range).address(claim.metadata.name.as_deref()?)?;
        Some(Place { pool: DnsSubdomain::new(pool).ok()?, ip })
    }
}

/// The entry of an address, and the UID of the object that it was read from.
struct Read {
    pool_uid: Option<String>,
    entry: Option<Allocation>,
}

impl Claims<'_> {
    /// Keeps the claims of these names if the address's entry is one of a later sandbox than that of the record: the address is in use. Writes
    /// the later sandbox into them, so that its DEL, or the leader when its pod is gone, deletes them.
    pub(super) async fn keep_for_later_sandbox(
        &self,
        writer: Writer,
        place: Option<Place>,
        names: &[DnsSubdomain],
        record: &Record,
    ) -> Result<Kept, ApiError> {
        let Some(place) = place.filter(|_| writer == Writer::Unknown) else { return Ok(Kept::No) };
        let mut read = self.read_entry(&place).await?;
        let Some(mut later) = read.later_than(record) else { return Ok(Kept::No) };
        let mut holder = record.container_id.clone();
        loop {
            for name in names {
                match self.give(name, &holder, &later).await {
                    // An admission policy lets a node write the claims of its own sandboxes only. The leader writes it.
                    Ok(())
                    | Err(ApiError::Invalid { .. } | ApiError::Denied { denial: Denial::Forbidden, .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            // The later sandbox's DEL looks for the claim after it removed the entry, and this looks for the entry after it wrote the claim:
            // one of both sees the other.
            holder.clone_from(&later.id);
            let again = self.read_entry(&place).await?;
            match again.later_than(record) {
                Some(entry) if entry.id == later.id => return Ok(Kept::Yes),
                Some(entry) => later = entry,
                // The leader wrote into the entry what the claim says by now.
                None if again.entry.as_ref().is_some_and(|entry| entry.id == holder) => return Ok(Kept::Yes),
                // Another object, or none: it may have been deleted by hand, and says nothing about the sandbox.
                None if again.pool_uid.is_none() || again.pool_uid != read.pool_uid => return Ok(Kept::Yes),
                None => {
                    for name in names {
                        self.delete_of(name, &holder).await?;
                    }
                    return Ok(Kept::Yes);
                }
            }
            read = again;
        }
    }

    async fn read_entry(&self, Place { pool, ip }: &Place) -> Result<Read, ApiError> {
        let path = POOLS.in_namespace(self.namespace).object(pool);
        let pool = match retry(self.deadline, POLICY, || self.api.get(&path, self.deadline)).await {
            Ok::<ip_pool::Pool, _>(pool) => pool,
            Err(ApiError::NotFound { .. }) => return Ok(Read { pool_uid: None, entry: None }),
            Err(error) => return Err(error),
        };
        let entry = pool.entries().into_iter().find(|(_, address, _)| address == ip);
        Ok(Read { entry: entry.map(|(_, _, entry)| entry.clone()), pool_uid: pool.metadata.uid })
    }

    /// Makes the sandbox of `entry` the owner of a claim of this container.
    async fn give(&self, name: &DnsSubdomain, container: &str, entry: &Allocation) -> Result<(), ApiError> {
        let present = self.get(name).await?.filter(|claim| claim.container() == container);
        let Some(mut claim) = present else { return Ok(()) };
        let (Some(pool), Some(range)) = (claim.pool().map(str::to_owned), claim.range()) else {
            return Ok(());
        };
        let whole = claim.whole().unwrap_or(&pool).to_owned();
        let Allocation { id, podref, ifname, .. } = entry.clone();
        let spec = ReservationSpec { podref, ifname, containerid: id };
        let owner = ReservationOwner { pool: &pool, whole: &whole, range, pod_uid: None, node: None, spec };
        claim.assign(owner);
        // `None`: somebody changed or deleted it since the read.
        self.replace(name, &claim).await.map(drop)
    }

    /// Deletes a claim of this container.
    pub(super) async fn delete_of(&self, name: &DnsSubdomain, container: &str) -> Result<(), ApiError> {
        let present = self.get(name).await?.filter(|claim| claim.container() == container);
        let Some(claim) = present else { return Ok(()) };
        self.delete_unchanged(name, claim).await
    }
}

impl Read {
    /// The entry, if it is one of a later sandbox than that of the record.
    fn later_than(&self, record: &Record) -> Option<Allocation> {
        let is_later = |entry: &&Allocation| is_of_later_sandbox(entry, &record.container_id, &record.podref);
        self.entry.as_ref().filter(is_later).cloned()
    }
}

/// Whether Whereabouts wrote this entry for another sandbox of the pod than `container`.
///
/// The leader's entry of an earlier sandbox may be there still, but its `via` repeats its `id`. Where Whereabouts' definition of IPPool drops
/// `via`, each entry of another sandbox counts: the price of an error is that the claim stays until its pod is gone.
fn is_of_later_sandbox(entry: &Allocation, container: &str, podref: &str) -> bool {
    let is_of_pod = podref.is_empty() || entry.podref == podref;
    let is_by_leader = entry.via.as_deref() == Some(ip_pool::via(&entry.id).as_str());
    entry.id != container && is_of_pod && !is_by_leader
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Reservation, is_of_later_sandbox};
    use crate::claims::release;
    use crate::claims::testing::{CLAIMS, Node, POOL, World, claimant, pool_request, record};
    use crate::conf::OverlappingRanges::Protected;
    use crate::crd::ip_pool::{ClaimNaming, via};
    use crate::leader::tests::server::Server;
    use crate::node_state::installation::Writer;
    use crate::node_state::record::{Record, Stage};

    /// An entry of pod `a`, whose `via` names this container.
    fn entry(id: &str, of: Option<&str>) -> Value {
        json!({"id": id, "podref": "default/a", "ifname": "net1", "via": of.map(via)})
    }

    #[test]
    fn an_entry_of_another_container_that_the_leader_did_not_write_is_of_a_later_sandbox() {
        for (id, of, podref, expected) in [
            ("a", Some("a"), "default/a", false),
            ("a", None, "default/a", false),
            // The view shows an earlier sandbox than the claim.
            ("earlier", Some("earlier"), "default/a", false),
            // Whereabouts exchanged the id.
            ("later", Some("a"), "default/a", true),
            // Whereabouts' definition drops via.
            ("later", None, "default/a", true),
            ("later", None, "", true),
            ("later", None, "default/other", false),
        ] {
            let entry = serde_json::from_value(entry(id, of)).unwrap();
            assert_eq!(is_of_later_sandbox(&entry, "a", podref), expected, "{id} {of:?} {podref}");
        }
    }

    #[tokio::test]
    async fn a_del_of_a_sandbox_from_before_whereabouts_keeps_the_claim_of_the_pods_later_sandbox() {
        for stage in [Stage::Held, Stage::Claiming] {
            for (entry, writer, left) in [
                (entry("later", Some("a")), Writer::Unknown, 1),
                (entry("later", None), Writer::Unknown, 1),
                (entry("a", Some("a")), Writer::Unknown, 0),
                // The present installation saw no other plugin: it does not ask.
                (entry("later", None), Writer::ThisInstallation, 0),
            ] {
                let (world, node) = (World::with(ClaimNaming::Address).await, Node::new());
                let pool = pool_request("10.0.0.0/29", Protected);
                let held = world.serve(&node, claimant("a"), pool, None).await.unwrap();
                world.put_pool(
                    json!({"whereabouts.multus-rs/claim-names": "address"}),
                    json!({"1": entry.clone()}),
                );
                // With the stage Claiming only the container's label leads to the claim.
                let held = if stage == Stage::Held { held } else { Vec::new() };
                let record = Record { stage, ..record("a", held) };
                release::release(&world.claims(), &record, writer, &[]).await.unwrap();
                let names = world.names();
                assert_eq!(names.len(), left, "{stage:?} {writer:?} {entry}");
                for name in names {
                    let claim = world.server.get(CLAIMS, "kube-system", &name).unwrap();
                    let claim: Reservation = serde_json::from_value(claim).unwrap();
                    assert_eq!((claim.container(), claim.pod_uid()), ("later", None));
                    assert_eq!(claim.pool(), Some(POOL));
                }
            }
        }
    }
    /// Once the claim names the later sandbox, the leader writes so into the entry too.
    #[tokio::test]
    async fn the_leaders_view_of_the_later_sandbox_proves_no_del_of_it() {
        let (world, node) = (World::with(ClaimNaming::Address).await, Node::new());
        let pool = pool_request("10.0.0.0/29", Protected);
        let held = world.serve(&node, claimant("a"), pool, None).await.unwrap();
        let put = |server: &Server, entry: Value| {
            let metadata =
                json!({"uid": "p", "annotations": {"whereabouts.multus-rs/claim-names": "address"}});
            let spec = json!({"range": "10.0.0.0/29", "allocations": {"1": entry}});
            server.put("ippools", "kube-system", POOL, json!({"metadata": metadata, "spec": spec}));
        };
        put(&world.server, entry("later", Some("a")));
        let (server, runtime) = (world.server.clone(), tokio::runtime::Handle::current());
        world.server.on_request(move |method, _| {
            if method == "PUT" {
                let server = server.clone();
                runtime.spawn(async move { put(&server, entry("later", Some("later"))) });
            }
        });
        // The other task runs while a request is under way.
        world.server.delay(std::time::Duration::from_millis(20));
        let record = record("a", held);
        release::release(&world.claims(), &record, Writer::Unknown, &[]).await.unwrap();
        let names = world.names();
        assert_eq!(names.len(), 1);
        let claim = world.server.get(CLAIMS, "kube-system", &names[0]).unwrap();
        assert_eq!(claim["spec"]["containerid"], "later");
    }
}
