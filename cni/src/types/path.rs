//! `CNI_PATH`: the folders with plugin binaries.

use std::path::{Path, PathBuf};

use super::error::{CniError, Code};
use super::names::PluginType;

/// The folders of `CNI_PATH`, in search order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPath(Vec<PathBuf>);

impl SearchPath {
    /// Splits at `:`; empty pieces are dropped.
    pub fn parse(text: &str) -> Self {
        SearchPath(text.split(':').filter(|p| !p.is_empty()).map(PathBuf::from).collect())
    }

    /// The same path with `folder` first.
    #[must_use]
    pub fn with_first(&self, folder: &Path) -> Self {
        let rest = self.0.iter().filter(|p| p.as_path() != folder).cloned();
        SearchPath(std::iter::once(folder.to_owned()).chain(rest).collect())
    }

    /// The text form for `CNI_PATH`.
    pub fn to_text(&self) -> String {
        self.joined(":")
    }

    /// Returns the first regular file with the plugin's name.
    ///
    /// # Errors
    /// [`PluginNotFound`] if no folder has one.
    pub fn find(&self, plugin: &PluginType) -> Result<PathBuf, PluginNotFound> {
        let files = self.0.iter().map(|folder| folder.join(plugin.as_str()));
        let mut found = files.filter(|file| std::fs::metadata(file).is_ok_and(|m| m.is_file()));
        found.next().ok_or_else(|| PluginNotFound { plugin: plugin.clone(), path: self.clone() })
    }

    fn joined(&self, separator: &str) -> String {
        self.0.iter().map(|p| p.to_string_lossy().into_owned()).collect::<Vec<_>>().join(separator)
    }
}

/// No folder of `CNI_PATH` has the plugin.
#[derive(Debug, thiserror::Error)]
#[error("failed to find plugin {:?} in path [{}]", plugin.as_str(), path.joined(" "))]
pub struct PluginNotFound {
    plugin: PluginType,
    path: SearchPath,
}

impl From<PluginNotFound> for CniError {
    fn from(error: PluginNotFound) -> Self {
        CniError::new(Code::Internal, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_folder_with_the_plugin_is_used() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&a, &b] {
            std::fs::File::create(folder.path().join("plugin")).unwrap();
        }
        let text = format!("/nowhere:{}:{}", a.path().display(), b.path().display());
        let path = SearchPath::parse(&text);
        let plugin = PluginType::parse("plugin").unwrap();
        assert_eq!(path.find(&plugin).unwrap(), a.path().join("plugin"));
        assert_eq!(path.with_first(b.path()).find(&plugin).unwrap(), b.path().join("plugin"));
        let missing = PluginType::parse("missing").unwrap();
        let text = SearchPath::parse("/a:/b").find(&missing).unwrap_err().to_string();
        assert_eq!(text, "failed to find plugin \"missing\" in path [/a /b]");
    }
}
