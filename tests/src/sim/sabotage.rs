//! Rules of the design, broken on purpose: each must be found out by the simulation, or the simulation proves nothing. They are broken at
//! the API server, or in what the simulation hands to the code; the code that is tested knows nothing of this.
//!
//! That a pod is asked for itself before its claim is released is not among them: with two observations a grace time apart a stale answer
//! harms too seldom here. The model finds it, whose every state is visited (`tests/model`).

use serde_json::{Value, json};

use super::api::http::{Answer, Ask, Request};
use super::api::store::{DeleteIf, Key, Store};
use whereabouts::crd::ip_pool::SEPARATE_SINCE;

/// Which rule is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    /// None.
    #[default]
    None,
    /// Deletes heed no preconditions: a late DEL takes what is another's by now.
    BlindDeletes,
    /// A create of what is there overwrites it: as if no claim was looked at.
    OverwritingCreates,
    /// Every pool says that its entries have claims.
    UnadoptedPools,
    /// A claim is released as soon as its pod is not seen.
    NoGrace,
    /// Who looks at the other name of an address finds nothing.
    UnseenTwins,
    /// A pool that is used separately says that it was always so: nobody waits until all know of it.
    NoSettling,
}

/// Every rule that can be broken.
pub const ALL: &[Sabotage] = &[
    Sabotage::BlindDeletes,
    Sabotage::OverwritingCreates,
    Sabotage::UnadoptedPools,
    Sabotage::NoGrace,
    Sabotage::UnseenTwins,
    Sabotage::NoSettling,
];

impl Sabotage {
    /// Answers a request, with the broken rule broken.
    pub fn answer(self, store: &mut Store, request: &Request, cached: u64) -> Answer {
        if self == Sabotage::None {
            return store.answer(request, cached);
        }
        let mut request = request.clone();
        match (self, &mut request.ask) {
            (Sabotage::BlindDeletes, Ask::Delete { only, .. }) => *only = DeleteIf::default(),
            (Sabotage::OverwritingCreates, Ask::Create { at, object }) => {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let namespace = at.namespace.clone().unwrap_or_default();
                let key = Key::new(&at.kind, &namespace, name);
                if at.kind.starts_with("overlapping") && store.get(&key).is_ok() {
                    let object = object.clone();
                    request.ask = Ask::Replace { key, object };
                }
            }
            _ => {}
        }
        if let (Sabotage::UnseenTwins, Ask::Get { key, .. }) = (self, &mut request.ask)
            && has_twin(store, key)
        {
            key.name.push_str("-unseen");
        }
        let mut answer = store.answer(&request, cached);
        if let (Ask::Get { key, .. }, 200) = (&request.ask, answer.code)
            && key.kind.starts_with("ippools")
        {
            let mut pool: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let is_separate = pool["metadata"]["annotations"][SEPARATE_SINCE].is_string();
            let annotations = &mut pool["metadata"]["annotations"];
            match self {
                Sabotage::UnadoptedPools => annotations["whereabouts.multus-rs/adopted"] = json!("true"),
                Sabotage::NoSettling if is_separate => {
                    annotations[SEPARATE_SINCE] = json!("2020-01-01T00:00:00Z");
                }
                _ => return answer,
            }
            answer.body = pool.to_string().into();
        }
        answer
    }
}

/// Whether the other name of a claim's address is taken too.
fn has_twin(store: &Store, key: &Key) -> bool {
    if !key.kind.starts_with("overlapping") || store.get(key).is_err() {
        return false;
    }
    let address = |name: &str| name.rsplit('-').next().unwrap_or_default().to_owned();
    let all = store.list_at(&key.kind, Some(&key.namespace), store.revision());
    all.iter().any(|(other, _)| other.name != key.name && address(&other.name) == address(&key.name))
}
