//! Calls the IPAM plugin.

use std::path::Path;
use std::time::{Duration, Instant};

use cni::conf::Ipam;
use cni::env::Verb;
use cni::plugin::Call;
use cni::result::{CniResult, Route};
use cni::{CniError, delegate};

use crate::conf::invalid;

/// The time limit for the IPAM plugin, for one verb.
const LIMIT: Duration = Duration::from_secs(60);

/// ADD: allocates addresses, and adds the routes that the pod chooses. After an error the caller must call [`del`], since the plugin may have
/// allocated some.
pub fn add(ipam: &Ipam, call: &Call) -> Result<CniResult, CniError> {
    // Before the plugin runs: a wrong route needs no address.
    let chosen = chosen_routes(call)?;
    let mut result = delegate::add(ipam, call, deadline())?;
    // The pod's route to a network takes the place of the network's own.
    result.routes.retain(|route| !chosen.iter().any(|own| own.dst.trunc() == route.dst.trunc()));
    result.routes.extend(chosen);
    Ok(result)
}

/// `runtimeConfig.routes`: what the pod chooses, if the configuration declares the capability `routes`. Code 7 if it is no list of routes.
fn chosen_routes(call: &Call) -> Result<Vec<Route>, CniError> {
    let Some(routes) = call.conf.runtime_config.get("routes") else { return Ok(Vec::new()) };
    let read = serde_json::from_value::<Vec<Route>>(routes.clone());
    read.map_err(|e| invalid(format!("runtimeConfig.routes must be a list of routes, not {routes}: {e}")))
}

/// DEL: releases the addresses of the interface in `netns`; succeeds without `ipam`.
pub(crate) fn del(netns: Option<&Path>, call: &Call) -> Result<(), CniError> {
    match &call.conf.ipam {
        Some(ipam) => delegate::del(ipam, call, netns, deadline()),
        None => Ok(()),
    }
}

/// Calls the IPAM plugin with CHECK, GC or STATUS; succeeds without `ipam`.
pub fn forward(verb: Verb, call: &Call) -> Result<(), CniError> {
    match &call.conf.ipam {
        Some(ipam) => delegate::forward(verb, ipam, call, deadline()),
        None => Ok(()),
    }
}

fn deadline() -> Instant {
    Instant::now() + LIMIT
}
