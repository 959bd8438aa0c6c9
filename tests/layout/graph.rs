//! Which modules use which, as a graph: the order that it must keep, and its cycles.

use std::collections::{BTreeMap, BTreeSet};

/// The modules that each module uses, without itself. Names are paths without `crate`: `run::attach`; the crate's root is empty.
pub type Uses = BTreeMap<String, BTreeSet<String>>;

/// The uses between the first components of module names.
pub fn by_first_component(uses: &Uses) -> Uses {
    let first = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
    let mut all = Uses::new();
    for (module, used) in uses {
        let of = all.entry(first(module)).or_default();
        of.extend(used.iter().map(|used| first(used)).filter(|used| *used != first(module)));
    }
    all
}

/// The uses that contradict `order`, which names modules from the lowest to the highest: each may use those before it. Modules that are
/// not in `order` are reported too. The root may use all, and none may use the root.
pub fn upward(uses: &Uses, order: &[&str]) -> Vec<String> {
    let place = |module: &str| order.iter().position(|name| *name == module);
    let mut wrong = Vec::new();
    for (module, used) in uses.iter().filter(|(module, _)| !module.is_empty()) {
        let Some(own) = place(module) else {
            wrong.push(format!("{module} has no place in the order"));
            continue;
        };
        let above = used.iter().filter(|used| place(used).is_none_or(|place| place > own));
        wrong.extend(
            above.map(|used| format!("{module} uses {}", if used.is_empty() { "the root" } else { used })),
        );
    }
    wrong
}

/// The modules of a cycle of uses, in order, if there is one.
pub fn cycle(uses: &Uses) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    uses.keys().find_map(|module| cycle_from(module, uses, &mut Vec::new(), &mut done))
}

fn cycle_from<'a>(
    module: &'a str,
    uses: &'a Uses,
    path: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<Vec<String>> {
    if let Some(at) = path.iter().position(|earlier| *earlier == module) {
        return Some(path[at..].iter().map(|module| (*module).to_owned()).collect());
    }
    if done.contains(module) {
        return None;
    }
    path.push(module);
    let found = uses.get(module).into_iter().flatten().find_map(|next| cycle_from(next, uses, path, done));
    path.pop();
    done.insert(module);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::uses;

    fn uses_of(files: &[(&str, &str)]) -> Uses {
        uses(&files.iter().map(|(module, text)| ((*module).to_owned(), (*text).to_owned())).collect())
    }

    /// `a>b` for each use.
    fn shown(uses: &Uses) -> Vec<String> {
        uses.iter()
            .flat_map(|(module, used)| used.iter().map(move |used| format!("{module}>{used}")))
            .collect()
    }

    #[test]
    fn uses_are_summed_up_by_the_first_component() {
        let files = [
            ("", "mod a; mod b;"),
            ("a", "mod x; mod y;"),
            ("a::x", "use super::y::Y; use crate::b::z::Z;"),
            ("a::y", ""),
            ("b", "mod z;"),
            ("b::z", ""),
        ];
        assert_eq!(shown(&by_first_component(&uses_of(&files))), ["a>b"]);
    }

    #[test]
    fn a_use_of_a_higher_module_or_one_without_a_place_is_reported() {
        let files = [
            ("", "mod low; mod high; mod new; pub use high::H;"),
            ("low", "use crate::high::H;"),
            ("high", "use crate::low::L;"),
            ("new", ""),
        ];
        let uses = uses_of(&files);
        assert_eq!(upward(&uses, &["low", "high"]), ["low uses high", "new has no place in the order"]);
        assert_eq!(upward(&uses, &["high", "low", "new"]), ["high uses low"]);
    }

    #[test]
    fn a_cycle_is_found_over_several_modules() {
        let files = [
            ("", "mod a; mod b; mod c; mod d;"),
            ("a", "use crate::b::B;"),
            ("b", "use crate::d::D; use crate::c::C;"),
            ("c", "fn f() { crate::b::g() }"),
            ("d", ""),
        ];
        assert_eq!(cycle(&uses_of(&files)).unwrap(), ["b", "c"]);
    }

    #[test]
    fn a_parent_and_a_child_that_share_items_are_a_cycle() {
        let files =
            [("", "mod a;"), ("a", "mod b; fn f() { b::g() } fn h() {}"), ("a::b", "fn g() { super::h() }")];
        assert_eq!(cycle(&uses_of(&files)).unwrap(), ["a", "a::b"]);
        let free = [
            ("", "mod a;"),
            ("a", "mod b; mod c; pub use b::B;"),
            ("a::b", "use super::c::C;"),
            ("a::c", ""),
        ];
        assert_eq!(cycle(&uses_of(&free)), None);
    }
}
