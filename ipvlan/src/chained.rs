//! Chaining: the result of an earlier plugin can supply the master, if it has an interface, and the link's addresses, if it has some.

use cni::conf::{Ipam, NetConf};
use cni::result::CniResult;
use cni::{CniError, Code};
use netlink::MasterSelector;

/// The source of the link's addresses.
#[derive(Clone, Debug)]
pub enum Addresses<'a> {
    /// An IPAM plugin.
    Ipam(&'a Ipam),
    /// The result of an earlier plugin, which also has the routes and name servers.
    Previous(CniResult),
}

/// The source of the addresses: `ipam`, else `prevResult`. Code 7 without either: all links of a master have the same MAC address, so
/// that no frame can reach a link without an IP address.
pub fn addresses(conf: &NetConf, previous: Option<CniResult>) -> Result<Addresses<'_>, CniError> {
    match (&conf.ipam, previous) {
        (Some(ipam), _) => Ok(Addresses::Ipam(ipam)),
        (None, Some(result)) if !result.ips.is_empty() => Ok(Addresses::Previous(result)),
        (None, _) => Err(CniError::new(
            Code::InvalidConfig,
            "ipvlan needs addresses: set \"ipam\", or chain it after a plugin that reports addresses",
        )
        .with_details(
            "all ipvlan links of a master have its MAC address, so that only IP addresses distinguish them",
        )),
    }
}

/// The selectors of the master: the conf's, else the only interface of `prevResult`. Empty, which selects the interface of the default
/// route, without both.
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
            .with_details(format!("prevResult has {names:?}; name the interface by the key \"master\"")))
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
    fn ipam_takes_precedence_over_the_addresses_of_prev_result() {
        let with_ipam = conf(r#","ipam":{"type":"static"}"#);
        let previous = result(&[], &["10.0.0.2/24"]);
        assert!(matches!(addresses(&with_ipam, Some(previous.clone())).unwrap(), Addresses::Ipam(_)));
        let Addresses::Previous(used) = addresses(&conf(""), Some(previous.clone())).unwrap() else {
            panic!("not the previous result")
        };
        assert_eq!(used, previous);
    }

    #[test]
    fn without_ipam_and_addresses_in_prev_result_the_conf_is_refused() {
        for previous in [None, Some(result(&["eth0"], &[]))] {
            let error = addresses(&conf(r#","ipam":{}"#), previous).unwrap_err();
            assert_eq!(error.code, Code::InvalidConfig);
            assert!(error.msg.contains("ipam"), "{error}");
        }
    }

    #[test]
    fn the_only_interface_of_prev_result_is_the_master_unless_the_conf_names_one() {
        let previous = result(&["eth1"], &[]);
        let named = [MasterSelector::Name("eth7".into())];
        assert_eq!(masters(&[], Some(&previous)).unwrap(), [MasterSelector::Name("eth1".into())]);
        assert_eq!(masters(&named, Some(&previous)).unwrap(), named);
        assert_eq!(masters(&named, Some(&result(&[], &[]))).unwrap(), named);
        assert!(masters(&[], None).unwrap().is_empty());
    }

    #[test]
    fn no_interface_several_or_one_without_name_is_an_error() {
        for names in [&[][..], &["a", "b"], &[""]] {
            let error = masters(&[], Some(&result(names, &[]))).unwrap_err();
            assert_eq!(
                (error.code, error.msg.as_str()),
                (Code::InvalidConfig, "chained master failure. PrevResult lacks a single named interface")
            );
        }
    }
}
