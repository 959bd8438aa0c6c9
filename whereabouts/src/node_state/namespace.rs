//! The namespace of the claims. This file has the whole rule:
//!
//! 1. If the network (or the node's flat file) names a kubeconfig, the namespace is that of its current context, and `kube-system` if the
//!    context names none. A kubeconfig that cannot be read is an error: nothing is claimed in a namespace that was guessed.
//! 2. Without a kubeconfig only a daemon can serve the call, in the daemon's namespace. That is the one of its options, else the one of its
//!    credentials, else `kube-system`.
//! 3. A daemon allocates in its own namespace only, and refuses other orders. It releases in whichever namespace a record names.
//!
//! Whereabouts has rule 1 too. A record names the namespace of its claims, so a DEL does not depend on what the kubeconfig says by then.
//!
//! To parse a kubeconfig for this one word takes a third of an ADD's CPU, and it stays the same for months. So the word is cached on disk,
//! with a stamp of the kubeconfig that it was read from.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use node::client::{ApiClient, ConnectError, Credentials};
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

/// The namespace of the claims for the kubeconfig at `path` (rule 1). What the kubeconfig says is cached in `folder`.
///
/// # Errors
/// [`ConnectError`]: the kubeconfig cannot be read or parsed.
pub fn of_kubeconfig(path: &Path, folder: &Path) -> Result<DnsLabel, ConnectError> {
    match stated_in(path, folder)? {
        Some(namespace) => Ok(namespace),
        None => default_namespace(&Credentials::Kubeconfig(path.to_owned())),
    }
}

/// The namespace that the kubeconfig at `path` names, if any.
fn stated_in(path: &Path, folder: &Path) -> Result<Option<DnsLabel>, ConnectError> {
    // Without a stamp the file is missing, or it cannot be looked at: reading it gives the error.
    let Some(stamp) = stamp(path) else { return node::client::namespace_in(path) };
    let file = folder.join(cache_file(path));
    let cached = node::files::read_bounded(&file, MAX_CACHE_FILE).ok();
    let cached = cached.and_then(|bytes| serde_json::from_slice::<CachedNamespace>(&bytes).ok());
    if let Some(cached) = cached.filter(|cached| cached.stamp == stamp) {
        return Ok(cached.namespace);
    }
    // The stamp was taken before this read: if the file changes in between, the cached stamp is outdated at once.
    let namespace = node::client::namespace_in(path)?;
    let entry = CachedNamespace { stamp, namespace: namespace.clone() };
    if is_settled(&entry.stamp) {
        // If it cannot be written, the next call parses the kubeconfig again.
        let _ = serde_json::to_vec(&entry).map(|bytes| node::files::replace(&file, &bytes));
    }
    Ok(namespace)
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
        None => default_namespace(api.credentials()),
    }
}

fn default_namespace(credentials: &Credentials) -> Result<DnsLabel, ConnectError> {
    DnsLabel::new(DEFAULT_NAMESPACE)
        .map_err(|source| ConnectError::BadNamespace { credentials: credentials.clone(), source })
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

        fn of(&self) -> String {
            of_kubeconfig(&self.kubeconfig(), self.folder.path()).unwrap().to_string()
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
        assert_eq!(folder.of(), "cached");
        folder.cache(None);
        assert_eq!(folder.of(), "kube-system", "a kubeconfig without a namespace is cached too");
        folder.write(", namespace: two");
        assert_eq!(folder.of(), "two", "another inode of the same size");
    }

    #[test]
    fn a_kubeconfig_is_cached_only_when_it_is_older_than_two_seconds() {
        let folder = Folder::new();
        folder.write(", namespace: one");
        assert_eq!(folder.of(), "one");
        assert!(!folder.cache_file().exists());
        let mut stamp = stamp(&folder.kubeconfig()).unwrap();
        assert!(!is_settled(&stamp));
        stamp.modified.0 -= 10;
        assert!(!is_settled(&stamp), "the change time is new");
        stamp.changed.0 -= 10;
        assert!(is_settled(&stamp));
    }

    #[test]
    fn a_kubeconfig_without_a_namespace_means_kube_system_and_an_unreadable_one_is_an_error() {
        let folder = Folder::new();
        let missing = of_kubeconfig(&folder.kubeconfig(), folder.folder.path()).unwrap_err();
        assert!(!missing.is_permanent(), "{missing}: the file may appear, so the kubelet tries again");
        folder.write("");
        assert_eq!(folder.of(), "kube-system");
        std::fs::remove_file(folder.kubeconfig()).unwrap();
        std::fs::create_dir(folder.kubeconfig()).unwrap();
        assert!(of_kubeconfig(&folder.kubeconfig(), folder.folder.path()).is_err(), "a directory");
    }

    #[test]
    fn a_damaged_cache_file_is_ignored() {
        let folder = Folder::new();
        folder.write(", namespace: one");
        node::files::replace(&folder.cache_file(), b"banana").unwrap();
        assert_eq!(folder.of(), "one");
    }
}
