//! Addresses of the nodes and of the cluster network inside a pool.

use super::surroundings::NodeFacts;
use crate::definition::Definition;
use crate::finding::{Finding, Severity};

/// The most nodes that one finding names.
const MOST: usize = 5;

/// The findings about nodes whose addresses a pool of this definition may give to pods.
pub(super) fn in_pools(definition: &Definition, nodes: &[NodeFacts]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut warn = |message: String, remedy| {
        findings.push(Finding::new(Severity::Warning, &[&definition.name], message, remedy));
    };
    for pool in &definition.pools {
        let own = nodes.iter().flat_map(|node| node.addresses.iter().map(move |ip| (node, ip)));
        let inside: Vec<String> = own
            .filter(|(_, ip)| pool.addresses.contains(**ip))
            .map(|(node, ip)| format!("{} ({ip})", node.name))
            .collect();
        if !inside.is_empty() {
            warn(
                format!(
                    "the range {} has addresses of nodes, which a pod may get: {}",
                    pool.range(),
                    few(&inside)
                ),
                "exclude the nodes' addresses, or set range_start and range_end",
            );
        }
        let ranges = nodes.iter().flat_map(|node| node.pod_ranges.iter().map(move |net| (node, net)));
        let overlapping: Vec<String> = ranges
            .filter(|(_, net)| pool.range().contains(*net) || net.contains(&pool.range()))
            .map(|(node, net)| format!("{} ({net})", node.name))
            .collect();
        if !overlapping.is_empty() {
            warn(
                format!(
                    "the range {} overlaps with the cluster network of nodes: {}",
                    pool.range(),
                    few(&overlapping)
                ),
                "choose another range: pods could not reach some pods of the cluster network",
            );
        }
    }
    findings
}

fn few(nodes: &[String]) -> String {
    let shown = nodes.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    match nodes.len().saturating_sub(MOST) {
        0 => shown,
        left => format!("{shown} and {left} more"),
    }
}
