//! The default network of every pod, for the verbs without a pod: STATUS and GC.

use cni::{CniError, Code};
use node::deadline::Deadline;

use super::api::Api;
use crate::conf::Conf;
use crate::error::Error;
use crate::network::Network;
use crate::request::{Definitions, needed_definitions, network_requests, resolve};

/// Returns the default network. Reads its definition only if the configuration names one. `lookup` reads environment variables.
pub(super) fn default_network(
    conf: &Conf,
    lookup: &dyn Fn(&str) -> Option<String>,
    deadline: Deadline,
) -> Result<Network, Error> {
    let mut requests = network_requests(conf, &conf.default_networks()?, None, None)?;
    requests.truncate(1);
    let definitions = match needed_definitions(&requests).as_slice() {
        [] => Definitions::new(),
        wanted => match Api::connect(conf, lookup, deadline)? {
            Some(api) => api.read_definitions(wanted, deadline)?,
            None => Definitions::new(),
        },
    };
    match requests.first() {
        Some(request) => Ok(resolve(request, &definitions, &conf.conf_dir, None)?),
        None => Err(CniError::new(Code::InvalidConfig, "the configuration has no default network").into()),
    }
}
