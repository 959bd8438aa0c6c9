//! What an interface shall have, and which sysctls follow from that.

use ipnet::IpNet;

use crate::{address::Dad, announce::Repeat, route::Route, sysctl::Sysctl};

/// What an interface shall have. Addresses and routes are added in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Addresses with their prefix lengths.
    pub addresses: Vec<IpNet>,
    /// Routes through the interface; [`Route::dev`] is filled in.
    pub routes: Vec<Route>,
    /// Duplicate address detection of the IPv6 addresses.
    pub dad: Dad,
    /// IPv6 configuration that comes from the network.
    pub ipv6_autoconf: Ipv6Autoconf,
    /// How often the addresses are announced on the wire; none for no announcement.
    pub announce: Option<Repeat>,
}

/// What an interface does with router advertisements.
///
/// While it accepts them, any host on the wire can give a pod an address and a default route, which bypasses policies that were made
/// for IPv4 only (CVE-2024-32473, CVE-2020-10749).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv6Autoconf {
    /// Ignores them. Without an IPv6 address in the plan the interface has no IPv6 at all, not even a link-local address.
    Off,
    /// Accepts them and configures addresses (SLAAC).
    On,
    /// Does what the kernel's defaults say: for interfaces whose addresses something else configures.
    KernelDefault,
}

impl Plan {
    pub(super) fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(|net| net.addr().is_ipv6())
    }
}

/// A sysctl that an interface shall have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) key: Sysctl,
    pub(super) value: u32,
    pub(super) need: Need,
}

/// What happens if a setting is missing or read-only, as in a container with a read-only `/proc/sys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// The configuration fails.
    Required,
    /// The configuration continues without the setting.
    BestEffort,
}

/// The sysctls for `plan`, in the order in which they are written.
pub(super) fn settings(plan: &Plan) -> Vec<Setting> {
    let best_effort = |key, value| Setting { key, value, need: Need::BestEffort };
    let mut settings = Vec::new();
    match plan.ipv6_autoconf {
        Ipv6Autoconf::Off => {
            settings.extend([best_effort(Sysctl::AcceptRa, 0), best_effort(Sysctl::Autoconf, 0)]);
            if !plan.has_ipv6() {
                settings.push(best_effort(Sysctl::DisableIpv6, 1));
            }
        }
        Ipv6Autoconf::On => {
            // 2, not 1: with 1 the kernel ignores router advertisements in a pod that forwards packets.
            settings.extend([best_effort(Sysctl::AcceptRa, 2), best_effort(Sysctl::Autoconf, 1)]);
            if !plan.has_ipv6() {
                settings.push(best_effort(Sysctl::DisableIpv6, 0));
            }
        }
        Ipv6Autoconf::KernelDefault => {}
    }
    if plan.has_ipv6() {
        settings.extend([
            best_effort(Sysctl::NdiscNotify, 1),
            best_effort(Sysctl::KeepAddrOnDown, 1),
            // Without IPv6 the address cannot be added.
            Setting { key: Sysctl::DisableIpv6, value: 0, need: Need::Required },
        ]);
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(addresses: &[&str], ipv6_autoconf: Ipv6Autoconf) -> Plan {
        Plan {
            addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
            routes: vec![],
            dad: Dad::Kernel,
            ipv6_autoconf,
            announce: None,
        }
    }

    #[test]
    fn ipv6_is_disabled_unless_an_address_or_router_advertisements_need_it() {
        let disabled = |addresses: &[&str], autoconf| {
            let settings = settings(&plan(addresses, autoconf));
            let found: Vec<_> =
                settings.into_iter().filter(|setting| setting.key == Sysctl::DisableIpv6).collect();
            assert!(found.len() <= 1, "{found:?}");
            found.first().map(|setting| (setting.value, setting.need))
        };
        let (v4, v6) = (["10.1.2.3/24"], ["10.1.2.3/24", "2001:db8::5/64"]);
        assert_eq!(disabled(&v4, Ipv6Autoconf::Off), Some((1, Need::BestEffort)));
        assert_eq!(disabled(&v4, Ipv6Autoconf::On), Some((0, Need::BestEffort)));
        assert_eq!(disabled(&v4, Ipv6Autoconf::KernelDefault), None);
        for autoconf in [Ipv6Autoconf::Off, Ipv6Autoconf::On, Ipv6Autoconf::KernelDefault] {
            assert_eq!(disabled(&v6, autoconf), Some((0, Need::Required)));
        }
    }
}
