//! Where a network's credentials say that the claims are. To read a kubeconfig for this one word takes a third of an ADD's CPU, and it is
//! the same for months: it is noted, for the file as it was.

use node::client::ApiClient;
use node::client::ConnectError;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use node::names::DnsLabel;
use serde::{Deserialize, Serialize};

/// Where pools are when the credentials name no namespace.
pub const DEFAULT_NAMESPACE: &str = "kube-system";

/// The kernel's clock for files goes in steps: one that was written a moment ago may be written again and look the same.
const SETTLED: Duration = Duration::from_secs(2);

/// Longest note. A path has at most 4,096 bytes.
const MAX_NOTE: u64 = 8_192;

/// What a file's bytes cannot change without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

#[derive(Debug, Serialize, Deserialize)]
struct Hint {
    stamp: Stamp,
    namespace: Option<DnsLabel>,
}

/// The namespace that the kubeconfig at `path` names, noted in `folder`. Unreadable credentials name none: they do not matter to a daemon,
/// and fail by themselves without one.
pub fn of(path: &Path, folder: &Path) -> Option<DnsLabel> {
    let stamp = stamp(path)?;
    let file = folder.join(note_file(path));
    let noted = node::files::read_bounded(&file, MAX_NOTE).ok();
    let noted = noted.and_then(|bytes| serde_json::from_slice::<Hint>(&bytes).ok());
    if let Some(noted) = noted.filter(|noted| noted.stamp == stamp) {
        return noted.namespace;
    }
    let namespace = node::client::namespace_in(path).ok()?;
    let note = Hint { stamp, namespace: namespace.clone() };
    if is_settled(&note.stamp) {
        // What cannot be noted is read again.
        let _ = serde_json::to_vec(&note).map(|bytes| node::files::replace(&file, &bytes));
    }
    namespace
}

fn stamp(path: &Path) -> Option<Stamp> {
    let file = std::fs::metadata(path).ok()?;
    Some(Stamp {
        path: path.to_owned(),
        device: file.dev(),
        inode: file.ino(),
        size: file.size(),
        modified: (file.mtime(), file.mtime_nsec()),
        changed: (file.ctime(), file.ctime_nsec()),
    })
}

fn is_settled(stamp: &Stamp) -> bool {
    let seconds = stamp.changed.0.max(stamp.modified.0);
    let changed =
        u64::try_from(seconds).ok().map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    changed.is_some_and(|at| at.elapsed().is_ok_and(|age| age > SETTLED))
}

/// Two paths with one file lose nothing but the note.
fn note_file(path: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    format!("namespace-{:016x}", hasher.finish())
}

/// Where claims and pools are, for these credentials.
pub fn namespace_of(api: &ApiClient) -> Result<DnsLabel, ConnectError> {
    match api.namespace() {
        Some(namespace) => Ok(namespace.clone()),
        None => DnsLabel::new(DEFAULT_NAMESPACE)
            .map_err(|source| ConnectError::BadNamespace { credentials: api.credentials().clone(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder {
        folder: tempfile::TempDir,
    }

    impl Folder {
        fn new() -> Self {
            Folder { folder: tempfile::tempdir().unwrap() }
        }

        fn kubeconfig(&self) -> PathBuf {
            self.folder.path().join("kubeconfig")
        }

        /// Writes the kubeconfig, in place or anew, as it was some time ago.
        fn write(&self, namespace: &str) {
            let text = format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{cluster: k, user: u{namespace}}}\n\
                 clusters: [{{name: k, cluster: {{server: \"https://[::1]:1\"}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
            );
            node::files::replace(&self.kubeconfig(), text.as_bytes()).unwrap();
        }

        fn of(&self) -> Option<String> {
            of(&self.kubeconfig(), self.folder.path()).map(|namespace| namespace.to_string())
        }

        fn note(&self) -> PathBuf {
            self.folder.path().join(note_file(&self.kubeconfig()))
        }

        /// As if it had been noted in time.
        fn noted(&self, namespace: Option<&str>) {
            let namespace = namespace.map(|text| DnsLabel::new(text).unwrap());
            let note = Hint { stamp: stamp(&self.kubeconfig()).unwrap(), namespace };
            node::files::replace(&self.note(), &serde_json::to_vec(&note).unwrap()).unwrap();
        }
    }

    #[test]
    fn what_is_noted_is_not_read_again_until_the_file_changes() {
        let folder = Folder::new();
        folder.write(", namespace: one");
        folder.noted(Some("noted"));
        assert_eq!(folder.of().as_deref(), Some("noted"));
        folder.noted(None);
        assert_eq!(folder.of(), None, "that it names none is known too");
        folder.write(", namespace: two");
        assert_eq!(folder.of().as_deref(), Some("two"), "another file of the same size");
    }

    #[test]
    fn a_file_of_a_moment_ago_is_not_noted_and_one_of_a_while_ago_is() {
        let folder = Folder::new();
        folder.write(", namespace: one");
        assert_eq!(folder.of().as_deref(), Some("one"));
        assert!(!folder.note().exists());
        let mut stamp = stamp(&folder.kubeconfig()).unwrap();
        assert!(!is_settled(&stamp));
        stamp.modified.0 -= 10;
        assert!(!is_settled(&stamp), "its inode changed a moment ago");
        stamp.changed.0 -= 10;
        assert!(is_settled(&stamp));
    }

    #[test]
    fn a_damaged_note_and_a_missing_file_are_no_trouble() {
        let folder = Folder::new();
        assert_eq!(folder.of(), None);
        folder.write("");
        node::files::replace(&folder.note(), b"banana").unwrap();
        assert_eq!(folder.of(), None);
        folder.write(", namespace: one");
        assert_eq!(folder.of().as_deref(), Some("one"));
    }
}
