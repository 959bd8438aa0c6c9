//! The networks that pods ask for: their pools, and the namespace of their claims.

use serde_json::{Value, json};
use whereabouts::addr::range::RangeSpec;
use whereabouts::conf::OverlappingRanges;
use whereabouts::conf::request::Claim;
use whereabouts::pool::held_claim::HeldClaim;
use whereabouts::pool::request::PoolRequest;

use super::scenario::Scenario;
use crate::sim::history::HeldAddress;

/// The namespace of claims and pools, except for those of [`Network::Elsewhere`].
pub const NAMESPACE: &str = "kube-system";

/// The namespace that no daemon of most nodes serves: a kubeconfig names it.
pub const ELSEWHERE: &str = "wa";

/// The prefix of the claims, as `namespace/name`, in the pool with exactly one address for each interface.
pub const FULL_POOL_PREFIX: &str = "kube-system/10.1.0.";

/// The pool with allocations that Whereabouts made before the run.
pub const OLD_POOL: &str = "10.3.0.0-26";

/// The pool that networks use both with and without `enable_overlapping_ranges`. Both namespaces have one of this name.
pub const MIXED_POOL: &str = "10.2.0.0-26";

/// What addresses an interface requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The pool with exactly one address for each interface.
    Full,
    /// A range.
    Low,
    /// The upper half of the range of [`Network::Low`].
    High,
    /// The range of [`Network::Low`] with `enable_overlapping_ranges: false`. The setting changes at random from one sandbox to the next.
    Mixed,
    /// A range with allocations by Whereabouts, mostly with `enable_overlapping_ranges: false`.
    Old,
    /// Two ranges: a request gets an address of each, or none.
    Both,
    /// The range of [`Network::Mixed`] and as it, in another namespace.
    Elsewhere,
}

/// All networks, in the order of the slots.
pub const NETWORKS: [Network; 7] = [
    Network::Full,
    Network::Both,
    Network::Low,
    Network::High,
    Network::Mixed,
    Network::Old,
    Network::Elsewhere,
];

impl Network {
    /// The namespace of its claims.
    pub const fn namespace(self) -> &'static str {
        match self {
            Network::Elsewhere => ELSEWHERE,
            _ => NAMESPACE,
        }
    }

    /// Its pools; `full` is the number of addresses in the full pool.
    pub fn pools(self, full: usize) -> Vec<PoolRequest> {
        let pool = |range: &str, overlapping| {
            let range = RangeSpec::parse(range, None, None, Vec::new()).unwrap();
            PoolRequest { range, network: None, overlapping, slice: None }
        };
        let full = || pool(&format!("10.1.0.10-10.1.0.{}/24", 9 + full), OverlappingRanges::Protected);
        let low = || pool("10.2.0.0/26", OverlappingRanges::Protected);
        match self {
            Network::Full => vec![full()],
            Network::Low => vec![low()],
            Network::High => vec![pool("10.2.0.32/27", OverlappingRanges::Protected)],
            Network::Old => vec![pool("10.3.0.0/26", OverlappingRanges::Separate)],
            Network::Mixed | Network::Elsewhere => vec![pool("10.2.0.0/26", OverlappingRanges::Separate)],
            Network::Both => vec![full(), low()],
        }
    }

    /// Whether its setting `enable_overlapping_ranges` stays the same.
    pub const fn is_constant(self) -> bool {
        !matches!(self, Network::Mixed | Network::Elsewhere | Network::Old)
    }

    /// Its pools for one sandbox, where its setting can have changed since the last one.
    pub fn pools_of_sandbox(
        self,
        full: usize,
        scenario: Scenario,
        rng: &mut fastrand::Rng,
    ) -> Vec<PoolRequest> {
        let mut pools = self.pools(full);
        let by_chance = match self {
            Network::Mixed | Network::Elsewhere => rng.bool(),
            Network::Old => rng.u8(..4) == 0,
            Network::Full | Network::Low | Network::High | Network::Both => return pools,
        };
        let is_overlapping = match scenario {
            Scenario::Ours => by_chance,
            // All networks of a range have one setting: other networks of the first range have `true`.
            Scenario::WhereaboutsBetween | Scenario::WhereaboutsBeside => self == Network::Mixed,
        };
        if is_overlapping {
            pools.iter_mut().for_each(|pool| pool.overlapping = OverlappingRanges::Protected);
        }
        pools
    }

    /// One claim for each pool.
    pub fn claims(self) -> Vec<Claim> {
        (0..self.pools(1).len()).map(|range| Claim { range, requested: None }).collect()
    }

    /// The network definition, from which the leader learns how the claims of each pool are named.
    pub fn definition(self, full: usize) -> Value {
        let pools = self.pools(full);
        let ranges: Vec<_> = pools.iter().map(range_config).collect();
        let shared = pools.iter().all(|pool| pool.overlapping == OverlappingRanges::Protected);
        let config = json!({
            "cniVersion": "1.0.0", "name": "simulated", "type": "macvlan",
            "ipam": { "type": "whereabouts", "ipRanges": ranges, "enable_overlapping_ranges": shared },
        });
        json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": { "name": format!("{self:?}").to_lowercase() },
            "spec": { "config": config.to_string() },
        })
    }
}

/// A range in the form of a network's configuration.
fn range_config(pool: &PoolRequest) -> Value {
    let RangeSpec { net, start, end, .. } = &pool.range;
    json!({ "range": net, "range_start": start, "range_end": end })
}

/// The scope in which the addresses of a pool are unique.
pub fn pool_scope(namespace: &str, pool: &str) -> String {
    format!("{namespace}/{pool}")
}

/// The scope in which addresses are unique whose claims are named by address alone.
pub fn shared_scope(namespace: &str) -> String {
    format!("{namespace}/shared")
}

/// An allocated address, as the checker needs it: one item for each claim. No two claims of one pool may have the same address, whatever their
/// names. A claim that is named by address alone also excludes the address in all other pools of its namespace.
pub fn held_addresses(namespace: &str, claim: &HeldClaim) -> Vec<HeldAddress> {
    let ip = claim.address.addr();
    let mut held: Vec<HeldAddress> = Vec::new();
    for (name, _) in claim.objects() {
        let mut scopes = Vec::new();
        if held.is_empty() {
            scopes.push(pool_scope(namespace, &claim.pool));
        }
        if name.as_str() == ip.to_string() {
            scopes.push(shared_scope(namespace));
        }
        held.push(HeldAddress { scopes, ip, claim: format!("{namespace}/{name}") });
    }
    held
}
