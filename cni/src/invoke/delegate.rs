//! IPAM delegation: a plugin runs its IPAM plugin with its own environment and standard input (CNI spec 1.1.0, section 4, "Plugin
//! Delegation").

use std::path::Path;
use std::time::Instant;

use super::chain::result_of;
use super::exec::Run;
use crate::plugin::Call;
use crate::plugin::conf::Ipam;
use crate::plugin::env::Verb;
use crate::types::result::CniResult;
use crate::types::{CniError, Code};

/// Runs ADD of the IPAM plugin. The result has at least one address.
///
/// # Errors
/// The IPAM plugin's own error; code 6 for a malformed result; code 999 for one without an address. The caller must then run DEL: the
/// plugin may have reserved an address before it failed.
pub fn add(ipam: &Ipam, call: &Call, deadline: Instant) -> Result<CniResult, CniError> {
    let output = run(Verb::Add, ipam, call, &[], deadline)?;
    let raw = result_of(&ipam.plugin_type, &output, call.conf.cni_version)?;
    let result = raw.parse().map_err(|e| {
        CniError::new(
            Code::Decoding,
            format!("IPAM plugin {:?} printed a malformed result: {e}", ipam.plugin_type.as_str()),
        )
    })?;
    if result.ips.is_empty() {
        let details = format!("the result of {:?} has no address", ipam.plugin_type.as_str());
        return Err(
            CniError::new(Code::Internal, "IPAM plugin returned missing IP config").with_details(details)
        );
    }
    Ok(result)
}

/// Runs DEL of the IPAM plugin, with `netns` as `CNI_NETNS`; empty if there is none. Not our own variable: it may name our own
/// namespace, which [`Detachment`](crate::env::Detachment) leaves out and an IPAM plugin would refuse.
pub fn del(ipam: &Ipam, call: &Call, netns: Option<&Path>, deadline: Instant) -> Result<(), CniError> {
    let netns = netns.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    run(Verb::Del, ipam, call, &[("CNI_NETNS", netns)], deadline).map(drop)
}

/// Runs CHECK, GC or STATUS of the IPAM plugin; its output is dropped.
pub fn forward(verb: Verb, ipam: &Ipam, call: &Call, deadline: Instant) -> Result<(), CniError> {
    run(verb, ipam, call, &[], deadline).map(drop)
}

fn run(
    verb: Verb,
    ipam: &Ipam,
    call: &Call,
    more: &[(&str, String)],
    deadline: Instant,
) -> Result<Vec<u8>, CniError> {
    let program = call.path.find(&ipam.plugin_type)?;
    // The rest of the environment is inherited: the IPAM plugin is called for the same container and interface.
    let env = [&[("CNI_COMMAND", verb.as_str().to_owned())], more].concat();
    Ok(Run { program: &program, env: &env, stdin: &call.stdin, deadline }.output()?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;
    use crate::plugin::conf::NetConf;
    use crate::types::SearchPath;
    use crate::types::args::CniArgs;

    /// A call with a shell script as its IPAM plugin, and the script's folder.
    fn call(body: &str) -> (tempfile::TempDir, Call) {
        let folder = tempfile::tempdir().unwrap();
        let mut file = std::fs::File::create(folder.path().join("scripted")).unwrap();
        write!(file, "#!/bin/sh\n{body}\n").unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
        let stdin = br#"{"cniVersion":"1.1.0","name":"n","ipam":{"type":"scripted"}}"#.to_vec();
        let conf = NetConf::parse(&stdin).unwrap();
        let path = SearchPath::parse(&folder.path().to_string_lossy());
        (folder, Call { conf, stdin, args: CniArgs::default(), path })
    }

    fn add_within(limit: Duration, body: &str) -> Result<CniResult, CniError> {
        let (_folder, call) = call(body);
        add(call.conf.ipam.as_ref().unwrap(), &call, Instant::now() + limit)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn an_ipam_plugin_that_hangs_is_killed_and_the_error_is_try_again_later() {
        let started = Instant::now();
        let error = add_within(Duration::from_millis(300), "sleep 600 & wait").unwrap_err();
        assert_eq!(error.code, Code::TryAgainLater, "{error}");
        assert!(error.msg.contains("scripted did not answer"), "{error}");
        assert!(started.elapsed() < LONG);
    }

    #[test]
    fn a_result_without_address_and_text_that_is_no_result_are_errors() {
        let error = add_within(LONG, "cat > /dev/null; echo '{}'").unwrap_err();
        assert_eq!(error.msg, "IPAM plugin returned missing IP config");
        assert_eq!(add_within(LONG, "echo banana").unwrap_err().code, Code::Decoding);
        let error = add_within(LONG, r#"echo '{"ips":[{"address":"10.1.2.3"}]}'"#).unwrap_err();
        assert!(
            error.msg.contains(r#""ips[0].address" must not be "10.1.2.3": not an address with a mask"#),
            "{error}"
        );
    }

    #[test]
    fn the_code_of_a_failed_ipam_plugin_is_kept() {
        let (_folder, call) = call(r#"echo '{"code":51,"msg":"no store"}'; exit 1"#);
        let ipam = call.conf.ipam.as_ref().unwrap();
        let error = forward(Verb::Status, ipam, &call, Instant::now() + LONG).unwrap_err();
        assert_eq!((error.code, error.msg.as_str()), (Code::LimitedConnectivity, "no store"));
    }
}
