//! The conf keys that every interface plugin has.

use cni::conf::NetConf;
use cni::master::{Master, Masters};
use cni::plugin::Call;
use cni::{CniError, Code};
use netlink::interface::Ipv6Autoconf;
use netlink::{Dad, Mac, MasterSelector, Repeat};
use serde::Deserialize;

const KEYS: &[&str] = &["master", "mtu", "linkInContainer", "nodad", "acceptRA", "announce"];

/// The values of these keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Common {
    /// `master`: selectors of the interface that the link is on, in order of preference. If empty, the master is the interface in
    /// `prevResult`, or without one that of the default route.
    pub master: Vec<MasterSelector>,
    /// `mtu` in bytes; none, or 0 in the conf, for the master's.
    pub mtu: Option<u32>,
    /// `linkInContainer`: the namespace of the master.
    pub master_in: MasterIn,
    /// `nodad`: whether IPv6 addresses skip duplicate address detection.
    pub dad: Dad,
    /// `acceptRA`: whether router advertisements configure the link.
    pub ipv6_autoconf: Ipv6Autoconf,
    /// `announce`, true by default: how often the addresses are announced on the wire; none if false.
    pub announce: Option<Repeat>,
}

/// The namespace of the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterIn {
    /// The node's.
    Host,
    /// The pod's.
    Container,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(default)]
    master: Masters,
    // Signed, so that a negative value gets an error about its value instead of its type.
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
    /// Reads the keys. Code 6 for a wrong type, 7 for an invalid value. `mac` parses the MAC address of a master: each plugin has its
    /// own error text, as upstream's do.
    pub fn parse(call: &Call, mac: impl Fn(&str) -> Result<Mac, CniError>) -> Result<Common, CniError> {
        let wire: Wire = call.conf.decode(KEYS)?;
        let mtu = u32::try_from(wire.mtu).map_err(|_| {
            invalid(format!("invalid MTU {}: must be at least 0 (0 is the master's MTU)", wire.mtu))
        })?;
        let selector = |master: Master| match master {
            Master::Name(name) => Ok(MasterSelector::Name(name)),
            Master::Mac { mac: text } => mac(&text).map(MasterSelector::Mac),
            Master::Subnet { subnet } => Ok(MasterSelector::Subnet(subnet)),
        };
        Ok(Common {
            master: wire.master.0.into_iter().map(selector).collect::<Result<_, _>>()?,
            // 0 means the master's MTU, as upstream.
            mtu: Some(mtu).filter(|mtu| *mtu > 0),
            master_in: if wire.link_in_container { MasterIn::Container } else { MasterIn::Host },
            dad: if wire.nodad { Dad::Skip } else { Dad::Kernel },
            ipv6_autoconf: if wire.accept_ra { Ipv6Autoconf::On } else { Ipv6Autoconf::Off },
            announce: wire.announce.then(Repeat::default),
        })
    }
}

/// The keys of a conf that neither the spec, nor these common keys, nor the plugin's `own` keys have. They are ignored.
pub fn unknown_keys(conf: &NetConf, own: &[&str]) -> Vec<String> {
    conf.unknown_keys(&[KEYS, own].concat())
}

/// The error for an invalid value. Code 7.
pub fn invalid(msg: String) -> CniError {
    CniError::new(Code::InvalidConfig, msg)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

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
            ipv6_autoconf: Ipv6Autoconf::Off,
            announce: Some(Repeat::default()),
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
            ipv6_autoconf: Ipv6Autoconf::On,
            announce: None,
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
