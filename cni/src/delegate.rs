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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;
    use crate::args::CniArgs;
    use crate::conf::NetConf;
    use crate::exec::SearchPath;

    /// A call whose IPAM plugin is a script with this body, in the folder that comes with it.
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
    fn an_ipam_that_hangs_is_killed_with_its_children_and_may_be_tried_again() {
        let started = Instant::now();
        let error = add_within(Duration::from_millis(300), "sleep 600 & wait").unwrap_err();
        assert_eq!(error.code, Code::TryAgainLater, "{error}");
        assert!(error.msg.contains("scripted did not answer"), "{error}");
        assert!(started.elapsed() < LONG);
    }

    #[test]
    fn an_answer_without_address_or_without_sense_is_an_error() {
        let error = add_within(LONG, "cat > /dev/null; echo '{}'").unwrap_err();
        assert_eq!(error.msg, "IPAM plugin returned missing IP config");
        assert_eq!(add_within(LONG, "echo banana").unwrap_err().code, Code::Decoding);
    }

    #[test]
    fn the_code_of_a_failing_ipam_is_kept() {
        let (_folder, call) = call(r#"echo '{"code":51,"msg":"no store"}'; exit 1"#);
        let ipam = call.conf.ipam.as_ref().unwrap();
        let error = forward(Verb::Status, ipam, &call, Instant::now() + LONG).unwrap_err();
        assert_eq!((error.code, error.msg.as_str()), (Code::LimitedConnectivity, "no store"));
    }
}
