//! The metrics of the daemons, read from their source: `registry.register("name", "help", m.field)`, with the prefix of the registry and the type of
//! the field.

use std::collections::BTreeSet;

/// What the daemons export.
#[derive(Default)]
pub(crate) struct Known {
    /// As the manuals list them: a counter with `_total`, a histogram without `_bucket`.
    pub(crate) names: BTreeSet<String>,
    /// The names of samples, as expressions use them.
    pub(crate) samples: BTreeSet<String>,
    /// Every text of the sources: labels and their values.
    pub(crate) texts: BTreeSet<String>,
}

/// Reads both daemons' sources.
pub(crate) fn of_the_code() -> Known {
    let mut known = Known::default();
    for path in ["multus/daemon/src/metrics.rs", "whereabouts/src/metrics.rs"] {
        let source = super::read(path);
        let source = source.split("#[cfg(test)]").next().unwrap();
        read(source, &mut known);
    }
    assert!(known.names.len() > 20, "{:?}", known.names);
    known
}

fn read(source: &str, known: &mut Known) {
    known.texts.extend(source.split('"').skip(1).step_by(2).map(str::to_owned));
    let prefix = between(source, "Registry::with_prefix(\"", "\"");
    for call in source.split("registry.register(").skip(1) {
        let call = call.split(");").next().unwrap();
        let name = format!("{prefix}_{}", between(call, "\"", "\""));
        let field = call.rsplit("m.").next().unwrap().trim_end_matches([',', ' ', '\n']);
        let kind = between(source, &format!("    {field}: "), "\n");
        if kind.contains("Histogram") {
            known.samples.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
            known.names.insert(name);
        } else {
            let name = if kind.contains("Counter") { format!("{name}_total") } else { name };
            known.samples.insert(name.clone());
            known.names.insert(name);
        }
    }
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(begin).unwrap_or_else(|| panic!("no {begin} in {text}"));
    rest.split(end).next().unwrap()
}

#[test]
fn names_have_the_prefix_and_the_ending_of_their_type() {
    let source = "struct M {\n    a: Family<L, Counter>,\n    b: Gauge,\n    c: Histogram,\n}\nRegistry::with_prefix(\"x\");\n\
        registry.register(\"one\", \"One\", m.a);\nregistry.register(\n  \"two\",\n  \"Two\",\n  m.b,\n);\n\
        registry.register(\"three_seconds\", \"Three\", m.c);\n";
    let mut known = Known::default();
    read(source, &mut known);
    assert_eq!(known.names, ["x_one_total", "x_three_seconds", "x_two"].map(str::to_owned).into());
    assert!(known.samples.contains("x_three_seconds_bucket") && !known.samples.contains("x_three_seconds"));
}
