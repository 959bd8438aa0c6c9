//! Draining tombstones: a DEL that did not reach the API server left its record as a tombstone. The next caller that reaches the API server
//! releases the addresses: the plugin a few per call, the daemon all.

use std::time::Duration;

use node::client::ApiError;
use node::files::FileError;

use super::store::Claims;
use crate::node_state::hints::{HintStore, NodeHints};
use crate::node_state::installation::Writer;
use crate::node_state::record::{Record, Records};

/// The most tombstones that one call of the plugin drains, after its own work.
const DRAINED_BY_A_CALL: usize = 8;

/// How long one call of the plugin drains in total. The runtime waits for the call, and its own work is done by then.
const DRAIN_LIMIT: Duration = Duration::from_millis(400);

/// A tombstone is not drained. Try again later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DrainError {
    /// A request to the API server failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A pin of its claims cannot be removed.
    #[error(transparent)]
    Pin(#[from] FileError),
}

/// What became of a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    Yes,
    /// Another call drains it at the moment, or has done so.
    ByOther,
}

/// Drains a few tombstones, for a plugin without a daemon. A failure is not the call's failure, and one claim that cannot be deleted does not
/// keep the others: the next call tries again.
pub(crate) async fn drain_some(claims: &Claims<'_>, records: &Records, hints: &NodeHints) {
    let Ok(mut tombstones) = records.idle_tombstones() else { return };
    let end = claims.deadline.child(DRAIN_LIMIT);
    // In another order each time: some that fail again and again do not keep the same others from their turn.
    fastrand::shuffle(&mut tombstones);
    for tombstone in tombstones.into_iter().take(DRAINED_BY_A_CALL) {
        let claims = Claims { deadline: end.child(DRAIN_LIMIT / 4), ..claims.clone() };
        let _ = drain(&claims, records, hints, &tombstone).await;
        if end.expired() {
            return;
        }
    }
}

/// Releases the addresses of one tombstone in the namespace that it names, else in that of `claims`. Then removes it.
pub(crate) async fn drain(
    claims: &Claims<'_>,
    records: &Records,
    hints: &NodeHints,
    tombstone: &Record,
) -> Result<Drained, DrainError> {
    // Those of DELs that run: at 200 DELs at once, each would drain those of others.
    let Some(_lock) = records.lock_tombstone(tombstone) else { return Ok(Drained::ByOther) };
    // Since the folder was listed, the interface may have been attached and removed again: the file has another content then. While it is attached,
    // a release would delete the claim that it holds.
    let tombstone = match records.tombstone(tombstone) {
        Ok(Some(present)) if !records.has(&present) => present,
        _ => return Ok(Drained::ByOther),
    };
    let tombstone = &tombstone;
    hints.remove_pins(tombstone)?;
    // Not in the namespace of the call that drains it: the network of the tombstone may have another one.
    let namespace = tombstone.namespace.as_ref().unwrap_or(claims.namespace);
    Claims { namespace, ..claims.clone() }.release(tombstone, Writer::Unknown).await?;
    // If the file cannot be removed, the next pass releases again, which changes nothing.
    let _ = records.remove_tombstone(tombstone);
    update_hints(&hints.of(namespace), tombstone);
    Ok(Drained::Yes)
}

/// Lets the next search begin at the addresses of `record`, which are free now unless a newer sandbox took them over, and forgets them as the
/// interface's previous addresses, unless a newer sandbox has noted them.
pub(crate) fn update_hints(hints: &HintStore, record: &Record) {
    for claim in &record.claims {
        hints.lower_start(&claim.pool, claim.address.addr());
        // The record does not say which of the two the claim's owner was.
        for owner in [&record.podref, &record.container_id] {
            hints.remove_previous(&claim.pool, owner, &record.if_name, &record.container_id);
        }
    }
}
