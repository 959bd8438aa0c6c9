//! What an earlier plugin of the chain decides. ipvlan may follow a plugin that brings an interface, which is then the master, or
//! addresses, which are then the link's.

use cni::conf::{Ipam, NetConf};
use cni::result::CniResult;
use cni::{CniError, Code};
use netlink::MasterSelector;

/// Where the link's addresses come from.
#[derive(Clone, Debug)]
pub enum Addresses<'a> {
    /// From an IPAM plugin.
    Ipam(&'a Ipam),
    /// From the result of an earlier plugin, with its routes and name servers.
    Previous(CniResult),
}

/// Where the addresses come from: `ipam`, else `prevResult`. Code 7 where there are none to be had: all links of a master have one
/// MAC address, so that one without an IP address cannot be reached by anything.
pub fn addresses(conf: &NetConf, previous: Option<CniResult>) -> Result<Addresses<'_>, CniError> {
    match (&conf.ipam, previous) {
        (Some(ipam), _) => Ok(Addresses::Ipam(ipam)),
        (None, Some(result)) if !result.ips.is_empty() => Ok(Addresses::Previous(result)),
        (None, _) => Err(CniError::new(
            Code::InvalidConfig,
            "ipvlan needs addresses: set \"ipam\", or chain it after a plugin whose result has some",
        )
        .with_details("an ipvlan link has its master's MAC address and is told from the others by its IP addresses alone")),
    }
}

/// Where the link sits: the conf's `master`, else the one interface that `prevResult` names; nothing, which means the interface of
/// the default route, where there is neither.
pub fn masters(
    of_conf: &[MasterSelector],
    previous: Option<&CniResult>,
) -> Result<Vec<MasterSelector>, CniError> {
    let (true, Some(previous)) = (of_conf.is_empty(), previous) else { return Ok(of_conf.to_vec()) };
    match previous.interfaces.as_slice() {
        [only] if !only.name.is_empty() => Ok(vec![MasterSelector::Name(only.name.clone())]),
        several => {
            let names: Vec<&str> = several.iter().map(|interface| interface.name.as_str()).collect();
            Err(CniError::new(
                Code::InvalidConfig,
                "chained master failure. PrevResult lacks a single named interface",
            )
            .with_details(format!("it has {names:?}; name the interface by the key \"master\"")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cni::result::{Interface, Ip};

    fn conf(more: &str) -> NetConf {
        let text = format!(r#"{{"cniVersion":"1.0.0","name":"n","type":"ipvlan"{more}}}"#);
        NetConf::parse(text.as_bytes()).unwrap()
    }

    fn result(names: &[&str], addresses: &[&str]) -> CniResult {
        let interface = |name: &&str| Interface { name: (*name).to_owned(), ..Interface::default() };
        let ip = |text: &&str| Ip { interface: None, address: text.parse().unwrap(), gateway: None };
        CniResult {
            interfaces: names.iter().map(interface).collect(),
            ips: addresses.iter().map(ip).collect(),
            ..CniResult::default()
        }
    }

    #[test]
    fn ipam_goes_before_the_addresses_of_the_previous_result() {
        let with_ipam = conf(r#","ipam":{"type":"static"}"#);
        let previous = result(&[], &["10.0.0.2/24"]);
        assert!(matches!(addresses(&with_ipam, Some(previous.clone())).unwrap(), Addresses::Ipam(_)));
        let Addresses::Previous(used) = addresses(&conf(""), Some(previous.clone())).unwrap() else {
            panic!("not the previous result")
        };
        assert_eq!(used, previous);
    }

    #[test]
    fn without_addresses_from_anywhere_the_conf_is_refused() {
        for previous in [None, Some(result(&["eth0"], &[]))] {
            let error = addresses(&conf(r#","ipam":{}"#), previous).unwrap_err();
            assert_eq!(error.code, Code::InvalidConfig);
            assert!(error.msg.contains("ipam"), "{error}");
        }
    }

    #[test]
    fn the_only_interface_of_the_previous_result_is_the_master_unless_the_conf_names_one() {
        let previous = result(&["eth1"], &[]);
        let named = [MasterSelector::Name("eth7".into())];
        assert_eq!(masters(&[], Some(&previous)).unwrap(), [MasterSelector::Name("eth1".into())]);
        assert_eq!(masters(&named, Some(&previous)).unwrap(), named);
        assert_eq!(masters(&named, Some(&result(&[], &[]))).unwrap(), named);
        assert!(masters(&[], None).unwrap().is_empty());
    }

    #[test]
    fn none_several_or_a_nameless_interface_is_no_master() {
        for names in [&[][..], &["a", "b"], &[""]] {
            let error = masters(&[], Some(&result(names, &[]))).unwrap_err();
            assert_eq!(
                (error.code, error.msg.as_str()),
                (Code::InvalidConfig, "chained master failure. PrevResult lacks a single named interface")
            );
        }
    }
}
