//! What earlier plugins of the chain decide: without `master` in the conf, an interface that one of them made is the master.

use std::path::Path;

use attach::conf::{Common, MasterIn};
use cni::result::Interface;
use cni::{CniError, Code};
use netlink::MasterSelector;

/// Where the link sits: the conf's `master`, else the one interface of `earlier` plugins that is in the namespace where masters are
/// looked for. Nothing, which means the interface of the default route, where no plugin came `earlier`.
pub fn masters(
    conf: &Common,
    netns: &Path,
    earlier: Option<&[Interface]>,
) -> Result<Vec<MasterSelector>, CniError> {
    let (true, Some(earlier)) = (conf.master.is_empty(), earlier) else { return Ok(conf.master.clone()) };
    let netns = netns.to_string_lossy();
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
            format!("chained master failure: prevResult must have one interface {place} to be the master, found {several:?}"),
        )
        .with_details("name the interface by the key \"master\"; \"linkInContainer\" says on which side it is")),
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
    fn the_only_interface_of_the_side_that_masters_are_on_is_the_master() {
        let both = [("eth1.100", ""), ("eth0", NETNS)];
        assert_eq!(of(MasterIn::Host, &both).unwrap(), [MasterSelector::Name("eth1.100".into())]);
        assert_eq!(of(MasterIn::Container, &both).unwrap(), [MasterSelector::Name("eth0".into())]);
    }

    #[test]
    fn none_several_and_nameless_interfaces_are_no_master() {
        for pairs in [
            &[][..],
            &[("eth0", NETNS)],
            &[("a", ""), ("b", "")],
            &[("", "")],
            &[("eth0", "/run/netns/other")],
        ] {
            let error = of(MasterIn::Host, pairs).unwrap_err();
            assert_eq!(error.code, Code::InvalidConfig);
            assert!(error.msg.contains("one interface on the host"), "{error}");
        }
        let error = of(MasterIn::Container, &[("a", NETNS), ("b", NETNS)]).unwrap_err();
        assert!(error.msg.contains("in the container") && error.msg.contains("\"a\", \"b\""), "{error}");
    }

    #[test]
    fn the_conf_goes_before_the_chain_and_without_a_chain_nothing_is_named() {
        let named = vec![MasterSelector::Name("eth7".into())];
        let earlier = interfaces(&[("eth1", "")]);
        let conf_with = conf(named.clone(), MasterIn::Host);
        assert_eq!(masters(&conf_with, Path::new(NETNS), Some(&earlier)).unwrap(), named);
        assert_eq!(masters(&conf_with, Path::new(NETNS), Some(&[])).unwrap(), named);
        assert!(masters(&conf(vec![], MasterIn::Host), Path::new(NETNS), None).unwrap().is_empty());
    }
}
