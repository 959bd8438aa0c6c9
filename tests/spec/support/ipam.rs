//! IPAM plugins that are shell scripts. Each function writes one into the bench's folder and returns the `ipam` of a conf that names it.

use serde_json::{Value, json};
use tests::driver::write_script;

use super::Bench;

/// An IPAM plugin that keeps the input of each verb (see [`ipam_input`]) and then runs the verb's shell code. A verb without code succeeds
/// and answers nothing.
pub fn scripted(bench: &Bench, verbs: &[(&str, &str)]) -> Value {
    let folder = bench.folder.path();
    let cases: Vec<String> = verbs.iter().map(|(verb, body)| format!("{verb}) {body};;")).collect();
    let body = format!(
        "cat > {}/$CNI_COMMAND.stdin\ncase $CNI_COMMAND in\n{}\nesac",
        folder.display(),
        cases.join("\n")
    );
    write_script(&folder.join("scripted"), &body);
    json!({"type": "scripted"})
}

/// What the scripted IPAM plugin read at `verb`; none if that verb did not reach it.
pub fn ipam_input(bench: &Bench, verb: &str) -> Option<Value> {
    let text = std::fs::read(bench.folder.path().join(format!("{verb}.stdin"))).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}

/// An IPAM plugin that gives container N the address 10.1.2.(N+2), so that container ids must be numbers. It keeps a file for each address
/// where host-local would, so that [`Bench::held`] finds them. It exists because a hundred starts of host-local take most of a minute in the
/// virtual machine.
pub fn counting(bench: &Bench) -> Value {
    let held = bench.folder.path().join("spec");
    std::fs::create_dir_all(&held).unwrap();
    let body = format!(
        r#"cat > /dev/null
address=10.1.2.$((CNI_CONTAINERID + 2))
case $CNI_COMMAND in
ADD) : > {held}/$address; echo "{{\"cniVersion\":\"1.0.0\",\"ips\":[{{\"address\":\"$address/24\"}}]}}" ;;
DEL) rm -f {held}/$address ;;
esac"#,
        held = held.display()
    );
    write_script(&bench.folder.path().join("counting"), &body);
    json!({"type": "counting"})
}
