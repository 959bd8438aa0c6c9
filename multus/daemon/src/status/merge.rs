//! What to write after another writer replaced the network-status that the plugin reported.

use serde_json::Value;

/// Returns the list of another writer with the entries of ours that it lacks. `None` if it lacks none, or if it is no list with entries: whoever
/// removes the whole annotation wants none.
///
/// Our entries come first, in their order, so that the default network stays the first. Where both lists have an entry for an interface of a
/// network, the other writer's is newer and stays.
pub(super) fn merged(ours: &str, theirs: &str) -> Option<String> {
    let ours: Vec<Value> = serde_json::from_str(ours).ok()?;
    let mut theirs: Vec<Value> =
        serde_json::from_str(theirs).ok().filter(|list: &Vec<_>| !list.is_empty())?;
    let is_same = |a: &Value, b: &Value| a["name"] == b["name"] && a["interface"] == b["interface"];
    if ours.iter().all(|entry| theirs.iter().any(|other| is_same(entry, other))) {
        return None;
    }
    let mut list: Vec<Value> = Vec::with_capacity(ours.len() + theirs.len());
    for entry in ours {
        let newer = theirs.iter().position(|other| is_same(&entry, other)).map(|at| theirs.remove(at));
        list.push(newer.unwrap_or(entry));
    }
    list.append(&mut theirs);
    nad::render(&list)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(name: &str, interface: &str, ip: &str) -> Value {
        json!({"name": name, "interface": interface, "ips": [ip], "dns": {}})
    }

    fn list(entries: &[Value]) -> String {
        nad::render(entries).unwrap()
    }

    #[test]
    fn entries_that_were_replaced_come_back_before_the_others() {
        let ours = [entry("antrea", "eth0", "10.0.0.1"), entry("default/a", "net1", "10.1.0.1")];
        let theirs = [entry("default/vlan", "eth1", "10.2.0.1")];
        let all = [ours.as_slice(), &theirs].concat();
        assert_eq!(merged(&list(&ours), &list(&theirs)).unwrap(), list(&all));
    }

    #[test]
    fn an_entry_that_both_have_is_the_other_writers() {
        let (old, new) = (entry("antrea", "eth0", "10.0.0.1"), entry("antrea", "eth0", "10.0.0.9"));
        let net1 = entry("default/a", "net1", "10.1.0.1");
        let theirs = [entry("default/vlan", "eth1", "10.2.0.1"), new.clone()];
        let want = [new, net1.clone(), theirs[0].clone()];
        assert_eq!(merged(&list(&[old, net1]), &list(&theirs)).unwrap(), list(&want));
    }

    #[test]
    fn nothing_is_written_where_nothing_is_missing_and_so_a_merge_ends() {
        let ours = [entry("antrea", "eth0", "10.0.0.1")];
        let more = [entry("b", "net1", "1.1.1.1"), entry("antrea", "eth0", "10.0.0.2")];
        assert_eq!(merged(&list(&ours), &list(&more)), None);
        let theirs = list(&[entry("default/vlan", "eth1", "10.2.0.1")]);
        let once = merged(&list(&ours), &theirs).unwrap();
        assert_eq!(merged(&list(&ours), &once), None);
    }

    #[test]
    fn a_list_without_entries_or_of_another_shape_is_left_alone() {
        let ours = list(&[entry("antrea", "eth0", "10.0.0.1")]);
        for theirs in ["[]", "", "null", "{}", "[", "3"] {
            assert_eq!(merged(&ours, theirs), None, "{theirs}");
        }
        // Entries that are no objects are kept as they are.
        assert!(merged(&ours, "[null]").unwrap().ends_with("},null]"));
        assert_eq!(merged("[", "[{}]"), None);
    }
}
