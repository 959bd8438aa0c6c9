//! A file of definitions that a user checks before it is applied.

use std::ffi::OsString;

use kubectl::Environment;

/// `kubectl multus check -f -`: whatever the file has, the output is printable ASCII, so that it cannot act on the terminal, and that of
/// `-o json` is JSON.
pub fn kubectl_check(bytes: &[u8]) {
    for format in ["table", "json"] {
        let args = ["check", "-f", "-", "--links", "eth0", "-o", format].map(OsString::from);
        let mut out = Vec::new();
        // A file that is no YAML is refused.
        if kubectl::main(args, &Environment::default(), &mut &*bytes, &mut out, &mut Vec::new()).is_err() {
            continue;
        }
        let is_plain = |byte: &u8| *byte == b'\n' || *byte == b' ' || byte.is_ascii_graphic();
        assert!(out.iter().all(is_plain), "{}", String::from_utf8_lossy(&out).escape_debug());
        if format == "json" {
            serde_json::from_slice::<serde_json::Value>(&out).expect("JSON");
        }
    }
}
