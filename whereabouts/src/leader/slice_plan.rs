//! Which node gets which slice of a range: a function of the assigned slices, the slices with claims, the nodes, and the range.
//!
//! 1. A node keeps its slice while the node exists or an address of the slice is claimed.
//! 2. No node gets a slice that overlaps a slice with claims of another node. So range and size may change while pods run.
//! 3. Free slices are listed too, for Whereabouts' controller, which gives a new node a slice of the list only. Not those of a range with more
//!    than [`MAX_LISTED`] slices: 10.0.0.0/8 has half a million slices of size /27, which no object can hold.
//! 4. A slice without an allocatable address is not assigned.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::addr::ip;
use crate::addr::range::{Allocatable, RangeError, RangeSpec};
use crate::addr::slices::{SliceError, SliceSize, Slices};
use crate::crd::node_slice_pool::NodeSlice;

/// The most slices of a range that are all listed. With the longest names of nodes an object with so many has 1.1 MB; the API server accepts
/// 1.5 MiB.
pub(super) const MAX_LISTED: u128 = 8_192;

/// A range, and how it is cut into slices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The range, without host bits.
    pub range: IpNet,
    /// The size of a slice.
    pub size: SliceSize,
    /// The allocatable part of the range for each network that uses it; at least one. A slice must be usable for all networks.
    pub windows: Vec<RangeSpec>,
}

/// A slice that is assigned to a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AssignedSlice {
    /// The node.
    pub node: String,
    /// The slice.
    pub slice: IpNet,
}

/// The slices that the nodes get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One per node, in the order of the slices.
    pub assigned: Vec<AssignedSlice>,
    /// The slices that the next nodes can get, in order; none if there are too many to list.
    pub free: Vec<IpNet>,
    /// Nodes for which no slice is left, in order.
    pub nodes_without_slice: Vec<String>,
}

/// Why a layout cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The range cannot be cut into slices of this size.
    #[error(transparent)]
    Slices(#[from] SliceError),
    /// The excludes cannot be read.
    #[error(transparent)]
    Range(#[from] RangeError),
}

impl AssignedSlice {
    /// The assigned slices of a NodeSlicePool's list. Entries without a node and entries that cannot be parsed are skipped.
    pub fn from_list(slices: &[NodeSlice]) -> Vec<AssignedSlice> {
        let assigned = |slice: &NodeSlice| {
            let net: IpNet = slice.slice_range.parse().ok()?;
            let node = Some(&slice.node_name).filter(|node| !node.is_empty())?;
            Some(AssignedSlice { node: node.clone(), slice: net.trunc() })
        };
        slices.iter().filter_map(assigned).collect()
    }
}

/// Plans the slices. `in_use` are slices of any size in which an address is claimed, with the node that claimed it.
///
/// # Errors
/// [`PlanError`].
pub fn plan(
    layout: &Layout,
    current: &[AssignedSlice],
    in_use: &[AssignedSlice],
    nodes: &BTreeSet<String>,
) -> Result<Plan, PlanError> {
    let layout = ParsedLayout::of(layout)?;
    let mut assigned = kept(&layout, current, in_use, nodes);
    let has_slice = |assigned: &[AssignedSlice], node: &str| assigned.iter().any(|other| other.node == node);
    // After a change of the size, a node with claims gets the new slice that contains them.
    for own in in_use.iter().filter(|own| nodes.contains(&own.node)) {
        let Some(slice) = layout.slice_of(own.slice.network()) else { continue };
        if !has_slice(&assigned, &own.node)
            && layout.is_usable(&slice)
            && is_free(&slice, &own.node, &assigned, in_use)
        {
            assigned.push(AssignedSlice { node: own.node.clone(), slice });
        }
    }
    let taken: Vec<IpNet> = assigned.iter().chain(in_use).map(|other| other.slice).collect();
    let mut free =
        FreeSlices { layout: &layout, taken: IpNet::aggregate(&taken), from: Some(layout.start()) };
    let mut nodes_without_slice = Vec::new();
    let nodes_with_slice: BTreeSet<String> = assigned.iter().map(|assigned| assigned.node.clone()).collect();
    for node in nodes.difference(&nodes_with_slice) {
        match free.lowest() {
            Some(slice) => assigned.push(AssignedSlice { node: node.clone(), slice }),
            None => nodes_without_slice.push(node.clone()),
        }
    }
    assigned.sort_by_key(|assigned| (assigned.slice, assigned.node.clone()));
    let listed = if layout.slices.count() > MAX_LISTED { Vec::new() } else { free.rest() };
    Ok(Plan { assigned, free: listed, nodes_without_slice })
}

/// The current slices that stay assigned. Of two that overlap the first one stays, unless the other node has claims in it.
fn kept(
    layout: &ParsedLayout,
    current: &[AssignedSlice],
    in_use: &[AssignedSlice],
    nodes: &BTreeSet<String>,
) -> Vec<AssignedSlice> {
    let has_claims = |own: &AssignedSlice| {
        in_use.iter().any(|used| used.node == own.node && overlap(&used.slice, &own.slice))
    };
    let mut kept: Vec<AssignedSlice> = Vec::new();
    for own in current {
        let is_needed = nodes.contains(&own.node) || has_claims(own);
        let fits = layout.slice_of(own.slice.network()) == Some(own.slice) && layout.is_usable(&own.slice);
        let is_second = kept.iter().any(|other| other.node == own.node);
        if is_needed && fits && !is_second && is_free(&own.slice, &own.node, &kept, in_use) {
            kept.push(own.clone());
        }
    }
    kept
}

/// Whether no other node has a part of `slice`.
fn is_free(slice: &IpNet, node: &str, assigned: &[AssignedSlice], in_use: &[AssignedSlice]) -> bool {
    !assigned.iter().chain(in_use).any(|other| other.node != node && overlap(&other.slice, slice))
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// A layout whose slices and windows are parsed.
struct ParsedLayout {
    slices: Slices,
    range: IpNet,
    windows: Vec<Allocatable>,
}

impl ParsedLayout {
    fn of(layout: &Layout) -> Result<Self, PlanError> {
        let slices = Slices::of(layout.range, layout.size)?;
        let windows = layout.windows.iter().map(RangeSpec::allocatable).collect::<Result<_, RangeError>>()?;
        Ok(ParsedLayout { slices, range: layout.range, windows })
    }

    fn start(&self) -> IpAddr {
        self.range.network()
    }

    /// The slice that contains `ip`.
    fn slice_of(&self, ip: IpAddr) -> Option<IpNet> {
        self.slices.get(self.slices.index_of(ip)?)
    }

    /// Whether every network can allocate an address of the slice.
    fn is_usable(&self, slice: &IpNet) -> bool {
        let whole_slice = RangeSpec { net: *slice, start: None, end: None, excludes: Vec::new() };
        let Ok(whole_slice) = whole_slice.allocatable() else { return false };
        let none_used = BTreeSet::new();
        self.windows.iter().all(|window| {
            let lowest = window.nth_free_from(&none_used, 0, whole_slice.first());
            lowest.is_some_and(|lowest| lowest <= whole_slice.last())
        })
    }
}

/// The free slices in ascending order. It jumps over taken and excluded addresses: a walk through a large IPv6 range would not end.
struct FreeSlices<'a> {
    layout: &'a ParsedLayout,
    /// Sorted, without overlaps.
    taken: Vec<IpNet>,
    /// Where the next search begins; `None` at the end of the address space.
    from: Option<IpAddr>,
}

impl FreeSlices<'_> {
    /// All that are left.
    fn rest(&mut self) -> Vec<IpNet> {
        std::iter::from_fn(|| self.lowest()).collect()
    }

    fn lowest(&mut self) -> Option<IpNet> {
        let window = self.layout.windows.first()?;
        loop {
            let address = window.nth_free_from(&BTreeSet::new(), 0, self.from?)?;
            let slice = self.layout.slice_of(address)?;
            let before = self.taken.partition_point(|taken| taken.broadcast() < slice.network());
            let taken = self.taken.get(before).filter(|taken| overlap(taken, &slice));
            let end = taken.map_or(slice.broadcast(), |taken| taken.broadcast().max(slice.broadcast()));
            self.from = ip::add(end, 1);
            if taken.is_none() && self.layout.is_usable(&slice) {
                return Some(slice);
            }
        }
    }
}

#[cfg(test)]
mod tests;
