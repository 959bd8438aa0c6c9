//! Keys of Multus' configurations that have no effect here. A configuration with one of them asks for something that does not happen, so
//! ADD warns about it.

use cni::json::fold_keys;
use serde_json::{Map, Value};

/// Why a key of the daemon has none.
const DAEMONS_OWN: &str = "it is a key of the daemon's own file";

/// The key, and why it has no effect. Those of the node daemon are for its own file, but its generator copies some into the network's.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("socketDir", DAEMONS_OWN),
    ("chrootDir", DAEMONS_OWN),
    ("perNodeCertificate", DAEMONS_OWN),
    ("connectionLimit", DAEMONS_OWN),
    ("metricsPort", DAEMONS_OWN),
    ("enablePprof", DAEMONS_OWN),
    ("cniConfigDir", DAEMONS_OWN),
    ("multusConfigFile", DAEMONS_OWN),
    ("multusAutoconfigDir", DAEMONS_OWN),
    ("multusMasterCNI", DAEMONS_OWN),
    ("forceCNIVersion", DAEMONS_OWN),
    (
        "allowTryDeleteOnErr",
        "Multus has no such key either, though its documentation names it: DEL keeps the record until it ends",
    ),
];

/// The warnings about the keys of `object` that have no effect, each naming the key. Keys match in any case.
///
/// They are no errors: a node changes over from Multus without a change of its configuration, and no pod depends on these keys.
///
/// No warning: `cniConf` and `overrideNetworkName`, which upstream's installers write and upstream ignores too, and `retryDeleteOnError`,
/// because DEL always keeps the record until it ends.
pub(super) fn warnings(object: &Map<String, Value>) -> Vec<String> {
    let mut object = object.clone();
    let keys: Vec<&str> = WITHOUT_EFFECT.iter().map(|(key, _)| *key).collect();
    fold_keys(&mut object, &keys);
    let is_set = |key: &str| object.get(key).is_some_and(|value| !is_zero(value));
    let set = WITHOUT_EFFECT.iter().filter(|(key, _)| is_set(key));
    set.map(|(key, why)| format!("key {key:?} has no effect here, because {why}: remove it")).collect()
}

/// Whether Go would read the value like an absent key.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn warned(conf: Value) -> Vec<String> {
        warnings(conf.as_object().unwrap())
    }

    #[test]
    fn a_key_without_effect_is_named_in_any_case() {
        for (key, _) in WITHOUT_EFFECT {
            for name in [(*key).to_owned(), key.to_uppercase()] {
                let text = warned(json!({"name": "n", name: "x"})).remove(0);
                assert!(text.starts_with(&format!("key {key:?} has no effect here, because ")), "{text}");
            }
        }
    }

    #[test]
    fn a_value_that_go_reads_like_an_absent_key_causes_no_warning() {
        for zero in [json!(null), json!(""), json!({}), json!([]), json!(false), json!(0)] {
            assert!(warned(json!({"metricsPort": zero})).is_empty(), "{zero}");
        }
    }

    #[test]
    fn what_upstreams_installers_write_and_ignore_causes_no_warning() {
        let conf = json!({"cniVersion": "1.0.0", "name": "n", "type": "multus", "capabilities": {"ips": true}, "cniConf": "/host/etc/x",
            "overrideNetworkName": true, "retryDeleteOnError": false, "prevResult": {}, "ipam": {}, "dns": {}, "unheardOf": 1});
        assert!(warned(conf).is_empty());
    }
}
