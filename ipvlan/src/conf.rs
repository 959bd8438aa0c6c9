//! The plugin's configuration.

use std::str::FromStr;

use cni::master::{Master, Masters};
use cni::plugin::Call;
use cni::{CniError, Code};
use netlink::{IpvlanFlag, IpvlanMode, MasterSelector};
use serde::Deserialize;

const KEYS: &[&str] = &["master", "mode", "flag", "mtu", "linkInContainer", "nodad", "acceptRA", "announce"];

/// What the conf asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Conf {
    /// `master`: where the link sits, in order of preference. Nothing means the interface of `prevResult`, or without one that of
    /// the default route.
    pub master: Vec<MasterSelector>,
    /// `mode`, `l2` unless given.
    pub mode: IpvlanMode,
    /// `flag`, `bridge` unless given.
    pub flag: IpvlanFlag,
    /// `mtu` in bytes; the master's if none (or 0).
    pub mtu: Option<u32>,
    /// `linkInContainer`: in which namespace the master is.
    pub master_in: MasterIn,
    /// `nodad`: use IPv6 addresses without duplicate address detection.
    pub dad: netlink::Dad,
    /// `acceptRA`: take router advertisements.
    pub router_advertisements: RouterAdvertisements,
    /// `announce`, on unless false: tell the neighbours of the addresses. Only in mode `l2` is there somebody to tell.
    pub announce: Announce,
}

/// In which namespace the master is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterIn {
    /// The node's.
    Host,
    /// The pod's.
    Container,
}

/// Whether router advertisements are taken on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RouterAdvertisements {
    Refuse,
    Accept,
}

/// Whether addresses are announced on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Announce {
    Yes,
    No,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(default)]
    master: Masters,
    #[serde(default)]
    mode: String,
    #[serde(default)]
    flag: String,
    #[serde(default)]
    mtu: i64,
    #[serde(default)]
    link_in_container: bool,
    #[serde(default)]
    nodad: bool,
    #[serde(default, rename = "acceptRA")]
    accept_ra: bool,
    #[serde(default = "yes")]
    announce: bool,
}

fn yes() -> bool {
    true
}

impl Conf {
    /// Reads the conf of a call. Code 7 for a value that cannot be right.
    pub fn parse(call: &Call) -> Result<Conf, CniError> {
        let wire: Wire = call.conf.decode(KEYS)?;
        let mtu = u32::try_from(wire.mtu)
            .map_err(|_| invalid(format!("invalid MTU {}: must be 0 (the master's) or more", wire.mtu)))?;
        Ok(Conf {
            master: wire.master.0.into_iter().map(selector).collect::<Result<_, _>>()?,
            mode: word("mode", &wire.mode, IpvlanMode::L2, "expected l2, l3 or l3s")?,
            flag: word("flag", &wire.flag, IpvlanFlag::Bridge, "expected bridge, private or vepa")?,
            mtu: Some(mtu).filter(|mtu| *mtu > 0),
            master_in: if wire.link_in_container { MasterIn::Container } else { MasterIn::Host },
            dad: if wire.nodad { netlink::Dad::Skip } else { netlink::Dad::Kernel },
            router_advertisements: if wire.accept_ra {
                RouterAdvertisements::Accept
            } else {
                RouterAdvertisements::Refuse
            },
            announce: if wire.announce { Announce::Yes } else { Announce::No },
        })
    }
}

fn word<T: FromStr>(key: &str, text: &str, default: T, expected: &str) -> Result<T, CniError> {
    if text.is_empty() {
        return Ok(default);
    }
    text.parse().map_err(|_| invalid(format!("unknown ipvlan {key}: {text:?}")).with_details(expected))
}

fn selector(master: Master) -> Result<MasterSelector, CniError> {
    match master {
        Master::Name(name) => Ok(MasterSelector::Name(name)),
        Master::Mac { mac } => {
            let parsed = mac.parse().map_err(|e| invalid(format!("invalid master.mac {mac:?}: {e}")))?;
            Ok(MasterSelector::Mac(parsed))
        }
        Master::Subnet { subnet } => Ok(MasterSelector::Subnet(subnet)),
    }
}

fn invalid(msg: String) -> CniError {
    CniError::new(Code::InvalidConfig, msg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cni::conf::NetConf;

    fn parse(text: &str) -> Result<Conf, CniError> {
        let stdin = format!(r#"{{"cniVersion":"1.0.0","name":"n","type":"ipvlan"{text}}}"#).into_bytes();
        let conf = NetConf::parse(&stdin).unwrap();
        let (args, path) = (cni::args::CniArgs::default(), cni::exec::SearchPath::default());
        Conf::parse(&Call { conf, stdin, args, path })
    }

    #[test]
    fn an_empty_conf_has_upstreams_defaults() {
        let conf = parse("").unwrap();
        assert_eq!((conf.mode, conf.flag, conf.mtu), (IpvlanMode::L2, IpvlanFlag::Bridge, None));
        assert_eq!((conf.master, conf.master_in), (vec![], MasterIn::Host));
        assert_eq!(conf.router_advertisements, RouterAdvertisements::Refuse);
        assert_eq!((conf.announce, conf.dad), (Announce::Yes, netlink::Dad::Kernel));
    }

    #[test]
    fn every_mode_and_flag_is_known_and_others_are_named() {
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
        let conf = parse(
            r#","Master":"eth1","MTU":1400,"LinkInContainer":true,"Flag":"vepa","NoDAD":true,"acceptra":true,"Announce":false"#,
        )
        .unwrap();
        assert_eq!(conf.master, [MasterSelector::Name("eth1".into())]);
        assert_eq!(
            (conf.mtu, conf.master_in, conf.flag),
            (Some(1400), MasterIn::Container, IpvlanFlag::Vepa)
        );
        assert_eq!(conf.router_advertisements, RouterAdvertisements::Accept);
        assert_eq!((conf.announce, conf.dad), (Announce::No, netlink::Dad::Skip));
    }

    #[test]
    fn a_master_may_be_a_list_of_names_macs_and_subnets() {
        let conf =
            parse(r#","master":["ens192",{"mac":"02:00:00:00:00:01"},{"subnet":"10.1.0.0/16"}]"#).unwrap();
        assert_eq!(
            conf.master,
            [
                MasterSelector::Name("ens192".into()),
                MasterSelector::Mac("02:00:00:00:00:01".parse().unwrap()),
                MasterSelector::Subnet("10.1.0.0/16".parse().unwrap())
            ]
        );
        assert!(parse(r#","master":"""#).unwrap().master.is_empty());
        assert_eq!(parse(r#","master":{"mac":"x"}"#).unwrap_err().code, Code::InvalidConfig);
        assert_eq!(parse(r#","master":7"#).unwrap_err().code, Code::Decoding);
    }

    #[test]
    fn a_negative_mtu_is_refused() {
        assert_eq!(parse(r#","mtu":-1"#).unwrap_err().code, Code::InvalidConfig);
    }
}
