//! What one call of the plugin works with: its configuration, and the attachments of its node.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use cni::plugin::Call;
use node::client::run_here;
use node::names::DnsLabel;

use super::attachments::Attachments;
use super::transport::Machine;
use crate::conf::files::find_flat_file;
use crate::conf::request::{Assignment, IpArgs, Requests};
use crate::conf::{Conf, FlatFile, Network};
use crate::node_state::installation::Installation;
use crate::node_state::namespace;
use crate::node_state::record::STATE;
use crate::rpc::error::CallError;

/// The configuration of a call, completed by the node's flat file.
pub(super) fn conf(call: &Call) -> Result<Conf, CallError> {
    let network = Network::parse(call.conf.object())?;
    let found = find_flat_file(network.configuration_path())?;
    let flat = found.as_ref().map(|found| FlatFile { path: &found.path, bytes: &found.bytes });
    Ok(network.complete(flat)?)
}

/// The configuration of a DEL. A path that an ADD refuses is ignored with a warning: the attachment may have been made by Whereabouts, which
/// accepts every path, and a DEL that fails keeps the pod for ever.
pub(super) fn conf_for_removal(call: &Call) -> Result<Conf, CallError> {
    let (network, refused) = Network::parse_for_removal(call.conf.object())?;
    if let Some(refused) = refused {
        warn(&format_args!("{refused}; DEL goes on with the node's flat file"));
    }
    let found = find_flat_file(network.configuration_path())?;
    let flat = found.as_ref().map(|found| FlatFile { path: &found.path, bytes: &found.bytes });
    Ok(network.complete(flat)?)
}

/// The kubeconfig of the node's flat file, for a DEL whose network configuration cannot be used.
pub(super) fn kubeconfig_of_node() -> Option<PathBuf> {
    let found = find_flat_file(None).ok()??;
    FlatFile { path: &found.path, bytes: &found.bytes }.kubeconfig().ok()?
}

/// Writes a warning to standard error, which runtimes log.
pub(super) fn warn(what: &dyn std::fmt::Display) {
    // If standard error is closed, there is nowhere to report it.
    let _ = writeln!(std::io::stderr(), "whereabouts: {what}");
}

/// The addresses that the call requests.
pub(super) fn assignment(call: &Call, conf: &Conf) -> Result<Assignment, CallError> {
    let args = IpArgs { ip: call.args.get("IP"), gateway: call.args.get("GATEWAY") };
    Ok(Requests::gather(args, &call.conf.runtime_config, &call.conf.args_cni)?.assign(conf)?)
}

/// The attachments of this node.
pub(super) fn attachments() -> Result<Attachments<Machine>, CallError> {
    Ok(Attachments::open(Path::new(STATE), Installation::of_this_process(), Machine)?)
}

/// Runs the requests of a call.
pub(super) fn run<R>(work: impl Future<Output = Result<R, CallError>>) -> Result<R, CallError> {
    run_here(work)?
}

/// The namespace of the claims for this kubeconfig; `None`, for the daemon's namespace, without one. The rule is in [`mod@namespace`].
pub(super) fn namespace(kubeconfig: Option<&Path>) -> Result<Option<DnsLabel>, CallError> {
    let Some(kubeconfig) = kubeconfig else { return Ok(None) };
    Ok(Some(namespace::of_kubeconfig(kubeconfig, &Path::new(STATE).join("hints"))?))
}
