//! Which file has the default network.

use super::conf::{ConfError, Plugin, PrimaryConf};
use super::settings::Election;

/// The start of the names of our own files, which are never the default network.
const OWN: &str = "00-multus";

/// A configuration file of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// Its name.
    pub name: String,
    /// Its bytes, or why it could not be read.
    pub bytes: Result<Vec<u8>, String>,
}

/// The file with the default network.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Elected {
    /// Its name.
    pub file: String,
    /// What it says.
    pub conf: PrimaryConf,
}

/// No file has the default network now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Nobody {
    /// There is no such file. These were left out, because they run multus itself.
    Absent {
        /// Their names.
        left_out: Vec<String>,
    },
    /// The file that it must be cannot be used now.
    Unusable {
        /// Its name.
        file: String,
        /// Why.
        reason: Unusable,
    },
}

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It is no whole configuration.
    #[error("{0}")]
    Conf(#[from] ConfError),
    /// The operator chose it, and it runs multus.
    #[error(
        "its plugin is multus itself, which would call itself without end: choose the file of the default network"
    )]
    Own,
}

/// Whether a file of this name may have a default network. The runtime reads more kinds of files; upstream considers these two.
pub(super) fn is_candidate(name: &str) -> bool {
    (name.ends_with(".conf") || name.ends_with(".conflist")) && !name.starts_with(OWN)
}

/// Elects among `files`, which are in any order.
///
/// The first file counts even while it is not whole: the next one may be that of another plugin, which must not become the default network for
/// the moment of a write.
pub(super) fn elect(election: &Election, files: &[File]) -> Result<Elected, Nobody> {
    match election {
        Election::Named(name) => match files.iter().find(|file| file.name == *name) {
            None => Err(Nobody::Absent { left_out: Vec::new() }),
            Some(file) => match read(file)? {
                elected if elected.conf.plugin == Plugin::Multus => {
                    Err(Nobody::Unusable { file: elected.file, reason: Unusable::Own })
                }
                elected => Ok(elected),
            },
        },
        Election::First => {
            let mut files: Vec<&File> = files.iter().filter(|file| is_candidate(&file.name)).collect();
            files.sort_by(|a, b| a.name.cmp(&b.name));
            let mut left_out = Vec::new();
            for file in files {
                let elected = read(file)?;
                match elected.conf.plugin {
                    Plugin::Foreign => return Ok(elected),
                    Plugin::Multus => left_out.push(elected.file),
                }
            }
            Err(Nobody::Absent { left_out })
        }
    }
}

fn read(file: &File) -> Result<Elected, Nobody> {
    let unusable = |reason| Nobody::Unusable { file: file.name.clone(), reason };
    let bytes = file.bytes.as_ref().map_err(|reason| unusable(Unusable::Unreadable(reason.clone())))?;
    let conf = PrimaryConf::parse(bytes).map_err(|error| unusable(error.into()))?;
    Ok(Elected { file: file.name.clone(), conf })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, plugin: &str) -> File {
        let text = format!(r#"{{"cniVersion":"0.3.1","name":"n","type":"{plugin}"}}"#);
        File { name: name.to_owned(), bytes: Ok(text.into_bytes()) }
    }

    fn first(files: &[File]) -> Result<String, Nobody> {
        elect(&Election::First, files).map(|elected| elected.file)
    }

    #[test]
    fn the_alphabetically_first_conf_or_conflist_is_elected() {
        let files = [
            file("87-podman.conflist", "bridge"),
            file("10-calico.conflist", "calico"),
            file("05-x.json", "x"),
        ];
        assert_eq!(first(&files).unwrap(), "10-calico.conflist");
        assert_eq!(first(&[file("b.conf", "x"), file("B.conf", "x")]).unwrap(), "B.conf");
    }

    #[test]
    fn our_own_files_and_others_that_run_multus_are_never_elected() {
        let own = [
            file("00-multus.conf", "multus"),
            file("00-multus.conflist", "multus"),
            file("00-multus.conf.old.conf", "calico"),
            file("01-by-hand.conf", "multus"),
            file("02-by-hand.conf", "multus-shim"),
        ];
        let left_out = vec!["01-by-hand.conf".to_owned(), "02-by-hand.conf".to_owned()];
        assert_eq!(first(&own), Err(Nobody::Absent { left_out }));
        let mut with_primary = own.to_vec();
        with_primary.push(file("10-flannel.conflist", "flannel"));
        assert_eq!(first(&with_primary).unwrap(), "10-flannel.conflist");
    }

    #[test]
    fn a_half_written_first_file_is_waited_for_and_the_next_one_is_not_taken() {
        let mut half = file("10-calico.conflist", "calico");
        half.bytes = Ok(b"{\"cniVersion\": \"0.3".to_vec());
        let mut unreadable = half.clone();
        unreadable.bytes = Err("cannot open".to_owned());
        for broken in [half, unreadable] {
            let found = first(&[file("87-podman.conflist", "bridge"), broken]);
            assert!(
                matches!(&found, Err(Nobody::Unusable { file, .. }) if file == "10-calico.conflist"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_named_file_is_taken_wherever_it_sorts() {
        let files = [file("10-a.conf", "a"), file("20-b.json", "b"), file("00-multus.conf", "multus")];
        let named = |name: &str| elect(&Election::Named(name.to_owned()), &files).map(|elected| elected.file);
        assert_eq!(named("20-b.json").unwrap(), "20-b.json");
        assert_eq!(named("30-c.conf"), Err(Nobody::Absent { left_out: vec![] }));
        assert!(matches!(named("00-multus.conf"), Err(Nobody::Unusable { reason: Unusable::Own, .. })));
    }
}
