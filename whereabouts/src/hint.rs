//! Where to begin looking for a free address: one small file a pool on this node, and one for each interface that has an address, so that
//! a pod whose sandbox is made again keeps it. Any of them may be wrong, old or missing; the create of a claim decides, and a wrong hint
//! costs a few tries.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The hints of this node.
#[derive(Clone, Debug)]
pub struct HintStore {
    folder: PathBuf,
}

impl HintStore {
    /// The hints below `state`.
    pub fn open(state: &Path) -> Self {
        HintStore { folder: state.join("hints") }
    }

    /// Where to begin in `pool`.
    pub fn get(&self, pool: &str) -> Option<IpAddr> {
        self.read(pool)
    }

    /// The address that this interface of this pod has, or had in an earlier sandbox on this node.
    pub fn previous(&self, pool: &str, podref: &str, if_name: &str) -> Option<IpAddr> {
        self.read(&owner_file(pool, podref, if_name))
    }

    /// Notes, or with `None` forgets, which address this interface of this pod has.
    pub fn set_previous(&self, pool: &str, podref: &str, if_name: &str, ip: Option<IpAddr>) {
        let file = self.folder.join(owner_file(pool, podref, if_name));
        let _ = match ip {
            Some(ip) => node::files::replace(&file, ip.to_string().as_bytes()),
            None => node::files::remove_if_exists(&file),
        };
    }

    fn read(&self, name: &str) -> Option<IpAddr> {
        std::fs::read_to_string(self.folder.join(name)).ok()?.trim().parse().ok()
    }

    /// The addresses below `next` are taken, as far as is known.
    pub fn set(&self, pool: &str, next: IpAddr) {
        // A hint that cannot be kept is one that is missing.
        let _ = node::files::replace(&self.folder.join(pool), next.to_string().as_bytes());
    }

    /// `freed` is free again: look there first if it is lower.
    pub fn lower(&self, pool: &str, freed: IpAddr) {
        if self.get(pool).is_some_and(|next| freed < next) {
            self.set(pool, freed);
        }
    }
}

/// Two owners with one file lose nothing but the hint.
fn owner_file(pool: &str, podref: &str, if_name: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (pool, podref, if_name).hash(&mut hasher);
    format!("owner-{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_hint_rises_with_claims_and_falls_with_releases() {
        let state = tempfile::tempdir().unwrap();
        let hints = HintStore::open(state.path());
        assert_eq!(hints.get("p"), None);
        hints.lower("p", ip("10.0.0.1"));
        assert_eq!(hints.get("p"), None, "without a hint the search begins at the lowest anyway");
        hints.set("p", ip("10.0.0.9"));
        hints.lower("p", ip("10.0.0.12"));
        assert_eq!(hints.get("p"), Some(ip("10.0.0.9")));
        hints.lower("p", ip("10.0.0.3"));
        assert_eq!(hints.get("p"), Some(ip("10.0.0.3")));
    }

    #[test]
    fn a_damaged_hint_is_no_hint() {
        let state = tempfile::tempdir().unwrap();
        let hints = HintStore::open(state.path());
        hints.set("p", ip("10.0.0.9"));
        node::files::replace(&state.path().join("hints/p"), b"banana").unwrap();
        assert_eq!(hints.get("p"), None);
    }

    #[test]
    fn an_interface_is_remembered_until_it_is_forgotten() {
        let state = tempfile::tempdir().unwrap();
        let hints = HintStore::open(state.path());
        hints.set_previous("p", "a/b", "net1", Some(ip("10.0.0.9")));
        assert_eq!(hints.previous("p", "a/b", "net1"), Some(ip("10.0.0.9")));
        for other in [("q", "a/b", "net1"), ("p", "a/c", "net1"), ("p", "a/b", "net2")] {
            assert_eq!(hints.previous(other.0, other.1, other.2), None);
        }
        hints.set_previous("p", "a/b", "net1", None);
        hints.set_previous("p", "a/b", "net1", None);
        assert_eq!(hints.previous("p", "a/b", "net1"), None);
    }
}
