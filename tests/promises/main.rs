//! The promises of the manuals and the tests that hold them: `README.md` beside this file. A promise that left its manual, or whose test was
//! renamed or removed, fails here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod examples;
mod keys;

use std::collections::BTreeSet;
use std::path::Path;

use tests::place;

fn read(path: &str) -> String {
    std::fs::read_to_string(place::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
struct Promise {
    manual: String,
    text: String,
    tests: Vec<String>,
}

/// Reads the tables: a heading names the manual, a row has a text of the manual and the names of tests in backticks.
fn promises(table: &str) -> Vec<Promise> {
    let (mut manual, mut all) = (String::new(), Vec::new());
    for line in table.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut manual);
        }
        let Some(row) = line.strip_prefix('|') else { continue };
        let cells: Vec<&str> = row.trim_end_matches('|').split('|').map(str::trim).collect();
        let [text, tests] = cells.as_slice() else { panic!("a row has a text and tests: {line}") };
        if *text == "text" || text.starts_with("---") {
            continue;
        }
        let tests = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        all.push(Promise { manual: manual.clone(), text: (*text).to_owned(), tests });
    }
    all
}

/// Text without line ends and repeated spaces: a manual is wrapped anew with each change.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The names of all functions, and all strings that could name a test of a program without harness.
fn names(folder: &Path, all: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            names(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let functions = source.split("fn ").skip(1).filter_map(|rest| rest.split_once('('));
            all.extend(functions.map(|(name, _)| name.to_owned()).filter(|name| name.chars().all(is_name)));
            let texts = source.split("(\"").skip(1).filter_map(|rest| rest.split_once('"'));
            all.extend(texts.map(|(name, _)| name.to_owned()).filter(|name| name.chars().all(is_name)));
        }
    }
}

#[test]
fn each_promise_is_in_its_manual_and_has_a_test_that_exists() {
    let root = place::root();
    let table = std::fs::read_to_string(root.join("tests/promises/README.md")).unwrap();
    let promises = promises(&table);
    let mut known = BTreeSet::new();
    names(&root, &mut known);
    let mut wrong = Vec::new();
    for Promise { manual, text, tests } in &promises {
        let manual_text = std::fs::read_to_string(root.join(manual)).unwrap();
        if !words(&manual_text).contains(&words(text)) {
            wrong.push(format!("{manual} does not say: {text}"));
        }
        if tests.is_empty() {
            wrong.push(format!("{manual}: no test: {text}"));
        }
        wrong
            .extend(tests.iter().filter(|test| !known.contains(*test)).map(|test| format!("no test {test}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let manuals: BTreeSet<&str> = promises.iter().map(|promise| promise.manual.as_str()).collect();
    assert_eq!(manuals.len(), 5, "{manuals:?}");
}

#[test]
fn a_table_is_read_by_heading_and_row() {
    let table = "# x\n\n## docs/a.md\n\n| text | tests |\n|---|---|\n| A pod  gets it | `one`, `two` |\n";
    let expected = Promise {
        manual: "docs/a.md".to_owned(),
        text: "A pod  gets it".to_owned(),
        tests: vec!["one".to_owned(), "two".to_owned()],
    };
    assert_eq!(promises(table), [expected]);
    assert_eq!(words("A pod\n  gets it"), "A pod gets it");
}
