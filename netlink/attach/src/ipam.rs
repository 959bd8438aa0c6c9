//! Calls the IPAM plugin.

use std::time::{Duration, Instant};

use cni::conf::Ipam;
use cni::env::Verb;
use cni::plugin::Call;
use cni::result::CniResult;
use cni::{CniError, delegate};

/// The time limit for the IPAM plugin, for one verb.
const LIMIT: Duration = Duration::from_secs(60);

/// ADD: allocates addresses. After an error the caller must [`forward`] DEL, since the plugin may have allocated some.
pub fn add(ipam: &Ipam, call: &Call) -> Result<CniResult, CniError> {
    delegate::add(ipam, call, deadline())
}

/// Calls the IPAM plugin with another verb; succeeds without `ipam`.
pub fn forward(verb: Verb, call: &Call) -> Result<(), CniError> {
    match &call.conf.ipam {
        Some(ipam) => delegate::forward(verb, ipam, call, deadline()),
        None => Ok(()),
    }
}

fn deadline() -> Instant {
    Instant::now() + LIMIT
}
