//! Links of two definitions on one master.

use cni::master::Master;

use crate::definition::{Definition, InterfacePlugin, LinkKind, MasterIn};
use crate::finding::{Finding, Severity};

/// Whether two networks are on one wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SameWire {
    /// They may be.
    Perhaps,
    /// They name different masters.
    Unlikely,
}

/// Whether two definitions are on one wire, as far as their masters tell.
pub(super) fn same_wire(one: &Definition, other: &Definition) -> SameWire {
    let masters = |definition: &Definition| -> Vec<Master> {
        definition.interfaces.iter().flat_map(|interface| interface.masters.clone()).collect()
    };
    let (a, b) = (masters(one), masters(other));
    let are_known = !a.is_empty() && !b.is_empty();
    if are_known && !a.iter().any(|master| b.contains(master)) {
        SameWire::Unlikely
    } else {
        SameWire::Perhaps
    }
}

/// The findings about links of two definitions that are on one master.
pub(super) fn between(one: &Definition, other: &Definition) -> Vec<Finding> {
    let mut findings = Vec::new();
    for a in &one.interfaces {
        for b in &other.interfaces {
            let Some(master) = shared_master(a, b) else { continue };
            if let Some((why, remedy)) = conflict(&a.link, &b.link) {
                let message = format!("both make links on {master}, and {why}");
                findings.push(Finding::new(Severity::Warning, &[&one.name, &other.name], message, remedy));
            }
        }
    }
    findings
}

/// The master that both use, if they use the same one.
fn shared_master(a: &InterfacePlugin, b: &InterfacePlugin) -> Option<String> {
    if a.master_in != MasterIn::Node || b.master_in != MasterIn::Node {
        return None;
    }
    match (a.masters.first(), b.masters.first()) {
        (None, None) => Some("the interface of the default route".to_owned()),
        (Some(Master::Name(name)), Some(Master::Name(other))) if name == other => {
            Some(format!("master {name:?}"))
        }
        _ => None,
    }
}

/// Why the kernel has no room for both kinds of links on one master, and what to do.
fn conflict(a: &LinkKind, b: &LinkKind) -> Option<(String, &'static str)> {
    match (a, b) {
        (LinkKind::Macvlan { .. }, LinkKind::Ipvlan { .. })
        | (LinkKind::Ipvlan { .. }, LinkKind::Macvlan { .. }) => {
            let why = "a master has macvlan links or ipvlan links, never both at a time";
            Some((why.to_owned(), "use one of the plugins, or different masters"))
        }
        (LinkKind::Ipvlan { mode, flag }, LinkKind::Ipvlan { mode: other, flag: other_flag })
            if (mode, flag) != (other, other_flag) =>
        {
            let why = format!(
                "all ipvlan links of a master have one mode and flag, but here are {mode} {flag} and {other} {other_flag}"
            );
            Some((why, "use the same mode and flag, or different masters"))
        }
        (LinkKind::Macvlan { mode }, LinkKind::Macvlan { mode: other })
            if mode == "passthru" || other == "passthru" =>
        {
            let why = "a macvlan link of mode passthru has its master for itself";
            Some((why.to_owned(), "use another mode, or different masters"))
        }
        _ => None,
    }
}
