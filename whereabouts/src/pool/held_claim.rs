//! A claim that an attachment holds.

use node::names::DnsSubdomain;
use serde::{Deserialize, Serialize};

/// A held claim. Records on disk contain it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldClaim {
    /// The name.
    pub name: DnsSubdomain,
    /// The resourceVersion of the last write. While the claim has it, it is unchanged; a deletion carries it as a precondition.
    pub resource_version: String,
    /// The claim of the address's other name, if the pool's naming takes both ([`crate::pool::claim_names`]).
    #[serde(default)]
    pub second: Option<SecondClaim>,
    /// The key of the entry that the claim's owner wrote into the pool's object, and removes with the claim; `None` in pools whose entries the
    /// leader writes ([`crate::pool::claim_names`]).
    #[serde(default)]
    pub entry: Option<u64>,
    /// The pool.
    pub pool: String,
    /// The address with the range's prefix length.
    pub address: ipnet::IpNet,
}

/// The claim of an address under its second name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondClaim {
    /// The name.
    pub name: DnsSubdomain,
    /// As [`HeldClaim::resource_version`].
    pub resource_version: String,
}

impl HeldClaim {
    /// The names of the address, in the order in which they are created and deleted, each with its resourceVersion.
    pub fn objects(&self) -> impl Iterator<Item = (&DnsSubdomain, &str)> {
        let second = self.second.iter().map(|second| (&second.name, second.resource_version.as_str()));
        std::iter::once((&self.name, self.resource_version.as_str())).chain(second)
    }

    /// Whether the address has a claim of this name.
    pub fn is_named(&self, name: &DnsSubdomain) -> bool {
        self.objects().any(|(own, _)| own == name)
    }
}

/// The result of an allocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// The claim.
    pub claim: HeldClaim,
    /// Whether the interface held it before this call. A failed call must then not release it.
    pub origin: Origin,
}

/// The origin of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// This call created it.
    New,
    /// It existed before this call.
    TakenOver,
}
