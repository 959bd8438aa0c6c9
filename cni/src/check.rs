//! CHECK: which part of `prevResult` is about the attachment that is checked.

use ipnet::IpNet;

use crate::env::Attachment;
use crate::result::{CniResult, Interface};
use crate::{CniError, Code};

/// What a result says of one interface.
#[derive(Clone, Debug)]
pub struct Own<'a> {
    /// The interface.
    pub interface: &'a Interface,
    /// Its addresses; those that name no interface are taken for its own.
    pub addresses: Vec<IpNet>,
}

/// The part of `result` about `CNI_IFNAME` in `CNI_NETNS`. An error where the result has no such interface.
pub fn own<'a>(attachment: &Attachment, result: &'a CniResult) -> Result<Own<'a>, CniError> {
    let failed = |msg: String| CniError::new(Code::Internal, msg);
    let name = attachment.if_name.as_str();
    let found = result.interfaces.iter().enumerate().find(|(_, interface)| interface.name == name);
    let (place, interface) = found.ok_or_else(|| failed(format!("prevResult has no interface {name}")))?;
    let netns = attachment.netns.to_string_lossy();
    if interface.sandbox != netns {
        let sandbox = &interface.sandbox;
        return Err(failed(format!(
            "sandbox in prevResult {sandbox} doesn't match configured netns: {netns}"
        )));
    }
    let is_own = |ip: &&crate::result::Ip| ip.interface.is_none_or(|index| index == place);
    let addresses = result.ips.iter().filter(is_own).map(|ip| ip.address).collect();
    Ok(Own { interface, addresses })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Attachment;
    use crate::names::{ContainerId, IfName};
    use crate::result::Ip;

    fn attachment() -> Attachment {
        Attachment {
            container_id: ContainerId::parse("c1").unwrap(),
            netns: "/run/netns/pod".into(),
            if_name: IfName::parse("net1").unwrap(),
        }
    }

    fn interface(name: &str, sandbox: &str) -> Interface {
        Interface { name: name.into(), sandbox: sandbox.into(), ..Interface::default() }
    }

    fn ip(interface: Option<usize>, address: &str) -> Ip {
        Ip { interface, address: address.parse().unwrap(), gateway: None }
    }

    #[test]
    fn addresses_of_other_interfaces_are_not_its_own() {
        let result = CniResult {
            interfaces: vec![interface("eth0", "/run/netns/pod"), interface("net1", "/run/netns/pod")],
            ips: vec![ip(Some(0), "10.0.0.1/24"), ip(Some(1), "10.0.0.2/24"), ip(None, "10.0.0.3/24")],
            ..CniResult::default()
        };
        let own = own(&attachment(), &result).unwrap();
        assert_eq!(own.interface.name, "net1");
        assert_eq!(own.addresses, ["10.0.0.2/24".parse().unwrap(), "10.0.0.3/24".parse().unwrap()]);
    }

    #[test]
    fn an_interface_that_is_missing_or_elsewhere_is_an_error() {
        let of = |interfaces| CniResult { interfaces, ..CniResult::default() };
        let error = |result: &CniResult| own(&attachment(), result).unwrap_err().msg;
        assert_eq!(error(&of(vec![])), "prevResult has no interface net1");
        assert_eq!(
            error(&of(vec![interface("net1", "/elsewhere")])),
            "sandbox in prevResult /elsewhere doesn't match configured netns: /run/netns/pod"
        );
    }
}
