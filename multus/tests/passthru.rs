//! The binary under its other names.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::process::Command;

/// What the binary answers to VERSION, if it is installed under this name.
fn versions(name: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join(name);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_multus"), &program).unwrap();
    let stdin = std::process::Stdio::null();
    let output = Command::new(program).env("CNI_COMMAND", "VERSION").stdin(stdin).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_name_passthru_makes_it_that_plugin() {
    assert!(versions("multus").contains("0.2.0") && versions("multus-shim").contains("0.2.0"));
    let passthru = versions("passthru");
    assert!(passthru.contains("0.3.0") && !passthru.contains("0.2.0"), "{passthru}");
}
