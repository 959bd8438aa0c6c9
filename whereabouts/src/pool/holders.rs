//! The namespaces that hold most addresses of a full pool, for the error.

use std::collections::BTreeMap;

/// The five namespaces that hold most addresses, with their numbers, the largest first.
pub fn largest_holders<'a>(podrefs: impl Iterator<Item = &'a String>) -> Vec<String> {
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

    #[test]
    fn the_five_largest_namespaces_are_listed_largest_first() {
        let podrefs: Vec<String> =
            ["a/1", "b/1", "b/2", "c/1", "d/1", "e/1", "f/1", "f/2", "f/3"].map(str::to_owned).to_vec();
        let holders = largest_holders(podrefs.iter());
        assert_eq!(holders.len(), 5);
        assert_eq!(holders[..2], ["namespace \"f\": 3", "namespace \"b\": 2"]);
    }
}
