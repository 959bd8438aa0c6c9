//! The fuzz targets: one function for each reader of bytes that come from outside. A target must not panic on any input and must end within a
//! second. It asserts what must hold for every input that the reader accepts.
//!
//! `tests/fuzz` runs them with libFuzzer (`make fuzz`); `tests/corpus.rs` replays the inputs of `tests/corpus` (`make test`).

pub mod targets;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A target by its name, which is also that of its folder in `tests/corpus` and of its file in `tests/fuzz/fuzz_targets`.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name.
    pub name: &'static str,
    /// Runs the target on one input; panics if a property does not hold.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($name:ident)*) => {
        /// Every target.
        pub const ALL: &[Target] = &[$(Target { name: stringify!($name), run: targets::$name }),*];
    };
}

targets! {
    announcement
    certificate_request
    cni_args
    cni_cache
    cni_call
    cni_conf
    cni_error
    cni_exec_output
    cni_list
    cni_prev_result
    cni_result
    daemon_request
    daemon_response
    ipvlan_conf
    kubeconfig
    kubectl_check
    kubelet_checkpoint
    kubelet_message
    macvlan_conf
    multus_nad
    multus_networks
    multus_record
    netlink_reply
    whereabouts_claim_name
    whereabouts_conf
    whereabouts_pool
    whereabouts_range
    whereabouts_record
}

/// The folder of the kept inputs.
pub fn corpus() -> PathBuf {
    crate::place::root().join("tests/corpus")
}

/// Splits an input into `N` pieces at zero bytes, which neither JSON nor a variable contains. Missing pieces are empty.
fn pieces<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    let mut rest = bytes.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| rest.next().unwrap_or_default())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn put(file: &Path, bytes: &[u8]) {
    File::create(file)
        .and_then(|mut file| file.write_all(bytes))
        .expect("an input can be written to a temporary file");
}

/// Whether two values are equal. Fractions are not compared: serde_json's fast reader may change their last digit.
fn same(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.is_f64() && b.is_f64()),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => one == two,
    }
}

/// Whether a text is a container id, by other code than the code under test.
fn is_word(text: &str) -> bool {
    text.len() <= 128 && is_network_name(text)
}

/// Whether a text is a network name: a NetworkAttachmentDefinition's name has up to 253 bytes.
fn is_network_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    text.len() <= 253
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && text.bytes().all(inner)
}

/// Whether a name as a path stays in its folder.
fn is_file_name(text: &str) -> bool {
    Path::new("/folder").join(text).parent() == Some(Path::new("/folder"))
        && !text.contains(['/', '\0'])
        && text != ".."
}

/// Whether a text is an interface name, by other code than the code under test.
fn is_interface_name(text: &str) -> bool {
    is_file_name(text)
        && (1..=15).contains(&text.len())
        && !text.contains(|c: char| c.is_whitespace() || c == ':')
}
