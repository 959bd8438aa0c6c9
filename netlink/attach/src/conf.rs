//! The keys of a conf that every interface plugin has.

use cni::master::{Master, Masters};
use cni::plugin::Call;
use cni::{CniError, Code};
use netlink::{Dad, Mac, MasterSelector};
use serde::Deserialize;

const KEYS: &[&str] = &["master", "mtu", "linkInContainer", "nodad", "acceptRA", "announce"];

/// What these keys ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Common {
    /// `master`: where the link sits, in order of preference. Nothing means the interface of `prevResult`, or without one that of
    /// the default route.
    pub master: Vec<MasterSelector>,
    /// `mtu` in bytes; the master's if none (or 0).
    pub mtu: Option<u32>,
    /// `linkInContainer`: in which namespace the master is.
    pub master_in: MasterIn,
    /// `nodad`: use IPv6 addresses without duplicate address detection.
    pub dad: Dad,
    /// `acceptRA`: take router advertisements.
    pub router_advertisements: RouterAdvertisements,
    /// `announce`, on unless false: tell the neighbours of the addresses.
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

impl Common {
    /// Reads the keys. Code 6 for a wrong type, 7 for a value that cannot be right. `mac` reads the MAC address of a master: each
    /// plugin has its own words for a wrong one.
    pub fn parse(call: &Call, mac: impl Fn(&str) -> Result<Mac, CniError>) -> Result<Common, CniError> {
        let wire: Wire = call.conf.decode(KEYS)?;
        let mtu = u32::try_from(wire.mtu)
            .map_err(|_| invalid(format!("invalid MTU {}: must be 0 (the master's) or more", wire.mtu)))?;
        let selector = |master: Master| match master {
            Master::Name(name) => Ok(MasterSelector::Name(name)),
            Master::Mac { mac: text } => mac(&text).map(MasterSelector::Mac),
            Master::Subnet { subnet } => Ok(MasterSelector::Subnet(subnet)),
        };
        Ok(Common {
            master: wire.master.0.into_iter().map(selector).collect::<Result<_, _>>()?,
            mtu: Some(mtu).filter(|mtu| *mtu > 0),
            master_in: if wire.link_in_container { MasterIn::Container } else { MasterIn::Host },
            dad: if wire.nodad { Dad::Skip } else { Dad::Kernel },
            router_advertisements: if wire.accept_ra {
                RouterAdvertisements::Accept
            } else {
                RouterAdvertisements::Refuse
            },
            announce: if wire.announce { Announce::Yes } else { Announce::No },
        })
    }
}

/// A value of the conf that cannot be right. Code 7.
pub fn invalid(msg: String) -> CniError {
    CniError::new(Code::InvalidConfig, msg)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use cni::conf::NetConf;

    fn parse(text: &str) -> Result<Common, CniError> {
        let stdin = format!(r#"{{"cniVersion":"1.0.0","name":"n","type":"x"{text}}}"#).into_bytes();
        let conf = NetConf::parse(&stdin).unwrap();
        let (args, path) = (cni::args::CniArgs::default(), cni::exec::SearchPath::default());
        let mac = |text: &str| text.parse().map_err(|e| invalid(format!("{text:?}: {e}")));
        Common::parse(&Call { conf, stdin, args, path }, mac)
    }

    pub(crate) fn common(text: &str) -> Common {
        parse(text).unwrap()
    }

    #[test]
    fn an_empty_conf_has_upstreams_defaults() {
        let expected = Common {
            master: vec![],
            mtu: None,
            master_in: MasterIn::Host,
            dad: Dad::Kernel,
            router_advertisements: RouterAdvertisements::Refuse,
            announce: Announce::Yes,
        };
        assert_eq!(common(""), expected);
    }

    #[test]
    fn keys_match_in_any_case() {
        let conf = common(
            r#","Master":"eth1","MTU":1400,"LinkInContainer":true,"NoDAD":true,"acceptra":true,"Announce":false"#,
        );
        let expected = Common {
            master: vec![MasterSelector::Name("eth1".into())],
            mtu: Some(1400),
            master_in: MasterIn::Container,
            dad: Dad::Skip,
            router_advertisements: RouterAdvertisements::Accept,
            announce: Announce::No,
        };
        assert_eq!(conf, expected);
    }

    #[test]
    fn a_master_may_be_a_list_of_names_macs_and_subnets() {
        let conf = common(r#","master":["ens192",{"mac":"02:00:00:00:00:01"},{"subnet":"10.1.0.0/16"}]"#);
        assert_eq!(
            conf.master,
            [
                MasterSelector::Name("ens192".into()),
                MasterSelector::Mac("02:00:00:00:00:01".parse().unwrap()),
                MasterSelector::Subnet("10.1.0.0/16".parse().unwrap())
            ]
        );
        assert!(common(r#","master":"""#).master.is_empty());
        assert_eq!(parse(r#","master":{"mac":"x"}"#).unwrap_err().code, Code::InvalidConfig);
        assert_eq!(parse(r#","master":7"#).unwrap_err().code, Code::Decoding);
    }

    #[test]
    fn a_negative_mtu_is_refused() {
        assert_eq!(parse(r#","mtu":-1"#).unwrap_err().code, Code::InvalidConfig);
    }
}
