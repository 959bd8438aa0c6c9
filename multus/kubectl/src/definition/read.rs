//! From the text of a definition to what it makes.

use std::path::Path;

use cni::Version;
use cni::list::{NetworkList, PluginConf};
use multus::network::{Network, of_definition};
use nad::{NadRef, NetworkAttachmentDefinition, Spec};
use serde_json::{Map, Value};

use super::model::{AttachedBy, Definition};
use super::report::Report;
use super::{addresses, duplicates, foreign, interface};

/// Where multus looks for the configuration of a definition without one, by default.
const CONF_DIR: &str = "/etc/cni/multus/net.d";

/// Reads a definition. `config` is its `spec.config`.
pub fn read(nad_ref: &NadRef, config: &str) -> Definition {
    let name = nad_ref.to_string();
    let mut report = Report::about(&name);
    let mut definition = Definition {
        name: name.clone(),
        plugins: Vec::new(),
        capabilities: Vec::new(),
        interfaces: Vec::new(),
        pools: Vec::new(),
        ipam: Vec::new(),
        attached_by: AttachedBy::Multus,
        findings: Vec::new(),
    };
    if let Some(network) = network(nad_ref, config, &mut report) {
        duplicates::check(config, &mut report);
        check_list(&network, &mut report);
        definition.plugins = network.list.plugins.iter().map(|p| p.plugin_type.to_string()).collect();
        definition.capabilities = network.list.plugins.iter().flat_map(|p| p.capabilities.clone()).collect();
        if network.antrea_network_type().is_some() {
            definition.attached_by = AttachedBy::AntreaAgent;
            foreign::note_antrea(&mut report);
        }
        // multus runs none of the plugins of such a network.
        let run = network.list.plugins.iter().filter(|_| definition.attached_by == AttachedBy::Multus);
        let run: Vec<_> = run.enumerate().collect();
        for (at, plugin) in run {
            check_plugin(&network.list, at, plugin, &mut definition, &mut report);
        }
    }
    definition.findings = report.into_findings();
    definition
}

fn network(nad_ref: &NadRef, config: &str, report: &mut Report<'_>) -> Option<Network> {
    if config.is_empty() {
        report.warn(
            format!("it has no spec.config: each node needs a file in {CONF_DIR} (confDir) whose configuration has the name {:?}", nad_ref.name.as_str()),
            "write the configuration into spec.config, or put the file on every node",
        );
        return None;
    }
    let spec = Spec { config: config.to_owned() };
    let definition = NetworkAttachmentDefinition { spec, ..NetworkAttachmentDefinition::default() };
    // With a spec.config no file is read.
    match of_definition(nad_ref, &definition, Path::new(CONF_DIR)) {
        Ok(network) => Some(network),
        Err(error) => {
            report.error(error, "correct spec.config");
            None
        }
    }
}

/// Checks what concerns all plugins.
fn check_list(network: &Network, report: &mut Report<'_>) {
    let mut object = network.object.clone();
    cni::json::fold_keys(&mut object, &["cniVersion", "cniVersions", "type", "plugins"]);
    let is_list = object.get("type").and_then(Value::as_str).is_none_or(str::is_empty);
    if is_list {
        report.unknown_keys("the list, beside \"plugins\"", &cni::list::unknown_keys(&object));
    }
    let (version, plugins) = (network.list.cni_version, network.list.plugins.len());
    let is_given = object.contains_key("cniVersion") || object.contains_key("cniVersions");
    let stated = if is_given {
        format!("cniVersion is {version}")
    } else {
        format!("cniVersion is missing, so it is {version}")
    };
    if plugins > 1 && version < Version::V0_3_0 {
        report.warn(
            format!("{stated}: lists of plugins came with 0.3.0, and results before it name no interface, which plugins behind the first one need"),
            "set cniVersion to \"1.0.0\"",
        );
    } else if version < Version::V0_3_0 {
        report.warn(
            format!(
                "{stated}: results before 0.3.0 have no MAC address, and at most one address of each family"
            ),
            "set cniVersion to \"1.0.0\"",
        );
    }
    if version >= Version::V1_1_0
        && network.list.plugins.iter().any(|plugin| !foreign::is_ours(plugin.plugin_type.as_str()))
    {
        report.note(
            format!("{stated}: plugins of other projects support it since 2025 only, and older ones answer \"incompatible CNI versions\""),
            "",
        );
    }
}

fn check_plugin(
    list: &NetworkList,
    at: usize,
    plugin: &PluginConf,
    definition: &mut Definition,
    report: &mut Report<'_>,
) {
    // As the plugin gets it in an ADD, without the result of the plugins before it.
    let stdin = Value::Object(plugin.request(list, &Map::new(), None)).to_string().into_bytes();
    let plugin_type = plugin.plugin_type.as_str();
    let conf = match cni::conf::NetConf::parse(&stdin) {
        Ok(conf) => conf,
        Err(error) => return report.error(format!("plugin {plugin_type}: {error}"), ""),
    };
    let call = cni::plugin::Call {
        conf,
        stdin,
        args: cni::args::CniArgs::default(),
        path: cni::exec::SearchPath::default(),
    };
    let place = if at == 0 { interface::Place::First } else { interface::Place::BehindOthers };
    match plugin_type {
        "macvlan" => definition.interfaces.extend(interface::macvlan(&call, report)),
        "ipvlan" => definition.interfaces.extend(interface::ipvlan(&call, place, report)),
        other => foreign::check_type(other, report),
    }
    let Some(ipam) = &call.conf.ipam else {
        return addresses::check_missing_type(call.conf.object(), report);
    };
    definition.ipam.push(ipam.plugin_type.to_string());
    match ipam.plugin_type.as_str() {
        "whereabouts" => {
            report.unknown_keys("ipam", &whereabouts::conf::unknown_keys(&ipam.object));
            definition.pools.extend(addresses::whereabouts(call.conf.object(), report));
        }
        "host-local" => foreign::check_host_local(plugin, &ipam.object, report),
        "static" => foreign::check_static(plugin, &ipam.object, report),
        other => foreign::check_type(other, report),
    }
}
