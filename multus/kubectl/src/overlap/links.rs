//! Masters that a node does not have, where it is known what the node has.

use std::collections::BTreeSet;

use cni::master::Master;

use super::surroundings::Surroundings;
use crate::definition::{Definition, InterfacePlugin, MasterIn};
use crate::finding::{Finding, Severity};

/// What an interface plugin says before the names of a node's interfaces, when none of them is the master.
const LISTED: &str = "no such interface here; there are ";

/// The names of a node's interfaces, from the message of a refused ADD, if that has them all.
pub fn present_on_node(message: &str) -> Option<BTreeSet<String>> {
    if !message.contains("failed to lookup master ") {
        return None;
    }
    let (_, list) = message.split_once(LISTED)?;
    // The advice that follows shows that the list was not cut.
    let (list, _) = list.split_once(';')?;
    Some(list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
}

/// The findings about the masters of one definition.
pub(super) fn missing(definition: &Definition, surroundings: &Surroundings) -> Vec<Finding> {
    let mut findings = Vec::new();
    for interface in &definition.interfaces {
        let Some(names) = names(interface) else { continue };
        let wanted = names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" or ");
        if let Some(links) = &surroundings.links
            && !names.iter().any(|name| links.iter().any(|link| link == name))
        {
            let message = format!("master {wanted} is none of the nodes' interfaces ({})", links.join(", "));
            findings.push(Finding::new(Severity::Error, &[&definition.name], message, "correct \"master\""));
        }
        for node in &surroundings.nodes {
            let Some(links) =
                node.links.as_ref().filter(|links| !names.iter().any(|name| links.contains(*name)))
            else {
                continue;
            };
            let present: Vec<&str> = links.iter().map(String::as_str).collect();
            let message =
                format!("node {} has no interface {wanted}; it has {}", node.name, present.join(", "));
            let remedy = "for nodes with different cards, \"master\" can be a list of names, {\"mac\": ..} and {\"subnet\": ..}";
            findings.push(Finding::new(Severity::Warning, &[&definition.name], message, remedy));
        }
    }
    findings
}

/// The names of the masters, if there are only names.
fn names(interface: &InterfacePlugin) -> Option<Vec<&str>> {
    if interface.master_in == MasterIn::Pod || interface.masters.is_empty() {
        return None;
    }
    interface.masters.iter().map(name).collect()
}

fn name(master: &Master) -> Option<&str> {
    match master {
        Master::Name(name) => Some(name),
        Master::Mac { .. } | Master::Subnet { .. } => None,
    }
}
