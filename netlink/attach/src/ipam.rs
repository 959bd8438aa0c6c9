//! The IPAM plugin of a call.

use std::time::{Duration, Instant};

use cni::conf::Ipam;
use cni::env::Verb;
use cni::plugin::Call;
use cni::result::CniResult;
use cni::{CniError, delegate};

/// How long the IPAM plugin may take for one verb.
const LIMIT: Duration = Duration::from_secs(60);

/// Has addresses chosen. After a failure [`forward`] DEL: the plugin may have got half-way.
pub fn add(ipam: &Ipam, call: &Call) -> Result<CniResult, CniError> {
    delegate::add(ipam, call, deadline())
}

/// Passes another verb on; nothing happens without `ipam`.
pub fn forward(verb: Verb, call: &Call) -> Result<(), CniError> {
    match &call.conf.ipam {
        Some(ipam) => delegate::forward(verb, ipam, call, deadline()),
        None => Ok(()),
    }
}

fn deadline() -> Instant {
    Instant::now() + LIMIT
}
