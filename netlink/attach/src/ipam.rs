//! Calls the IPAM plugin.

use std::path::Path;
use std::time::{Duration, Instant};

use cni::conf::Ipam;
use cni::env::Verb;
use cni::plugin::Call;
use cni::result::CniResult;
use cni::{CniError, delegate};

/// The time limit for the IPAM plugin, for one verb.
const LIMIT: Duration = Duration::from_secs(60);

/// ADD: allocates addresses. After an error the caller must call [`del`], since the plugin may have allocated some.
pub fn add(ipam: &Ipam, call: &Call) -> Result<CniResult, CniError> {
    delegate::add(ipam, call, deadline())
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
