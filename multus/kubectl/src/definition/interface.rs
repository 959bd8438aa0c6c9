//! The macvlan and ipvlan plugins, by their own readers.

use cni::master::Masters;
use cni::plugin::Call;
use serde::Deserialize;

use super::model::{InterfacePlugin, LinkKind, MasterIn};
use super::report::Report;

/// The place of a plugin in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    First,
    BehindOthers,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    master: Masters,
    link_in_container: bool,
}

/// Checks a macvlan plugin. `None` if an ADD would refuse it.
pub(super) fn macvlan(call: &Call, report: &mut Report<'_>) -> Option<InterfacePlugin> {
    report.unknown_keys("the plugin macvlan", &macvlan::conf::unknown_keys(&call.conf));
    match macvlan::conf::check(call) {
        Ok(conf) => plugin(call, LinkKind::Macvlan { mode: conf.mode.to_string() }),
        Err(error) => {
            report.error(format!("plugin macvlan: {error}"), "");
            None
        }
    }
}

/// Checks an ipvlan plugin. `None` if an ADD would refuse it.
pub(super) fn ipvlan(call: &Call, place: Place, report: &mut Report<'_>) -> Option<InterfacePlugin> {
    report.unknown_keys("the plugin ipvlan", &ipvlan::conf::unknown_keys(&call.conf));
    let checked = match place {
        Place::First => ipvlan::conf::check_alone(call),
        // An earlier plugin may report addresses.
        Place::BehindOthers => ipvlan::conf::Conf::parse(call),
    };
    match checked {
        Ok(conf) => {
            plugin(call, LinkKind::Ipvlan { mode: conf.mode.to_string(), flag: conf.flag.to_string() })
        }
        Err(error) => {
            report.error(format!("plugin ipvlan: {error}"), "");
            None
        }
    }
}

fn plugin(call: &Call, link: LinkKind) -> Option<InterfacePlugin> {
    // The plugin's own reader has accepted these keys.
    let wire: Wire = call.conf.decode(&["master", "linkInContainer"]).ok()?;
    let master_in = if wire.link_in_container { MasterIn::Pod } else { MasterIn::Node };
    Some(InterfacePlugin { link, masters: wire.master.0, master_in })
}
