//! What `00-multus.conf` says, byte for byte.

use std::collections::BTreeSet;
use std::path::Path;

use cni::version::Version;
use serde_json::{Map, Value};

use super::elect::Elected;
use super::settings::{COPIED, InlineForm, Isolation, LogTarget, PathForm, host_path};

/// The file with one plugin.
pub(super) const SINGLE: &str = "00-multus.conf";
/// The file with a list of plugins, which has one too.
pub(super) const LIST: &str = "00-multus.conflist";

/// The keys of the form with a daemon, in upstream's order. Those behind `overrideNetworkName` are ours.
const ORDER: &[&str] = &[
    "binDir",
    "capabilities",
    "cniVersion",
    "logFile",
    "logLevel",
    "logToStderr",
    "logOptions",
    "name",
    "clusterNetwork",
    "clusterCIDRs",
    "namespaceIsolation",
    "globalNamespaces",
    "type",
    "cniDir",
    "auxiliaryCNIChainName",
    "daemonSocketDir",
    "overrideNetworkName",
    "confDir",
    "defaultNetworks",
    "systemNamespaces",
    "multusNamespace",
    "retryDeleteOnError",
    "kubeconfig",
];

/// A file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Its name.
    pub file: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The form without a daemon: upstream's bytes. Its file is a list from version 1.0.0 on.
pub(super) fn inline(form: &InlineForm, name: &str, version: Version, elected: &Elected) -> Written {
    let is_list = version >= Version::V1_0_0;
    let mut lines = vec![format!("\"type\": \"multus\"")];
    if !elected.conf.capabilities.is_empty() {
        lines.push(format!("\"capabilities\": {}", Value::Object(capabilities(&elected.conf.capabilities))));
    }
    if form.isolation == Isolation::On {
        lines.push("\"namespaceIsolation\": true".to_owned());
    }
    let mut set = |key: &str, text: &str| {
        if !text.is_empty() {
            lines.push(format!("\"{key}\": {}", quoted(text)));
        }
    };
    set("globalNamespaces", &form.global_namespaces);
    if form.log_target == LogTarget::NotStderr {
        lines.push("\"logToStderr\": false".to_owned());
    }
    let mut set = |key: &str, text: &str| {
        if !text.is_empty() {
            lines.push(format!("\"{key}\": {}", quoted(text)));
        }
    };
    set("logLevel", form.log_level.map_or("", |level| level.as_str()));
    set("logFile", &form.log_file);
    set("binDir", &form.bin_dir);
    set("cniConf", &form.cni_conf);
    set("readinessindicatorfile", &form.readiness_file);
    lines.push(format!("\"kubeconfig\": {}", quoted(&form.kubeconfig)));
    let plugin = lines.join(",\n        ");
    let mut delegate = Value::Object(elected.conf.object.clone());
    // As Go writes a map. So a change in the order of the keys changes nothing here.
    delegate.sort_all_objects();
    let (name, version) = (quoted(name), quoted(version.as_str()));
    let text = if is_list {
        format!(
            "{{\n    \"cniVersion\": {version},\n    \"name\": {name},\n    \"plugins\": [ {{\n        {plugin},\n        \"delegates\": [\n            {delegate}\n        ]\n    }}]\n}}\n"
        )
    } else {
        format!(
            "{{\n        \"cniVersion\": {version},\n        \"name\": {name},\n        {plugin},\n        \"delegates\": [\n                {delegate}\n        ]\n}}\n"
        )
    };
    Written { file: if is_list { LIST } else { SINGLE }.to_owned(), bytes: text.into_bytes() }
}

/// The form with a daemon: upstream's bytes, and then our own keys. `folder` is the default network's, as this process sees it.
pub(super) fn by_path(
    form: &PathForm,
    name: &str,
    version: Version,
    folder: &Path,
    elected: &Elected,
) -> Written {
    let mut all = elected.conf.capabilities.clone();
    all.extend(form.capabilities.iter().cloned());
    let path = host_path(&folder.join(&elected.file)).display().to_string();
    let text = |text: &str| Some(Value::String(text.to_owned()));
    let copied = |key: &str| form.keys.get(key).filter(|_| COPIED.contains(&key)).cloned();
    let mut conf = Map::new();
    for key in ORDER {
        let value = match *key {
            "capabilities" if all.is_empty() => None,
            "capabilities" => Some(Value::Object(capabilities(&all))),
            "cniVersion" => text(version.as_str()),
            "name" => text(name),
            "type" => copied(key).or_else(|| text("multus-shim")),
            // The plugin runs on the node and does not see the pod's paths.
            "clusterNetwork" => copied(key).or_else(|| text(&path)),
            _ => copied(key),
        };
        if let Some(value) = value {
            conf.insert((*key).to_owned(), value);
        }
    }
    Written { file: SINGLE.to_owned(), bytes: Value::Object(conf).to_string().into_bytes() }
}

fn capabilities(names: &BTreeSet<String>) -> Map<String, Value> {
    names.iter().map(|name| (name.clone(), Value::Bool(true))).collect()
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::primary::conf::PrimaryConf;
    use crate::primary::settings::{Form, LogLevel, Settings, Source};

    fn elected(conf: &Value) -> Elected {
        Elected {
            file: "10-x.conflist".into(),
            conf: PrimaryConf::parse(conf.to_string().as_bytes()).unwrap(),
        }
    }

    fn plain() -> InlineForm {
        InlineForm {
            isolation: Isolation::Off,
            global_namespaces: String::new(),
            log_target: LogTarget::Stderr,
            log_level: None,
            log_file: String::new(),
            bin_dir: String::new(),
            cni_conf: String::new(),
            readiness_file: String::new(),
            kubeconfig: "/etc/k".into(),
        }
    }

    fn full() -> InlineForm {
        InlineForm {
            isolation: Isolation::On,
            global_namespaces: "a,b".into(),
            log_target: LogTarget::NotStderr,
            log_level: Some(LogLevel::Debug),
            log_file: "/tmp/x.log".into(),
            bin_dir: "/tmp/bin".into(),
            cni_conf: "/tmp/net.d".into(),
            readiness_file: "/var/lib/ready".into(),
            kubeconfig: "/etc/k".into(),
        }
    }

    fn rendered(form: &InlineForm, conf: &Value) -> (String, String) {
        let elected = elected(conf);
        let written = inline(form, "multus-cni-network", elected.conf.version, &elected);
        (written.file, String::from_utf8(written.bytes).unwrap())
    }

    // The white space is upstream's: its unit tests compare bytes.
    #[test]
    fn a_version_below_1_gives_one_plugin_in_upstreams_bytes() {
        let conf = json!({"type": "t", "name": "p", "cniVersion": "0.3.1"});
        let (file, text) = rendered(&plain(), &conf);
        assert_eq!(file, "00-multus.conf");
        let want = r#"{
        "cniVersion": "0.3.1",
        "name": "multus-cni-network",
        "type": "multus",
        "kubeconfig": "/etc/k",
        "delegates": [
                {"cniVersion":"0.3.1","name":"p","type":"t"}
        ]
}
"#;
        assert_eq!(text, want);
    }

    #[test]
    fn all_options_have_upstreams_order() {
        let conf =
            json!({"cniVersion": "0.3.1", "name": "p", "type": "t", "capabilities": {"b": true, "a": true}});
        let want = r#"{
        "cniVersion": "0.3.1",
        "name": "multus-cni-network",
        "type": "multus",
        "capabilities": {"a":true,"b":true},
        "namespaceIsolation": true,
        "globalNamespaces": "a,b",
        "logToStderr": false,
        "logLevel": "debug",
        "logFile": "/tmp/x.log",
        "binDir": "/tmp/bin",
        "cniConf": "/tmp/net.d",
        "readinessindicatorfile": "/var/lib/ready",
        "kubeconfig": "/etc/k",
        "delegates": [
                {"capabilities":{"a":true,"b":true},"cniVersion":"0.3.1","name":"p","type":"t"}
        ]
}
"#;
        assert_eq!(rendered(&full(), &conf).1, want);
    }

    #[test]
    fn version_1_gives_a_list_in_upstreams_bytes() {
        for version in ["1.0.0", "1.1.0"] {
            let conf = json!({"cniVersion": version, "name": "p", "plugins": [{"type": "t", "capabilities": {"ips": true}}]});
            let (file, text) = rendered(&plain(), &conf);
            assert_eq!(file, "00-multus.conflist");
            let want = r#"{
    "cniVersion": "VERSION",
    "name": "multus-cni-network",
    "plugins": [ {
        "type": "multus",
        "capabilities": {"ips":true},
        "kubeconfig": "/etc/k",
        "delegates": [
            {"cniVersion":"VERSION","name":"p","plugins":[{"capabilities":{"ips":true},"type":"t"}]}
        ]
    }]
}
"#;
            assert_eq!(text, want.replace("VERSION", version));
        }
    }

    #[test]
    fn every_form_is_json_whatever_the_texts_are() {
        let hostile = "a\"b\\c\n\u{1}";
        let mut form = full();
        form.log_file = hostile.into();
        form.kubeconfig = hostile.into();
        for version in ["0.4.0", "1.0.0"] {
            let conf = json!({"cniVersion": version, "name": hostile, "type": "t"});
            let elected = elected(&conf);
            let written = inline(&form, hostile, elected.conf.version, &elected);
            let read: Value = serde_json::from_slice(&written.bytes).unwrap();
            assert_eq!(read["name"], hostile);
            let plugin = read.get("plugins").map_or(&read, |plugins| &plugins[0]);
            assert_eq!((&plugin["logFile"], &plugin["delegates"][0]), (&json!(hostile), &conf));
        }
    }

    fn by_path_of(config: &Value, conf: &Value) -> String {
        let settings = Settings::of_daemon_config(config.as_object().unwrap()).unwrap();
        let Source::Auto(auto) = settings.source else { panic!() };
        let Form::ByPath(form) = auto.form else { panic!() };
        let written = by_path(&form, "multus-cni-network", Version::V0_3_1, &auto.folder, &elected(conf));
        assert_eq!(written.file, "00-multus.conf");
        String::from_utf8(written.bytes).unwrap()
    }

    #[test]
    fn the_form_with_a_daemon_names_the_path_on_the_node() {
        let config = json!({"cniVersion": "0.3.1", "logLevel": "verbose", "logToStderr": true, "socketDir": "/host/run/multus/",
            "chrootDir": "/hostroot", "cniConfigDir": "/host/etc/cni/net.d", "multusAutoconfigDir": "/host/etc/cni/net.d"});
        let conf = json!({"cniVersion": "0.3.1", "name": "p", "type": "t"});
        assert_eq!(
            by_path_of(&config, &conf),
            concat!(
                r#"{"cniVersion":"0.3.1","logLevel":"verbose","logToStderr":true,"name":"multus-cni-network","#,
                r#""clusterNetwork":"/etc/cni/net.d/10-x.conflist","type":"multus-shim","#,
                r#""kubeconfig":"/etc/cni/net.d/multus.d/multus.kubeconfig"}"#
            )
        );
    }

    #[test]
    fn keys_of_the_daemons_configuration_that_the_plugin_reads_reach_it() {
        let config = json!({"systemNamespaces": ["a"], "defaultNetworks": ["n"], "binDir": "/b", "cniDir": "/c", "confDir": "/d", "type": "multus",
            "namespaceIsolation": true, "globalNamespaces": "g", "capabilities": {"ips": true}, "multusNamespace": "m", "connectionLimit": 3,
            "retryDeleteOnError": true, "auxiliaryCNIChainName": "x", "daemonSocketDir": "/s", "logOptions": {"maxAge": 1}, "kubeconfig": "/k",
            "clusterCIDRs": ["10.0.0.0/8"]});
        let conf =
            json!({"cniVersion": "0.3.1", "name": "p", "type": "t", "capabilities": {"bandwidth": true}});
        assert_eq!(
            by_path_of(&config, &conf),
            concat!(
                r#"{"binDir":"/b","capabilities":{"bandwidth":true,"ips":true},"cniVersion":"0.3.1","logOptions":{"maxAge":1},"#,
                r#""name":"multus-cni-network","clusterNetwork":"/etc/cni/net.d/10-x.conflist","clusterCIDRs":["10.0.0.0/8"],"#,
                r#""namespaceIsolation":true,"globalNamespaces":"g","type":"multus","cniDir":"/c","auxiliaryCNIChainName":"x","daemonSocketDir":"/s","#,
                r#""confDir":"/d","defaultNetworks":["n"],"systemNamespaces":["a"],"multusNamespace":"m","retryDeleteOnError":true,"#,
                r#""kubeconfig":"/k"}"#
            )
        );
    }
}
