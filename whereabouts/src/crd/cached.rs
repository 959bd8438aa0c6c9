//! What the daemon keeps of the objects that it watches: no more than something is decided by, since there are many of them. An object that
//! is to be written is read whole again ([`crate::crd::reservation`]).

use crate::crd::interner::Interner;
use crate::crd::ip_pool;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::addr::ip;
use crate::crd::ip_pool::SeparateUse;
use crate::crd::ip_pool::{ADOPTED, Allocation, Counts, SEPARATE_SINCE};
use crate::crd::packed::{Decimal, Hex};
use crate::crd::pod::PodIdentity;
use crate::crd::reservation::{Reservation, ReservationSpec};

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "WireReservation")]
pub struct CachedReservation {
    /// Its name.
    pub name: Arc<str>,
    /// Which object it is, and in which version: `metadata.uid` and `metadata.resourceVersion`.
    pub version: (Option<Hex<16>>, Option<Decimal>),
    /// `namespace/name` of the pod.
    pub podref: Box<str>,
    /// The interface.
    pub ifname: Arc<str>,
    /// The container it is for; empty where nothing says so.
    pub container: Hex<32>,
    /// The UID of the pod it is for, where it says so.
    pub pod_uid: Option<Hex<16>>,
    /// The name of the pool it is of, where it says so. One that Whereabouts made does not.
    pub pool: Option<Arc<str>>,
    /// The range of that pool, where it says so.
    pub range: Option<IpNet>,
}

impl CachedReservation {
    /// Whether it is of this interface of this pod. One without `ifname` is of whichever interface asks.
    pub fn is_of(&self, podref: &str, if_name: &str) -> bool {
        *self.podref == *podref && (*self.ifname == *if_name || self.ifname.is_empty())
    }

    /// With texts that many claims have in common kept once.
    #[must_use]
    pub fn shared(self, texts: &mut Interner) -> Self {
        let (ifname, pool) = (texts.share(self.ifname), self.pool.map(|pool| texts.share(pool)));
        CachedReservation { ifname, pool, ..self }
    }
}

impl From<&Reservation> for CachedReservation {
    fn from(claim: &Reservation) -> Self {
        let text = |text: &Option<String>| text.as_deref().map(Decimal::of);
        CachedReservation {
            name: claim.metadata.name.as_deref().unwrap_or_default().into(),
            version: (claim.metadata.uid.as_deref().map(Hex::of), text(&claim.metadata.resource_version)),
            podref: claim.spec.podref.as_str().into(),
            ifname: claim.spec.ifname.as_str().into(),
            container: Hex::of(claim.container()),
            pod_uid: claim.pod_uid().map(Hex::of),
            pool: claim.pool().map(Arc::from),
            range: claim.range(),
        }
    }
}

/// What is read of a claim. Everything else, above all who owns which field, is passed over unread.
#[derive(Deserialize)]
struct WireReservation {
    metadata: WireMetadata,
    #[serde(default)]
    spec: ReservationSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMetadata {
    name: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    labels: Option<WireLabels>,
    annotations: Option<WireAnnotations>,
}

/// See [`crate::crd::reservation::LABEL_POOL`].
#[derive(Deserialize)]
struct WireLabels {
    #[serde(rename = "whereabouts.multus-rs/pool")]
    pool: Option<String>,
}

/// See [`crate::crd::reservation::POOL`], [`crate::crd::reservation::RANGE`] and their like.
#[derive(Default, Deserialize)]
struct WireAnnotations {
    #[serde(rename = "whereabouts.multus-rs/pool")]
    pool: Option<String>,
    #[serde(rename = "whereabouts.multus-rs/range")]
    range: Option<String>,
    #[serde(rename = "whereabouts.multus-rs/container-id")]
    container: Option<String>,
    #[serde(rename = "whereabouts.multus-rs/pod-uid")]
    pod_uid: Option<String>,
}

impl From<WireReservation> for CachedReservation {
    fn from(WireReservation { metadata, spec }: WireReservation) -> Self {
        let annotations = metadata.annotations.unwrap_or_default();
        let pool = annotations.pool.or_else(|| metadata.labels?.pool);
        CachedReservation {
            name: metadata.name.unwrap_or_default().into(),
            version: (
                metadata.uid.as_deref().map(Hex::of),
                metadata.resource_version.as_deref().map(Decimal::of),
            ),
            podref: spec.podref.into(),
            ifname: spec.ifname.into(),
            container: Hex::of(annotations.container.as_deref().unwrap_or(&spec.containerid)),
            pod_uid: annotations.pod_uid.as_deref().map(Hex::of),
            pool: pool.map(Arc::from),
            range: annotations.range.and_then(|range| range.parse().ok()),
        }
    }
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "WirePool")]
pub struct CachedPool {
    /// Its name.
    pub name: Arc<str>,
    /// `metadata.resourceVersion`.
    pub resource_version: Option<Decimal>,
    /// Whether it says that its entries have claims.
    pub adopted: Adopted,
    /// Whether it says that it is used separately.
    pub separation: SeparateUse,
    /// Its range, if that can be read.
    pub range: Option<IpNet>,
    /// Its counts.
    pub status: Option<Counts>,
    /// In order.
    entries: Box<[(Decimal, CachedAllocation)]>,
}

/// Whether a pool says that its entries have claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Adopted {
    Yes,
    No,
}

/// An entry of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedAllocation {
    /// The container.
    pub id: Hex<32>,
    /// `namespace/name` of the pod.
    pub podref: Box<str>,
    /// The interface; empty before 0.8.
    pub ifname: Arc<str>,
    /// Who wrote it.
    pub via: Via,
}

/// Who wrote an entry, see [`crate::leader::ip_pool_view`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// Whereabouts.
    Absent,
    /// We, for the container that it names.
    OfId,
    /// We, for another container, or with another text.
    Other(Box<str>),
}

impl CachedPool {
    /// The entries, by key.
    pub fn entries(&self) -> &[(Decimal, CachedAllocation)] {
        &self.entries
    }

    /// The entry of a key.
    pub fn entry(&self, key: &Decimal) -> Option<&CachedAllocation> {
        let at = self.entries.binary_search_by(|(known, _)| known.cmp(key)).ok()?;
        self.entries.get(at).map(|(_, entry)| entry)
    }

    /// The address of each entry. One whose key or range is none is left out: nobody can hold it.
    pub fn addresses(&self) -> impl Iterator<Item = (&Decimal, IpAddr, &CachedAllocation)> {
        let address = |key: &Decimal| {
            let net = self.range?;
            let offset = key.number().map(u128::from).or_else(|| key.to_string().parse().ok())?;
            ip::add(net.network(), offset).filter(|ip| net.contains(ip))
        };
        self.entries.iter().filter_map(move |(key, entry)| Some((key, address(key)?, entry)))
    }
}

impl CachedAllocation {
    /// Whether it says what the view shows of this claim.
    pub fn shows(&self, claim: &CachedReservation) -> bool {
        self.id == claim.container
            && self.podref == claim.podref
            && self.ifname == claim.ifname
            && self.via == Via::OfId
    }

    /// As it stands in the object, without who wrote it.
    pub fn held(&self) -> ReservationSpec {
        ReservationSpec {
            podref: self.podref.to_string(),
            ifname: self.ifname.to_string(),
            containerid: self.id.to_string(),
        }
    }
}

impl From<Allocation> for CachedAllocation {
    fn from(Allocation { id, podref, ifname, via }: Allocation) -> Self {
        let via = match via {
            None => Via::Absent,
            Some(via) if via == ip_pool::via(&id) => Via::OfId,
            Some(via) => Via::Other(via.into()),
        };
        CachedAllocation { id: Hex::of(&id), podref: podref.into(), ifname: ifname.into(), via }
    }
}

#[derive(Deserialize)]
struct WirePool {
    metadata: WirePoolMetadata,
    #[serde(default)]
    spec: WirePoolSpec,
    #[serde(default)]
    status: Option<Counts>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePoolMetadata {
    name: Option<String>,
    resource_version: Option<String>,
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
struct WirePoolSpec {
    #[serde(default)]
    range: String,
    #[serde(default, deserialize_with = "read_entries")]
    allocations: Vec<(Decimal, CachedAllocation)>,
}

impl From<WirePool> for CachedPool {
    fn from(WirePool { metadata, spec, status }: WirePool) -> Self {
        let annotations = metadata.annotations.unwrap_or_default();
        let adopted = annotations.contains_key(ADOPTED);
        CachedPool {
            name: metadata.name.unwrap_or_default().into(),
            resource_version: metadata.resource_version.as_deref().map(Decimal::of),
            adopted: if adopted { Adopted::Yes } else { Adopted::No },
            separation: SeparateUse::of(annotations.get(SEPARATE_SINCE).map(String::as_str)),
            range: spec.range.parse().ok(),
            status,
            entries: spec.allocations.into(),
        }
    }
}

/// One after the other: there may be thousands.
fn read_entries<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(Decimal, CachedAllocation)>, D::Error> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(Decimal, CachedAllocation)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the allocations of an IPPool by key")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let (mut entries, mut texts) = (Vec::new(), Interner::default());
            while let Some((key, entry)) = map.next_entry::<String, Allocation>()? {
                let entry = CachedAllocation::from(entry);
                let ifname = texts.share(entry.ifname);
                entries.push((Decimal::of(&key), CachedAllocation { ifname, ..entry }));
            }
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            Ok(entries)
        }
    }
    deserializer.deserialize_map(Entries)
}

/// A pod or a node, of whose object nothing but the metadata counts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "WireObject")]
pub struct CachedObject {
    /// Its namespace; empty for a node.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Which pod it is.
    pub identity: PodIdentity,
}

#[derive(Deserialize)]
struct WireObject {
    metadata: WireObjectMetadata,
}

#[derive(Deserialize)]
struct WireObjectMetadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    annotations: Option<WireObjectAnnotations>,
}

/// See [`PodIdentity::of`].
#[derive(Deserialize)]
struct WireObjectAnnotations {
    #[serde(rename = "kubernetes.io/config.mirror")]
    on_node: Option<String>,
}

impl From<WireObject> for CachedObject {
    fn from(WireObject { metadata }: WireObject) -> Self {
        let on_node = metadata.annotations.and_then(|annotations| annotations.on_node);
        CachedObject {
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            identity: PodIdentity::new(metadata.uid.as_deref().unwrap_or_default(), on_node.as_deref()),
        }
    }
}

#[cfg(test)]
mod tests;
