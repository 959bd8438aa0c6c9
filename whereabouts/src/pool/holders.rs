//! Who holds the addresses of a full pool, for the error.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::addr::ip;
use crate::addr::range::Allocatable;

/// The most addresses whose pods are named one by one.
const FEW: usize = 8;

/// The holders of the addresses that a pool may choose, from the podref of each held address. Of a pool with few addresses each pod is named,
/// of a larger one the five namespaces that hold most, with their numbers, the largest first.
pub fn holders<'a>(
    free: &Allocatable,
    podrefs: impl IntoIterator<Item = (&'a IpAddr, &'a String)>,
) -> Vec<String> {
    let held: Vec<(&IpAddr, &String)> =
        podrefs.into_iter().filter(|(address, _)| free.contains(**address)).collect();
    if held.len() > FEW {
        return largest_namespaces(held.into_iter().map(|(_, podref)| podref.as_str()));
    }
    let one = |(address, podref): (&IpAddr, &String)| match podref.as_str() {
        // Made by hand, to keep an address free.
        "" => format!("a reservation without a pod ({})", ip::text(*address)),
        podref => format!("pod {podref} ({})", ip::text(*address)),
    };
    held.into_iter().map(one).collect()
}

fn largest_namespaces<'a>(podrefs: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for podref in podrefs {
        // A podref is `namespace/name`.
        let namespace = podref.split('/').next().unwrap_or_default();
        *counts.entry(namespace).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    // The namespace decides between equal numbers, so that the error is the same in every call.
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    counts.into_iter().take(5).map(|(namespace, count)| format!("namespace {namespace:?}: {count}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::range_pool::plain;

    fn held(podrefs: &[&str]) -> BTreeMap<IpAddr, String> {
        let address = |n: usize| format!("10.0.0.{}", n + 1).parse().unwrap();
        podrefs.iter().enumerate().map(|(n, podref)| (address(n), (*podref).to_owned())).collect()
    }

    #[test]
    fn of_many_addresses_the_five_largest_namespaces_are_listed_largest_first() {
        let held = held(&["a/1", "b/1", "b/2", "c/1", "d/1", "e/1", "f/1", "f/2", "f/3"]);
        let holders = holders(&plain("10.0.0.0/24").free, &held);
        assert_eq!(holders.len(), 5);
        assert_eq!(holders[..2], ["namespace \"f\": 3", "namespace \"b\": 2"]);
    }

    #[test]
    fn of_few_addresses_each_pod_is_named_and_addresses_outside_the_pool_do_not_count() {
        let held = held(&["a/1", "b/1", "", "c/1"]);
        let named = ["pod b/1 (10.0.0.2)", "a reservation without a pod (10.0.0.3)"];
        assert_eq!(holders(&plain("10.0.0.2-10.0.0.3/24").free, &held), named);
    }
}
