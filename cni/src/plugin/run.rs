//! How a plugin binary runs: it reads the environment and standard input, checks them, calls the verb and prints the answer.
//! The order of the checks, the codes and the texts are those of the reference implementation; runtimes match on them.

use std::io::{Read, Write};
use std::process::ExitCode;

use serde_json::json;

use super::conf::{self, Head, NetConf};
use super::contract::{About, Call, Plugin};
use super::env::{Command, Environment, Lookup};
use super::gates::{
    refuse_own_netns, refuse_unsupported_verb, supported, valid_attachments, without_own_netns,
};
use crate::json::pretty;
use crate::types::{CniError, Code, Version};

/// The largest configuration on standard input, in bytes. An object in etcd has at most 1.5 MiB; the list of attachments for GC comes
/// on top.
const MAX_STDIN: u64 = 8 << 20;

/// Runs `plugin` with the environment and the streams of this process. The value is for `main` to return.
pub fn main(plugin: &dyn Plugin) -> ExitCode {
    report_panics();
    let lookup = |name: &str| std::env::var(name).ok();
    let mut stdin = std::io::stdin().lock();
    // Not locked: threads that a plugin starts must be able to log to standard error.
    let (mut stdout, mut stderr) = (std::io::stdout(), std::io::stderr());
    run(plugin, &lookup, &mut stdin, &mut stdout, &mut stderr)
}

/// Makes a panic print an error object: without one the runtime sees only an exit code.
fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let msg = format!("internal error, please report it: {info}");
        let text = CniError::new(Code::Internal, msg).to_json(Version::CURRENT);
        // A direct write(2), because another thread may hold the lock of `Stdout`. If the write fails only the exit code reports the
        // failure.
        let _ = nix::unistd::write(std::io::stdout(), text.as_bytes());
        std::process::exit(1);
    }));
}

/// As [`main`], with the caller's streams and variables.
///
/// Without `CNI_COMMAND` it prints what the plugin is on `stderr`, for a user at a terminal.
pub fn run(
    plugin: &dyn Plugin,
    lookup: Lookup<'_>,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> ExitCode {
    let about = plugin.about();
    if lookup("CNI_COMMAND").is_none_or(|command| command.is_empty()) {
        let versions: Vec<&str> = about.versions.iter().map(|v| v.as_str()).collect();
        let text = format!("{}\nCNI protocol versions supported: {}\n", about.text, versions.join(", "));
        return written(stderr.write_all(text.as_bytes()));
    }
    let mut version = Version::CURRENT;
    match answer(plugin, lookup, stdin, &mut version) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(text)) => written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())),
        Err(error) => {
            // If this write fails only the exit code reports the failure. Flushed here: `main` may close the streams before it ends.
            let _ = stdout.write_all(error.to_json(version).as_bytes()).and_then(|()| stdout.flush());
            ExitCode::FAILURE
        }
    }
}

fn written(result: std::io::Result<()>) -> ExitCode {
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the verb and returns its output, if it has one. Sets `version` to that of the conf if it has one that the plugin supports, so
/// that an error object has the right one.
fn answer(
    plugin: &dyn Plugin,
    lookup: Lookup<'_>,
    stdin: &mut dyn Read,
    version: &mut Version,
) -> Result<Option<String>, CniError> {
    let about = plugin.about();
    let environment = Environment::read(lookup);
    if matches!(environment, Ok(Environment { command: Command::Version, .. })) {
        return Ok(Some(version_reply(about)));
    }
    // The conf comes before the environment, since the error about the environment needs the conf's version.
    let conf = read_stdin(stdin).and_then(|input| Ok((conf::parse_object(&input)?, input)));
    if let Ok((object, _)) = &conf {
        let stated = conf::version_text(object).and_then(|text| supported(text, about));
        *version = stated.unwrap_or(*version);
    }
    let Environment { command, args, path, own_netns } = environment?;
    let (object, input) = conf?;
    let head = Head::from_object(object)?;
    refuse_unsupported_verb(&command, &head.version_text, about)?;
    *version = supported(&head.version_text, about)?;
    let call = Call { conf: NetConf::from_head(head, *version)?, stdin: input, args, path };
    match command {
        Command::Add(attachment) => {
            refuse_own_netns(&attachment.netns, own_netns)?;
            let result = plugin.add(&attachment, &call)?;
            let result =
                result.to_version(*version).map_err(|e| CniError::new(Code::Internal, e.to_string()))?;
            Ok(Some(pretty(result.value())))
        }
        Command::Del(detachment) => {
            let detachment = without_own_netns(detachment, own_netns);
            plugin.del(&detachment, &call).map(|()| None)
        }
        Command::Check(attachment) => plugin.check(&attachment, &call).map(|()| None),
        Command::Gc => plugin.gc(valid_attachments(&call.conf)?.as_deref(), &call).map(|()| None),
        Command::Status => plugin.status(&call).map(|()| None),
        Command::Version => Ok(None),
        Command::Unknown(name) => {
            Err(CniError::new(Code::InvalidEnvironment, format!("unknown CNI_COMMAND: {name}")))
        }
    }
}

/// Reads all of standard input. Code 5 if that fails or the limit is passed.
fn read_stdin(stdin: &mut dyn Read) -> Result<Vec<u8>, CniError> {
    let failed = |why: String| CniError::new(Code::Io, format!("error reading from stdin: {why}"));
    let mut input = Vec::new();
    // One byte more than the limit tells a configuration that is too large from one that just fits.
    stdin.take(MAX_STDIN + 1).read_to_end(&mut input).map_err(|e| failed(e.to_string()))?;
    if input.len() as u64 > MAX_STDIN {
        return Err(failed(format!("the configuration is larger than {MAX_STDIN} bytes")));
    }
    Ok(input)
}

fn version_reply(about: About) -> String {
    let versions: Vec<&str> = about.versions.iter().map(|v| v.as_str()).collect();
    let reply = json!({ "cniVersion": Version::CURRENT.as_str(), "supportedVersions": versions });
    format!("{reply}\n")
}

#[cfg(test)]
mod tests;
