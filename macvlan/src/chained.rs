//! Chaining: without `master` in the conf, an interface of an earlier plugin is the master.

use std::path::Path;

use attach::conf::{Common, MasterIn};
use cni::result::Interface;
use cni::{CniError, Code};
use netlink::MasterSelector;

/// The selectors of the master: the conf's, else the only interface of the `earlier` plugins that is in the master's namespace. Empty,
/// which selects the interface of the default route, if there were no earlier plugins.
pub fn masters(
    conf: &Common,
    netns: &Path,
    earlier: Option<&[Interface]>,
) -> Result<Vec<MasterSelector>, CniError> {
    let (true, Some(earlier)) = (conf.master.is_empty(), earlier) else { return Ok(conf.master.clone()) };
    let netns = netns.to_string_lossy();
    // In a result, interfaces of the node have an empty sandbox.
    let (sandbox, place) = match conf.master_in {
        MasterIn::Host => ("", "on the host"),
        MasterIn::Container => (netns.as_ref(), "in the container"),
    };
    let is_there = |interface: &&Interface| interface.sandbox == sandbox && !interface.name.is_empty();
    let found: Vec<&str> = earlier.iter().filter(is_there).map(|interface| interface.name.as_str()).collect();
    match found.as_slice() {
        [only] => Ok(vec![MasterSelector::Name((*only).to_owned())]),
        several => Err(CniError::new(
            Code::InvalidConfig,
            format!("chained master failure: prevResult must have exactly one interface {place}, found {several:?}"),
        )
        .with_details("name the interface by the key \"master\"; \"linkInContainer\" selects host or container")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETNS: &str = "/run/netns/pod";

    fn conf(master: Vec<MasterSelector>, master_in: MasterIn) -> Common {
        Common { master, master_in, ..crate::conf::tests::parse("").unwrap().common }
    }

    fn interfaces(pairs: &[(&str, &str)]) -> Vec<Interface> {
        let of = |(name, sandbox): &(&str, &str)| Interface {
            name: (*name).to_owned(),
            sandbox: (*sandbox).to_owned(),
            ..Interface::default()
        };
        pairs.iter().map(of).collect()
    }

    fn of(master_in: MasterIn, pairs: &[(&str, &str)]) -> Result<Vec<MasterSelector>, CniError> {
        masters(&conf(vec![], master_in), Path::new(NETNS), Some(&interfaces(pairs)))
    }

    #[test]
    fn the_only_interface_in_the_masters_namespace_is_the_master() {
        let both = [("eth1.100", ""), ("eth0", NETNS)];
        assert_eq!(of(MasterIn::Host, &both).unwrap(), [MasterSelector::Name("eth1.100".into())]);
        assert_eq!(of(MasterIn::Container, &both).unwrap(), [MasterSelector::Name("eth0".into())]);
    }

    #[test]
    fn no_interface_several_or_one_without_name_is_an_error() {
        for pairs in [
            &[][..],
            &[("eth0", NETNS)],
            &[("a", ""), ("b", "")],
            &[("", "")],
            &[("eth0", "/run/netns/other")],
        ] {
            let error = of(MasterIn::Host, pairs).unwrap_err();
            assert_eq!(error.code, Code::InvalidConfig);
            assert!(error.msg.contains("exactly one interface on the host"), "{error}");
        }
        let error = of(MasterIn::Container, &[("a", NETNS), ("b", NETNS)]).unwrap_err();
        assert!(error.msg.contains("in the container") && error.msg.contains("\"a\", \"b\""), "{error}");
    }

    #[test]
    fn the_conf_takes_precedence_and_without_earlier_plugins_there_is_no_selector() {
        let named = vec![MasterSelector::Name("eth7".into())];
        let earlier = interfaces(&[("eth1", "")]);
        let conf_with = conf(named.clone(), MasterIn::Host);
        assert_eq!(masters(&conf_with, Path::new(NETNS), Some(&earlier)).unwrap(), named);
        assert_eq!(masters(&conf_with, Path::new(NETNS), Some(&[])).unwrap(), named);
        assert!(masters(&conf(vec![], MasterIn::Host), Path::new(NETNS), None).unwrap().is_empty());
    }
}
