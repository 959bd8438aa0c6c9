//! One call of the plugin: its configuration, who it is for, and the way to the API server.

use crate::conf::files::find_flat_file;
use crate::rpc::error::CallError;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cni::plugin::Call;
use node::deadline::Deadline;
use node::names::DnsLabel;

use crate::conf::request::{Assignment, IpArgs, Requests};
use crate::conf::{Conf, FlatFile, Network};
use crate::node_state::namespace;
use crate::node_state::record::{Records, STATE};
use crate::plugin::source::Source;
use crate::rpc::wire;

/// The configuration of a call, completed by the node's flat file.
pub fn conf(call: &Call) -> Result<Conf, CallError> {
    let network = Network::parse(call.conf.object())?;
    let found = find_flat_file(network.configuration_path())?;
    let flat = found.as_ref().map(|found| FlatFile { path: &found.path, bytes: &found.bytes });
    Ok(network.complete(flat)?)
}

/// What the interface is to get.
pub fn assignment(call: &Call, conf: &Conf) -> Result<Assignment, CallError> {
    let args = IpArgs { ip: call.args.get("IP"), gateway: call.args.get("GATEWAY") };
    Ok(Requests::gather(args, &call.conf.runtime_config, &call.conf.args_cni)?.assign(conf)?)
}

/// This node's records.
pub fn records() -> Result<Records, CallError> {
    Ok(Records::open(Path::new(STATE))?)
}

/// Who does the work of a call.
pub fn source(records: &Records, kubeconfig: Option<PathBuf>, limit: Duration) -> Source<'_> {
    Source { socket: wire::socket(), kubeconfig, deadline: Deadline::after(limit), records }
}

/// Where the network's credentials say the claims are, see [`namespace::of`].
pub fn namespace(conf: &Conf) -> Option<DnsLabel> {
    namespace::of(conf.kubeconfig.as_deref()?, &Path::new(STATE).join("hints"))
}
