//! IPAM delegation: a plugin runs another with its own environment and standard input (CNI spec 1.1.0, "Delegation").

use std::time::Instant;

use crate::conf::Ipam;
use crate::env::Verb;
use crate::exec::Run;
use crate::plugin::Call;
use crate::result::CniResult;
use crate::{CniError, Code};

/// Runs ADD of the IPAM plugin. The result has at least one address, and no interfaces. After a failure the caller runs DEL: the
/// plugin may have got half-way.
pub fn add(ipam: &Ipam, call: &Call, deadline: Instant) -> Result<CniResult, CniError> {
    let output = run(Verb::Add, ipam, call, deadline)?;
    let raw = crate::chain::result_of(&ipam.plugin_type, &output, call.conf.cni_version)?;
    let result = raw.parse().map_err(|e| {
        CniError::new(
            Code::Decoding,
            format!("IPAM plugin {:?} answered with no result: {e}", ipam.plugin_type.as_str()),
        )
    })?;
    if result.ips.is_empty() {
        let details = format!("{:?} answered ADD without an address", ipam.plugin_type.as_str());
        return Err(
            CniError::new(Code::Internal, "IPAM plugin returned missing IP config").with_details(details)
        );
    }
    Ok(result)
}

/// Runs another verb of the IPAM plugin.
pub fn forward(verb: Verb, ipam: &Ipam, call: &Call, deadline: Instant) -> Result<(), CniError> {
    run(verb, ipam, call, deadline).map(drop)
}

fn run(verb: Verb, ipam: &Ipam, call: &Call, deadline: Instant) -> Result<Vec<u8>, CniError> {
    let program = call.path.find(&ipam.plugin_type).map_err(|e| e.to_cni())?;
    let env = [("CNI_COMMAND", verb.as_str().to_owned())];
    let run = Run { program: &program, env: &env, stdin: &call.stdin, deadline };
    run.output().map_err(|e| e.to_cni())
}
