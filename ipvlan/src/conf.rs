//! The plugin's configuration.

use std::str::FromStr;

use attach::conf::{Common, invalid};
use cni::CniError;
use cni::conf::NetConf;
use cni::plugin::Call;
use netlink::{IpvlanFlag, IpvlanMode};
use serde::Deserialize;

const KEYS: &[&str] = &["mode", "flag"];

/// The configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Conf {
    /// The keys of every interface plugin.
    pub common: Common,
    /// `mode`, by default `l2`.
    pub mode: IpvlanMode,
    /// `flag`, by default `bridge`.
    pub flag: IpvlanFlag,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    mode: String,
    #[serde(default)]
    flag: String,
}

impl Conf {
    /// Reads the configuration of a call. Code 7 for an invalid value.
    pub fn parse(call: &Call) -> Result<Conf, CniError> {
        let wire: Wire = call.conf.decode(KEYS)?;
        let mac = |mac: &str| mac.parse().map_err(|e| invalid(format!("invalid master.mac {mac:?}: {e}")));
        Ok(Conf {
            common: Common::parse(call, mac)?,
            mode: parse_name("mode", &wire.mode, IpvlanMode::L2, "expected l2, l3 or l3s")?,
            flag: parse_name("flag", &wire.flag, IpvlanFlag::Bridge, "expected bridge, private or vepa")?,
        })
    }
}

/// What an ADD without an earlier plugin reads and refuses before it makes anything, for a program that checks a conf beforehand. An earlier
/// plugin of a list can supply addresses: for a plugin behind it, use [`Conf::parse`]. Codes as of [`Conf::parse`]; 7 also without addresses.
pub fn check_alone(call: &Call) -> Result<Conf, CniError> {
    let conf = Conf::parse(call)?;
    crate::chained::addresses(&call.conf, None).map(|_| conf)
}

/// The keys of a conf that are ignored, since nobody knows them.
pub fn unknown_keys(conf: &NetConf) -> Vec<String> {
    attach::conf::unknown_keys(conf, KEYS)
}

fn parse_name<T: FromStr>(key: &str, text: &str, default: T, expected: &str) -> Result<T, CniError> {
    if text.is_empty() {
        return Ok(default);
    }
    text.parse().map_err(|_| invalid(format!("unknown ipvlan {key}: {text:?}")).with_details(expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cni::Code;

    fn call(text: &str) -> Call {
        let stdin = format!(r#"{{"cniVersion":"1.0.0","name":"n","type":"ipvlan"{text}}}"#).into_bytes();
        let conf = NetConf::parse(&stdin).unwrap();
        let (args, path) = (cni::args::CniArgs::default(), cni::exec::SearchPath::default());
        Call { conf, stdin, args, path }
    }

    fn parse(text: &str) -> Result<Conf, CniError> {
        Conf::parse(&call(text))
    }

    #[test]
    fn a_check_beforehand_refuses_what_an_add_refuses() {
        assert!(check_alone(&call(r#","ipam":{"type":"static"}"#)).is_ok());
        assert!(check_alone(&call("")).unwrap_err().msg.starts_with("ipvlan needs addresses"));
        assert_eq!(unknown_keys(&call(r#","Mode":"l2","mac":"x""#).conf), ["mac"]);
    }

    #[test]
    fn an_empty_conf_has_upstreams_defaults() {
        let conf = parse("").unwrap();
        assert_eq!((conf.mode, conf.flag), (IpvlanMode::L2, IpvlanFlag::Bridge));
    }

    #[test]
    fn every_mode_and_flag_is_parsed_and_an_unknown_one_is_in_the_error() {
        for mode in ["l2", "l3", "l3s"] {
            assert_eq!(parse(&format!(r#","mode":"{mode}""#)).unwrap().mode.to_string(), mode);
        }
        for flag in ["bridge", "private", "vepa"] {
            assert_eq!(parse(&format!(r#","flag":"{flag}""#)).unwrap().flag.to_string(), flag);
        }
        let error = parse(r#","mode":"bridge""#).unwrap_err();
        assert_eq!(
            (error.code, error.msg.as_str()),
            (Code::InvalidConfig, "unknown ipvlan mode: \"bridge\"")
        );
        assert_eq!(parse(r#","flag":"l2""#).unwrap_err().msg, "unknown ipvlan flag: \"l2\"");
    }

    #[test]
    fn keys_match_in_any_case() {
        let conf = parse(r#","Mode":"l3","Flag":"vepa","MTU":1400"#).unwrap();
        assert_eq!((conf.mode, conf.flag, conf.common.mtu), (IpvlanMode::L3, IpvlanFlag::Vepa, Some(1400)));
    }

    #[test]
    fn the_error_for_an_invalid_mac_of_a_master_names_its_key() {
        let error = parse(r#","master":{"mac":"x"}"#).unwrap_err();
        assert!(error.msg.starts_with("invalid master.mac \"x\""), "{error}");
    }
}
