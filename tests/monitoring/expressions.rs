//! The metrics and label values that an expression of PromQL names. promtool knows the syntax, so this may be simple.

use std::collections::BTreeSet;

/// The names of metrics: ours, and Prometheus' own `up`.
pub(crate) fn metrics(expression: &str) -> BTreeSet<String> {
    let without_texts: String = expression.split('"').step_by(2).collect();
    let words = without_texts.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric =
        |word: &&str| *word == "up" || word.starts_with("multus_") || word.starts_with("whereabouts_");
    words.filter(is_metric).map(str::to_owned).collect()
}

/// The values that labels are compared with, those of regular expressions one by one. Variables of the dashboard are left out.
pub(crate) fn label_values(expression: &str) -> BTreeSet<String> {
    let texts = expression.split('"').skip(1).step_by(2).flat_map(|text| text.split('|'));
    texts.filter(|text| !text.starts_with('$')).map(str::to_owned).collect()
}

#[test]
fn names_and_values_are_found_wherever_they_are() {
    let expression =
        r#"sum by (le) (rate(whereabouts_a_bucket{x!="multus_b",y=~"c|d",n=~"$node"}[5m])) / up > 0"#;
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(metrics(expression), set(&["whereabouts_a_bucket", "up"]));
    assert_eq!(label_values(expression), set(&["multus_b", "c", "d"]));
}
