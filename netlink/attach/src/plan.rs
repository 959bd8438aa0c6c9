//! Converts an IPAM result to a plan for the link.

use cni::result::CniResult;
use netlink::interface::Plan;
use netlink::{Route, RouteScope};

use crate::conf::Common;

/// The plan for the link: the addresses and routes of `result`, and what the conf says about IPv6 and announcements.
pub fn plan(conf: &Common, result: &CniResult) -> Plan {
    Plan {
        addresses: result.ips.iter().map(|ip| ip.address).collect(),
        routes: routes(result.routes_with_gateways()),
        dad: conf.dad,
        ipv6_autoconf: conf.ipv6_autoconf,
        announce: conf.announce,
    }
}

/// Converts routes of a result, gateways filled in.
pub(crate) fn routes(routes: Vec<cni::result::Route>) -> Vec<Route> {
    // In a result 0 means that the key is absent.
    let nonzero = |n: u32| Some(n).filter(|n| *n > 0);
    let route = |route: cni::result::Route| Route {
        gw: route.gw,
        mtu: nonzero(route.mtu),
        advmss: nonzero(route.advmss),
        priority: nonzero(route.priority),
        table: route.table,
        scope: route.scope.map(RouteScope),
        ..Route::new(route.dst)
    };
    routes.into_iter().map(route).collect()
}

#[cfg(test)]
mod tests {
    use cni::result::{Ip, Route as ResultRoute};
    use netlink::Repeat;
    use netlink::interface::Ipv6Autoconf;

    use super::*;
    use crate::conf::tests::common;

    #[test]
    fn addresses_and_routes_are_those_of_the_result_with_gateways_and_without_zeros() {
        let gateway = "10.1.2.1".parse().ok();
        let tuned = ResultRoute {
            mtu: 1400,
            table: Some(100),
            scope: Some(0),
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
            scope: Some(RouteScope::GLOBAL),
            ..Route::new("10.8.0.0/16".parse().unwrap())
        };
        assert_eq!(plan.routes, [first, second]);
    }

    #[test]
    fn autoconf_and_announcements_follow_the_conf() {
        let of = |text: &str| {
            let plan = plan(&common(text), &CniResult::default());
            (plan.ipv6_autoconf, plan.announce)
        };
        assert_eq!(of(""), (Ipv6Autoconf::Off, Some(Repeat::default())));
        assert_eq!(of(r#","acceptRA":true,"announce":false"#), (Ipv6Autoconf::On, None));
    }
}
