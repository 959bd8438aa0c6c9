//! What an IPAM answer makes of the link.

use cni::result::CniResult;
use netlink::announce::Repeat;
use netlink::interface::{Plan, UninvitedIpv6};
use netlink::{Route, RouteScope};

use crate::conf::{Announce, Common, RouterAdvertisements};

/// The addresses and routes of `result`, and what the conf says about IPv6 and announcements.
pub fn plan(conf: &Common, result: &CniResult) -> Plan {
    Plan {
        addresses: result.ips.iter().map(|ip| ip.address).collect(),
        routes: routes(result.routes_with_gateways()),
        dad: conf.dad,
        uninvited: match conf.router_advertisements {
            RouterAdvertisements::Accept => UninvitedIpv6::Accept,
            RouterAdvertisements::Refuse => UninvitedIpv6::Refuse,
        },
        announce: match conf.announce {
            Announce::Yes => Some(Repeat::default()),
            Announce::No => None,
        },
    }
}

/// Routes of a result, gateways filled in, as the kernel takes them.
pub(crate) fn routes(routes: Vec<cni::result::Route>) -> Vec<Route> {
    let some = |n: u32| Some(n).filter(|n| *n > 0);
    let route = |route: cni::result::Route| Route {
        gw: route.gw,
        mtu: some(route.mtu),
        advmss: some(route.advmss),
        priority: some(route.priority),
        table: route.table,
        scope: route.scope.map(RouteScope),
        ..Route::new(route.dst)
    };
    routes.into_iter().map(route).collect()
}

#[cfg(test)]
mod tests {
    use cni::result::{Ip, Route as ResultRoute};

    use super::*;
    use crate::conf::tests::common;

    #[test]
    fn addresses_and_routes_are_the_answers_with_gateways_filled_in_and_zeros_left_out() {
        let gateway = "10.1.2.1".parse().ok();
        let tuned = ResultRoute {
            mtu: 1400,
            table: Some(100),
            scope: Some(253),
            ..ResultRoute::new("10.8.0.0/16".parse().unwrap(), None)
        };
        let result = CniResult {
            ips: vec![Ip { interface: None, address: "10.1.2.3/24".parse().unwrap(), gateway }],
            routes: vec![ResultRoute::new("10.9.0.0/16".parse().unwrap(), "10.1.2.9".parse().ok()), tuned],
            ..CniResult::default()
        };
        let plan = plan(&common(""), &result);
        assert_eq!(plan.addresses, ["10.1.2.3/24".parse().unwrap()]);
        let first = Route { gw: "10.1.2.9".parse().ok(), ..Route::new("10.9.0.0/16".parse().unwrap()) };
        let second = Route {
            gw: gateway,
            mtu: Some(1400),
            table: Some(100),
            scope: Some(RouteScope::LINK),
            ..Route::new("10.8.0.0/16".parse().unwrap())
        };
        assert_eq!(plan.routes, [first, second]);
    }

    #[test]
    fn router_advertisements_and_announcements_are_as_the_conf_says() {
        let of = |text: &str| {
            let plan = plan(&common(text), &CniResult::default());
            (plan.uninvited, plan.announce)
        };
        assert_eq!(of(""), (UninvitedIpv6::Refuse, Some(Repeat::default())));
        assert_eq!(of(r#","acceptRA":true,"announce":false"#), (UninvitedIpv6::Accept, None));
    }
}
