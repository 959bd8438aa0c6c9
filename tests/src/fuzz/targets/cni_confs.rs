//! Configurations, of one plugin and of a list.

use cni::conf::NetConf;
use cni::list::{NetworkList, PluginConf};
use cni::{Code, Version};
use serde_json::{Map, Value, json};

use super::super::{is_file_name, is_network_name, same};

/// One plugin's configuration: its names are checked, and it survives a round trip.
pub fn cni_conf(bytes: &[u8]) {
    let conf = match NetConf::parse(bytes) {
        Ok(conf) => conf,
        Err(error) => {
            let expected =
                matches!(error.code, Code::IncompatibleVersion | Code::Decoding | Code::InvalidConfig);
            return assert!(expected, "a conf is refused with code 1, 6 or 7, not {:?}", error.code);
        }
    };
    check(&conf);
    let text = Value::Object(conf.object().clone()).to_string();
    let again = NetConf::parse(text.as_bytes()).expect("a conf that was read can be read again");
    assert_eq!((&again.name, again.cni_version), (&conf.name, conf.cni_version));
    assert_eq!(again.dns, conf.dns);
    assert!(same(&Value::Object(again.runtime_config), &Value::Object(conf.runtime_config)));
    assert!(same(&Value::Object(again.args_cni), &Value::Object(conf.args_cni)));
    assert_eq!(again.ipam.map(|i| i.plugin_type), conf.ipam.map(|i| i.plugin_type));
}

fn check(conf: &NetConf) {
    assert!(is_network_name(conf.name.as_str()), "network name {:?}", conf.name);
    if let Some(ipam) = &conf.ipam {
        assert!(is_file_name(ipam.plugin_type.as_str()), "IPAM plugin {:?}", ipam.plugin_type);
    }
}

/// A network configuration list: the request of each plugin has the list's name and version, and only the capabilities that the plugin
/// declares.
pub fn cni_list(bytes: &[u8]) {
    let Ok(list) = NetworkList::parse(bytes) else { return };
    assert!(is_network_name(list.name.as_str()), "network name {:?}", list.name);
    assert!(!list.plugins.is_empty(), "a list has plugins");
    let offers = json!({ "ips": ["10.0.0.2/24"], "mac": "02:00:00:00:00:01", "portMappings": [] });
    let offers = offers.as_object().cloned().unwrap_or_default();
    let previous = json!({ "cniVersion": list.cni_version.as_str(), "ips": [] });
    for plugin in &list.plugins {
        assert!(is_file_name(plugin.plugin_type.as_str()), "plugin type {:?}", plugin.plugin_type);
        check_request(&list, plugin, &offers, &previous);
        check_request(&list, plugin, &Map::new(), &previous);
    }
}

fn check_request(list: &NetworkList, plugin: &PluginConf, offers: &Map<String, Value>, previous: &Value) {
    let request = plugin.request(list, offers, Some(previous));
    assert_eq!(request["name"], list.name.as_str());
    assert_eq!(request["cniVersion"], list.cni_version.as_str());
    assert_eq!(&request["prevResult"], previous);
    let passed = request.get("runtimeConfig").and_then(Value::as_object);
    if plugin.capabilities.iter().any(|key| offers.contains_key(key)) {
        let passed = passed.expect("a capability that is declared and given is passed");
        assert!(passed.keys().all(|key| plugin.capabilities.contains(key)), "undeclared: {passed:?}");
    }
    let text = Value::Object(request).to_string();
    match NetConf::parse(text.as_bytes()) {
        Ok(conf) => {
            check(&conf);
            assert_eq!((&conf.name, conf.cni_version), (&list.name, list.cni_version));
            let read = conf.prev_result().expect("the result so far is one");
            // 0.1.0 and 0.2.0 have no `ips`: they read a result without addresses.
            assert_eq!(read.is_some_and(|r| r.ips.is_empty()), list.cni_version >= Version::V0_1_0);
        }
        // One of the plugin's own keys is invalid, such as the type of its IPAM plugin.
        Err(error) => assert!(matches!(error.code, Code::Decoding | Code::InvalidConfig), "{error:?}"),
    }
}
