//! The plugin's configuration.

use attach::conf::{Common, invalid};
use cni::args::CniArgs;
use cni::conf::NetConf;
use cni::plugin::Call;
use cni::{CniError, Version};
use netlink::{Mac, MacvlanMode};
use serde::Deserialize;

const KEYS: &[&str] = &["mode", "mac", "bcqueuelen", "stableMAC", "conflictDetection"];

/// The configuration from the conf, `CNI_ARGS` and `runtimeConfig`.
#[derive(Clone, Debug, PartialEq)]
pub struct Conf {
    /// The keys of every interface plugin.
    pub common: Common,
    /// `mode`, by default `bridge`.
    pub mode: MacvlanMode,
    /// The source of the MAC address.
    pub mac: MacSource,
    /// `bcqueuelen` in packets; none, or 0 in the conf, for the kernel's default.
    pub bc_queue_len: Option<u32>,
    /// `conflictDetection`: whether ADD checks that no other host has an IPv4 address.
    pub conflict_detection: ConflictDetection,
}

/// The source of the MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacSource {
    /// The kernel generates a random one.
    Kernel,
    /// The requested one: `runtimeConfig.mac`, else `MAC` of `CNI_ARGS`, else `mac`.
    Given(Mac),
    /// `stableMAC` and none requested: derived from the names of pod and interface.
    Pod,
}

/// Whether ADD sends ARP probes for IPv4 addresses before it uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ConflictDetection {
    Off,
    On,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(default)]
    mode: String,
    #[serde(default)]
    mac: String,
    #[serde(default)]
    bcqueuelen: u32,
    #[serde(default, rename = "stableMAC")]
    stable_mac: bool,
    #[serde(default)]
    conflict_detection: bool,
}

impl Conf {
    /// Reads the configuration of a call. Code 7 for an invalid value, 4 for invalid `CNI_ARGS`.
    pub fn parse(call: &Call) -> Result<Conf, CniError> {
        let wire: Wire = call.conf.decode(KEYS)?;
        let mode = if wire.mode.is_empty() { "bridge" } else { &wire.mode };
        let mode = mode.parse().map_err(|_| {
            invalid(format!("unknown macvlan mode: {:?}", wire.mode))
                .with_details("expected bridge, private, vepa, passthru or source")
        })?;
        let (mac, source) = match requested_mac(call, &wire.mac)? {
            Some((source, mac)) => (MacSource::Given(mac), source),
            None if wire.stable_mac => (MacSource::Pod, "stableMAC"),
            None => (MacSource::Kernel, ""),
        };
        // The kernel ignores a MAC address for such a link, without an error.
        if mode == MacvlanMode::Passthru && mac != MacSource::Kernel {
            return Err(invalid(format!(
                "mode passthru has the master's MAC address, so that {source} has no effect: remove it, set the master's address, or use another mode"
            )));
        }
        Ok(Conf {
            common: Common::parse(call, |mac| parse_mac("master.mac", mac))?,
            mode,
            mac,
            bc_queue_len: Some(wire.bcqueuelen).filter(|length| *length > 0),
            conflict_detection: if wire.conflict_detection {
                ConflictDetection::On
            } else {
                ConflictDetection::Off
            },
        })
    }
}

/// What an ADD reads and refuses before it makes anything, for a program that checks a conf beforehand. Codes as of [`Conf::parse`].
pub fn check(call: &Call) -> Result<Conf, CniError> {
    refuse_without_address(call)?;
    Conf::parse(call)
}

/// The keys of a conf that are ignored, since nobody knows them.
pub fn unknown_keys(conf: &NetConf) -> Vec<String> {
    attach::conf::unknown_keys(conf, KEYS)
}

/// A result before 0.3.0 must have an address. Code 7 if the conf leads to none.
pub(crate) fn refuse_without_address(call: &Call) -> Result<(), CniError> {
    if call.conf.ipam.is_some() || call.conf.cni_version > Version::V0_2_0 {
        return Ok(());
    }
    Err(invalid("cannot convert: no valid IP addresses".to_owned()).with_details(format!(
        "cniVersion {} needs \"ipam\"; use 0.3.0 or later for an interface without addresses",
        call.conf.cni_version
    )))
}

/// The MAC address from the first source that has one, and the source.
fn requested_mac(call: &Call, of_conf: &str) -> Result<Option<(&'static str, Mac)>, CniError> {
    let of_args = args_mac(&call.args)?;
    let of_runtime = match call.conf.runtime_config.get("mac") {
        None => None,
        Some(value) => Some(
            value
                .as_str()
                .ok_or_else(|| invalid(format!("runtimeConfig.mac must be a string, found {value}")))?,
        ),
    };
    let sources = [("runtimeConfig.mac", of_runtime), ("CNI_ARGS MAC", of_args), ("mac", Some(of_conf))];
    let chosen = sources.into_iter().find_map(|(from, mac)| Some((from, mac.filter(|mac| !mac.is_empty())?)));
    chosen.map(|(from, mac)| Ok((from, parse_mac(from, mac)?))).transpose()
}

fn args_mac(args: &CniArgs) -> Result<Option<&str>, CniError> {
    // Upstream rejects unknown keys unless IgnoreUnknown is set. These are the keys that upstream and Kubernetes runtimes use.
    args.only(&[
        "MAC",
        "K8S_POD_NAMESPACE",
        "K8S_POD_NAME",
        "K8S_POD_UID",
        "K8S_POD_INFRA_CONTAINER_ID",
        "IP",
        "GATEWAY",
    ])?;
    Ok(args.get("MAC"))
}

fn parse_mac(from: &str, text: &str) -> Result<Mac, CniError> {
    text.parse().map_err(|e| invalid(format!("invalid args {text:?} for MAC addr: {e} (from {from})")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use cni::Code;

    fn call(version: &str, args: &str, text: &str) -> Call {
        let stdin = format!(r#"{{"cniVersion":"{version}","name":"n","type":"macvlan"{text}}}"#).into_bytes();
        let conf = NetConf::parse(&stdin).unwrap();
        let args = CniArgs::parse(args).unwrap();
        Call { conf, stdin, args, path: cni::exec::SearchPath::default() }
    }

    fn parse_with(args: &str, text: &str) -> Result<Conf, CniError> {
        Conf::parse(&call("1.0.0", args, text))
    }

    pub(crate) fn parse(text: &str) -> Result<Conf, CniError> {
        parse_with("", text)
    }

    #[test]
    fn an_empty_conf_has_upstreams_defaults() {
        let conf = parse("").unwrap();
        assert_eq!(
            (conf.mode, conf.mac, conf.bc_queue_len, conf.conflict_detection),
            (MacvlanMode::Bridge, MacSource::Kernel, None, ConflictDetection::Off)
        );
    }

    #[test]
    fn every_mode_is_parsed_and_an_unknown_one_is_in_the_error() {
        for mode in ["bridge", "private", "vepa", "passthru", "source"] {
            assert_eq!(parse(&format!(r#","mode":"{mode}""#)).unwrap().mode.to_string(), mode);
        }
        let error = parse(r#","mode":"ipvlan""#).unwrap_err();
        assert_eq!(
            (error.code, error.msg.as_str()),
            (Code::InvalidConfig, "unknown macvlan mode: \"ipvlan\"")
        );
    }

    #[test]
    fn keys_match_in_any_case() {
        let conf = parse(r#","Mode":"vepa","BCqueueLen":9,"ConflictDetection":true,"MTU":1400"#).unwrap();
        assert_eq!(
            (conf.mode, conf.bc_queue_len, conf.conflict_detection),
            (MacvlanMode::Vepa, Some(9), ConflictDetection::On)
        );
        assert_eq!(conf.common.mtu, Some(1400));
    }

    #[test]
    fn a_check_beforehand_refuses_what_an_add_refuses() {
        assert!(check(&call("1.0.0", "", "")).is_ok());
        assert!(check(&call("0.2.0", "", r#","ipam":{"type":"static"}"#)).is_ok());
        assert_eq!(check(&call("0.2.0", "", "")).unwrap_err().msg, "cannot convert: no valid IP addresses");
        assert!(check(&call("1.0.0", "", r#","mode":"x""#)).is_err());
    }

    #[test]
    fn keys_that_nobody_knows_are_listed() {
        let call = call("1.0.0", "", r#","Mode":"bridge","mtu":0,"ipam":{},"bcQueueLen":0,"vlan":5"#);
        assert_eq!(unknown_keys(&call.conf), ["vlan"]);
    }

    #[test]
    fn the_error_for_an_invalid_mac_of_a_master_names_its_key() {
        let error = parse(r#","master":{"mac":"x"}"#).unwrap_err();
        assert!(error.msg.starts_with("invalid args \"x\" for MAC addr"), "{error}");
        assert!(error.msg.ends_with("(from master.mac)"), "{error}");
    }

    #[test]
    fn runtime_config_takes_precedence_over_cni_args_and_those_over_the_conf() {
        let conf = r#","mac":"02:00:00:00:00:01""#;
        let runtime = r#","mac":"02:00:00:00:00:01","RuntimeConfig":{"mac":"02:00:00:00:00:03"}"#;
        let args = "IgnoreUnknown=1;X=1;MAC=02:00:00:00:00:02";
        let mac = |args: &str, conf: &str| match parse_with(args, conf).unwrap().mac {
            MacSource::Given(mac) => mac.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(mac("", conf), "02:00:00:00:00:01");
        assert_eq!(mac(args, conf), "02:00:00:00:00:02");
        assert_eq!(mac(args, runtime), "02:00:00:00:00:03");
        assert!(
            parse(r#","mac":"banana""#).unwrap_err().msg.starts_with("invalid args \"banana\" for MAC addr")
        );
    }

    #[test]
    fn passthru_with_a_requested_mac_is_refused() {
        for (args, text, source) in [
            ("", r#","mac":"02:00:00:00:00:01""#, "mac"),
            ("MAC=02:00:00:00:00:02", "", "CNI_ARGS MAC"),
            ("", r#","runtimeConfig":{"mac":"02:00:00:00:00:03"}"#, "runtimeConfig.mac"),
            ("", r#","stableMAC":true"#, "stableMAC"),
        ] {
            let error = parse_with(args, &format!(r#","mode":"passthru"{text}"#)).unwrap_err();
            assert_eq!(error.code, Code::InvalidConfig);
            assert!(error.msg.contains(&format!("so that {source} has")), "{error}");
        }
        assert_eq!(parse(r#","mode":"passthru","mac":"""#).unwrap().mac, MacSource::Kernel);
    }

    #[test]
    fn a_requested_mac_takes_precedence_over_stable_mac() {
        let of = |args: &str, conf: &str| parse_with(args, conf).unwrap().mac;
        let stable = r#","stablemac":true"#;
        assert_eq!(of("", stable), MacSource::Pod);
        assert_eq!(
            of("MAC=02:00:00:00:00:02", stable),
            MacSource::Given("02:00:00:00:00:02".parse().unwrap())
        );
        assert_eq!(of("", r#","stableMAC":false"#), MacSource::Kernel);
        assert_eq!(parse(r#","conflictDetection":true"#).unwrap().conflict_detection, ConflictDetection::On);
    }
}
