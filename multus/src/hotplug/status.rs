//! The network-status of a pod after a change.

use nad::NetworkStatus;
use serde_json::Value;

use crate::record::Detached;

/// The entries of one recorded network.
#[derive(Clone, Debug)]
pub(super) struct Entries {
    /// Whether the pod itself requests the network.
    pub(super) whose: Whose,
    /// One for each interface.
    pub(super) entries: Vec<NetworkStatus>,
}

/// Who requests a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The configuration.
    Everybodys,
    /// The pod.
    Pods,
}

/// Whether the networks of the pod were changed just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// They were.
    Change,
    /// They were not: the status is written only if it lacks a network of the pod, or has one that was removed.
    Look,
}

/// The new status; `None` if the present one is right. `ours` is in the order of the status. Entries that other programs wrote stay, behind ours.
pub(super) fn status(
    current: Option<&str>,
    ours: &[Entries],
    detached: &[Detached],
    occasion: Occasion,
) -> Option<String> {
    let current: Option<Vec<Value>> = current.and_then(|text| serde_json::from_str(text).ok());
    // Whoever took the annotation away wants none, until something changes.
    let mut theirs = match (current, occasion) {
        (Some(current), _) => current,
        (None, Occasion::Change) => Vec::new(),
        (None, Occasion::Look) => return None,
    };
    let before = theirs.clone();
    let mut is_wrong = false;
    let mut list = Vec::new();
    for Entries { whose, entries } in ours {
        for entry in entries {
            let Ok(entry) = serde_json::to_value(entry) else { continue };
            let present = theirs.iter().position(|other| is_same(&entry, other)).map(|at| theirs.remove(at));
            match (present, whose) {
                (Some(present), Whose::Everybodys) => list.push(present),
                (present, Whose::Pods) => {
                    is_wrong |= present.is_none_or(|present| !has_same_addresses(&entry, &present));
                    list.push(entry);
                }
                (None, Whose::Everybodys) => list.push(entry),
            }
        }
    }
    let length = theirs.len();
    theirs.retain(|entry| !detached.iter().any(|one| is_detached(entry, one)));
    is_wrong |= theirs.len() < length;
    list.append(&mut theirs);
    let is_due = match occasion {
        Occasion::Change => list != before,
        Occasion::Look => is_wrong,
    };
    if is_due { nad::render(&list) } else { None }
}

fn is_same(one: &Value, other: &Value) -> bool {
    one["name"] == other["name"] && one["interface"] == other["interface"]
}

fn has_same_addresses(one: &Value, other: &Value) -> bool {
    one["ips"] == other["ips"] && one["mac"] == other["mac"]
}

fn is_detached(entry: &Value, detached: &Detached) -> bool {
    entry["name"] == detached.network.as_str() && entry["interface"] == detached.if_name.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, interface: &str, ip: &str) -> NetworkStatus {
        let (name, interface, ips) = (name.to_owned(), interface.to_owned(), vec![ip.to_owned()]);
        NetworkStatus { name, interface, ips, ..NetworkStatus::default() }
    }

    fn eth0() -> Entries {
        Entries { whose: Whose::Everybodys, entries: vec![entry("primary", "eth0", "10.0.0.1")] }
    }

    fn own(name: &str, interface: &str, ip: &str) -> Entries {
        Entries { whose: Whose::Pods, entries: vec![entry(name, interface, ip)] }
    }

    fn text(all: &[Entries]) -> String {
        let entries: Vec<&NetworkStatus> = all.iter().flat_map(|one| &one.entries).collect();
        nad::render(&entries).unwrap()
    }

    fn gone(network: &str, if_name: &str) -> Detached {
        Detached { network: network.to_owned(), if_name: if_name.to_owned() }
    }

    #[test]
    fn a_change_adds_and_removes_entries_in_order() {
        let (a, b) = (own("default/a", "net1", "10.1.0.1"), own("default/b", "net2", "10.2.0.1"));
        let ours = [eth0(), b.clone(), a.clone()];
        let current = text(&[eth0(), a]);
        assert_eq!(status(Some(&current), &ours, &[], Occasion::Change), Some(text(&ours)));
        let rest = [eth0(), b];
        let left = status(Some(&text(&ours)), &rest, &[gone("default/a", "net1")], Occasion::Change);
        assert_eq!(left, Some(text(&rest)));
        assert_eq!(status(Some(&text(&rest)), &rest, &[], Occasion::Change), None);
        assert_eq!(status(None, &rest, &[], Occasion::Change), Some(text(&rest)));
    }

    #[test]
    fn entries_of_other_programs_stay_behind_ours() {
        let (a, theirs) = (own("default/a", "net1", "10.1.0.1"), own("default/vlan", "eth1", "10.9.0.1"));
        let current = text(&[theirs.clone(), eth0()]);
        let want = text(&[eth0(), a.clone(), theirs]);
        assert_eq!(status(Some(&current), &[eth0(), a], &[], Occasion::Change), Some(want));
    }

    #[test]
    fn without_a_change_only_a_wrong_status_is_written() {
        let a = own("default/a", "net1", "10.1.0.1");
        let ours = [eth0(), a.clone()];
        let other_order = text(&[a.clone(), eth0()]);
        assert_eq!(status(Some(&other_order), &ours, &[], Occasion::Look), None);
        assert_eq!(status(None, &ours, &[], Occasion::Look), None);
        // As after a crash between the plugin and the status.
        for wrong in [vec![eth0()], vec![eth0(), own("default/a", "net1", "10.1.0.9")]] {
            assert_eq!(status(Some(&text(&wrong)), &ours, &[], Occasion::Look), Some(text(&ours)));
        }
        let leftover = text(&[eth0(), a, own("default/b", "net2", "10.2.0.1")]);
        assert_eq!(status(Some(&leftover), &ours, &[], Occasion::Look), None);
        let detached = [gone("default/b", "net2")];
        assert_eq!(status(Some(&leftover), &ours, &detached, Occasion::Look), Some(text(&ours)));
    }
}
