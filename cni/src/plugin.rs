//! How a plugin binary runs: it reads environment and standard input, passes the gates of the spec, calls the verb and answers.
//! The order of checks, the codes and the texts are those that runtimes know from the reference implementation.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::args::CniArgs;
use crate::conf::{Head, NetConf};
use crate::env::{Attachment, Command, Detachment, Environment, Lookup, OwnNetns};
use crate::exec::SearchPath;
use crate::result::RawResult;
use crate::version::parse_parts;
use crate::{CniError, Code, Version};

/// Most bytes that are taken from standard input.
const MAX_STDIN: u64 = 8 << 20;

/// What a plugin says of itself.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// One line for whoever runs it without a command.
    pub text: &'static str,
    /// The spec versions it speaks.
    pub versions: &'static [Version],
}

/// What every verb gets besides its subject.
#[derive(Clone, Debug)]
pub struct Call {
    /// The configuration.
    pub conf: NetConf,
    /// The configuration as it came, for delegates.
    pub stdin: Vec<u8>,
    /// `CNI_ARGS`.
    pub args: CniArgs,
    /// `CNI_PATH`.
    pub path: SearchPath,
}

/// An attachment that the runtime still knows (GC).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValidAttachment {
    /// Its container.
    pub container_id: String,
    /// Its interface.
    pub if_name: String,
}

/// The verbs of a plugin. Whatever they need of the world they fetch themselves; a missing thing at DEL is a success.
pub trait Plugin {
    /// What the plugin is.
    fn about(&self) -> About;

    /// Attaches, and returns what was made, in any version: it is converted to the conf's.
    fn add(&self, attachment: &Attachment, call: &Call) -> Result<RawResult, CniError>;

    /// Detaches; repeated, late and half-made attachments included.
    fn del(&self, detachment: &Detachment, call: &Call) -> Result<(), CniError>;

    /// Compares the attachment with `prevResult`.
    fn check(&self, attachment: &Attachment, call: &Call) -> Result<(), CniError>;

    /// Frees what belongs to none of the `valid` attachments. Without a list nothing may be freed.
    fn gc(&self, valid: Option<&[ValidAttachment]>, call: &Call) -> Result<(), CniError>;

    /// Whether ADD would work: code 50 or 51 if not.
    fn status(&self, call: &Call) -> Result<(), CniError>;
}

/// Runs `plugin` on this process's environment and streams. What `main` returns.
pub fn main(plugin: &dyn Plugin) -> ExitCode {
    report_panics();
    let lookup = |name: &str| std::env::var(name).ok();
    let mut stdin = std::io::stdin().lock();
    let (mut stdout, mut stderr) = (std::io::stdout().lock(), std::io::stderr().lock());
    run(plugin, &lookup, &mut stdin, &mut stdout, &mut stderr)
}

/// A panic is a bug; the runtime is told so in the form it reads, instead of nothing.
fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let msg = format!("internal error, please report it: {info}");
        let text = CniError::new(Code::Internal, msg).to_json(Version::CURRENT);
        // Not through `Stdout`: another thread may hold its lock.
        let _ = nix::unistd::write(std::io::stdout(), text.as_bytes());
        std::process::exit(1);
    }));
}

/// As [`main`], on streams and variables of the caller's.
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
            // Nobody is left to tell if this fails; the exit code says it.
            let _ = stdout.write_all(error.to_json(version).as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn written(result: std::io::Result<()>) -> ExitCode {
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The verb's output, if it has one. `version` becomes the conf's as soon as that is known.
fn answer(
    plugin: &dyn Plugin,
    lookup: Lookup<'_>,
    stdin: &mut dyn Read,
    version: &mut Version,
) -> Result<Option<String>, CniError> {
    let about = plugin.about();
    let Environment { command, args, path, own_netns } = Environment::read(lookup)?;
    if command == Command::Version {
        return Ok(Some(version_reply(about)));
    }
    let mut input = Vec::new();
    stdin
        .take(MAX_STDIN)
        .read_to_end(&mut input)
        .map_err(|e| CniError::new(Code::Io, format!("error reading from stdin: {e}")))?;
    let head = Head::parse(&input)?;
    gate(&command, &head.version_text, about)?;
    *version = supported(&head.version_text, about)?;
    let call = Call { conf: NetConf::from_head(head, *version)?, stdin: input, args, path };
    match command {
        Command::Add(attachment) => {
            refuse_own_netns(&attachment.netns, own_netns)?;
            let result = plugin.add(&attachment, &call)?;
            let result =
                result.to_version(*version).map_err(|e| CniError::new(Code::Internal, e.to_string()))?;
            Ok(Some(crate::json::pretty(result.value())))
        }
        Command::Del(detachment) => {
            if let Some(netns) = &detachment.netns {
                refuse_own_netns(netns, own_netns)?;
            }
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

fn version_reply(about: About) -> String {
    let versions: Vec<&str> = about.versions.iter().map(|v| v.as_str()).collect();
    let reply = json!({ "cniVersion": Version::CURRENT.as_str(), "supportedVersions": versions });
    format!("{reply}\n")
}

/// CHECK came with 0.4.0, GC and STATUS with 1.1.0: an older conf does not allow them.
fn gate(command: &Command, version_text: &str, about: About) -> Result<(), CniError> {
    let (verb, since) = match command {
        Command::Check(_) => ("CHECK", Version::V0_4_0),
        Command::Gc => ("GC", Version::V1_1_0),
        Command::Status => ("STATUS", Version::V1_1_0),
        Command::Unknown(name) => {
            return Err(CniError::new(Code::InvalidEnvironment, format!("unknown CNI_COMMAND: {name}")));
        }
        Command::Add(_) | Command::Del(_) | Command::Version => return Ok(()),
    };
    let parts = |text: &str| parse_parts(text).map_err(|e| CniError::new(Code::Decoding, e.to_string()));
    let conf = parts(version_text)?;
    if conf < parts(since.as_str())? {
        return Err(CniError::new(
            Code::IncompatibleVersion,
            format!("config version does not allow {verb}"),
        ));
    }
    let newest = about.versions.iter().max().copied().unwrap_or(Version::V0_1_0);
    if parts(newest.as_str())? < conf {
        return Err(CniError::new(
            Code::IncompatibleVersion,
            format!("plugin version does not allow {verb}"),
        ));
    }
    Ok(())
}

fn supported(version_text: &str, about: About) -> Result<Version, CniError> {
    let known = Version::from_conf(Some(version_text)).ok().filter(|v| about.versions.contains(v));
    known.ok_or_else(|| {
        let shown = if version_text.is_empty() { "0.1.0" } else { version_text };
        let spoken: Vec<String> = about.versions.iter().map(|v| format!("{:?}", v.as_str())).collect();
        CniError::new(Code::IncompatibleVersion, "incompatible CNI versions")
            .with_details(format!("config is {shown:?}, plugin supports [{}]", spoken.join(" ")))
    })
}

/// A runtime that passes the host's namespace for a container's would have the host's interfaces changed.
fn refuse_own_netns(netns: &Path, own: OwnNetns) -> Result<(), CniError> {
    if own == OwnNetns::Allowed {
        return Ok(());
    }
    let id = |path: &Path| std::fs::metadata(path).map(|m| (m.dev(), m.ino()));
    // One that cannot be looked at is the verb's business: gone is fine at DEL.
    match (id(netns), id(Path::new("/proc/self/ns/net"))) {
        (Ok(theirs), Ok(ours)) if theirs == ours => Err(CniError::new(
            Code::InvalidNetns,
            "plugin's netns and netns from CNI_NETNS should not be the same",
        )
        .with_details(format!("CNI_NETNS is {}", netns.display()))),
        _ => Ok(()),
    }
}

/// `cni.dev/valid-attachments`, or the older `cni.dev/attachments`; `None` where neither is given.
fn valid_attachments(conf: &NetConf) -> Result<Option<Vec<ValidAttachment>>, CniError> {
    let object = conf.object();
    let Some(list) = object.get("cni.dev/valid-attachments").or_else(|| object.get("cni.dev/attachments"))
    else {
        return Ok(None);
    };
    let malformed = || {
        CniError::new(
            Code::Decoding,
            "\"cni.dev/valid-attachments\" must be a list of objects with the strings \"containerID\" and \"ifname\"",
        )
    };
    let entry = |value: &Value| -> Option<ValidAttachment> {
        let mut entry = value.as_object()?.clone();
        crate::json::fold_keys(&mut entry, &["containerID", "ifname"]);
        let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(ValidAttachment { container_id: text("containerID")?, if_name: text("ifname")? })
    };
    match list {
        Value::Null => Ok(None),
        Value::Array(items) => {
            items.iter().map(|i| entry(i).ok_or_else(malformed)).collect::<Result<_, _>>().map(Some)
        }
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests;
