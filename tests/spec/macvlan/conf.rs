//! The conf that most macvlan tests start from.

use serde_json::{Value, json};
use tests::driver::merged;

use crate::support::{Bench, Place};

/// A conf of version 1.0.0 with host-local, `more` laid over it.
pub fn with_ipam(bench: &Bench, more: Value) -> Value {
    merged(&merged(&bench.conf("1.0.0", Place::Host), json!({"ipam": bench.host_local()})), more)
}
