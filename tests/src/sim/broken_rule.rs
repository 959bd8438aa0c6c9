//! Rules of the design that a run breaks on purpose. The simulation proves something only if it detects every broken rule. The server of
//! the run breaks them, or the simulation does in the values that it passes to the code. The code under test does not change.
//!
//! Some rules are missing. The leader reads a pod before it releases the pod's claim. With two observations a grace period apart, a stale read
//! does harm too rarely for this simulation. The model, which visits every state, detects it (`tests/model`). The same holds for the rules of
//! how claims are named, except for the list of the claims.

use fake_api::request::{Operation, Request};
use fake_api::response::Response;
use fake_api::store::Endpoint;
use fake_api::{Key, Preconditions, Store};
use serde_json::{Value, json};
use whereabouts::crd::ip_pool::CLAIM_NAMES;
use whereabouts::crd::reservation::LABEL_WHOLE;

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
    /// The list of a pool's claims is empty when the naming of its claims is fixed, so that a deleted IPPool comes back with another naming.
    UnlistedClaims,
}

/// All rules that a run can break.
pub const ALL: &[BrokenRule] = &[
    BrokenRule::IgnoredPreconditions,
    BrokenRule::OverwritingCreates,
    BrokenRule::UnadoptedPools,
    BrokenRule::NoGrace,
    BrokenRule::UnlistedClaims,
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
            (BrokenRule::UnlistedClaims, Operation::List(list))
                if format!("{:?}", list.selector).contains(LABEL_WHOLE) =>
            {
                // A namespace that has no claims.
                list.from.namespace = Some("nowhere".to_owned());
            }
            _ => {}
        }
    }

    /// Changes the annotations of a pool that was read.
    fn change_pool(self, response: &mut Response) {
        if self != BrokenRule::UnadoptedPools {
            return;
        }
        let mut pool: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let naming = &mut pool["metadata"]["annotations"][CLAIM_NAMES];
        if naming.is_null() {
            *naming = json!("pool");
        }
        response.body = pool.to_string().into();
    }
}

fn is_claim(key: &Key) -> bool {
    key.kind.starts_with("overlapping")
}
