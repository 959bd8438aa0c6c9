//! Definitions that multus itself refuses. Its default network was not yet made.

use serde_json::{Value, json};

use super::on_bridge;
use super::row::{Row, row, run, text_row};
use super::world::Plugins;

fn refused(what: &'static str, conf: Value, words: &'static [&'static str]) -> Row {
    row(what, conf, words).code(7)
}

#[test]
fn a_definition_that_multus_refuses_leaves_nothing() {
    let list = |plugins: Value| json!({"cniVersion": "0.3.1", "name": "bad", "plugins": plugins});
    run(
        Plugins::Ours,
        vec![
            text_row("half of an object", r#"{"cniVersion": "0.3.1", "type": "#, &["default/bad"]).code(7),
            text_row("a list", "[]", &["default/bad"]).code(7),
            refused("no type", json!({"cniVersion": "0.3.1", "name": "bad"}), &["type"]),
            refused("a type that is a path", on_bridge(json!({"type": "../bridge"})), &["../bridge"]),
            refused("a type that is a number", on_bridge(json!({"type": 7})), &["type"]),
            row("a plugin that is not there", on_bridge(json!({"type": "no-such"})), &["no-such"]),
            refused("multus itself", on_bridge(json!({"type": "multus"})), &["multus"]),
            refused("a name with a slash", on_bridge(json!({"name": "a/b"})), &["a/b"]),
            refused("a version that is none", on_bridge(json!({"cniVersion": "9.9.9"})), &["9.9.9"]),
            refused(
                "capabilities that are a list",
                on_bridge(json!({"capabilities": ["ips"]})),
                &["capabilities"],
            ),
            refused("no plugin in the list", list(json!([])), &["plugins"]),
            refused("a plugin without a type", list(json!([{"mtu": 1400}])), &["type"]),
            refused("plugins that are no list", list(json!({"type": "bridge"})), &["plugins"]),
            refused("a plugin that is null", list(json!([null])), &["plugin", "null"]),
            row("a second plugin that is not there", super::chain(json!({"type": "no-such"})), &["no-such"]),
        ],
    );
}
