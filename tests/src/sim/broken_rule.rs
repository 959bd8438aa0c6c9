//! Rules of the design that a run breaks on purpose. The simulation proves something only if it detects every broken rule. The server of
//! the run breaks them, or the simulation does in the values that it passes to the code. The code under test does not change.
//!
//! One rule is missing: the leader reads a pod before it releases the pod's claim. With two observations a grace period apart, a stale read
//! does harm too rarely for this simulation. The model, which visits every state, detects it (`tests/model`).

use fake_api::request::{Operation, Request};
use fake_api::response::Response;
use fake_api::store::Endpoint;
use fake_api::{Key, Preconditions, Store};
use serde_json::{Value, json};
use whereabouts::crd::ip_pool::{ADOPTED, SEPARATE_SINCE};

/// The rule that a run breaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BrokenRule {
    /// No rule.
    #[default]
    None,
    /// A delete ignores its preconditions, so a late DEL deletes the next owner's claim.
    IgnoredPreconditions,
    /// A create of an existing claim overwrites it.
    OverwritingCreates,
    /// Every pool seems to be adopted, so nobody creates claims for Whereabouts' allocations.
    UnadoptedPools,
    /// The leader releases a claim as soon as its pod is missing.
    NoGrace,
    /// A read of an existing claim does not find it if a claim with the alternate name exists too.
    UnreadAlternateNames,
    /// The pool's [`SEPARATE_SINCE`] is always old, so no node waits until all nodes know that the pool is in separate use.
    NoSettling,
}

/// All rules that a run can break.
pub const ALL: &[BrokenRule] = &[
    BrokenRule::IgnoredPreconditions,
    BrokenRule::OverwritingCreates,
    BrokenRule::UnadoptedPools,
    BrokenRule::NoGrace,
    BrokenRule::UnreadAlternateNames,
    BrokenRule::NoSettling,
];

impl BrokenRule {
    /// Executes a request on the store, with this rule broken. `cached` is the revision that the server's watch cache shows.
    pub fn serve(self, store: &mut Store, request: &Request, cached: u64) -> Response {
        if self == BrokenRule::None {
            return store.serve(request, cached);
        }
        let mut request = request.clone();
        self.change_request(store, &mut request.operation);
        let mut response = store.serve(&request, cached);
        if let (Operation::Get { key, .. }, 200) = (&request.operation, response.code)
            && key.kind.starts_with("ippools")
        {
            self.change_pool(&mut response);
        }
        response
    }

    fn change_request(self, store: &Store, operation: &mut Operation) {
        match (self, &mut *operation) {
            (BrokenRule::IgnoredPreconditions, Operation::Delete { preconditions, .. }) => {
                *preconditions = Preconditions::default();
            }
            (BrokenRule::OverwritingCreates, Operation::Create { collection, object }) => {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let key =
                    Key::new(&collection.kind, collection.namespace.as_deref().unwrap_or_default(), name);
                if is_claim(&key)
                    && let Ok(present) = store.get(&key)
                {
                    // The store accepts a replacement only of the current resourceVersion.
                    let mut object = object.clone();
                    object["metadata"]["resourceVersion"] = present["metadata"]["resourceVersion"].clone();
                    *operation = Operation::Replace { key, endpoint: Endpoint::Object, object };
                }
            }
            (BrokenRule::UnreadAlternateNames, Operation::Get { key, .. })
                if has_alternate_name(store, key) =>
            {
                // A name that does not exist: the server responds 404.
                key.name.push_str("-unread");
            }
            _ => {}
        }
    }

    /// Changes the annotations of a pool that was read.
    fn change_pool(self, response: &mut Response) {
        let mut pool: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let is_separate = pool["metadata"]["annotations"][SEPARATE_SINCE].is_string();
        let annotations = &mut pool["metadata"]["annotations"];
        match self {
            BrokenRule::UnadoptedPools => annotations[ADOPTED] = json!("true"),
            BrokenRule::NoSettling if is_separate => {
                annotations[SEPARATE_SINCE] = json!("2020-01-01T00:00:00Z");
            }
            _ => return,
        }
        response.body = pool.to_string().into();
    }
}

fn is_claim(key: &Key) -> bool {
    key.kind.starts_with("overlapping")
}

/// Whether the claim exists under both of its names: the address, and the pool followed by the address. For IPv4 only.
fn has_alternate_name(store: &Store, key: &Key) -> bool {
    if !is_claim(key) || store.get(key).is_err() {
        return false;
    }
    let address = |name: &str| name.rsplit('-').next().unwrap_or_default().to_owned();
    let all = store.list_at(&key.kind, Some(&key.namespace), store.revision());
    all.iter().any(|(other, _)| other.name != key.name && address(&other.name) == address(&key.name))
}
