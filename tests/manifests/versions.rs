//! The version of a release stands in the workspace's Cargo.toml. Whatever else names it has the same one.

use std::path::Path;

use tests::place;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Every text file below a folder of the repository, or the file itself.
fn texts(path: &str, all: &mut Vec<(String, String)>) {
    let full = place::root().join(path);
    if full.is_dir() {
        for entry in std::fs::read_dir(&full).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            texts(&Path::new(path).join(name).display().to_string(), all);
        }
    } else if let Ok(text) = std::fs::read_to_string(&full) {
        all.push((path.to_owned(), text));
    }
}

/// The version behind the image's name, wherever it stands.
#[test]
fn every_file_that_names_the_image_has_the_version_of_the_workspace() {
    let mut all = Vec::new();
    for path in ["README.md", "deploy", "docs"] {
        texts(path, &mut all);
    }
    let mut found = 0;
    for (path, text) in &all {
        for rest in text.split("multus-rs/multus-rs:v").skip(1) {
            let end =
                rest.find(|c: char| !c.is_ascii_alphanumeric() && !".-+".contains(c)).unwrap_or(rest.len());
            assert_eq!(rest[..end].trim_end_matches('.'), VERSION, "{path}");
            found += 1;
        }
    }
    assert!(found > 7, "{found}");
}

#[test]
fn every_make_target_of_a_workflow_exists() {
    let makefile = std::fs::read_to_string(place::root().join("Makefile")).unwrap();
    let mut all = Vec::new();
    texts(".github/workflows", &mut all);
    let mut targets = Vec::new();
    for (_, text) in &all {
        targets.extend(text.split("run: make ").skip(1).filter_map(|rest| rest.split_whitespace().next()));
        targets.extend(text.split("- target: ").skip(1).filter_map(|rest| rest.split_whitespace().next()));
    }
    targets.retain(|target| !target.starts_with("${{"));
    assert!(
        ["test", "release", "audit", "fuzz", "manifests", "migration"]
            .iter()
            .all(|name| targets.contains(name)),
        "{targets:?}"
    );
    for target in targets {
        assert!(makefile.lines().any(|line| line.starts_with(&format!("{target}:"))), "make {target}");
    }
}
