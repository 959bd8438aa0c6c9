//! Which node gets which slice of a range: a function of the slices that are given, those with claims, the nodes, and the range.
//!
//! - A slice belongs to its node as long as the node exists or an address of it is claimed.
//! - A slice that overlaps one with claims of another node is given to nobody. So ranges and sizes may change under running pods.
//! - Only slices that are somebody's are written down: 10.0.0.0/8 has half a million of /27.
//! - A slice without an address that may be given out is passed over.

mod networks;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::addr::ip;
use crate::addr::range::{Allocatable, RangeError, RangeSpec};
use crate::addr::slices::{SliceError, SliceSize, Slices};
use crate::crd::node_slice_pool::NodeSlice;

pub use networks::{Problem, SlicedNetwork, Wanted, wanted};

/// How a range is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The range, without host bits.
    pub range: IpNet,
    /// The size of a slice.
    pub size: SliceSize,
    /// What each network on this range may give out; at least one. A slice must be of use to all.
    pub windows: Vec<RangeSpec>,
}

/// A slice that is a node's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AssignedSlice {
    /// The node.
    pub node: String,
    /// The slice.
    pub slice: IpNet,
}

/// Which node is to have which slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order of the slices; one a node.
    pub given: Vec<AssignedSlice>,
    /// Nodes for which none is left, in order.
    pub without: Vec<String>,
}

/// There can be no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The range cannot be cut so.
    #[error(transparent)]
    Slices(#[from] SliceError),
    /// The excludes cannot be read.
    #[error(transparent)]
    Range(#[from] RangeError),
}

impl AssignedSlice {
    /// The slices of a list that are somebody's. What cannot be read is nobody's.
    pub fn listed(slices: &[NodeSlice]) -> Vec<AssignedSlice> {
        let given = |slice: &NodeSlice| {
            let net: IpNet = slice.slice_range.parse().ok()?;
            let node = Some(&slice.node_name).filter(|node| !node.is_empty())?;
            Some(AssignedSlice { node: node.clone(), slice: net.trunc() })
        };
        slices.iter().filter_map(given).collect()
    }
}

/// Plans. `live` are slices, of whatever size, in which an address is claimed, with the node that claimed it.
///
/// # Errors
/// [`PlanError`].
pub fn plan(
    layout: &Layout,
    current: &[AssignedSlice],
    live: &[AssignedSlice],
    nodes: &BTreeSet<String>,
) -> Result<Plan, PlanError> {
    let cut = Cut::of(layout)?;
    let mut given = kept(&cut, current, live, nodes);
    let has_one = |given: &[AssignedSlice], node: &str| given.iter().any(|other| other.node == node);
    // Who has claims in a slice of the new size goes on there.
    for own in live.iter().filter(|own| nodes.contains(&own.node)) {
        let Some(slice) = cut.slice_of(own.slice.network()) else { continue };
        if !has_one(&given, &own.node) && cut.is_usable(&slice) && is_free(&slice, &own.node, &given, live) {
            given.push(AssignedSlice { node: own.node.clone(), slice });
        }
    }
    let taken: Vec<IpNet> = given.iter().chain(live).map(|other| other.slice).collect();
    let mut free = Search { cut: &cut, taken: IpNet::aggregate(&taken), from: Some(cut.slices_start()) };
    let mut without = Vec::new();
    let with: BTreeSet<String> = given.iter().map(|given| given.node.clone()).collect();
    for node in nodes.difference(&with) {
        match free.lowest() {
            Some(slice) => given.push(AssignedSlice { node: node.clone(), slice }),
            None => without.push(node.clone()),
        }
    }
    given.sort_by_key(|given| (given.slice, given.node.clone()));
    Ok(Plan { given, without })
}

/// What of the present list holds. Of two that overlap the first counts, unless the other has claims.
fn kept(
    cut: &Cut,
    current: &[AssignedSlice],
    live: &[AssignedSlice],
    nodes: &BTreeSet<String>,
) -> Vec<AssignedSlice> {
    let has_claims =
        |own: &AssignedSlice| live.iter().any(|l| l.node == own.node && overlap(&l.slice, &own.slice));
    let mut kept: Vec<AssignedSlice> = Vec::new();
    for own in current {
        let belongs = nodes.contains(&own.node) || has_claims(own);
        let fits = cut.slice_of(own.slice.network()) == Some(own.slice) && cut.is_usable(&own.slice);
        let is_second = kept.iter().any(|other| other.node == own.node);
        if belongs && fits && !is_second && is_free(&own.slice, &own.node, &kept, live) {
            kept.push(own.clone());
        }
    }
    kept
}

/// Whether nobody else has anything of `slice`.
fn is_free(slice: &IpNet, node: &str, given: &[AssignedSlice], live: &[AssignedSlice]) -> bool {
    !given.iter().chain(live).any(|other| other.node != node && overlap(&other.slice, slice))
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// A layout, ready to be asked.
struct Cut {
    slices: Slices,
    range: IpNet,
    windows: Vec<(RangeSpec, Allocatable)>,
}

impl Cut {
    fn of(layout: &Layout) -> Result<Self, PlanError> {
        let slices = Slices::of(layout.range, layout.size)?;
        let ready = |spec: &RangeSpec| Ok((spec.clone(), spec.allocatable()?));
        let windows = layout.windows.iter().map(ready).collect::<Result<_, RangeError>>()?;
        Ok(Cut { slices, range: layout.range, windows })
    }

    fn slices_start(&self) -> IpAddr {
        self.range.network()
    }

    fn slice_of(&self, ip: IpAddr) -> Option<IpNet> {
        self.slices.get(self.slices.index_of(ip)?)
    }

    /// Whether every network can give out an address of it.
    fn is_usable(&self, slice: &IpNet) -> bool {
        let bare = RangeSpec { net: *slice, start: None, end: None, excludes: Vec::new() };
        let Ok(bare) = bare.allocatable() else { return false };
        self.windows.iter().all(|(spec, whole)| {
            // A start above or an end below the slice would be ignored in it.
            let in_window = bare.first() <= whole.last() && whole.first() <= bare.last();
            let part = RangeSpec { net: *slice, ..spec.clone() };
            in_window && part.allocatable().is_ok_and(|part| part.size() > 0)
        })
    }
}

/// Goes through the free slices from the lowest on, jumping over what is taken or excluded.
struct Search<'a> {
    cut: &'a Cut,
    /// In order, without overlaps.
    taken: Vec<IpNet>,
    from: Option<IpAddr>,
}

impl Search<'_> {
    fn lowest(&mut self) -> Option<IpNet> {
        let (_, window) = self.cut.windows.first()?;
        loop {
            let address = window.nth_free_from(&BTreeSet::new(), 0, self.from?)?;
            let slice = self.cut.slice_of(address)?;
            let before = self.taken.partition_point(|taken| taken.broadcast() < slice.network());
            let taken = self.taken.get(before).filter(|taken| overlap(taken, &slice));
            let end = taken.map_or(slice.broadcast(), |taken| taken.broadcast().max(slice.broadcast()));
            self.from = ip::add(end, 1);
            if taken.is_none() && self.cut.is_usable(&slice) {
                return Some(slice);
            }
        }
    }
}

#[cfg(test)]
mod tests;
