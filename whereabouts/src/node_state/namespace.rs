//! The namespace of the claims, from a network's credentials.
//!
//! To parse a kubeconfig for this one word takes a third of an ADD's CPU, and it stays the same for months. So the namespace is cached on
//! disk, with a stamp of the kubeconfig that it was read from.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use node::client::{ApiClient, ConnectError};
use node::names::DnsLabel;
use serde::{Deserialize, Serialize};

use super::file_names;

/// The namespace if the credentials name none, as in Whereabouts.
const DEFAULT_NAMESPACE: &str = "kube-system";

/// The least age of a stamp that is cached. The kernel sets file times in steps of up to 10 ms (coarse clock), and some file systems store
/// whole seconds: a file that is written twice within one step may keep its stamp.
const SETTLED: Duration = Duration::from_secs(2);

/// The limit for a cache file, in bytes. The path in it has at most 4,096 (PATH_MAX).
const MAX_CACHE_FILE: u64 = 8_192;

/// The metadata that changes when the content of a file changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The content of a cache file.
#[derive(Debug, Serialize, Deserialize)]
struct CachedNamespace {
    stamp: Stamp,
    namespace: Option<DnsLabel>,
}

/// The namespace in the kubeconfig at `path`, cached in `folder`. `None` if the kubeconfig names none or cannot be read: with a daemon it
/// does not matter, and without one the connection fails with the error.
pub fn of_kubeconfig(path: &Path, folder: &Path) -> Option<DnsLabel> {
    let stamp = stamp(path)?;
    let file = folder.join(cache_file(path));
    let cached = node::files::read_bounded(&file, MAX_CACHE_FILE).ok();
    let cached = cached.and_then(|bytes| serde_json::from_slice::<CachedNamespace>(&bytes).ok());
    if let Some(cached) = cached.filter(|cached| cached.stamp == stamp) {
        return cached.namespace;
    }
    // The stamp was taken before this read: if the file changes in between, the cached stamp is outdated at once.
    let namespace = node::client::namespace_in(path).ok()?;
    let entry = CachedNamespace { stamp, namespace: namespace.clone() };
    if is_settled(&entry.stamp) {
        // If it cannot be written, the next call parses the kubeconfig again.
        let _ = serde_json::to_vec(&entry).map(|bytes| node::files::replace(&file, &bytes));
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

/// Whether the file is older than [`SETTLED`]. The change time counts too: `touch` can set the modification time back.
fn is_settled(stamp: &Stamp) -> bool {
    let seconds = stamp.changed.0.max(stamp.modified.0);
    let changed =
        u64::try_from(seconds).ok().map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    changed.is_some_and(|at| at.elapsed().is_ok_and(|age| age > SETTLED))
}

/// The stamp contains the path, so two paths with one cache file only replace each other's.
fn cache_file(path: &Path) -> String {
    file_names::hashed("namespace", &[path.as_os_str().as_bytes()])
}

/// The namespace of the claims for a client's credentials.
pub fn of_client(api: &ApiClient) -> Result<DnsLabel, ConnectError> {
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

        /// Replaces the kubeconfig. `namespace` is appended to its context.
        fn write(&self, namespace: &str) {
            let text = format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{cluster: k, user: u{namespace}}}\n\
                 clusters: [{{name: k, cluster: {{server: \"https://[::1]:1\"}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
            );
            node::files::replace(&self.kubeconfig(), text.as_bytes()).unwrap();
        }

        fn of(&self) -> Option<String> {
            of_kubeconfig(&self.kubeconfig(), self.folder.path()).map(|namespace| namespace.to_string())
        }

        fn cache_file(&self) -> PathBuf {
            self.folder.path().join(cache_file(&self.kubeconfig()))
        }

        /// Writes a cache file for the current kubeconfig.
        fn cache(&self, namespace: Option<&str>) {
            let namespace = namespace.map(|text| DnsLabel::new(text).unwrap());
            let entry = CachedNamespace { stamp: stamp(&self.kubeconfig()).unwrap(), namespace };
            node::files::replace(&self.cache_file(), &serde_json::to_vec(&entry).unwrap()).unwrap();
        }
    }

    #[test]
    fn the_cached_namespace_counts_until_the_kubeconfig_changes() {
        let folder = Folder::new();
        folder.write(", namespace: one");
        folder.cache(Some("cached"));
        assert_eq!(folder.of().as_deref(), Some("cached"));
        folder.cache(None);
        assert_eq!(folder.of(), None, "a kubeconfig without a namespace is cached too");
        folder.write(", namespace: two");
        assert_eq!(folder.of().as_deref(), Some("two"), "another inode of the same size");
    }

    #[test]
    fn a_kubeconfig_is_cached_only_when_it_is_older_than_two_seconds() {
        let folder = Folder::new();
        folder.write(", namespace: one");
        assert_eq!(folder.of().as_deref(), Some("one"));
        assert!(!folder.cache_file().exists());
        let mut stamp = stamp(&folder.kubeconfig()).unwrap();
        assert!(!is_settled(&stamp));
        stamp.modified.0 -= 10;
        assert!(!is_settled(&stamp), "the change time is new");
        stamp.changed.0 -= 10;
        assert!(is_settled(&stamp));
    }

    #[test]
    fn a_damaged_cache_file_is_ignored_and_a_missing_kubeconfig_names_none() {
        let folder = Folder::new();
        assert_eq!(folder.of(), None);
        folder.write("");
        node::files::replace(&folder.cache_file(), b"banana").unwrap();
        assert_eq!(folder.of(), None);
        folder.write(", namespace: one");
        assert_eq!(folder.of().as_deref(), Some("one"));
    }
}
