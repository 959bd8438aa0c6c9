//! What the daemon caches of a claim.

use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;

use crate::crd::interner::Interner;
use crate::crd::packed::{Decimal, Hex};
use crate::crd::reservation::{CONTAINER_OWNER, ClaimedInterface, Reservation, ReservationSpec};

/// A cached claim.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "WireReservation")]
pub struct CachedReservation {
    /// The name.
    pub name: Arc<str>,
    /// `metadata.uid` and `metadata.resourceVersion`.
    pub version: (Option<Hex<16>>, Option<Decimal>),
    /// `namespace/name` of the pod.
    pub podref: Box<str>,
    /// The interface; empty in a claim of Whereabouts before 0.8.
    pub ifname: Arc<str>,
    /// The container; empty if the claim states none.
    pub container: Hex<32>,
    /// The pod's UID, if the claim states one.
    pub pod_uid: Option<Hex<16>>,
    /// Who the claim belongs to.
    pub owner: OwnerKind,
    /// The name of the pool. A claim that Whereabouts made states none.
    pub pool: Option<Arc<str>>,
    /// The range of the pool, if the claim states one.
    pub range: Option<IpNet>,
}

/// Who a claim belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerKind {
    /// The interface of a pod.
    Pod,
    /// The container alone. See [`Reservation::is_owned_by_container`].
    Container,
}

impl CachedReservation {
    /// Whether the claim belongs to this interface of this pod. See [`Reservation::belongs_to`].
    pub fn belongs_to(&self, podref: &str, if_name: &str) -> bool {
        ClaimedInterface { podref: &self.podref, if_name: &self.ifname }.is(podref, if_name)
    }

    /// The claim with interned texts: thousands of claims share an interface name and a pool name.
    #[must_use]
    pub(crate) fn interned(self, interner: &mut Interner) -> Self {
        let (ifname, pool) = (interner.intern(self.ifname), self.pool.map(|pool| interner.intern(pool)));
        CachedReservation { ifname, pool, ..self }
    }
}

impl From<&Reservation> for CachedReservation {
    fn from(claim: &Reservation) -> Self {
        let version = claim.metadata.resource_version.as_deref().map(Decimal::of);
        CachedReservation {
            name: claim.metadata.name.as_deref().unwrap_or_default().into(),
            version: (claim.metadata.uid.as_deref().map(Hex::of), version),
            podref: claim.spec.podref.as_str().into(),
            ifname: claim.if_name().into(),
            container: Hex::of(claim.container()),
            pod_uid: claim.pod_uid().map(Hex::of),
            owner: if claim.is_owned_by_container() { OwnerKind::Container } else { OwnerKind::Pod },
            pool: claim.pool().map(Arc::from),
            range: claim.range(),
        }
    }
}

/// The fields that are read from an event. The parser skips all others, above all `managedFields`, which are most of a claim's bytes.
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

/// The annotations that [`crate::crd::reservation`] defines.
#[derive(Default, Deserialize)]
struct WireAnnotations {
    #[serde(rename = "whereabouts.multus-rs/pool")]
    pool: Option<String>,
    #[serde(rename = "whereabouts.multus-rs/range")]
    range: Option<String>,
    #[serde(rename = "whereabouts.multus-rs/container-id")]
    container: Option<String>,
    #[serde(rename = "whereabouts.multus-rs/ifname")]
    ifname: Option<String>,
    #[serde(rename = "whereabouts.multus-rs/pod-uid")]
    pod_uid: Option<String>,
    #[serde(rename = "whereabouts.multus-rs/owner")]
    owner: Option<String>,
}

impl From<WireReservation> for CachedReservation {
    fn from(WireReservation { metadata, spec }: WireReservation) -> Self {
        let annotations = metadata.annotations.unwrap_or_default();
        // As in `Reservation::pool` and `Reservation::container`.
        let pool = annotations.pool.or_else(|| metadata.labels?.pool);
        CachedReservation {
            name: metadata.name.unwrap_or_default().into(),
            version: (
                metadata.uid.as_deref().map(Hex::of),
                metadata.resource_version.as_deref().map(Decimal::of),
            ),
            podref: spec.podref.into(),
            ifname: annotations.ifname.unwrap_or(spec.ifname).into(),
            container: Hex::of(annotations.container.as_deref().unwrap_or(&spec.containerid)),
            pod_uid: annotations.pod_uid.as_deref().map(Hex::of),
            owner: match annotations.owner.as_deref() {
                Some(CONTAINER_OWNER) => OwnerKind::Container,
                Some(_) | None => OwnerKind::Pod,
            },
            pool: pool.map(Arc::from),
            range: annotations.range.and_then(|range| range.parse().ok()),
        }
    }
}
