//! Rules of the design, broken on purpose. The simulation must find each broken rule, or it proves nothing. They are broken at the API
//! server, or in what the simulation passes to the code; the code under test does not know.
//!
//! One rule is missing here: the leader reads the pod itself before it releases its claim. With two observations a grace time apart, a
//! stale read does harm too rarely to be found here. The model, which visits every state, finds it (`tests/model`).

use fake_api::request::{Operation, Request};
use fake_api::response::Response;
use fake_api::store::Endpoint;
use fake_api::{Key, Preconditions, Store};
use serde_json::{Value, json};
use whereabouts::crd::ip_pool::SEPARATE_SINCE;

/// Which rule is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    /// None.
    #[default]
    None,
    /// Deletions ignore their preconditions: a late DEL deletes the next holder's claim.
    BlindDeletes,
    /// A create of an existing claim overwrites it.
    OverwritingCreates,
    /// Every pool has the annotation that its entries have claims.
    UnadoptedPools,
    /// The leader releases a claim as soon as it does not see its pod.
    NoGrace,
    /// A read of the other name of an address finds nothing.
    UnseenTwins,
    /// The annotation of a pool in separate use has an old time: no node waits until all nodes know.
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
    /// Carries out a request with this rule broken.
    pub fn serve(self, store: &mut Store, request: &Request, cached: u64) -> Response {
        if self == Sabotage::None {
            return store.serve(request, cached);
        }
        let mut request = request.clone();
        self.change(store, &mut request.operation);
        let mut response = store.serve(&request, cached);
        if let (Operation::Get { key, .. }, 200) = (&request.operation, response.code)
            && key.kind.starts_with("ippools")
        {
            let mut pool: Value = serde_json::from_slice(&response.body).unwrap_or_default();
            let is_separate = pool["metadata"]["annotations"][SEPARATE_SINCE].is_string();
            let annotations = &mut pool["metadata"]["annotations"];
            match self {
                Sabotage::UnadoptedPools => annotations["whereabouts.multus-rs/adopted"] = json!("true"),
                Sabotage::NoSettling if is_separate => {
                    annotations[SEPARATE_SINCE] = json!("2020-01-01T00:00:00Z");
                }
                _ => return response,
            }
            response.body = pool.to_string().into();
        }
        response
    }

    fn change(self, store: &Store, operation: &mut Operation) {
        match (self, &mut *operation) {
            (Sabotage::BlindDeletes, Operation::Delete { preconditions, .. }) => {
                *preconditions = Preconditions::default();
            }
            (Sabotage::OverwritingCreates, Operation::Create { collection, object }) => {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let key =
                    Key::new(&collection.kind, collection.namespace.as_deref().unwrap_or_default(), name);
                if is_claim(&key)
                    && let Ok(present) = store.get(&key)
                {
                    let mut object = object.clone();
                    object["metadata"]["resourceVersion"] = present["metadata"]["resourceVersion"].clone();
                    *operation = Operation::Replace { key, endpoint: Endpoint::Object, object };
                }
            }
            (Sabotage::UnseenTwins, Operation::Get { key, .. }) if has_twin(store, key) => {
                key.name.push_str("-unseen");
            }
            _ => {}
        }
    }
}

fn is_claim(key: &Key) -> bool {
    key.kind.starts_with("overlapping")
}

/// Whether the claim's alternate name exists too.
fn has_twin(store: &Store, key: &Key) -> bool {
    if !is_claim(key) || store.get(key).is_err() {
        return false;
    }
    let address = |name: &str| name.rsplit('-').next().unwrap_or_default().to_owned();
    let all = store.list_at(&key.kind, Some(&key.namespace), store.revision());
    all.iter().any(|(other, _)| other.name != key.name && address(&other.name) == address(&key.name))
}
