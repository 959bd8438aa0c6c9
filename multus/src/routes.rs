//! `default-route`: which default routes an attachment loses and gets, once one of a pod's networks asks for it.
//!
//! A family is touched only where a network names a gateway of it: then every other attachment's default route of that family goes.
//! An empty list takes away the default routes of its own attachment and touches no other.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use cni::Version;
use cni::json::fold_keys;

/// What happens to the default routes of one attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteEdit {
    /// IPv4 default routes go.
    pub drop_v4: bool,
    /// IPv6 default routes go.
    pub drop_v6: bool,
    /// Then these are added.
    pub gateways: Vec<IpAddr>,
}

/// Two networks, or one twice, ask to be the way out for one family.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "multus does not support ECMP for default-route: at most one IPv4 and one IPv6 gateway over all networks of a pod"
)]
pub struct SeveralGateways;

impl RouteEdit {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == RouteEdit::default()
    }

    /// Whether a default route of the family of this address goes.
    pub fn drops(&self, destination: IpAddr) -> bool {
        if destination.is_ipv4() { self.drop_v4 } else { self.drop_v6 }
    }
}

/// The edit for each attachment, given what each asks for.
pub fn edits(requests: &[Option<&[IpAddr]>]) -> Result<Vec<RouteEdit>, SeveralGateways> {
    let all = || requests.iter().flatten().copied().flatten();
    let v4 = all().filter(|gateway| gateway.is_ipv4()).count();
    let v6 = all().filter(|gateway| gateway.is_ipv6()).count();
    if v4 > 1 || v6 > 1 {
        return Err(SeveralGateways);
    }
    let edit = |request: &Option<&[IpAddr]>| {
        let keeps_off = request.is_some_and(<[_]>::is_empty);
        let gateways = request.unwrap_or_default().to_vec();
        RouteEdit { drop_v4: v4 > 0 || keeps_off, drop_v6: v6 > 0 || keeps_off, gateways }
    };
    Ok(requests.iter().map(edit).collect())
}

/// The same edit of a result: a later DEL or CHECK is given what is really there.
pub fn edit_result(result: &mut Value, version: Version, edit: &RouteEdit) {
    let Some(object) = result.as_object_mut() else { return };
    fold_keys(object, &["ip4", "ip6", "routes"]);
    if version > Version::V0_2_0 {
        let gateways: Vec<IpAddr> = edit.gateways.clone();
        return edit_routes(object, edit, &gateways);
    }
    for (key, is_v4) in [("ip4", true), ("ip6", false)] {
        if let Some(Value::Object(ip)) = object.get_mut(key) {
            fold_keys(ip, &["routes"]);
            let gateways: Vec<IpAddr> =
                edit.gateways.iter().copied().filter(|g| g.is_ipv4() == is_v4).collect();
            edit_routes(ip, edit, &gateways);
        }
    }
}

fn edit_routes(owner: &mut Map<String, Value>, edit: &RouteEdit, gateways: &[IpAddr]) {
    let mut routes = match owner.remove("routes") {
        Some(Value::Array(routes)) => routes,
        _ => Vec::new(),
    };
    routes.retain(|route| default_destination(route).is_none_or(|anywhere| !edit.drops(anywhere)));
    routes.extend(gateways.iter().map(|gateway| {
        let dst = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        json!({ "dst": dst, "gw": gateway.to_string() })
    }));
    if !routes.is_empty() {
        owner.insert("routes".to_owned(), Value::Array(routes));
    }
}

/// The destination of a default route, `None` of any other. `::0/0` is how upstream wrote it.
fn default_destination(route: &Value) -> Option<IpAddr> {
    let dst = route.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case("dst"))?.1.as_str()?;
    let dst: ipnet::IpNet = dst.parse().ok()?;
    (dst.prefix_len() == 0).then(|| dst.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    /// `4` and `6` where a family goes, `+n` for n gateways that come.
    fn shown(requests: &[Option<&[IpAddr]>]) -> Vec<String> {
        let text = |e: RouteEdit| {
            format!(
                "{}{}+{}",
                if e.drop_v4 { "4" } else { "" },
                if e.drop_v6 { "6" } else { "" },
                e.gateways.len()
            )
        };
        edits(requests).unwrap().into_iter().map(text).collect()
    }

    #[test]
    fn nothing_asked_touches_nothing() {
        assert_eq!(shown(&[None, None]), ["+0", "+0"]);
        assert!(edits(&[None]).unwrap()[0].is_empty());
    }

    #[test]
    fn a_gateway_takes_its_family_from_every_attachment_and_leaves_the_other() {
        assert_eq!(shown(&[None, Some(&[V4]), None]), ["4+0", "4+1", "4+0"]);
        assert_eq!(shown(&[None, Some(&[V6])]), ["6+0", "6+1"]);
        assert_eq!(shown(&[None, Some(&[V4]), Some(&[V6])]), ["46+0", "46+1", "46+1"]);
        assert_eq!(shown(&[None, Some(&[V4, V6])]), ["46+0", "46+2"]);
    }

    #[test]
    fn an_empty_list_keeps_only_its_own_attachment_off() {
        assert_eq!(shown(&[None, Some(&[])]), ["+0", "46+0"]);
        assert_eq!(shown(&[None, Some(&[]), Some(&[V4])]), ["4+0", "46+0", "4+1"]);
    }

    #[test]
    fn two_gateways_of_one_family_are_refused() {
        for requests in [
            &[Some(&[V4, V4][..])][..],
            &[Some(&[V4][..]), Some(&[V4][..])],
            &[Some(&[V6][..]), None, Some(&[V6][..])],
        ] {
            assert_eq!(edits(requests), Err(SeveralGateways));
        }
    }

    fn edited(mut result: Value, version: Version, edit: &RouteEdit) -> Value {
        edit_result(&mut result, version, edit);
        result
    }

    #[test]
    fn a_result_with_a_list_of_routes_is_edited() {
        let routes = json!([{"dst": "0.0.0.0/0", "gw": "1.1.1.1"}, {"dst": "::0/0"}, {"dst": "::/0"}, {"dst": "10.0.0.0/8", "mtu": 9}, {"dst": "0.0.0.0/1"}]);
        let edit = RouteEdit { drop_v4: true, drop_v6: true, gateways: vec![V4, V6] };
        let want = json!({"routes": [{"dst": "10.0.0.0/8", "mtu": 9}, {"dst": "0.0.0.0/1"}, {"dst": "0.0.0.0/0", "gw": "10.0.0.1"}, {"dst": "::/0", "gw": "::1"}]});
        for version in [Version::V0_3_0, Version::V0_4_0, Version::V1_0_0, Version::V1_1_0] {
            assert_eq!(edited(json!({"routes": routes}), version, &edit), want);
        }
    }

    #[test]
    fn only_the_family_named_goes() {
        let routes = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
        let edit = RouteEdit { drop_v4: true, ..RouteEdit::default() };
        assert_eq!(
            edited(json!({"routes": routes}), Version::V1_0_0, &edit),
            json!({"routes": [{"dst": "::/0"}]})
        );
        let edit = RouteEdit { drop_v4: true, drop_v6: true, gateways: vec![] };
        assert_eq!(edited(json!({"routes": routes}), Version::V1_0_0, &edit), json!({}));
    }

    #[test]
    fn an_old_result_is_edited_by_family() {
        let result = json!({"ip4": {"ip": "10.0.0.9/8", "routes": [{"dst": "0.0.0.0/0"}, {"dst": "1.0.0.0/8"}]}, "ip6": {"ip": "fd00::9/64"}});
        let edit = RouteEdit { drop_v4: true, drop_v6: true, gateways: vec![V4, V6] };
        let want = json!({"ip4": {"ip": "10.0.0.9/8", "routes": [{"dst": "1.0.0.0/8"}, {"dst": "0.0.0.0/0", "gw": "10.0.0.1"}]},
            "ip6": {"ip": "fd00::9/64", "routes": [{"dst": "::/0", "gw": "::1"}]}});
        assert_eq!(edited(result, Version::V0_2_0, &edit), want);
    }
}
