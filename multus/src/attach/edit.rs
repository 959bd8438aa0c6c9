//! The default routes of one attachment, changed in the pod and in the cached result.

use cni::cache::{Cache, Key};
use cni::env::Attachment;
use cni::result::RawResult;
use cni::{CniError, Code};
use netlink::{Error, IpNet, Link, MAIN_TABLE, Route, RouteFilter, Socket};

use crate::plan::Delegate;
use crate::routes::{RouteEdit, edit_result};

/// Changes the routes in the pod.
pub(super) fn routes(socket: &Socket, delegate: &Delegate) -> Result<(), CniError> {
    let failed = |e: Error| CniError::new(Code::Internal, format!("error setting default gateway: {e}"));
    match socket.link_by_name(delegate.if_name.as_str()).map_err(failed)? {
        Some(link) => apply(socket, &link, &delegate.route_edit).map_err(failed),
        None if delegate.route_edit.gateways.is_empty() => Ok(()),
        None => {
            let msg =
                format!("error setting default gateway: its plugins made no interface {}", delegate.if_name);
            Err(CniError::new(Code::Internal, msg))
        }
    }
}

fn apply(socket: &Socket, link: &Link, edit: &RouteEdit) -> Result<(), Error> {
    let here = RouteFilter { table: Some(MAIN_TABLE), dev: Some(link.index) };
    let routes = socket.routes(here)?;
    let goes = |route: &&Route| route.is_default() && edit.drops(route.dst.addr());
    routes.iter().filter(goes).try_for_each(|route| socket.delete_route(route))?;
    for gateway in &edit.gateways {
        let anywhere = match gateway {
            std::net::IpAddr::V4(_) => IpNet::V4(Default::default()),
            std::net::IpAddr::V6(_) => IpNet::V6(Default::default()),
        };
        let route = Route { gw: Some(*gateway), dev: Some(link.index), ..Route::new(anywhere) };
        match socket.add_route(&route) {
            Ok(()) | Err(Error::Exists(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Changes the result that DEL and CHECK are given.
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
    let mut entry = entry.ok_or_else(|| failed(&"the result that was just written is gone"))?;
    if let Some(result) = &mut entry.result {
        let version =
            RawResult::from_value(result.clone(), list.cni_version).map_err(|e| failed(&e))?.version();
        edit_result(result, version, &delegate.route_edit);
    }
    cache.write(&key, &entry).map_err(|e| failed(&e))
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
