//! Whereabouts' plugin, as far as it writes objects: an address is an entry of the IPPool, written at a resourceVersion, and a reservation
//! beside it if overlapping ranges are protected. Each request is one step, and others' requests come between two of them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use fake_api::store::Endpoint;
use fake_api::{Key, Preconditions};
use fastrand::Rng;
use serde_json::{Map, Value, json};
use whereabouts::conf::OverlappingRanges;
use whereabouts::pool::request::PoolRequest;

use super::layout::ip_pool;
use super::networks::{pool_scope, shared_scope};
use crate::sim::history::{Attachment, Event, HeldAddress, History};
use crate::sim::server::{CLAIMS, POOLS, Server};

/// Writes of one ADD, before it gives up.
const ATTEMPTS: usize = 100;

/// An ADD that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum UpstreamError {
    #[error("the pool is full")]
    Full,
    #[error("the reservation exists already")]
    ReservationExists,
    #[error("the pool changed too often")]
    Busy,
}

/// One call of the plugin.
pub struct Call<'a> {
    /// The API server.
    pub server: &'a Server,
    /// Where reservations of others that a DEL deletes are recorded.
    pub history: &'a History,
    /// The namespace of the kubeconfig.
    pub namespace: &'a str,
    /// The interface.
    pub attachment: &'a Attachment,
    /// `namespace/name` of its pod.
    pub podref: &'a str,
    /// For the time between two requests.
    pub rng: Rng,
}

impl Call<'_> {
    /// The time of a request; sometimes that of a loaded machine.
    async fn request(&mut self) {
        let micros = if self.rng.u8(..8) == 0 { self.rng.u64(..400_000) } else { self.rng.u64(700..4_000) };
        tokio::time::sleep(Duration::from_micros(micros)).await;
    }

    /// Allocates an address in each pool.
    pub async fn add(&mut self, pools: &[PoolRequest]) -> Result<Vec<HeldAddress>, UpstreamError> {
        let mut held = Vec::new();
        for pool in pools {
            let ip = self.allocate(pool).await?;
            let mut scopes = vec![pool_scope(self.namespace, &name_of(pool))];
            if pool.overlapping == OverlappingRanges::Protected {
                scopes.push(shared_scope(self.namespace));
            }
            held.push(HeldAddress { scopes, ip, claim: String::new() });
        }
        Ok(held)
    }

    async fn allocate(&mut self, pool: &PoolRequest) -> Result<IpAddr, UpstreamError> {
        // Addresses of reservations that this call has seen.
        let mut reserved = BTreeSet::new();
        for _ in 0..ATTEMPTS {
            self.request().await;
            let Some(object) = self.read_or_create(pool) else { continue };
            let own = self.own_entry(&object);
            let ip = match own.as_deref().and_then(|key| address(pool, key)) {
                Some(ip) => ip,
                None => lowest_free(pool, &object, &reserved).ok_or(UpstreamError::Full)?,
            };
            let mut reservation = None;
            if pool.overlapping == OverlappingRanges::Protected {
                self.request().await;
                reservation = self.reservation(ip);
                if reservation.as_deref().is_some_and(|holder| holder != self.podref) {
                    reserved.insert(ip);
                    continue;
                }
            }
            self.request().await;
            if !self.write_entry(pool, &object, ip, own.as_deref()) {
                continue;
            }
            if pool.overlapping == OverlappingRanges::Protected && reservation.is_none() {
                self.request().await;
                self.reserve(ip)?;
            }
            return Ok(ip);
        }
        Err(UpstreamError::Busy)
    }

    fn pool_key(&self, pool: &PoolRequest) -> Key {
        Key::new(POOLS, self.namespace, &name_of(pool))
    }

    fn read_or_create(&self, pool: &PoolRequest) -> Option<Value> {
        let new = ip_pool(&name_of(pool), &pool.range.net.to_string(), Map::new());
        self.server.with(|store| match store.get(&self.pool_key(pool)) {
            Ok(object) => Some((*object).clone()),
            Err(_) => {
                store.create(POOLS, self.namespace, new).unwrap();
                None
            }
        })
    }

    /// The key of the entry that this interface of the pod has already.
    fn own_entry(&self, object: &Value) -> Option<String> {
        let is_own = |entry: &Value| {
            entry["podref"] == self.podref && entry["ifname"] == self.attachment.if_name.as_str()
        };
        let entries = object["spec"]["allocations"].as_object()?;
        entries.iter().find(|(_, entry)| is_own(entry)).map(|(key, _)| key.clone())
    }

    /// The pod of an address's reservation.
    fn reservation(&self, ip: IpAddr) -> Option<String> {
        let key = Key::new(CLAIMS, self.namespace, &ip.to_string());
        let object = self.server.with(|store| store.get(&key)).ok()?;
        Some(object["spec"]["podref"].as_str().unwrap_or_default().to_owned())
    }

    fn write_entry(&self, pool: &PoolRequest, object: &Value, ip: IpAddr, own: Option<&str>) -> bool {
        let Attachment { container, if_name } = self.attachment;
        let change = match own {
            Some(key) => {
                json!({ "op": "replace", "path": format!("/spec/allocations/{key}/id"), "value": container })
            }
            None => {
                let path = format!("/spec/allocations/{}", offset(pool, ip));
                let entry = json!({ "id": container, "podref": self.podref, "ifname": if_name });
                json!({ "op": "add", "path": path, "value": entry })
            }
        };
        self.patch(pool, object, change)
    }

    /// Patches the pool at its resourceVersion.
    fn patch(&self, pool: &PoolRequest, object: &Value, change: Value) -> bool {
        let version = object["metadata"]["resourceVersion"].clone();
        let test = json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version });
        let patch = json!([test, change]);
        self.server.with(|store| store.json_patch(&self.pool_key(pool), Endpoint::Object, &patch)).is_ok()
    }

    fn reserve(&self, ip: IpAddr) -> Result<(), UpstreamError> {
        let reservation = json!({
            "apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "OverlappingRangeIPReservation",
            "metadata": { "name": ip.to_string() },
            "spec": { "podref": self.podref, "ifname": self.attachment.if_name },
        });
        let created = self.server.with(|store| store.create(CLAIMS, self.namespace, reservation));
        created.map(drop).map_err(|_| UpstreamError::ReservationExists)
    }

    /// Releases the addresses. A pool without an entry of the container ends the DEL, as in Whereabouts.
    pub async fn del(&mut self, pools: &[PoolRequest]) {
        for pool in pools {
            let Some(ip) = self.remove_entry(pool).await else { return };
            if pool.overlapping == OverlappingRanges::Separate {
                continue;
            }
            self.request().await;
            // Whereabouts does not look whose reservation it is.
            if self.reservation(ip).is_some_and(|holder| holder != self.podref) {
                let claim = format!("{}/{ip}", self.namespace);
                self.history.record(Event::ClaimDeletedByHand { claim });
            }
            let key = Key::new(CLAIMS, self.namespace, &ip.to_string());
            let _ = self.server.with(|store| store.delete(&key, &Preconditions::default()));
        }
    }

    /// Removes the container's entry, and returns its address.
    async fn remove_entry(&mut self, pool: &PoolRequest) -> Option<IpAddr> {
        loop {
            self.request().await;
            let object = self.server.with(|store| store.get(&self.pool_key(pool))).ok()?;
            let is_own = |entry: &Value| {
                entry["id"] == self.attachment.container.as_str()
                    && entry["ifname"] == self.attachment.if_name.as_str()
            };
            let entries = object["spec"]["allocations"].as_object()?;
            let key = entries.iter().find(|(_, entry)| is_own(entry)).map(|(key, _)| key.clone())?;
            self.request().await;
            let change = json!({ "op": "remove", "path": format!("/spec/allocations/{key}") });
            if self.patch(pool, &object, change) {
                return address(pool, &key);
            }
        }
    }
}

/// The name of a pool's object: the range with "-" for "/".
fn name_of(pool: &PoolRequest) -> String {
    pool.range.net.to_string().replace('/', "-")
}

fn number(ip: IpAddr) -> u32 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits(),
        IpAddr::V6(_) => panic!("the simulation's ranges are of IPv4"),
    }
}

/// The key of an address: its offset in the range.
fn offset(pool: &PoolRequest, ip: IpAddr) -> u32 {
    number(ip) - number(pool.range.net.network())
}

fn address(pool: &PoolRequest, key: &str) -> Option<IpAddr> {
    let offset: u32 = key.parse().ok()?;
    Some(Ipv4Addr::from_bits(number(pool.range.net.network()) + offset).into())
}

fn lowest_free(pool: &PoolRequest, object: &Value, reserved: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let net = &pool.range.net;
    let first = pool.range.start.map_or(number(net.network()) + 1, number);
    let last = pool.range.end.map_or(number(net.broadcast()) - 1, number);
    let is_free = |ip: &IpAddr| {
        object["spec"]["allocations"][offset(pool, *ip).to_string()].is_null() && !reserved.contains(ip)
    };
    (first..=last).map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits))).find(is_free)
}
