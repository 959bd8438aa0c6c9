//! Hint files: what calls without a daemon note for later calls on this node.
//!
//! A hint may be wrong, outdated or missing. The create of a claim decides; a wrong hint costs a few tries. So no error of these files fails
//! a call.
//!
//! The files of the pools of one namespace are in the folder `in.NAMESPACE`: pools of two namespaces may have equal names.
//!
//! | file | content |
//! |---|---|
//! | `start-POOL` | the address to start the search at |
//! | `owner-HASH` | the address of one interface of one pod, so that it keeps it when its sandbox is made again, and its container |
//! | `spread-POOL` | the window that a call needed a moment ago, because of conflicts with other callers |
//! | `naming-POOL` | how the pool's claims are named |
//! | `pin-POOL` | a claim of the node that counts, see `pins` |
//! | `slots-POOL` | the slots of concurrent callers, see `concurrency` |
//! | `reading-POOL` | the lock of the call that reads how the claims are named, see `single_flight` |
//!
//! The content of `spread` and `naming` ends with the time at which it was written.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use node::names::DnsLabel;

use super::concurrency::Slot;
use super::file_names;
use crate::crd::ip_pool::ClaimNaming;
use crate::pool::claim_names::NAMING_LIFETIME;
use crate::pool::search::{self, Hint, PoolHints};

/// The start of the name of a namespace's folder.
const FOLDER_PREFIX: &str = "in.";

/// How long the window of an earlier call counts.
pub const SPREAD_LIFETIME: Duration = Duration::from_secs(2);

/// The hint files of this node, of all namespaces.
#[derive(Clone, Debug)]
pub struct NodeHints {
    state: PathBuf,
}

impl NodeHints {
    /// The hint files below the directory `state`.
    pub fn open(state: &Path) -> Self {
        NodeHints { state: state.to_owned() }
    }

    /// Those of the pools of one namespace.
    pub fn of(&self, namespace: &DnsLabel) -> HintStore {
        // A namespace's name has no ".", so no other file of the folder has this name.
        self.in_folder(&format!("{FOLDER_PREFIX}{namespace}"))
    }

    /// Those of every namespace that this node has hints of.
    pub(super) fn all(&self) -> Vec<HintStore> {
        // A folder that does not exist has no hints.
        let entries =
            std::fs::read_dir(self.state.join("hints")).into_iter().flatten().filter_map(Result::ok);
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with(FOLDER_PREFIX)).map(|name| self.in_folder(&name)).collect()
    }

    fn in_folder(&self, name: &str) -> HintStore {
        HintStore {
            state: self.state.clone(),
            folder: self.state.join("hints").join(name),
            slots: Arc::default(),
        }
    }
}

/// The hint files of the pools of one namespace.
#[derive(Clone, Debug)]
pub struct HintStore {
    state: PathBuf,
    folder: PathBuf,
    /// The slots that this call has locked and not yet used, by pool.
    slots: Arc<Mutex<BTreeMap<String, Slot>>>,
}

impl HintStore {
    /// The hints of a pool for this interface of this owner ([`crate::pool::request::Claimant::owner`]).
    pub(crate) fn pool_hints(&self, pool: &str, owner: &str, if_name: &str) -> PoolHints {
        PoolHints {
            previous: self.previous(pool, owner, if_name),
            start: self.start(pool),
            spread: self.spread(pool),
        }
    }

    /// Writes a hint of a search that began at `start`. See [`search::raised`].
    pub(crate) fn write(&self, pool: &str, start: Option<IpAddr>, hint: Hint) {
        match hint {
            Hint::Spread(spread) => self.set_spread(pool, spread),
            Hint::Next(next) => {
                if let Some(next) = search::raised(self.start(pool), start, next) {
                    self.set_start(pool, next);
                }
            }
        }
    }

    /// The address to start the search at.
    pub(crate) fn start(&self, pool: &str) -> Option<IpAddr> {
        self.read_address(&start_file(pool))
    }

    /// Notes that the addresses below `next` have claims, as far as is known.
    pub(crate) fn set_start(&self, pool: &str, next: IpAddr) {
        self.replace(&start_file(pool), &next.to_string());
    }

    /// Lowers the start to a released address.
    pub(crate) fn lower_start(&self, pool: &str, released: IpAddr) {
        // Without a hint the search begins at the lowest address anyway.
        if self.start(pool).is_some_and(|next| released < next) {
            self.set_start(pool, released);
        }
    }

    /// The address that this interface of this pod has, or had in an earlier sandbox on this node.
    fn previous(&self, pool: &str, podref: &str, if_name: &str) -> Option<IpAddr> {
        let text = std::fs::read_to_string(self.file(&owner_file(pool, podref, if_name))).ok()?;
        // A file of an earlier release has no container.
        text.split(' ').next()?.trim().parse().ok()
    }

    /// Notes the address of this interface of this pod, in this container.
    pub(crate) fn set_previous(&self, pool: &str, podref: &str, if_name: &str, ip: IpAddr, container: &str) {
        self.replace(&owner_file(pool, podref, if_name), &format!("{ip} {container}"));
    }

    /// Removes the note of this interface of this pod, after the address of this container was released. The note of another container stays: the
    /// DEL of a sandbox comes after the ADD of the next one, which has the address by then.
    pub(crate) fn remove_previous(&self, pool: &str, podref: &str, if_name: &str, container: &str) {
        let file = self.file(&owner_file(pool, podref, if_name));
        let noted = std::fs::read_to_string(&file).unwrap_or_default();
        if noted.split_once(' ').is_none_or(|(_, noted)| noted == container) {
            // A note that stays costs one try.
            let _ = std::fs::remove_file(file);
        }
    }

    /// The window that a call needed less than [`SPREAD_LIFETIME`] ago, or 0.
    fn spread(&self, pool: &str) -> u32 {
        let text = self.read_young(&spread_file(pool), SPREAD_LIFETIME);
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn set_spread(&self, pool: &str, spread: u32) {
        self.replace_dated(&spread_file(pool), &spread.to_string());
    }

    /// How the claims of a pool are named, if that was read less than [`NAMING_LIFETIME`] ago.
    pub(crate) fn recent_naming(&self, pool: &str) -> Option<ClaimNaming> {
        let text = self.read_young(&naming_file(pool), NAMING_LIFETIME)?;
        // A text that no release writes is none: ask again.
        Some(ClaimNaming::of(&text)).filter(|naming| naming.text() == text)
    }

    /// Notes how the claims of a pool are named.
    pub(crate) fn set_naming(&self, pool: &str, naming: ClaimNaming) {
        self.replace_dated(&naming_file(pool), naming.text());
    }

    /// Forgets how the claims of a pool are named.
    pub(crate) fn remove_naming(&self, pool: &str) {
        // A note that stays costs a request each time until it expires: its claims do not count.
        let _ = std::fs::remove_file(self.file(&naming_file(pool)));
    }

    /// Locks a slot among the concurrent callers of a pool, for the later [`HintStore::take_slot`]. Locked before the first request: while it is
    /// under way, callers that started at the same time learn of each other.
    pub(crate) fn lock_slot(&self, pool: &str) {
        self.slots().entry(pool.to_owned()).or_insert_with(|| self.new_slot(pool));
    }

    /// The locked slot, or a new one.
    pub(crate) fn take_slot(&self, pool: &str) -> Slot {
        let locked = self.slots().remove(pool);
        locked.unwrap_or_else(|| self.new_slot(pool))
    }

    /// The lock of the call that asks whether the pool is adopted.
    pub(crate) fn reading(&self, pool: &str) -> PathBuf {
        self.folder.join(format!("reading-{pool}"))
    }

    fn new_slot(&self, pool: &str) -> Slot {
        Slot::lock(&self.folder.join(format!("slots-{pool}")))
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        // A panic elsewhere leaves the map as it is, and it is complete.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The path of a hint file.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The directory that has the node's records and hints.
    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    fn read_address(&self, name: &str) -> Option<IpAddr> {
        std::fs::read_to_string(self.folder.join(name)).ok()?.trim().parse().ok()
    }

    /// The text of a file that [`HintStore::replace_dated`] wrote less than `limit` ago.
    fn read_young(&self, name: &str, limit: Duration) -> Option<String> {
        let content = std::fs::read_to_string(self.file(name)).ok()?;
        let (text, written) = content.rsplit_once(' ')?;
        let written = Timestamp::from_millisecond(written.parse().ok()?).ok()?;
        // A time in the future means that the clock was set back: the age is unknown.
        let age = Duration::try_from(node::clock::now().duration_since(written)).ok()?;
        (age < limit).then(|| text.to_owned())
    }

    /// Writes the text and, after a space, the time in milliseconds since 1970. Not the file's own time: that is the kernel's, which is
    /// another clock than the one that the reader asks, as in a simulation.
    fn replace_dated(&self, name: &str, text: &str) {
        self.replace(name, &format!("{text} {}", node::clock::now().as_millisecond()));
    }

    pub(super) fn replace(&self, name: &str, text: &str) {
        // A hint that cannot be written is a missing hint.
        let _ = node::files::replace(&self.folder.join(name), text.as_bytes());
    }
}

// Every file has a prefix, so that no pool name (it may begin with any `network_name`) makes the name of another kind of file.
fn start_file(pool: &str) -> String {
    format!("start-{pool}")
}

fn spread_file(pool: &str) -> String {
    format!("spread-{pool}")
}

fn naming_file(pool: &str) -> String {
    format!("naming-{pool}")
}

/// Two interfaces with one file lose only the hint.
fn owner_file(pool: &str, podref: &str, if_name: &str) -> String {
    file_names::hashed("owner", &[pool.as_bytes(), podref.as_bytes(), if_name.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn store(state: &tempfile::TempDir) -> HintStore {
        NodeHints::open(state.path()).of(&DnsLabel::new("kube-system").unwrap())
    }

    /// The content of a dated file of this age.
    fn written_before(text: &str, age: Duration) -> String {
        let written = std::time::SystemTime::now() - age;
        format!("{text} {}", written.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis())
    }

    #[test]
    fn pools_with_one_name_in_two_namespaces_do_not_mix() {
        let state = tempfile::tempdir().unwrap();
        let hints = NodeHints::open(state.path());
        let [one, two] = ["one", "two"].map(|name| hints.of(&DnsLabel::new(name).unwrap()));
        one.set_start("p", ip("10.0.0.9"));
        assert_eq!((one.start("p"), two.start("p")), (Some(ip("10.0.0.9")), None));
    }

    #[test]
    fn a_release_lowers_the_start_and_never_raises_it() {
        let state = tempfile::tempdir().unwrap();
        let hints = store(&state);
        assert_eq!(hints.start("p"), None);
        hints.lower_start("p", ip("10.0.0.1"));
        assert_eq!(hints.start("p"), None, "without a hint there is nothing to lower");
        hints.set_start("p", ip("10.0.0.9"));
        hints.lower_start("p", ip("10.0.0.12"));
        assert_eq!(hints.start("p"), Some(ip("10.0.0.9")));
        hints.lower_start("p", ip("10.0.0.3"));
        assert_eq!(hints.start("p"), Some(ip("10.0.0.3")));
    }

    #[test]
    fn a_start_that_changed_meanwhile_is_kept() {
        let state = tempfile::tempdir().unwrap();
        let hints = store(&state);
        let (start, next) = (Some(ip("10.0.0.5")), Hint::Next(ip("10.0.0.6")));
        hints.write("p", start, next);
        assert_eq!(hints.start("p"), Some(ip("10.0.0.6")), "there was no hint");
        hints.set_start("p", ip("10.0.0.9"));
        hints.write("p", start, next);
        assert_eq!(hints.start("p"), Some(ip("10.0.0.9")), "another call raised it further");
        hints.set_start("p", ip("10.0.0.3"));
        hints.write("p", start, next);
        assert_eq!(hints.start("p"), Some(ip("10.0.0.3")), "an address was released");
    }

    #[test]
    fn a_damaged_hint_is_ignored() {
        let state = tempfile::tempdir().unwrap();
        let hints = store(&state);
        hints.set_start("p", ip("10.0.0.9"));
        node::files::replace(&state.path().join("hints/in.kube-system/start-p"), b"banana").unwrap();
        assert_eq!(hints.start("p"), None);
    }

    #[test]
    fn hints_of_pools_with_similar_names_do_not_mix() {
        let state = tempfile::tempdir().unwrap();
        let hints = store(&state);
        hints.set_spread("p", 32);
        hints.set_start("spread-p", ip("10.0.0.9"));
        assert_eq!((hints.spread("p"), hints.start("spread-p")), (32, Some(ip("10.0.0.9"))));
    }

    #[test]
    fn a_spread_expires_after_two_seconds() {
        let state = tempfile::tempdir().unwrap();
        let hints = store(&state);
        assert_eq!(hints.spread("p"), 0);
        hints.set_spread("p", 32);
        assert_eq!((hints.spread("p"), hints.spread("q")), (32, 0));
        hints.replace(&spread_file("p"), &written_before("32", 2 * SPREAD_LIFETIME));
        assert_eq!(hints.spread("p"), 0);
    }

    #[test]
    fn a_naming_expires_after_a_minute_and_can_be_forgotten() {
        let state = tempfile::tempdir().unwrap();
        let hints = store(&state);
        assert_eq!(hints.recent_naming("p"), None);
        for naming in [ClaimNaming::Address, ClaimNaming::Pool, ClaimNaming::Both] {
            hints.set_naming("p", naming);
            assert_eq!((hints.recent_naming("p"), hints.recent_naming("q")), (Some(naming), None));
        }
        hints.replace(&naming_file("p"), &written_before("pool", NAMING_LIFETIME));
        assert_eq!(hints.recent_naming("p"), None);
        hints.set_naming("p", ClaimNaming::Pool);
        hints.remove_naming("p");
        assert_eq!(hints.recent_naming("p"), None);
    }

    #[test]
    fn a_damaged_naming_is_ignored() {
        let state = tempfile::tempdir().unwrap();
        let hints = store(&state);
        let (unknown, future) =
            (written_before("poo", Duration::ZERO), format!("pool {}", 4_000_000_000_000_i64));
        for damaged in ["", "banana", "pool", "pool x", &unknown, &future] {
            node::files::replace(&hints.file("naming-p"), damaged.as_bytes()).unwrap();
            assert_eq!(hints.recent_naming("p"), None, "{damaged:?}");
        }
    }

    #[test]
    fn the_address_of_an_interface_is_noted_until_it_is_removed() {
        let state = tempfile::tempdir().unwrap();
        let hints = store(&state);
        hints.set_previous("p", "a/b", "net1", ip("10.0.0.9"), "c2");
        assert_eq!(hints.previous("p", "a/b", "net1"), Some(ip("10.0.0.9")));
        for other in [("q", "a/b", "net1"), ("p", "a/c", "net1"), ("p", "a/b", "net2")] {
            assert_eq!(hints.previous(other.0, other.1, other.2), None);
        }
        hints.remove_previous("p", "a/b", "net1", "c1");
        assert_eq!(hints.previous("p", "a/b", "net1"), Some(ip("10.0.0.9")), "the next sandbox has it");
        hints.remove_previous("p", "a/b", "net1", "c2");
        hints.remove_previous("p", "a/b", "net1", "c2");
        assert_eq!(hints.previous("p", "a/b", "net1"), None);
        hints.replace(&owner_file("p", "a/b", "net1"), "10.0.0.9");
        assert_eq!(hints.previous("p", "a/b", "net1"), Some(ip("10.0.0.9")), "of an earlier release");
        hints.remove_previous("p", "a/b", "net1", "c2");
        assert_eq!(hints.previous("p", "a/b", "net1"), None);
    }
}
