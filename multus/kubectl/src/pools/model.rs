//! Pools and holders, as they are shown.

use k8s_openapi::jiff::Timestamp;
use serde::{Serialize, Serializer};

/// One pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolUse {
    /// The namespace of its objects.
    pub namespace: String,
    /// Its name; empty for claims that belong to no pool that is known.
    pub name: String,
    /// Its range; empty if it is not known.
    pub range: String,
    /// The definitions that take addresses from it, as `<namespace>/<name>`.
    pub networks: Vec<String>,
    /// The first and the last address that may be allocated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// The number of addresses that are held.
    pub used: usize,
    /// The number of those that only an entry of Whereabouts holds.
    pub unclaimed: usize,
    /// The addresses and their holders, in the order of addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
}

/// What of a range may be allocated. Numbers are text: IPv6 ranges have more addresses than JSON's numbers can hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    /// The first address.
    pub first: String,
    /// The last address.
    pub last: String,
    /// The number of addresses that may be allocated.
    pub size: String,
    /// The number of those that nobody holds.
    pub free: String,
}

/// The holder of one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// The address; the name of the claim if that names none.
    pub address: String,
    /// `<namespace>/<name>` of the pod; empty for an address that is kept free by hand.
    pub pod: String,
    /// The interface.
    pub interface: String,
    /// The node, if the claim states it.
    pub node: String,
    /// When the claim was made.
    #[serde(serialize_with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What holds it.
    pub held_by: HeldBy,
}

/// What holds an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HeldBy {
    /// A claim.
    Claim,
    /// Only an entry that Whereabouts wrote into the IPPool: the leader makes a claim of it.
    Entry,
}

fn rfc3339<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}
