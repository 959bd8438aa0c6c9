//! All pairs of definitions.

use super::surroundings::Surroundings;
use super::{addresses, links, masters, nodes};
use crate::definition::Definition;
use crate::finding::Finding;

/// The findings between these definitions and the nodes.
pub fn check(definitions: &[Definition], surroundings: &Surroundings) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, one) in definitions.iter().enumerate() {
        for other in definitions.iter().skip(at + 1) {
            findings.extend(addresses::between(one, other));
            findings.extend(masters::between(one, other));
        }
        findings.extend(links::missing(one, surroundings));
        findings.extend(nodes::in_pools(one, &surroundings.nodes));
    }
    findings
}
