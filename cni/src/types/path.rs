//! `CNI_PATH`: the folders with plugin binaries.

use std::path::{Path, PathBuf};

use super::error::{CniError, Code};
use super::names::PluginType;
use super::trust::{self, Untrusted};

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
    /// [`FindError::NotFound`] if no folder has one; the others if the first one must not be run as root.
    pub fn find(&self, plugin: &PluginType) -> Result<PathBuf, FindError> {
        let files = self.0.iter().map(|folder| (folder, folder.join(plugin.as_str())));
        let mut found = files.filter(|(_, file)| std::fs::metadata(file).is_ok_and(|m| m.is_file()));
        let (folder, file) = found
            .next()
            .ok_or_else(|| FindError::NotFound { plugin: plugin.clone(), path: self.joined(" ") })?;
        // Not skipped: the plugin of a later folder may be another one of the same name.
        if !folder.is_absolute() {
            return Err(FindError::Relative { file });
        }
        trust::check(&file)?;
        Ok(file)
    }

    fn joined(&self, separator: &str) -> String {
        self.0.iter().map(|p| p.to_string_lossy().into_owned()).collect::<Vec<_>>().join(separator)
    }
}

/// `CNI_PATH` has no plugin that may be run.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// No folder has the plugin. The text is libcni's.
    #[error("failed to find plugin {:?} in path [{path}]", plugin.as_str())]
    NotFound {
        /// The plugin.
        plugin: PluginType,
        /// The folders.
        path: String,
    },
    /// The folder is relative: which file it names depends on the folder in which the caller happens to run.
    #[error("plugin {} is not run, because its folder in CNI_PATH is relative: set CNI_PATH to absolute paths", file.display())]
    Relative {
        /// The plugin's file.
        file: PathBuf,
    },
    /// The file can be changed by other users than root.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
}

impl From<FindError> for CniError {
    fn from(error: FindError) -> Self {
        let code = match error {
            FindError::Relative { .. } => Code::InvalidEnvironment,
            FindError::NotFound { .. } | FindError::Untrusted(_) => Code::Internal,
        };
        CniError::new(code, error.to_string())
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

    #[test]
    fn a_plugin_in_a_relative_folder_is_refused() {
        let here = std::env::current_dir().unwrap();
        let folder = tempfile::tempdir_in(&here).unwrap();
        std::fs::File::create(folder.path().join("plugin")).unwrap();
        let relative = folder.path().strip_prefix(&here).unwrap();
        let plugin = PluginType::parse("plugin").unwrap();
        for text in [relative.display().to_string(), format!("./{}", relative.display())] {
            let error: CniError = SearchPath::parse(&text).find(&plugin).unwrap_err().into();
            assert_eq!(error.code, Code::InvalidEnvironment);
            assert!(error.msg.contains(&text) && error.msg.contains("absolute"), "{error}");
        }
        let path = SearchPath::parse(&format!("no/such/folder:{}", folder.path().display()));
        assert_eq!(path.find(&plugin).unwrap(), folder.path().join("plugin"));
    }
}
