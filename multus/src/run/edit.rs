//! Changing the default routes of one attachment, in the pod and in the cached result.

use cni::cache::{Cache, Key};
use cni::env::Attachment;
use cni::result::RawResult;
use cni::{CniError, Code};
use netlink::{Error, IpNet, Link, MAIN_TABLE, Route, RouteFilter, Socket};

use crate::plan::{Delegate, RouteEdit, edit_result};

/// Changes the routes in the pod.
pub(super) fn routes(socket: &Socket, delegate: &Delegate) -> Result<(), CniError> {
    let failed = |e: Error| CniError::new(Code::Internal, format!("error setting default gateway: {e}"));
    match socket.link_by_name(delegate.if_name.as_str()).map_err(failed)? {
        Some(link) => apply(socket, &link, &delegate.route_edit).map_err(failed),
        None if delegate.route_edit.gateways.is_empty() => Ok(()),
        None => {
            let msg =
                format!("error setting default gateway: the plugins made no interface {}", delegate.if_name);
            Err(CniError::new(Code::Internal, msg))
        }
    }
}

fn apply(socket: &Socket, link: &Link, edit: &RouteEdit) -> Result<(), Error> {
    let here = RouteFilter { table: Some(MAIN_TABLE), dev: Some(link.index) };
    let routes = socket.routes(here)?;
    let is_removed = |route: &&Route| route.is_default() && edit.drops(route.dst.addr());
    for net in &edit.keep {
        let is_of_family = |route: &&Route| route.dst.addr().is_ipv4() == net.addr().is_ipv4();
        // Without a default route nothing was reachable by it.
        if let Some(removed) = routes.iter().filter(is_removed).find(is_of_family) {
            add(socket, &Route { dst: *net, ..removed.clone() })?;
        }
    }
    routes.iter().filter(is_removed).try_for_each(|route| socket.delete_route(route))?;
    for gateway in &edit.gateways {
        let everywhere = match gateway {
            std::net::IpAddr::V4(_) => IpNet::V4(Default::default()),
            std::net::IpAddr::V6(_) => IpNet::V6(Default::default()),
        };
        let route = Route { gw: Some(*gateway), dev: Some(link.index), ..Route::new(everywhere) };
        add(socket, &route)?;
    }
    Ok(())
}

fn add(socket: &Socket, route: &Route) -> Result<(), Error> {
    match socket.add_route(route) {
        // A plugin may have made the same route.
        Err(Error::Exists(_)) => Ok(()),
        other => other,
    }
}

/// Changes the cached result, which CHECK and DEL receive as prevResult.
pub(super) fn cached_result(
    cache: &Cache,
    attachment: &Attachment,
    delegate: &Delegate,
) -> Result<(), CniError> {
    let failed = |why: &dyn std::fmt::Display| {
        CniError::new(Code::Io, format!("error setting default gateway in cache: {why}"))
    };
    let list = &delegate.network.list;
    let key = Key {
        network: list.name.clone(),
        container_id: attachment.container_id.clone(),
        if_name: delegate.if_name.clone(),
    };
    let entry = cache.read(&key).map_err(|e| failed(&e))?;
    let mut entry = entry.ok_or_else(|| failed(&"the result of this ADD is not in the cache"))?;
    if let Some(result) = &mut entry.result {
        let version =
            RawResult::from_value(result.clone(), list.cni_version).map_err(|e| failed(&e))?.version();
        edit_result(result, version, &delegate.route_edit);
    }
    cache.write(&key, &entry).map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests;
