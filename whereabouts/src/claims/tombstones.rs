//! Tombstones: what a DEL could not give back. Whoever reaches the API server next gives it back, a plugin a few at a time, the daemon all.

use std::path::Path;

use node::client::ApiError;

use crate::claims::store::Claims;
use crate::node_state::hints::HintStore;
use crate::node_state::record::{Record, Records, STATE};

/// So many tombstones are drained by one call of the plugin, after its own work.
const DRAINED_BY_A_CALL: usize = 8;

/// Gives back what earlier calls could not. It is owed, not part of this call: a failure leaves it to the next one.
pub async fn some(claims: &Claims<'_>, records: &Records) {
    let Ok(tombstones) = records.tombstones() else { return };
    for tombstone in tombstones.into_iter().take(DRAINED_BY_A_CALL) {
        if one(claims, records, &tombstone).await.is_err() {
            return;
        }
    }
}

/// Gives back what one tombstone names.
pub async fn one(claims: &Claims<'_>, records: &Records, tombstone: &Record) -> Result<(), ApiError> {
    claims.release(tombstone).await?;
    let _ = records.drained(tombstone);
    forget(tombstone);
    Ok(())
}

/// The addresses are free: look there first. The interface has none any more, unless a newer sandbox took it over; then its hint is only
/// missed.
pub fn forget(record: &Record) {
    let hints = HintStore::open(Path::new(STATE));
    for claim in &record.claims {
        hints.lower(&claim.pool, claim.address.addr());
        hints.forget(&claim.pool, &record.podref, &record.if_name);
    }
}
