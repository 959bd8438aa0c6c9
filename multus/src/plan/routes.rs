//! `default-route`: which default routes are removed from an attachment and added to it if a network of the pod requests a gateway.
//!
//! A gateway on one network removes the default routes of its family from every attachment of the pod, and becomes the new one. The other
//! family stays as it is. An empty list removes the default routes of its own attachment only.
//!
//! The networks of `clusterCIDRs` keep their way: by a route of their own like the removed default route of the default network.

use std::net::IpAddr;

use cni::Version;
use cni::json::fold_keys;
use ipnet::IpNet;
use serde_json::{Map, Value, json};

/// The change of the default routes of one attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteEdit {
    /// IPv4 default routes are removed.
    pub drop_v4: bool,
    /// IPv6 default routes are removed.
    pub drop_v6: bool,
    /// Then a default route by each of these is added.
    pub gateways: Vec<IpAddr>,
    /// Each of these gets a route like the default route of its family that is removed.
    pub keep: Vec<IpNet>,
}

/// The pod requests two gateways of one family.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "multus does not support ECMP for default-route: name at most one IPv4 and one IPv6 gateway over all networks of a pod"
)]
pub struct SeveralGateways;

impl RouteEdit {
    /// Whether nothing changes.
    pub(crate) fn is_empty(&self) -> bool {
        *self == RouteEdit::default()
    }

    /// The same edit for the default network. If it loses the default routes of a family to another network, these networks stay reachable.
    pub(super) fn keeping(mut self, cluster_cidrs: &[IpNet]) -> Self {
        let keeps_default =
            |net: &IpNet| self.gateways.iter().any(|gateway| gateway.is_ipv4() == net.addr().is_ipv4());
        let is_lost = |net: &&IpNet| self.drops(net.addr()) && !keeps_default(net);
        self.keep = cluster_cidrs.iter().filter(is_lost).copied().collect();
        self
    }

    /// Whether default routes of the family of this address are removed.
    pub(crate) fn drops(&self, destination: IpAddr) -> bool {
        if destination.is_ipv4() { self.drop_v4 } else { self.drop_v6 }
    }
}

/// Returns the edit of each attachment, from the `default-route` of each.
pub(super) fn edits(requests: &[Option<&[IpAddr]>]) -> Result<Vec<RouteEdit>, SeveralGateways> {
    let all = || requests.iter().flatten().copied().flatten();
    let v4 = all().filter(|gateway| gateway.is_ipv4()).count();
    let v6 = all().filter(|gateway| gateway.is_ipv6()).count();
    if v4 > 1 || v6 > 1 {
        return Err(SeveralGateways);
    }
    let edit = |request: &Option<&[IpAddr]>| {
        let has_empty_list = request.is_some_and(<[_]>::is_empty);
        let gateways = request.unwrap_or_default().to_vec();
        let (drop_v4, drop_v6) = (v4 > 0 || has_empty_list, v6 > 0 || has_empty_list);
        RouteEdit { drop_v4, drop_v6, gateways, keep: Vec::new() }
    };
    Ok(requests.iter().map(edit).collect())
}

/// Makes the same change in a result. Without it CHECK would compare the pod with routes that are gone.
pub(crate) fn edit_result(result: &mut Value, version: Version, edit: &RouteEdit) {
    let Some(object) = result.as_object_mut() else { return };
    fold_keys(object, &["ip4", "ip6", "routes"]);
    if version > Version::V0_2_0 {
        return edit_routes(object, edit, &edit.gateways);
    }
    // 0.1.0 and 0.2.0 have the routes of each family in an object of their own.
    for (key, is_v4) in [("ip4", true), ("ip6", false)] {
        if let Some(Value::Object(ip)) = object.get_mut(key) {
            fold_keys(ip, &["routes"]);
            let gateways: Vec<IpAddr> =
                edit.gateways.iter().copied().filter(|g| g.is_ipv4() == is_v4).collect();
            edit_routes(ip, edit, &gateways);
        }
    }
}

fn edit_routes(parent: &mut Map<String, Value>, edit: &RouteEdit, gateways: &[IpAddr]) {
    let routes = match parent.remove("routes") {
        Some(Value::Array(routes)) => routes,
        _ => Vec::new(),
    };
    let is_removed = |route: &Value| default_destination(route).is_some_and(|dst| edit.drops(dst));
    let (removed, mut routes): (Vec<Value>, Vec<Value>) = routes.into_iter().partition(is_removed);
    let like_removed = |net: &IpNet| {
        let is_of_family = |dst: IpAddr| dst.is_ipv4() == net.addr().is_ipv4();
        let mut kept =
            removed.iter().find(|route| default_destination(route).is_some_and(is_of_family))?.clone();
        kept.as_object_mut()?.retain(|key, _| !key.eq_ignore_ascii_case("dst"));
        kept.as_object_mut()?.insert("dst".to_owned(), net.to_string().into());
        Some(kept)
    };
    routes.extend(edit.keep.iter().filter_map(like_removed));
    routes.extend(gateways.iter().map(|gateway| {
        let dst = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        json!({ "dst": dst, "gw": gateway.to_string() })
    }));
    if !routes.is_empty() {
        parent.insert("routes".to_owned(), Value::Array(routes));
    }
}

/// The destination of a default route; `None` for any other route. Parsed, because upstream writes the one of IPv6 as `::0/0`.
fn default_destination(route: &Value) -> Option<IpAddr> {
    let dst = route.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case("dst"))?.1.as_str()?;
    let dst: IpNet = dst.parse().ok()?;
    (dst.prefix_len() == 0).then(|| dst.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    /// Shows each edit: `4` and `6` for a family that is removed, `+n` for n gateways that are added.
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
    fn without_default_route_nothing_changes() {
        assert_eq!(shown(&[None, None]), ["+0", "+0"]);
        assert!(edits(&[None]).unwrap()[0].is_empty());
    }

    #[test]
    fn a_gateway_removes_its_family_from_every_attachment_and_no_other_family() {
        assert_eq!(shown(&[None, Some(&[V4]), None]), ["4+0", "4+1", "4+0"]);
        assert_eq!(shown(&[None, Some(&[V6])]), ["6+0", "6+1"]);
        assert_eq!(shown(&[None, Some(&[V4]), Some(&[V6])]), ["46+0", "46+1", "46+1"]);
        assert_eq!(shown(&[None, Some(&[V4, V6])]), ["46+0", "46+2"]);
    }

    #[test]
    fn an_empty_list_removes_the_default_routes_of_its_own_attachment() {
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

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_cluster_stays_reachable_by_the_network_that_loses_its_default_route() {
        let cidrs = nets(&["10.244.0.0/16", "fd00::/8"]);
        let kept = |requests: &[Option<&[IpAddr]>]| edits(requests).unwrap().remove(0).keeping(&cidrs).keep;
        assert_eq!(kept(&[None, Some(&[V4])]), nets(&["10.244.0.0/16"]));
        assert_eq!(kept(&[None, Some(&[V4, V6])]), cidrs);
        assert_eq!(kept(&[None, Some(&[])]), []);
        assert_eq!(kept(&[Some(&[V4]), None]), []);
    }

    #[test]
    fn a_kept_network_has_the_gateway_of_the_removed_route() {
        let keep = nets(&["10.244.0.0/16", "fd00::/8"]);
        let edit = RouteEdit { drop_v4: true, keep, ..RouteEdit::default() };
        let routes = json!([{"DST": "0.0.0.0/0", "gw": "1.1.1.1", "mtu": 9}, {"dst": "::/0", "gw": "::1"}]);
        let want = json!({"routes": [{"dst": "::/0", "gw": "::1"}, {"gw": "1.1.1.1", "mtu": 9, "dst": "10.244.0.0/16"}]});
        assert_eq!(edited(json!({"routes": routes}), Version::V1_0_0, &edit), want);
    }

    fn edited(mut result: Value, version: Version, edit: &RouteEdit) -> Value {
        edit_result(&mut result, version, edit);
        result
    }

    #[test]
    fn a_result_with_a_list_of_routes_is_edited() {
        let routes = json!([{"dst": "0.0.0.0/0", "gw": "1.1.1.1"}, {"dst": "::0/0"}, {"dst": "::/0"}, {"dst": "10.0.0.0/8", "mtu": 9}, {"dst": "0.0.0.0/1"}]);
        let edit = RouteEdit { drop_v4: true, drop_v6: true, gateways: vec![V4, V6], keep: vec![] };
        let want = json!({"routes": [{"dst": "10.0.0.0/8", "mtu": 9}, {"dst": "0.0.0.0/1"}, {"dst": "0.0.0.0/0", "gw": "10.0.0.1"}, {"dst": "::/0", "gw": "::1"}]});
        for version in [Version::V0_3_0, Version::V0_4_0, Version::V1_0_0, Version::V1_1_0] {
            assert_eq!(edited(json!({"routes": routes}), version, &edit), want);
        }
    }

    #[test]
    fn only_the_requested_family_is_removed() {
        let routes = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
        let edit = RouteEdit { drop_v4: true, ..RouteEdit::default() };
        assert_eq!(
            edited(json!({"routes": routes}), Version::V1_0_0, &edit),
            json!({"routes": [{"dst": "::/0"}]})
        );
        let edit = RouteEdit { drop_v4: true, drop_v6: true, ..RouteEdit::default() };
        assert_eq!(edited(json!({"routes": routes}), Version::V1_0_0, &edit), json!({}));
    }

    #[test]
    fn an_old_result_is_edited_by_family() {
        let result = json!({"ip4": {"ip": "10.0.0.9/8", "routes": [{"dst": "0.0.0.0/0"}, {"dst": "1.0.0.0/8"}]}, "ip6": {"ip": "fd00::9/64"}});
        let edit = RouteEdit { drop_v4: true, drop_v6: true, gateways: vec![V4, V6], keep: vec![] };
        let want = json!({"ip4": {"ip": "10.0.0.9/8", "routes": [{"dst": "1.0.0.0/8"}, {"dst": "0.0.0.0/0", "gw": "10.0.0.1"}]},
            "ip6": {"ip": "fd00::9/64", "routes": [{"dst": "::/0", "gw": "::1"}]}});
        assert_eq!(edited(result, Version::V0_2_0, &edit), want);
    }
}
