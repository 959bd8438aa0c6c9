//! The plugin's configuration.

use cni::args::CniArgs;
use cni::master::{Master, Masters};
use cni::plugin::Call;
use cni::{CniError, Code};
use netlink::{Mac, MacvlanMode, MasterSelector};
use serde::Deserialize;

const KEYS: &[&str] = &[
    "master",
    "mode",
    "mtu",
    "mac",
    "linkInContainer",
    "bcqueuelen",
    "nodad",
    "acceptRA",
    "announce",
    "stableMAC",
    "conflictDetection",
    "runtimeConfig",
];

/// What the conf, `CNI_ARGS` and the runtime ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Conf {
    /// `master`: where the link sits, in order of preference; nothing means the interface of the default route.
    pub master: Vec<MasterSelector>,
    /// `mode`, `bridge` unless given.
    pub mode: MacvlanMode,
    /// `mtu` in bytes; the master's if none (or 0).
    pub mtu: Option<u32>,
    /// Where the MAC address comes from.
    pub mac: MacSource,
    /// `linkInContainer`: in which namespace the master is.
    pub master_in: MasterIn,
    /// `bcqueuelen` in packets; the kernel's if none (or 0).
    pub bc_queue_len: Option<u32>,
    /// `nodad`: use IPv6 addresses without duplicate address detection.
    pub dad: netlink::Dad,
    /// `acceptRA`: take router advertisements.
    pub router_advertisements: RouterAdvertisements,
    /// `announce`, on unless false: tell the neighbours of the addresses.
    pub announce: Announce,
    /// `conflictDetection`: ask the wire for each IPv4 address before it is used.
    pub conflicts: Conflicts,
}

/// Where the MAC address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacSource {
    /// The kernel chooses one at random.
    Kernel,
    /// Asked for by `runtimeConfig.mac`, else `MAC` of `CNI_ARGS`, else `mac`.
    Given(Mac),
    /// `stableMAC`, where none is asked for: from the names of pod and interface.
    Pod,
}

/// Whether the wire is asked for IPv4 addresses before they are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Conflicts {
    Ignore,
    Refuse,
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
    mtu: i64,
    #[serde(default)]
    mac: String,
    #[serde(default)]
    link_in_container: bool,
    #[serde(default)]
    bcqueuelen: u32,
    #[serde(default)]
    nodad: bool,
    #[serde(default, rename = "acceptRA")]
    accept_ra: bool,
    #[serde(default = "yes")]
    announce: bool,
    #[serde(default, rename = "stableMAC")]
    stable_mac: bool,
    #[serde(default)]
    conflict_detection: bool,
}

fn yes() -> bool {
    true
}

impl Conf {
    /// Reads the conf of a call. Code 7 for a value that cannot be right, 4 for a wrong `CNI_ARGS`.
    pub fn parse(call: &Call) -> Result<Conf, CniError> {
        let wire: Wire = call.conf.decode(KEYS)?;
        let mode = if wire.mode.is_empty() { "bridge" } else { &wire.mode };
        let mode = mode.parse().map_err(|_| {
            invalid(format!("unknown macvlan mode: {:?}", wire.mode))
                .with_details("expected bridge, private, vepa, passthru or source")
        })?;
        let mtu = u32::try_from(wire.mtu)
            .map_err(|_| invalid(format!("invalid MTU {}: must be 0 (the master's) or more", wire.mtu)))?;
        Ok(Conf {
            master: wire.master.0.into_iter().map(selector).collect::<Result<_, _>>()?,
            mode,
            mtu: Some(mtu).filter(|mtu| *mtu > 0),
            mac: match requested_mac(call, &wire.mac)? {
                Some(mac) => MacSource::Given(mac),
                None if wire.stable_mac => MacSource::Pod,
                None => MacSource::Kernel,
            },
            master_in: if wire.link_in_container { MasterIn::Container } else { MasterIn::Host },
            bc_queue_len: Some(wire.bcqueuelen).filter(|length| *length > 0),
            dad: if wire.nodad { netlink::Dad::Skip } else { netlink::Dad::Kernel },
            router_advertisements: if wire.accept_ra {
                RouterAdvertisements::Accept
            } else {
                RouterAdvertisements::Refuse
            },
            announce: if wire.announce { Announce::Yes } else { Announce::No },
            conflicts: if wire.conflict_detection { Conflicts::Refuse } else { Conflicts::Ignore },
        })
    }
}

fn selector(master: Master) -> Result<MasterSelector, CniError> {
    match master {
        Master::Name(name) => Ok(MasterSelector::Name(name)),
        Master::Mac { mac } => parse_mac("master.mac", &mac).map(MasterSelector::Mac),
        Master::Subnet { subnet } => Ok(MasterSelector::Subnet(subnet)),
    }
}

fn requested_mac(call: &Call, of_conf: &str) -> Result<Option<Mac>, CniError> {
    let of_args = args_mac(&call.args)?;
    let of_runtime = match call.conf.runtime_config.get("mac") {
        None => None,
        Some(value) => Some(
            value
                .as_str()
                .ok_or_else(|| invalid(format!("runtimeConfig.mac must be a string, found {value}")))?,
        ),
    };
    let asked = [("runtimeConfig.mac", of_runtime), ("CNI_ARGS MAC", of_args), ("mac", Some(of_conf))];
    let chosen = asked.into_iter().find_map(|(from, mac)| Some((from, mac.filter(|mac| !mac.is_empty())?)));
    chosen.map(|(from, mac)| parse_mac(from, mac)).transpose()
}

fn args_mac(args: &CniArgs) -> Result<Option<&str>, CniError> {
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

fn invalid(msg: String) -> CniError {
    CniError::new(Code::InvalidConfig, msg)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use cni::conf::NetConf;

    fn parse_with(args: &str, text: &str) -> Result<Conf, CniError> {
        let stdin = format!(r#"{{"cniVersion":"1.0.0","name":"n","type":"macvlan"{text}}}"#).into_bytes();
        let conf = NetConf::parse(&stdin).unwrap();
        let args = CniArgs::parse(args).unwrap();
        Conf::parse(&Call { conf, stdin, args, path: cni::exec::SearchPath::default() })
    }

    pub(crate) fn parse(text: &str) -> Result<Conf, CniError> {
        parse_with("", text)
    }

    #[test]
    fn an_empty_conf_has_upstreams_defaults() {
        let conf = parse("").unwrap();
        assert_eq!(
            (conf.mode, conf.mtu, conf.mac, conf.bc_queue_len),
            (MacvlanMode::Bridge, None, MacSource::Kernel, None)
        );
        assert_eq!((conf.master, conf.master_in), (vec![], MasterIn::Host));
        assert_eq!(conf.router_advertisements, RouterAdvertisements::Refuse);
        assert_eq!((conf.announce, conf.conflicts), (Announce::Yes, Conflicts::Ignore));
    }

    #[test]
    fn every_mode_is_known_and_others_are_named() {
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
        let conf = parse(r#","Master":"eth1","MTU":1400,"LinkInContainer":true,"BCqueueLen":9"#).unwrap();
        assert_eq!(conf.master, [MasterSelector::Name("eth1".into())]);
        assert_eq!((conf.mtu, conf.master_in, conf.bc_queue_len), (Some(1400), MasterIn::Container, Some(9)));
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
    fn the_runtimes_mac_beats_the_args_which_beat_the_conf() {
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
    fn a_mac_that_is_asked_for_beats_the_stable_one() {
        let of = |args: &str, conf: &str| parse_with(args, conf).unwrap().mac;
        let stable = r#","stablemac":true"#;
        assert_eq!(of("", stable), MacSource::Pod);
        assert_eq!(
            of("MAC=02:00:00:00:00:02", stable),
            MacSource::Given("02:00:00:00:00:02".parse().unwrap())
        );
        assert_eq!(of("", r#","stableMAC":false"#), MacSource::Kernel);
        assert_eq!(parse(r#","conflictDetection":true"#).unwrap().conflicts, Conflicts::Refuse);
    }

    #[test]
    fn a_negative_mtu_is_refused() {
        assert_eq!(parse(r#","mtu":-1"#).unwrap_err().code, Code::InvalidConfig);
    }
}
