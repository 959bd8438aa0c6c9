//! Pins: for each pool a claim of this node that counts, so that calls without a daemon need not read the pool's object again
//! ([`crate::pool::claim_names`] has the rule). The file `pin-POOL` names the claim and its attachment. It counts only while the attachment's
//! record exists; and it is removed before the claim is deleted.

use std::path::Path;

use node::files::FileError;
use node::names::DnsSubdomain;

use super::hints::{HintStore, NodeHints};
use super::record::{self, Record, Stage};
use crate::crd::ip_pool::ClaimNaming;
use crate::pool::range_pool::Pool;

/// The start of the name of a pin's file.
const PREFIX: &str = "pin-";

/// The limit for a pin file, in bytes: a claim's name has at most 253, a container's ID 64, an interface 15.
const MAX_PIN: u64 = 4_096;

/// A claim that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The naming under which it counts.
    pub naming: ClaimNaming,
    /// The claim.
    pub claim: DnsSubdomain,
    /// The container of its attachment.
    pub container_id: String,
    /// The interface of its attachment.
    pub if_name: String,
}

impl Pin {
    fn text(&self) -> String {
        let Pin { naming, claim, container_id, if_name } = self;
        format!("{}\n{claim}\n{container_id}\n{if_name}\n", naming.text())
    }

    /// `None` for a text that is no pin.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut line = || lines.next().map(str::to_owned);
        let (naming, claim, container_id, if_name) = (line()?, line()?, line()?, line()?);
        let claim = DnsSubdomain::new(claim).ok()?;
        Some(Pin { naming: ClaimNaming::of(&naming), claim, container_id, if_name })
    }

    /// Whether the release of this record deletes the claim.
    fn is_of(&self, record: &Record) -> bool {
        self.container_id == record.container_id
            || record.claims.iter().any(|claim| claim.is_named(&self.claim))
    }
}

impl HintStore {
    /// The pin of a pool.
    pub(super) fn pin(&self, pool: &str) -> Option<Pin> {
        self.read_pin(&format!("{PREFIX}{pool}"))
    }

    fn read_pin(&self, file: &str) -> Option<Pin> {
        // A pin that cannot be read is none: it costs one read of the pool's object.
        let bytes = node::files::read_bounded(&self.file(file), MAX_PIN).ok()?;
        Pin::parse(std::str::from_utf8(&bytes).ok()?)
    }

    /// Replaces the pin of a pool.
    pub(super) fn write_pin(&self, pool: &str, pin: &Pin) {
        self.replace(&format!("{PREFIX}{pool}"), &pin.text());
    }

    /// The pin of a pool, if it counts under the pool's naming and its attachment still has its record.
    pub(super) fn counting_pin(&self, pool: &Pool) -> Option<Pin> {
        self.pin(pool.name.as_str()).filter(|pin| pin.naming == pool.naming() && self.is_recorded(pin))
    }

    /// Whether the pin's attachment still has its record.
    pub(super) fn is_recorded(&self, pin: &Pin) -> bool {
        self.has_record(&pin.container_id, &pin.if_name)
    }

    /// Whether an attachment has its record.
    pub(crate) fn has_record(&self, container_id: &str, if_name: &str) -> bool {
        record::file_of(self.state(), container_id, if_name).exists()
    }

    /// Removes the pins that are claims of this record. Must succeed before a claim of the record is deleted.
    fn remove_pins(&self, record: &Record) -> Result<(), FileError> {
        let files: Vec<String> = match record.stage {
            Stage::Held => record.claims.iter().map(|claim| format!("{PREFIX}{}", claim.pool)).collect(),
            // The pools of the other claims are unknown.
            Stage::Claiming => pin_files(self.file("").as_path()),
        };
        for file in files {
            if self.read_pin(&file).is_some_and(|pin| pin.is_of(record)) {
                node::files::remove_if_exists(&self.file(&file))?;
            }
        }
        Ok(())
    }
}

fn pin_files(folder: &Path) -> Vec<String> {
    // A folder that does not exist has no pins.
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(PREFIX)).collect()
}

impl NodeHints {
    /// Removes the pins that are claims of this record. Must succeed before a claim of the record is deleted.
    ///
    /// # Errors
    /// [`FileError`] if the file of a pin cannot be removed.
    pub(crate) fn remove_pins(&self, record: &Record) -> Result<(), FileError> {
        match &record.namespace {
            Some(namespace) => self.of(namespace).remove_pins(record),
            // Its claims may be in any namespace.
            None => self.all().iter().try_for_each(|store| store.remove_pins(record)),
        }
    }
}

#[cfg(test)]
mod tests {
    use node::names::DnsLabel;

    use super::*;
    use crate::node_state::record::Records;
    use crate::pool::held_claim::HeldClaim;

    fn name(text: &str) -> DnsSubdomain {
        DnsSubdomain::new(text).unwrap()
    }

    fn pin(container: &str) -> Pin {
        Pin {
            naming: ClaimNaming::Pool,
            claim: name("10.0.0.0-24-10.0.0.1"),
            container_id: container.into(),
            if_name: "net1".into(),
        }
    }

    fn record(container: &str, namespace: Option<&str>, claims: &[&str], stage: Stage) -> Record {
        let claim = |text: &&str| HeldClaim {
            name: name(text),
            resource_version: "1".into(),
            second: None,
            entry: None,
            pool: "10.0.0.0-24".into(),
            address: "10.0.0.1/24".parse().unwrap(),
        };
        Record {
            container_id: container.into(),
            if_name: "net1".into(),
            podref: "a/b".into(),
            network: "n".into(),
            kubeconfig: None,
            namespace: namespace.map(|name| DnsLabel::new(name).unwrap()),
            pod_uid: None,
            stage,
            claims: claims.iter().map(claim).collect(),
        }
    }

    #[test]
    fn a_pin_counts_while_its_record_exists() {
        let state = tempfile::tempdir().unwrap();
        let hints = NodeHints::open(state.path()).of(&DnsLabel::new("kube-system").unwrap());
        let records = Records::open(state.path()).unwrap();
        hints.write_pin("p", &pin("c1"));
        assert_eq!(hints.pin("p"), Some(pin("c1")));
        assert_eq!(hints.pin("q"), None);
        assert!(!hints.is_recorded(&pin("c1")));
        records.write(&record("c1", None, &[], Stage::Claiming)).unwrap();
        assert!(hints.is_recorded(&pin("c1")));
        records.bury(&record("c1", None, &[], Stage::Claiming)).unwrap();
        assert!(!hints.is_recorded(&pin("c1")), "a tombstone is no record");
        node::files::replace(&hints.file("pin-p"), b"banana").unwrap();
        assert_eq!(hints.pin("p"), None);
    }

    #[test]
    fn a_pin_is_removed_for_its_container_or_its_claim_in_its_namespace() {
        let own = "10.0.0.0-24-10.0.0.1";
        let table = [
            (record("c1", Some("wa"), &[own], Stage::Held), false),
            (record("c1", Some("wa"), &[], Stage::Claiming), false),
            (record("c1", None, &[], Stage::Claiming), false),
            // The pod's new sandbox took the claim over.
            (record("c2", Some("wa"), &[own], Stage::Held), false),
            (record("c2", Some("wa"), &["10.0.0.0-24-10.0.0.2"], Stage::Held), true),
            (record("c1", Some("kube-system"), &[own], Stage::Held), true),
        ];
        for (record, stays) in table {
            let state = tempfile::tempdir().unwrap();
            let hints = NodeHints::open(state.path());
            let store = hints.of(&DnsLabel::new("wa").unwrap());
            store.write_pin("10.0.0.0-24", &pin("c1"));
            hints.remove_pins(&record).unwrap();
            assert_eq!(store.pin("10.0.0.0-24").is_some(), stays, "{record:?}");
        }
    }
}
