//! The checks before a verb runs: version, network namespace, list of attachments. The texts are those of the reference implementation.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;

use super::conf::NetConf;
use super::contract::{About, ValidAttachment};
use super::env::{Command, Detachment, OwnNetns};
use crate::json;
use crate::types::version::{Version, parse_parts};
use crate::types::{CniError, Code};

/// Refuses a verb that is newer than the conf or than the plugin: CHECK came with 0.4.0, GC and STATUS with 1.1.0.
pub(super) fn refuse_unsupported_verb(
    command: &Command,
    version_text: &str,
    about: About,
) -> Result<(), CniError> {
    let (verb, since) = match command {
        Command::Check(_) => ("CHECK", Version::V0_4_0),
        Command::Gc => ("GC", Version::V1_1_0),
        Command::Status => ("STATUS", Version::V1_1_0),
        Command::Unknown(name) => {
            return Err(CniError::new(Code::InvalidEnvironment, format!("unknown CNI_COMMAND: {name}")));
        }
        Command::Add(_) | Command::Del(_) | Command::Version => return Ok(()),
    };
    // Compared as numbers: the conf may have a version that is newer than all we know.
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

/// Returns the version of the conf.
///
/// # Errors
/// Code 1 if the plugin does not support it.
pub(super) fn supported(version_text: &str, about: About) -> Result<Version, CniError> {
    let known = Version::from_conf(Some(version_text)).ok().filter(|v| about.versions.contains(v));
    known.ok_or_else(|| {
        let shown = if version_text.is_empty() { "0.1.0" } else { version_text };
        let own: Vec<String> = about.versions.iter().map(|v| format!("{:?}", v.as_str())).collect();
        CniError::new(Code::IncompatibleVersion, "incompatible CNI versions")
            .with_details(format!("config is {shown:?}, plugin supports [{}]", own.join(" ")))
    })
}

/// Refuses `CNI_NETNS` for ADD if it is the namespace of this process: the plugin would change the host's interfaces.
pub(super) fn refuse_own_netns(netns: &Path, own: OwnNetns) -> Result<(), CniError> {
    if own == OwnNetns::Allowed || !is_own_netns(netns) {
        return Ok(());
    }
    Err(CniError::new(Code::InvalidNetns, "plugin's netns and netns from CNI_NETNS should not be the same")
        .with_details(format!("CNI_NETNS is {}", netns.display())))
}

/// The subject of DEL, without `CNI_NETNS` if that is the namespace of this process. The pod's links cannot be there, since ADD refuses
/// that namespace; a refusal here would fail every DEL and never release the address.
pub(super) fn without_own_netns(detachment: Detachment, own: OwnNetns) -> Detachment {
    let netns = detachment.netns.filter(|netns| own == OwnNetns::Allowed || !is_own_netns(netns));
    Detachment { netns, ..detachment }
}

fn is_own_netns(netns: &Path) -> bool {
    // A namespace file has no unique path, but device and inode number identify the namespace.
    let id = |path: &Path| std::fs::metadata(path).map(|m| (m.dev(), m.ino()));
    // A missing file is not the own namespace: for DEL it is no error, and ADD reports it itself.
    matches!((id(netns), id(Path::new("/proc/self/ns/net"))), (Ok(theirs), Ok(ours)) if theirs == ours)
}

/// The list in `cni.dev/valid-attachments`, or in the older `cni.dev/attachments`. `None` if the conf has neither: that is not the same
/// as an empty list, which frees everything.
pub(super) fn valid_attachments(conf: &NetConf) -> Result<Option<Vec<ValidAttachment>>, CniError> {
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
        json::fold_keys(&mut entry, &["containerID", "ifname"]);
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
