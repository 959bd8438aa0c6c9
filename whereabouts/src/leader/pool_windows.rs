//! Which addresses of a pool its networks may choose: the windows of all of them, without the excludes of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cluster_cache::ClusterCache;
use super::networks::{WhereaboutsNetwork, pools_of};
use crate::addr::range::Allocatable;

/// The addresses that the networks of each pool may choose. A pool without a network is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PoolWindows {
    by_pool: BTreeMap<Arc<str>, Allocatable>,
}

impl PoolWindows {
    /// Those of all networks. A range whose excludes cannot be read gives no address, so it does not count.
    pub fn of(networks: &BTreeMap<String, WhereaboutsNetwork>, cache: &ClusterCache) -> Self {
        let mut by_pool = BTreeMap::<Arc<str>, Allocatable>::new();
        let pools = networks
            .values()
            .flat_map(|network| pools_of(&network.conf, cache))
            .map(|pool| (pool.name, pool.range));
        for (pool, range) in pools {
            let Ok(part) = range.allocatable() else { continue };
            let entry = by_pool.entry(pool.as_str().into());
            entry.and_modify(|all| *all = all.union(&part)).or_insert(part);
        }
        PoolWindows { by_pool }
    }

    /// The addresses that the networks of a pool may choose; `None` if no network has the pool.
    pub fn get(&self, pool: &str) -> Option<&Allocatable> {
        self.by_pool.get(pool)
    }

    /// The pools whose addresses differ.
    pub fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Arc<str>> + 'a {
        let changed = self.by_pool.iter().filter(|(pool, all)| other.get(pool) != Some(all));
        let gone = other.by_pool.iter().filter(|(pool, _)| self.get(pool).is_none());
        changed.chain(gone).map(|(pool, _)| pool.clone())
    }
}
