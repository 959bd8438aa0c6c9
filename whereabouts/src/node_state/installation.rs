//! Which installation of the plugin wrote a record.
//!
//! Between two installations the node may have had Whereabouts' plugin, which gives the address of a lost sandbox to the pod's next sandbox
//! and changes neither record nor claim ([`crate::claims::later_sandbox`]). No clock tells: a node's clock may be wrong.

use std::os::unix::fs::MetadataExt as _;

use serde::{Deserialize, Serialize};

/// An installed file of the plugin. Each installation writes another file, also of the same release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Installation(String);

impl Installation {
    /// The one of this name. Two installations must not have the same.
    pub fn named(name: impl Into<String>) -> Self {
        Installation(name.into())
    }

    /// The file that this process runs; `None` if /proc does not say. A file that is written anew, renamed or changed counts as another one.
    pub fn of_this_process() -> Option<Self> {
        let file = std::fs::metadata("/proc/self/exe").ok()?;
        Some(Installation(format!("{}:{}:{}.{:09}", file.dev(), file.ino(), file.ctime(), file.ctime_nsec())))
    }
}

/// Whether the present installation of the plugin wrote a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Writer {
    /// It did. This node has not had another plugin since.
    ThisInstallation,
    /// Another installation did, or the record does not name one.
    #[default]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::Installation;

    #[test]
    fn a_process_knows_its_installation_and_it_stays_the_same() {
        let own = Installation::of_this_process();
        assert!(own.is_some());
        assert_eq!(own, Installation::of_this_process());
    }
}
