//! The definitions that the documents show are correct: the plugins' own readers, as `kubectl multus check` uses them, find nothing wrong.

use std::ffi::OsString;

use kubectl::Environment;
use tests::place;

use super::read;

/// All documents for users.
fn documents() -> Vec<String> {
    let mut all = vec!["README.md".to_owned()];
    for folder in ["docs", "docs/primaries"] {
        let entries = std::fs::read_dir(place::root().join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        all.extend(names.filter(|name| name.ends_with(".md")).map(|name| format!("{folder}/{name}")));
    }
    all.sort();
    all
}

/// The blocks of a document that are YAML and have a definition.
fn definitions(text: &str) -> Vec<&str> {
    let blocks = text.split("\n```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    blocks.filter(|block| block.contains("kind: NetworkAttachmentDefinition")).collect()
}

#[test]
fn every_definition_in_the_documents_is_one_that_check_finds_nothing_wrong_with() {
    let (mut found, mut wrong) = (0, Vec::new());
    for document in documents() {
        for yaml in definitions(&read(&document)) {
            found += 1;
            // The nodes of the examples have these.
            let args = ["check", "-f", "-", "--links", "eth0,eth1", "-o", "json"].map(OsString::from);
            let (mut out, mut progress) = (Vec::new(), Vec::new());
            let environment = Environment::default();
            if kubectl::main(args, &environment, &mut yaml.as_bytes(), &mut out, &mut progress).is_err() {
                wrong.push(format!("{document}: cannot be read: {yaml}"));
            }
            let text = String::from_utf8(out).unwrap();
            if text.contains("\"error\"") || text.contains("\"warning\"") {
                wrong.push(format!("{document}: {text}"));
            }
        }
    }
    assert!(found > 5, "{found}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
