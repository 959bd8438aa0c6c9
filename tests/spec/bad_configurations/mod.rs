//! Bad configurations: a pod requests a network whose definition, or whose request, a plugin refuses. Every plugin that Debian packages is
//! run by our multus, as the runtime runs it. ADD fails with the plugin's own words; DEL succeeds, whether the definition is corrected before or not;
//! nothing is left; and the pod's next sandbox gets the corrected network.
//!
//! A row is a definition, what the pod requests of it, and the code and the words of the refusal. The words name the key or the value, as the
//! plugin does.

mod addresses;
mod bridge;
mod chained;
mod definitions;
mod hostile;
mod links;
mod requests;
mod row;
mod whereabouts_ranges;
pub mod world;

use serde_json::{Value, json};

/// `host-local`, of a network with 253 addresses, with the keys of `more`.
fn host_local(more: Value) -> Value {
    tests::driver::merged(&json!({"type": "host-local", "subnet": "10.1.2.0/24"}), more)
}

/// A network of the plugin `bridge` on the node's bridge, with these keys. It has no addresses without `ipam`.
fn on_bridge(more: Value) -> Value {
    let conf = json!({"cniVersion": "0.3.1", "name": "bad", "type": "bridge", "bridge": world::BRIDGE});
    tests::driver::merged(&conf, more)
}

/// A chain: an address on the node's bridge, then `plugin`.
fn chain(plugin: Value) -> Value {
    let first = json!({"type": "bridge", "bridge": world::BRIDGE, "ipam": host_local(json!({}))});
    json!({"cniVersion": "0.3.1", "name": "bad", "plugins": [first, plugin]})
}
