//! One network: the plugins that make it, and the JSON they were read from.

use cni::list::NetworkList;
use cni::{CniError, Code};
use serde_json::{Map, Value};

/// The names of this program. A delegate with one of them would call itself without end.
const SELF: &[&str] = &["multus", "multus-shim"];

/// The keys under which plugins read the device that they attach: `deviceID`, and `pciBusID` for `host-device`.
const DEVICE_KEYS: &[&str] = &["deviceID", "pciBusID"];

/// A network that can be attached.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The name in messages, network-status and device files: `<namespace>/<name>` of the NetworkAttachmentDefinition, or without one
    /// the name in the configuration.
    pub label: String,
    /// The plugins.
    pub list: NetworkList,
    /// The configuration as written: a list, or a single plugin's.
    pub object: Map<String, Value>,
    /// The resource of which the attachment needs a device, as the definition says.
    pub resource_name: Option<String>,
}

impl Network {
    /// Reads a configuration. Without a `label` its name is the label. Code 6 or 7 if it is not a network, or would run multus.
    pub fn from_object(object: Map<String, Value>, label: Option<String>) -> Result<Network, CniError> {
        let list = NetworkList::from_object(object.clone())?;
        if let Some(own) = list.plugins.iter().find(|p| is_self(p.plugin_type.as_str())) {
            let (name, own) = (list.name.as_str(), own.plugin_type.as_str());
            return Err(CniError::new(
                Code::InvalidConfig,
                format!(
                    "network {name:?} has multus itself ({own:?}) as a plugin, which would call itself without end: name another plugin"
                ),
            ));
        }
        // Upstream names a network without a definition by its configuration.
        let label = label.unwrap_or_else(|| list.name.to_string());
        Ok(Network { label, list, object, resource_name: None })
    }

    /// The same network with `args` merged into `args.cni` of each plugin. Where both have a key, `args` wins.
    pub fn with_cni_args(self, args: &Map<String, Value>) -> Result<Network, CniError> {
        if args.is_empty() {
            return Ok(self);
        }
        self.with_each_plugin(|plugin| merge_cni_args(plugin, args))
    }

    /// The same network with the device `id` in the configuration of each plugin, under both keys that plugins read.
    pub fn with_device(self, id: &str) -> Result<Network, CniError> {
        self.with_each_plugin(|plugin| {
            cni::json::fold_keys(plugin, DEVICE_KEYS);
            plugin.extend(DEVICE_KEYS.iter().map(|key| ((*key).to_owned(), id.into())));
            Ok(())
        })
    }

    /// The `networkType`, if this is a network of the kind that Antrea's agent attaches by itself: a single configuration of type `antrea`
    /// with that key. The configuration of a default network has none.
    pub fn antrea_network_type(&self) -> Option<&str> {
        let [plugin] = self.list.plugins.as_slice() else { return None };
        // Of a list the agent reads nothing.
        if plugin.plugin_type.as_str() != "antrea"
            || self.object.keys().any(|key| key.eq_ignore_ascii_case("plugins"))
        {
            return None;
        }
        let (_, value) = plugin.object.iter().find(|(key, _)| key.eq_ignore_ascii_case("networkType"))?;
        value.as_str().filter(|text| !text.is_empty())
    }

    fn with_each_plugin(
        mut self,
        edit: impl Fn(&mut Map<String, Value>) -> Result<(), CniError>,
    ) -> Result<Network, CniError> {
        // Keys match in any case: without this, "Plugins" would stay beside a "plugins" that is written here.
        cni::json::fold_keys(&mut self.object, &["type", "plugins"]);
        // Upstream takes an object with a "type" for a single plugin, even if it has "plugins" too.
        let is_single = self.object.get("type").and_then(Value::as_str).is_some_and(|t| !t.is_empty());
        if is_single {
            edit(&mut self.object)?;
        } else if let Some(Value::Array(plugins)) = self.object.get_mut("plugins") {
            plugins.iter_mut().filter_map(Value::as_object_mut).try_for_each(edit)?;
        }
        // Parsed again, because the plugins in `list` have copies of the object.
        let edited = Network::from_object(self.object, Some(self.label))?;
        Ok(Network { resource_name: self.resource_name, ..edited })
    }
}

/// Whether the plugin is this program.
pub fn is_self(plugin_type: &str) -> bool {
    SELF.contains(&plugin_type)
}

fn merge_cni_args(plugin: &mut Map<String, Value>, more: &Map<String, Value>) -> Result<(), CniError> {
    cni::json::fold_keys(plugin, &["args"]);
    let args = object_member(plugin, "args")?;
    cni::json::fold_keys(args, &["cni"]);
    object_member(args, "cni")?.extend(more.clone());
    Ok(())
}

fn object_member<'a>(
    object: &'a mut Map<String, Value>,
    key: &str,
) -> Result<&'a mut Map<String, Value>, CniError> {
    object.entry(key).or_insert_with(|| Value::Object(Map::new())).as_object_mut().ok_or_else(|| {
        CniError::new(
            Code::InvalidConfig,
            format!("{key:?} of the configuration must be an object, because the pod requests cni-args: correct the configuration"),
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn network(value: Value) -> Result<Network, CniError> {
        Network::from_object(value.as_object().unwrap().clone(), None)
    }

    fn with_args(value: Value, args: Value) -> Result<Value, CniError> {
        network(value)?.with_cni_args(args.as_object().unwrap()).map(|n| Value::Object(n.object))
    }

    #[test]
    fn cni_args_reach_every_plugin_and_replace_its_values() {
        let list = json!({"name": "n", "plugins": [{"type": "a", "args": {"cni": {"x": 1, "y": 2}}}, {"type": "b", "ARGS": {"k": 1}}]});
        let want = json!({"name": "n", "plugins": [{"type": "a", "args": {"cni": {"x": 9, "y": 2}}}, {"type": "b", "args": {"k": 1, "cni": {"x": 9}}}]});
        assert_eq!(with_args(list, json!({"x": 9})).unwrap(), want);
        let single = with_args(json!({"name": "n", "type": "a"}), json!({"x": 9})).unwrap();
        assert_eq!(single["args"], json!({"cni": {"x": 9}}));
    }

    #[test]
    fn cni_args_change_the_configuration_that_plugins_receive() {
        let network = network(json!({"name": "n", "type": "a"})).unwrap();
        let network = network.with_cni_args(json!({"x": 9}).as_object().unwrap()).unwrap();
        assert_eq!(network.list.plugins[0].object["args"]["cni"]["x"], 9);
    }

    #[test]
    fn a_device_is_in_the_configuration_of_every_plugin_and_replaces_another() {
        let list =
            json!({"name": "n", "plugins": [{"type": "a", "DeviceId": "old"}, {"type": "b", "key": 1}]});
        let device = |conf: Value| network(conf).unwrap().with_device("0000:01:00.1").unwrap();
        let want = json!({"name": "n", "plugins": [{"type": "a", "deviceID": "0000:01:00.1", "pciBusID": "0000:01:00.1"},
            {"type": "b", "key": 1, "deviceID": "0000:01:00.1", "pciBusID": "0000:01:00.1"}]});
        assert_eq!(Value::Object(device(list).object), want);
        let single = device(json!({"name": "n", "type": "a"}));
        assert_eq!(single.list.plugins[0].object["pciBusID"], "0000:01:00.1");
    }

    #[test]
    fn a_single_configuration_of_type_antrea_with_a_network_type_is_its_agents() {
        let kind = |conf: Value| network(conf).unwrap().antrea_network_type().map(str::to_owned);
        assert_eq!(
            kind(json!({"name": "n", "type": "antrea", "networktype": "sriov"})).as_deref(),
            Some("sriov")
        );
        for other in [
            json!({"name": "n", "type": "antrea"}),
            json!({"name": "n", "type": "antrea", "networkType": ""}),
            json!({"name": "n", "type": "macvlan", "networkType": "vlan"}),
            json!({"name": "n", "plugins": [{"type": "antrea", "networkType": "vlan"}]}),
        ] {
            assert_eq!(kind(other.clone()), None, "{other}");
        }
    }

    #[test]
    fn args_that_are_not_an_object_are_refused() {
        for args in [json!(3), json!({"cni": []})] {
            let error =
                with_args(json!({"name": "n", "type": "a", "args": args}), json!({"x": 9})).unwrap_err();
            assert!(error.msg.contains("must be an object"), "{error}");
        }
    }
}
