//! The confs of macvlan and ipvlan.

use cni::args::CniArgs;
use cni::conf::NetConf;
use cni::exec::SearchPath;
use cni::plugin::Call;
use cni::{CniError, Code};
use macvlan::conf::MacSource;
use serde_json::{Map, Value};

use super::super::{lossy, pieces};

/// The keys of macvlan's and ipvlan's own confs.
const KEYS: &[&str] = &[
    "master",
    "mtu",
    "linkInContainer",
    "nodad",
    "acceptRA",
    "announce",
    "mode",
    "mac",
    "bcqueuelen",
    "stableMAC",
    "conflictDetection",
    "flag",
];

/// A call with this conf and, after a zero byte, these `CNI_ARGS`; none if the input fails before a plugin reads its own keys.
fn call(bytes: &[u8]) -> Option<Call> {
    let [stdin, args] = pieces(bytes);
    let (conf, args) = (NetConf::parse(stdin).ok()?, CniArgs::parse(&lossy(args)).ok()?);
    Some(Call { conf, stdin: stdin.to_vec(), args, path: SearchPath::default() })
}

/// The same call with the plugin's own keys in capitals.
fn loud(call: &Call) -> Call {
    let mut object = Map::new();
    // Of a key that occurs twice in different cases the last one that is not null counts. Capitals must not change which one that is.
    for (key, value) in call.conf.object().iter().filter(|(_, value)| !value.is_null()) {
        let own = KEYS.iter().any(|own| own.eq_ignore_ascii_case(key));
        object.insert(if own { key.to_ascii_uppercase() } else { key.clone() }, value.clone());
    }
    let stdin = Value::Object(object).to_string().into_bytes();
    let conf = NetConf::parse(&stdin).expect("the keys of the spec are unchanged");
    Call { conf, stdin, ..call.clone() }
}

/// A refused conf has one of these codes and a message.
fn refused_well(error: &CniError) {
    let expected = matches!(error.code, Code::InvalidEnvironment | Code::Decoding | Code::InvalidConfig);
    assert!(expected && !error.msg.is_empty(), "a conf is refused with code 4, 6 or 7, not {error:?}");
}

/// The text of a key of the conf; the last one if the key occurs in several cases, empty if there is none.
fn text<'a>(call: &'a Call, key: &str) -> &'a str {
    let members = call.conf.object().iter().filter(|(name, _)| name.eq_ignore_ascii_case(key));
    members.filter_map(|(_, value)| value.as_str()).next_back().unwrap_or_default()
}

/// A conf of macvlan, and `CNI_ARGS`: the mode is the kernel's word, and the MAC address is that of the first source which has one.
pub fn macvlan_conf(bytes: &[u8]) {
    let Some(call) = call(bytes) else { return };
    let conf = match macvlan::conf::Conf::parse(&call) {
        Ok(conf) => conf,
        Err(error) => return refused_well(&error),
    };
    assert_eq!(macvlan::conf::Conf::parse(&loud(&call)).as_ref(), Ok(&conf), "keys match in any case");
    assert_ne!(conf.common.mtu, Some(0), "0 means the master's MTU");
    assert_ne!(conf.bc_queue_len, Some(0), "0 means the kernel's queue length");
    match text(&call, "mode") {
        "" => assert_eq!(conf.mode.to_string(), "bridge"),
        mode => assert_eq!(conf.mode.to_string(), mode),
    }
    let of_runtime = call.conf.runtime_config.get("mac").and_then(Value::as_str);
    let places = [of_runtime, call.args.get("MAC"), Some(text(&call, "mac"))];
    let asked = places.into_iter().flatten().find(|mac| !mac.is_empty());
    match (conf.mac, asked) {
        (MacSource::Given(mac), Some(asked)) => assert_eq!(Ok(mac), asked.parse(), "{asked:?}"),
        (MacSource::Given(mac), None) => panic!("no source has the MAC address {mac}"),
        (MacSource::Kernel | MacSource::Pod, asked) => assert_eq!(asked, None),
    }
}

/// A conf of ipvlan: mode and flag are the kernel's words.
pub fn ipvlan_conf(bytes: &[u8]) {
    let Some(call) = call(bytes) else { return };
    let conf = match ipvlan::conf::Conf::parse(&call) {
        Ok(conf) => conf,
        Err(error) => return refused_well(&error),
    };
    assert_eq!(ipvlan::conf::Conf::parse(&loud(&call)).as_ref(), Ok(&conf), "keys match in any case");
    assert_ne!(conf.common.mtu, Some(0), "0 means the master's MTU");
    for (key, found, default) in
        [("mode", conf.mode.to_string(), "l2"), ("flag", conf.flag.to_string(), "bridge")]
    {
        let asked = text(&call, key);
        assert_eq!(found, if asked.is_empty() { default } else { asked }, "{key}");
    }
}
