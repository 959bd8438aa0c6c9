//! Where to begin looking for a free address: one small file a pool on this node, and one for each interface that has an address, so that
//! a pod whose sandbox is made again keeps it. Any of them may be wrong, old or missing; the create of a claim decides, and a wrong hint
//! costs a few tries.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::crd::ip_pool::SeparateUse;
use crate::node_state::concurrency::Slot;
use crate::pool::search;
use crate::pool::search::{Hint, PoolHints};

/// How long a pool that was seen adopted is not looked at again.
const ADOPTION_LIFETIME: Duration = Duration::from_secs(60);

/// What the file of a pool says that is shared with others, and of one that does not say since when it is not.
const SHARED: &str = "shared";
const UNCLEAR: &str = "unclear";

/// How long it matters that others were met.
pub const SPREAD_LIFETIME: Duration = Duration::from_secs(2);

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

    /// Notes which address this interface of this pod has.
    pub fn set_previous(&self, pool: &str, podref: &str, if_name: &str, ip: IpAddr) {
        let file = self.folder.join(owner_file(pool, podref, if_name));
        let _ = node::files::replace(&file, ip.to_string().as_bytes());
    }

    /// This interface of this pod has the address no more.
    pub fn forget(&self, pool: &str, podref: &str, if_name: &str) {
        let _ = std::fs::remove_file(self.folder.join(owner_file(pool, podref, if_name)));
    }

    /// Among how many free addresses to choose: others were met a short while ago. 0 if nobody was.
    pub fn spread(&self, pool: &str) -> u32 {
        let name = spread_file(pool);
        if !self.is_younger(&name, SPREAD_LIFETIME) {
            return 0;
        }
        std::fs::read_to_string(self.folder.join(name)).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Others were met.
    pub fn set_spread(&self, pool: &str, spread: u32) {
        let file = self.folder.join(spread_file(pool));
        let _ = node::files::replace(&file, spread.to_string().as_bytes());
    }

    /// What a pool said that was seen adopted a short while ago: it is looked at again from time to time only. What cannot be read, such as
    /// the empty files of earlier releases, is not known.
    pub fn adopted(&self, pool: &str) -> Option<SeparateUse> {
        let name = adopted_file(pool);
        if !self.is_younger(&name, ADOPTION_LIFETIME) {
            return None;
        }
        match std::fs::read_to_string(self.folder.join(name)).ok()?.as_str() {
            SHARED => Some(SeparateUse::Never),
            UNCLEAR => Some(SeparateUse::Unreadable),
            since => since.parse().ok().map(SeparateUse::Since),
        }
    }

    /// A pool is adopted, and says this.
    pub fn set_adopted(&self, pool: &str, separation: SeparateUse) {
        let text = match separation {
            SeparateUse::Never => SHARED.to_owned(),
            SeparateUse::Unreadable => UNCLEAR.to_owned(),
            SeparateUse::Since(at) => at.to_string(),
        };
        let _ = node::files::replace(&self.folder.join(adopted_file(pool)), text.as_bytes());
    }

    fn is_younger(&self, name: &str, limit: Duration) -> bool {
        let modified = std::fs::metadata(self.folder.join(name)).and_then(|file| file.modified());
        modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < limit))
    }

    fn read(&self, name: &str) -> Option<IpAddr> {
        std::fs::read_to_string(self.folder.join(name)).ok()?.trim().parse().ok()
    }

    /// Who else of this node looks for an address of the pool.
    pub fn slot(&self, pool: &str) -> Slot {
        Slot::take(&self.folder.join(format!("crowd-{pool}")))
    }

    /// What is known of a pool for this interface of this pod.
    pub fn notes(&self, pool: &str, podref: &str, if_name: &str) -> PoolHints {
        PoolHints {
            previous: self.previous(pool, podref, if_name),
            start: self.get(pool),
            spread: self.spread(pool),
        }
    }

    /// Notes what a search that began at `start` has learned, see [`search::raised`].
    pub fn note(&self, pool: &str, start: Option<IpAddr>, note: Hint) {
        match note {
            Hint::Spread(spread) => self.set_spread(pool, spread),
            Hint::Next(next) => {
                if let Some(next) = search::raised(self.get(pool), start, next) {
                    self.set(pool, next);
                }
            }
        }
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

fn spread_file(pool: &str) -> String {
    format!("spread-{pool}")
}

fn adopted_file(pool: &str) -> String {
    format!("adopted-{pool}")
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
    fn a_hint_that_was_moved_meanwhile_stands() {
        let state = tempfile::tempdir().unwrap();
        let hints = HintStore::open(state.path());
        let (start, next) = (Some(ip("10.0.0.5")), Hint::Next(ip("10.0.0.6")));
        hints.note("p", start, next);
        assert_eq!(hints.get("p"), Some(ip("10.0.0.6")), "there was none");
        hints.set("p", ip("10.0.0.9"));
        hints.note("p", start, next);
        assert_eq!(hints.get("p"), Some(ip("10.0.0.9")), "another call went on from there");
        hints.set("p", ip("10.0.0.3"));
        hints.note("p", start, next);
        assert_eq!(hints.get("p"), Some(ip("10.0.0.3")), "an address was freed");
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
    fn that_others_were_met_matters_for_a_short_while() {
        let state = tempfile::tempdir().unwrap();
        let hints = HintStore::open(state.path());
        assert_eq!(hints.spread("p"), 0);
        hints.set_spread("p", 32);
        assert_eq!((hints.spread("p"), hints.spread("q")), (32, 0));
        let old = std::time::SystemTime::now() - 2 * SPREAD_LIFETIME;
        let file = std::fs::File::options().write(true).open(state.path().join("hints/spread-p")).unwrap();
        file.set_modified(old).unwrap();
        assert_eq!(hints.spread("p"), 0);
    }

    #[test]
    fn what_an_adopted_pool_says_is_known_for_a_minute() {
        let state = tempfile::tempdir().unwrap();
        let hints = HintStore::open(state.path());
        assert_eq!(hints.adopted("p"), None);
        let since = SeparateUse::Since("2026-11-25T13:00:00Z".parse().unwrap());
        for said in [SeparateUse::Never, SeparateUse::Unreadable, since] {
            hints.set_adopted("p", said);
            assert_eq!((hints.adopted("p"), hints.adopted("q")), (Some(said), None));
        }
        let old = std::time::SystemTime::now() - ADOPTION_LIFETIME;
        let file = std::fs::File::options().write(true).open(state.path().join("hints/adopted-p")).unwrap();
        file.set_modified(old).unwrap();
        assert_eq!(hints.adopted("p"), None);
    }

    #[test]
    fn a_file_that_says_nothing_is_no_knowledge() {
        let state = tempfile::tempdir().unwrap();
        let hints = HintStore::open(state.path());
        hints.set_adopted("p", SeparateUse::Never);
        // Empty is what earlier releases wrote.
        for damaged in ["", "banana", "share", "2026-11-25"] {
            node::files::replace(&state.path().join("hints/adopted-p"), damaged.as_bytes()).unwrap();
            assert_eq!(hints.adopted("p"), None, "{damaged:?}");
        }
    }

    #[test]
    fn an_interface_is_remembered_until_it_is_forgotten() {
        let state = tempfile::tempdir().unwrap();
        let hints = HintStore::open(state.path());
        hints.set_previous("p", "a/b", "net1", ip("10.0.0.9"));
        assert_eq!(hints.previous("p", "a/b", "net1"), Some(ip("10.0.0.9")));
        for other in [("q", "a/b", "net1"), ("p", "a/c", "net1"), ("p", "a/b", "net2")] {
            assert_eq!(hints.previous(other.0, other.1, other.2), None);
        }
        hints.forget("p", "a/b", "net1");
        hints.forget("p", "a/b", "net1");
        assert_eq!(hints.previous("p", "a/b", "net1"), None);
    }
}
