//! What the macvlan tests ask of a bench beyond what all have.

use netlink::test_util::{Frames, Testbed};
use serde_json::{Value, json};
use tests::driver::{merged, write_script};

use crate::support::{Bench, Place};

/// A conf with host-local, `more` laid over it.
pub fn with_ipam(bench: &Bench, more: Value) -> Value {
    merged(&merged(&bench.conf("1.0.0", Place::Host), json!({"ipam": bench.host_local()})), more)
}

/// The conf without `key`.
pub fn without(conf: &Value, key: &str) -> Value {
    let mut conf = conf.clone();
    conf.as_object_mut().unwrap().remove(key);
    conf
}

/// Neither a link nor an address.
#[track_caller]
pub fn nothing_is_left(bench: &Bench) {
    assert_eq!((bench.net1(), bench.held()), (None, Vec::<String>::new()));
}

/// An IPAM plugin, and the `ipam` that asks for it. It keeps the input of each verb in a file of that name, then does for the verb
/// what the shell code says; nothing for other verbs.
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

/// What the scripted IPAM plugin read for `verb`; none if it was not called.
pub fn asked(bench: &Bench, verb: &str) -> Option<Value> {
    let text = std::fs::read(bench.folder.path().join(format!("{verb}.stdin"))).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}

/// Sends and hears as another host on the wire.
pub fn stranger(bench: &Bench) -> Frames {
    let wire = bench.lab.peer.socket().unwrap().link_by_name(Testbed::WIRE).unwrap().unwrap();
    Frames::on(bench.lab.peer.netns(), &wire).unwrap()
}

/// Gives the other host on the wire an address; its MAC address.
pub fn give_stranger(bench: &Bench, address: &str) -> String {
    let peer = bench.lab.peer.socket().unwrap();
    let wire = peer.link_by_name(Testbed::WIRE).unwrap().unwrap();
    peer.add_address(&wire, address.parse().unwrap(), netlink::Dad::Skip).unwrap();
    wire.mac.unwrap().to_string()
}
