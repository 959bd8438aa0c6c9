//! CHECK: the part of `prevResult` that belongs to this attachment.

use std::net::IpAddr;

use ipnet::IpNet;

use super::env::Attachment;
use crate::types::result::{CniResult, Interface, Ip, Route};
use crate::types::{CniError, Code};

/// The part of a result that belongs to one interface.
#[derive(Clone, Debug)]
pub struct Own<'a> {
    /// The interface.
    pub interface: &'a Interface,
    /// The interfaces before it in the list: those of earlier plugins of the chain.
    pub earlier: &'a [Interface],
    /// The addresses with the index of this interface. If there are none and the interface is the first one: the addresses without
    /// an index.
    pub addresses: Vec<IpNet>,
    /// The routes of this interface. If the result has no other interface and no other addresses: all routes, with gateways filled in.
    /// Otherwise the routes with a gateway in one of its subnets: a route does not name its interface, so the others may belong to
    /// another one.
    pub routes: Vec<Route>,
}

/// Returns the part of `result` that belongs to `CNI_IFNAME` in `CNI_NETNS`.
///
/// # Errors
/// Code 999 if the result has no such interface, or has it in another namespace.
pub fn own<'a>(attachment: &Attachment, result: &'a CniResult) -> Result<Own<'a>, CniError> {
    let failed = |msg: String| CniError::new(Code::Internal, msg);
    let name = attachment.if_name.as_str();
    let found = result.interfaces.iter().enumerate().find(|(_, interface)| interface.name == name);
    let (index, interface) = found.ok_or_else(|| failed(format!("prevResult has no interface {name}")))?;
    let netns = attachment.netns.to_string_lossy();
    if interface.sandbox != netns {
        let sandbox = &interface.sandbox;
        return Err(failed(format!(
            "sandbox in prevResult {sandbox} doesn't match configured netns: {netns}"
        )));
    }
    let addresses = addresses(result, index);
    let is_on_link = |gw: &IpAddr| addresses.iter().any(|net: &IpNet| net.contains(gw));
    let is_alone = result.interfaces.len() == 1 && addresses.len() == result.ips.len();
    let routes = if is_alone {
        result.routes_with_gateways()
    } else {
        let is_own = |route: &&Route| route.gw.as_ref().is_some_and(is_on_link);
        result.routes.iter().filter(is_own).cloned().collect()
    };
    let earlier = result.interfaces.get(..index).unwrap_or_default();
    Ok(Own { interface, earlier, addresses, routes })
}

fn addresses(result: &CniResult, index: usize) -> Vec<IpNet> {
    let of = |wanted: Option<usize>| {
        let ips = result.ips.iter().filter(move |ip: &&Ip| ip.interface == wanted);
        ips.map(|ip| ip.address).collect::<Vec<_>>()
    };
    let named = of(Some(index));
    if named.is_empty() && index == 0 { of(None) } else { named }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::names::{ContainerId, IfName};

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

    fn route(dst: &str, gw: &str) -> Route {
        Route::new(dst.parse().unwrap(), gw.parse().ok())
    }

    #[test]
    fn addresses_of_other_interfaces_and_without_interface_are_left_out() {
        let result = CniResult {
            interfaces: vec![interface("eth0", "/run/netns/pod"), interface("net1", "/run/netns/pod")],
            ips: vec![ip(Some(0), "10.0.0.1/24"), ip(Some(1), "10.0.0.2/24"), ip(None, "10.0.0.3/24")],
            ..CniResult::default()
        };
        let own = own(&attachment(), &result).unwrap();
        assert_eq!(own.interface.name, "net1");
        assert_eq!(own.earlier, &result.interfaces[..1]);
        assert_eq!(own.addresses, ["10.0.0.2/24".parse().unwrap()]);
    }

    #[test]
    fn addresses_without_interface_belong_to_the_only_interface() {
        let interfaces = vec![interface("net1", "/run/netns/pod")];
        let result = CniResult { interfaces, ips: vec![ip(None, "10.0.0.3/24")], ..CniResult::default() };
        assert_eq!(own(&attachment(), &result).unwrap().addresses, ["10.0.0.3/24".parse().unwrap()]);
    }

    #[test]
    fn with_several_interfaces_a_route_belongs_to_the_one_with_its_gateways_subnet() {
        let routes = vec![
            route("0.0.0.0/0", "10.0.0.254"),
            route("10.9.0.0/16", "10.0.1.254"),
            route("10.8.0.0/16", "none"),
        ];
        let ips = vec![ip(Some(0), "10.0.0.1/24"), ip(Some(1), "10.0.1.2/24")];
        let interfaces = vec![interface("eth0", "/run/netns/pod"), interface("net1", "/run/netns/pod")];
        let mut result = CniResult { interfaces, ips, routes, ..CniResult::default() };
        assert_eq!(own(&attachment(), &result).unwrap().routes, &result.routes[1..2]);
        // As the only interface it has all routes, and the route without a gateway gets that of the address.
        result.interfaces.remove(0);
        result.ips.remove(0);
        result.ips[0] = Ip { gateway: "10.0.1.1".parse().ok(), ..ip(Some(0), "10.0.1.2/24") };
        let routes = own(&attachment(), &result).unwrap().routes;
        assert_eq!(routes.len(), 3);
        assert_eq!(routes[2], route("10.8.0.0/16", "10.0.1.1"));
    }

    #[test]
    fn a_missing_interface_and_another_namespace_are_errors() {
        let of = |interfaces| CniResult { interfaces, ..CniResult::default() };
        let error = |result: &CniResult| own(&attachment(), result).unwrap_err().msg;
        assert_eq!(error(&of(vec![])), "prevResult has no interface net1");
        assert_eq!(
            error(&of(vec![interface("net1", "/elsewhere")])),
            "sandbox in prevResult /elsewhere doesn't match configured netns: /run/netns/pod"
        );
    }
}
