//! The `CNI_*` variables: which verb needs which (CNI spec 1.1.0, "Parameters"), read once and checked.

use std::path::PathBuf;

use crate::args::CniArgs;
use crate::exec::SearchPath;
use crate::names::{ContainerId, IfName};
use crate::{CniError, Code};

/// The variables as they are in the process, by name. Empty ones count as missing.
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
    /// The verb as spelt in `CNI_COMMAND`.
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

/// What the verb is about: one container and the name of one interface in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// `CNI_CONTAINERID`, for pods the id of the sandbox.
    pub container_id: ContainerId,
    /// `CNI_IFNAME`.
    pub if_name: IfName,
    /// `CNI_NETNS`, the path of the network namespace.
    pub netns: PathBuf,
}

/// As [`Attachment`], for DEL: the namespace may be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detachment {
    /// `CNI_CONTAINERID`.
    pub container_id: ContainerId,
    /// `CNI_IFNAME`.
    pub if_name: IfName,
    /// `CNI_NETNS`, unless it is missing.
    pub netns: Option<PathBuf>,
}

/// The verb with its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Attach.
    Add(Attachment),
    /// See whether the attachment is as it was made.
    Check(Attachment),
    /// Detach.
    Del(Detachment),
    /// Free what is attached to none of the containers that standard input names.
    Gc,
    /// Say whether ADD would work.
    Status,
    /// Say which versions are spoken.
    Version,
    /// `CNI_COMMAND` is none of these.
    Unknown(String),
}

/// The environment of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Verb and subject.
    pub command: Command,
    /// `CNI_ARGS`, unparsed where the verb takes none.
    pub args: CniArgs,
    /// `CNI_PATH`.
    pub path: SearchPath,
    /// Whether `CNI_NETNS` may be the plugin's own namespace (`CNI_NETNS_OVERRIDE`).
    pub own_netns: OwnNetns,
}

/// What to do when `CNI_NETNS` is the namespace that the plugin runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnNetns {
    /// Refuse (code 8): the plugin would take the host for a container.
    Refused,
    /// Go on; tests set this.
    Allowed,
}

impl Environment {
    /// Reads and checks the variables. Code 4 (3 for an empty container id) names what is wrong; all missing ones are named at once.
    pub fn read(lookup: Lookup<'_>) -> Result<Environment, CniError> {
        let text = |name: &str| lookup(name).unwrap_or_default();
        let command = text("CNI_COMMAND");
        let verb = Verb::parse(&command);
        let mut missing = Vec::new();
        let needs_subject = matches!(verb, Some(Verb::Add | Verb::Check | Verb::Del));
        let mut need = |name: &'static str, needed: bool| -> Option<String> {
            let value = Some(text(name)).filter(|v| !v.is_empty());
            if value.is_none() && needed {
                missing.push(name);
            }
            value
        };
        need("CNI_COMMAND", true);
        let container_id = need("CNI_CONTAINERID", needs_subject).filter(|_| needs_subject);
        let container_id = container_id.map(|v| ContainerId::parse(&v)).transpose()?;
        let netns = need("CNI_NETNS", needs_subject && verb != Some(Verb::Del)).map(PathBuf::from);
        let if_name = need("CNI_IFNAME", needs_subject).filter(|_| needs_subject);
        let if_name = if_name.map(|v| IfName::parse(&v)).transpose()?;
        let path = need("CNI_PATH", !matches!(verb, None | Some(Verb::Version))).unwrap_or_default();
        if !missing.is_empty() {
            let list = missing.join(",");
            return Err(CniError::new(
                Code::InvalidEnvironment,
                format!("required env variables [{list}] missing"),
            ));
        }
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
        Ok(Environment { command, args, path: SearchPath::parse(&path), own_netns })
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
    fn each_verb_needs_what_the_spec_says() {
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
    fn all_missing_variables_are_named_at_once() {
        let error = read(&[("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "c")]).unwrap_err();
        assert_eq!(error.msg, "required env variables [CNI_NETNS,CNI_IFNAME,CNI_PATH] missing");
        assert_eq!(read(&[]).unwrap_err().msg, "required env variables [CNI_COMMAND] missing");
    }

    #[test]
    fn a_present_but_invalid_value_is_named_first() {
        let error = read(&[("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "no way")]).unwrap_err();
        assert_eq!(error.msg, "invalid characters in containerID");
    }

    #[test]
    fn an_unknown_command_needs_nothing() {
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
