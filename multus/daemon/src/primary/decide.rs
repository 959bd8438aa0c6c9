//! Given what the folder holds: what must be in `00-multus.conf`?

use std::path::PathBuf;

use cni::version::Version;

use super::elect::{Elected, File, Nobody, Unusable, elect};
use super::render::{LIST, SINGLE, Written, by_path, inline};
use super::settings::{Auto, Form, NameRule, VersionRule};

/// The name of our network, unless the operator wants the default network's.
const NAME: &str = "multus-cni-network";

/// What must be on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The file.
    pub written: Written,
    /// Files that must not be there: the runtime would use them instead.
    pub absent: Vec<String>,
    /// The file that it was made from.
    pub from: String,
}

/// Why nothing can be written now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unready {
    /// There is no configuration of a default network.
    #[error("cannot find valid master CNI config in {folder:?}{}: install the primary network's plugin", listed(.left_out))]
    NoPrimary {
        /// The folder.
        folder: PathBuf,
        /// Files that were left out, because they run multus itself.
        left_out: Vec<String>,
    },
    /// The file of the default network cannot be used.
    #[error("cannot use {path} as the default network: {reason}", path = .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file that says that the default network is ready does not exist.
    #[error("the readiness file {path} does not exist yet", path = .0.display())]
    NotReady(PathBuf),
    /// The versions differ.
    #[error("Multus cni version is \"{multus}\" while master plugin cni version is \"{primary}\": choose no version, or that of {path}", path = .path.display())]
    Version {
        /// The version that the operator chose.
        multus: Version,
        /// That of the default network.
        primary: Version,
        /// The default network's file.
        path: PathBuf,
    },
}

/// What a caller can do about [`Unready`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The cluster changes it: wait.
    Wait,
    /// The operator must change a setting.
    Change,
}

impl Unready {
    pub(super) fn remedy(&self) -> Remedy {
        match self {
            Self::NoPrimary { .. } | Self::Unusable { .. } | Self::NotReady(_) => Remedy::Wait,
            Self::Version { .. } => Remedy::Change,
        }
    }
}

fn listed(files: &[String]) -> String {
    if files.is_empty() {
        String::new()
    } else {
        format!(" (left out, because they run multus: {})", files.join(", "))
    }
}

/// Decides what must be on the disk, given the configuration files of the folder.
pub(super) fn decide(auto: &Auto, files: &[File]) -> Result<Wanted, Unready> {
    let unusable = |file: &str, reason: String| Unready::Unusable { path: auto.folder.join(file), reason };
    let mut elected = elect(&auto.election, files).map_err(|nobody| match nobody {
        Nobody::Absent { left_out } => Unready::NoPrimary { folder: auto.folder.clone(), left_out },
        Nobody::Unusable { file, reason } => unusable(&file, reason.to_string()),
    })?;
    let version = version(auto, &mut elected)?;
    let name = match auto.name {
        NameRule::Own => NAME.to_owned(),
        NameRule::OfPrimary if elected.conf.name.is_empty() => {
            let reason =
                "it has no \"name\", which 00-multus.conf must have (overrideNetworkName)".to_owned();
            return Err(unusable(&elected.file, reason));
        }
        NameRule::OfPrimary => elected.conf.name.clone(),
    };
    let written = match &auto.form {
        Form::Inline(form) => inline(form, &name, version, &elected),
        Form::ByPath(form) => by_path(form, &name, version, &auto.folder, &elected),
    };
    let absent =
        [SINGLE, LIST].into_iter().filter(|file| **file != written.file).map(str::to_owned).collect();
    Ok(Wanted { written, absent, from: elected.file })
}

fn version(auto: &Auto, elected: &mut Elected) -> Result<Version, Unready> {
    let primary = elected.conf.version;
    let differ = |multus| Unready::Version { multus, primary, path: auto.folder.join(&elected.file) };
    match auto.version {
        VersionRule::OfPrimary => Ok(primary),
        VersionRule::Same(multus) if multus != primary => Err(differ(multus)),
        // From 0.4.0 on there is CHECK, and results have another form.
        VersionRule::Compatible(multus) if multus >= Version::V0_4_0 && primary < Version::V0_4_0 => {
            Err(differ(multus))
        }
        VersionRule::Same(multus) | VersionRule::Compatible(multus) => Ok(multus),
        VersionRule::Forced(multus) => {
            elected.conf.object.insert("cniVersion".to_owned(), multus.as_str().into());
            Ok(multus)
        }
    }
}

/// A copy of a file that the operator wrote, with the path in `from`.
pub(super) fn copy(from: &std::path::Path, bytes: Vec<u8>) -> Result<Wanted, Unready> {
    let unusable = |reason: String| Unready::Unusable { path: from.to_owned(), reason };
    let file = from.file_name().and_then(|name| name.to_str());
    let file = file.ok_or_else(|| unusable("it has no file name in UTF-8".to_owned()))?.to_owned();
    // Nothing else is checked: the operator decides.
    cni::json::parse_object(&bytes).map_err(|error| {
        unusable(Unusable::Unreadable(format!("it is not one whole JSON object: {error}")).to_string())
    })?;
    Ok(Wanted { written: Written { file, bytes }, absent: Vec::new(), from: from.display().to_string() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::primary::settings::{Election, InlineForm, Isolation, LogTarget, Master};

    fn auto(version: VersionRule, name: NameRule) -> Auto {
        Auto {
            folder: "/host/etc/cni/net.d".into(),
            election: Election::First,
            version,
            name,
            form: Form::Inline(InlineForm {
                isolation: Isolation::Off,
                global_namespaces: String::new(),
                log_target: LogTarget::Stderr,
                log_level: None,
                log_file: String::new(),
                bin_dir: String::new(),
                cni_conf: String::new(),
                readiness_file: String::new(),
                kubeconfig: "/k".into(),
            }),
            master: Master::Stays,
            readiness: None,
        }
    }

    fn file(name: &str, conf: &Value) -> File {
        File { name: name.into(), bytes: Ok(conf.to_string().into_bytes()) }
    }

    /// The version and name of the file that is written, and the version of the delegate.
    fn decided(rule: VersionRule, name: NameRule, primary: &str) -> Result<(String, Value, Value), Unready> {
        let conf = json!({"cniVersion": primary, "name": "p", "type": "t"});
        let wanted = decide(&auto(rule, name), &[file("10-p.conf", &conf)])?;
        let read: Value = serde_json::from_slice(&wanted.written.bytes).unwrap();
        let plugin = read.get("plugins").map_or(&read, |plugins| &plugins[0]);
        let delegate = plugin["delegates"][0]["cniVersion"].clone();
        Ok((wanted.written.file, json!([read["cniVersion"], read["name"]]), delegate))
    }

    #[test]
    fn the_version_follows_the_rule() {
        use Version::*;
        let own = NameRule::Own;
        for (rule, primary, want, file) in [
            (VersionRule::OfPrimary, "0.3.0", "0.3.0", SINGLE),
            (VersionRule::OfPrimary, "1.0.0", "1.0.0", LIST),
            (VersionRule::Same(V0_3_1), "0.3.1", "0.3.1", SINGLE),
            (VersionRule::Compatible(V0_3_1), "0.3.0", "0.3.1", SINGLE),
            (VersionRule::Compatible(V0_3_1), "1.0.0", "0.3.1", SINGLE),
            (VersionRule::Compatible(V1_0_0), "0.4.0", "1.0.0", LIST),
        ] {
            let (name, keys, delegate) = decided(rule, own, primary).unwrap();
            assert_eq!(
                (name.as_str(), &keys[0], &delegate),
                (file, &json!(want), &json!(primary)),
                "{rule:?}"
            );
        }
        let (_, keys, delegate) = decided(VersionRule::Forced(V0_4_0), own, "0.3.0").unwrap();
        assert_eq!((&keys[0], delegate), (&json!("0.4.0"), json!("0.4.0")));
    }

    #[test]
    fn versions_that_upstream_refuses_are_refused_with_its_text() {
        use Version::*;
        for (rule, primary) in
            [(VersionRule::Same(V0_3_1), "0.3.0"), (VersionRule::Compatible(V0_4_0), "0.3.1")]
        {
            let error = decided(rule, NameRule::Own, primary).unwrap_err();
            let text = format!("while master plugin cni version is \"{primary}\"");
            assert!(error.to_string().contains(&text), "{error}");
            assert_eq!(error.remedy(), Remedy::Change);
        }
    }

    #[test]
    fn the_name_is_ours_or_the_default_networks() {
        let name = |rule| decided(VersionRule::OfPrimary, rule, "0.3.1").unwrap().1[1].clone();
        assert_eq!(name(NameRule::Own), "multus-cni-network");
        assert_eq!(name(NameRule::OfPrimary), "p");
        let nameless = file("10-p.conf", &json!({"cniVersion": "0.3.1", "type": "t"}));
        assert!(decide(&auto(VersionRule::OfPrimary, NameRule::OfPrimary), &[nameless]).is_err());
    }

    #[test]
    fn the_other_file_of_ours_must_be_absent() {
        let of = |version: &str| {
            let conf = json!({"cniVersion": version, "name": "p", "type": "t"});
            decide(&auto(VersionRule::OfPrimary, NameRule::Own), &[file("10-p.conf", &conf)]).unwrap().absent
        };
        assert_eq!((of("0.3.1"), of("1.0.0")), (vec![LIST.to_owned()], vec![SINGLE.to_owned()]));
    }

    #[test]
    fn what_is_waited_for_is_named() {
        let rule = auto(VersionRule::OfPrimary, NameRule::Own);
        let error = decide(&rule, &[]).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot find valid master CNI config in \"/host/etc/cni/net.d\":"),
            "{error}"
        );
        let own = file("01-m.conf", &json!({"cniVersion": "0.3.1", "name": "n", "type": "multus"}));
        assert!(decide(&rule, &[own]).unwrap_err().to_string().contains("01-m.conf"));
        let half = File { name: "10-c.conflist".into(), bytes: Ok(b"{".to_vec()) };
        let error = decide(&rule, &[half]).unwrap_err();
        assert!(
            error.to_string().contains("/host/etc/cni/net.d/10-c.conflist") && error.remedy() == Remedy::Wait,
            "{error}"
        );
    }

    #[test]
    fn a_copy_must_be_whole() {
        let path = std::path::Path::new("/tmp/70-multus.conf");
        assert_eq!(copy(path, b"{}".to_vec()).unwrap().written.file, "70-multus.conf");
        assert!(copy(path, b"{".to_vec()).unwrap_err().to_string().contains("/tmp/70-multus.conf"));
        assert!(copy("/".as_ref(), b"{}".to_vec()).is_err());
    }
}
