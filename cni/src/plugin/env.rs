//! The `CNI_*` variables, and which verb needs which (CNI spec 1.1.0, section 2, "Parameters").

use std::path::PathBuf;

use crate::types::args::CniArgs;
use crate::types::names::{ContainerId, IfName};
use crate::types::{CniError, Code, SearchPath};

/// Returns the value of an environment variable. An empty value counts as missing.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A value of `CNI_COMMAND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verb {
    Add,
    Check,
    Del,
    Gc,
    Status,
    Version,
}

impl Verb {
    /// The text form in `CNI_COMMAND`.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Add => "ADD",
            Verb::Check => "CHECK",
            Verb::Del => "DEL",
            Verb::Gc => "GC",
            Verb::Status => "STATUS",
            Verb::Version => "VERSION",
        }
    }

    fn parse(text: &str) -> Option<Verb> {
        [Verb::Add, Verb::Check, Verb::Del, Verb::Gc, Verb::Status, Verb::Version]
            .into_iter()
            .find(|verb| verb.as_str() == text)
    }
}

/// The subject of ADD and CHECK: one interface in one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// `CNI_CONTAINERID`; for pods, the id of the sandbox.
    pub container_id: ContainerId,
    /// `CNI_IFNAME`.
    pub if_name: IfName,
    /// `CNI_NETNS`, the path of the network namespace.
    pub netns: PathBuf,
}

/// The subject of DEL. Unlike an [`Attachment`] it may have no namespace: the runtime can have removed it already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detachment {
    /// `CNI_CONTAINERID`.
    pub container_id: ContainerId,
    /// `CNI_IFNAME`.
    pub if_name: IfName,
    /// `CNI_NETNS`, if it is set.
    pub netns: Option<PathBuf>,
}

/// The verb with its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Attach.
    Add(Attachment),
    /// Compare the attachment with the result of ADD.
    Check(Attachment),
    /// Detach.
    Del(Detachment),
    /// Free everything outside the attachments that standard input lists.
    Gc,
    /// Report whether ADD would work.
    Status,
    /// Report the supported versions.
    Version,
    /// Any other `CNI_COMMAND`. It is an error only after standard input was checked, as in the reference implementation.
    Unknown(String),
}

/// The environment of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Environment {
    /// Verb and subject.
    pub(crate) command: Command,
    /// `CNI_ARGS`; empty for verbs without a subject.
    pub(crate) args: CniArgs,
    /// `CNI_PATH`.
    pub(crate) path: SearchPath,
    /// Whether `CNI_NETNS` may be the plugin's own namespace (`CNI_NETNS_OVERRIDE`).
    pub(crate) own_netns: OwnNetns,
}

/// Whether a plugin accepts its own network namespace as `CNI_NETNS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnNetns {
    /// Code 8: the plugin would change the host's interfaces.
    Refused,
    /// Accepted; tests without a namespace set this.
    Allowed,
}

impl Environment {
    /// Reads and checks the variables.
    ///
    /// # Errors
    /// Code 4 with the invalid variable, or with all missing ones.
    pub(crate) fn read(lookup: Lookup<'_>) -> Result<Environment, CniError> {
        let present = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let command = present("CNI_COMMAND").unwrap_or_default();
        let verb = Verb::parse(&command);
        let needs_subject = matches!(verb, Some(Verb::Add | Verb::Check | Verb::Del));
        // The reference implementation reports an invalid value before a missing one, so these two are parsed first.
        let container_id = present("CNI_CONTAINERID").filter(|_| needs_subject);
        let container_id = container_id.map(|v| ContainerId::parse(&v)).transpose()?;
        let if_name = present("CNI_IFNAME").filter(|_| needs_subject);
        let if_name = if_name.map(|v| IfName::parse(&v)).transpose()?;
        let netns = present("CNI_NETNS").map(PathBuf::from);
        let missing: Vec<&str> =
            required(verb).iter().copied().filter(|name| present(name).is_none()).collect();
        if !missing.is_empty() {
            let list = missing.join(",");
            let msg = format!("required env variables [{list}] missing");
            return Err(CniError::new(Code::InvalidEnvironment, msg));
        }
        let text = |name: &str| present(name).unwrap_or_default();
        let args = if needs_subject { CniArgs::parse(&text("CNI_ARGS"))? } else { CniArgs::default() };
        let command = match (verb, container_id, if_name, netns) {
            (Some(Verb::Add), Some(container_id), Some(if_name), Some(netns)) => {
                Command::Add(Attachment { container_id, if_name, netns })
            }
            (Some(Verb::Check), Some(container_id), Some(if_name), Some(netns)) => {
                Command::Check(Attachment { container_id, if_name, netns })
            }
            (Some(Verb::Del), Some(container_id), Some(if_name), netns) => {
                Command::Del(Detachment { container_id, if_name, netns })
            }
            (Some(Verb::Gc), ..) => Command::Gc,
            (Some(Verb::Status), ..) => Command::Status,
            (Some(Verb::Version), ..) => Command::Version,
            _ => Command::Unknown(command),
        };
        let overridden = matches!(text("CNI_NETNS_OVERRIDE").to_ascii_lowercase().as_str(), "1" | "true");
        let own_netns = if overridden { OwnNetns::Allowed } else { OwnNetns::Refused };
        Ok(Environment { command, args, path: SearchPath::parse(&text("CNI_PATH")), own_netns })
    }
}

/// The variables that a verb needs, in the order in which the error lists them.
fn required(verb: Option<Verb>) -> &'static [&'static str] {
    match verb {
        None | Some(Verb::Version) => &["CNI_COMMAND"],
        Some(Verb::Add | Verb::Check) => {
            &["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]
        }
        Some(Verb::Del) => &["CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
        Some(Verb::Gc | Verb::Status) => &["CNI_COMMAND", "CNI_PATH"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Environment, CniError> {
        let lookup = |name: &str| pairs.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned());
        Environment::read(&lookup)
    }

    const ADD: &[(&str, &str)] = &[
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/x"),
        ("CNI_IFNAME", "net1"),
        ("CNI_PATH", "/a:/b"),
    ];

    fn without(name: &str, command: &str) -> Vec<(&'static str, String)> {
        let value = |k: &str, v: &str| if k == "CNI_COMMAND" { command.to_owned() } else { v.to_owned() };
        ADD.iter().filter(|(k, _)| *k != name).map(|(k, v)| (*k, value(k, v))).collect()
    }

    #[test]
    fn each_verb_needs_the_variables_of_the_spec() {
        let all = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"];
        for (verb, needed) in [
            ("ADD", &all[..]),
            ("CHECK", &all),
            ("DEL", &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"]),
            ("GC", &["CNI_PATH"]),
            ("STATUS", &["CNI_PATH"]),
            ("VERSION", &[]),
        ] {
            for name in all {
                let env = without(name, verb);
                let pairs: Vec<(&str, &str)> = env.iter().map(|(k, v)| (*k, v.as_str())).collect();
                let want = if needed.contains(&name) {
                    Err(format!("required env variables [{name}] missing"))
                } else {
                    Ok(())
                };
                assert_eq!(read(&pairs).map(|_| ()).map_err(|e| e.msg), want, "{verb} without {name}");
            }
        }
    }

    #[test]
    fn the_error_lists_all_missing_variables() {
        let error = read(&[("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "c")]).unwrap_err();
        assert_eq!(error.msg, "required env variables [CNI_NETNS,CNI_IFNAME,CNI_PATH] missing");
        assert_eq!(read(&[]).unwrap_err().msg, "required env variables [CNI_COMMAND] missing");
    }

    #[test]
    fn an_invalid_value_is_reported_before_missing_ones() {
        let error = read(&[("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "no way")]).unwrap_err();
        assert_eq!(error.msg, "invalid characters in containerID");
    }

    #[test]
    fn an_unknown_command_needs_no_other_variable() {
        assert_eq!(read(&[("CNI_COMMAND", "NOPE")]).unwrap().command, Command::Unknown("NOPE".into()));
    }

    #[test]
    fn the_own_namespace_is_refused_unless_overridden() {
        assert_eq!(read(ADD).unwrap().own_netns, OwnNetns::Refused);
        for value in ["1", "TRUE", "true"] {
            let pairs: Vec<_> = ADD.iter().copied().chain([("CNI_NETNS_OVERRIDE", value)]).collect();
            assert_eq!(read(&pairs).unwrap().own_netns, OwnNetns::Allowed);
        }
    }
}
