//! The deadline of an operation as a whole.

use std::time::Duration;

use node::deadline::Deadline;

use super::error::SourceError;

/// Longest time for one operation, all attempts together.
const OPERATION_LIMIT: Duration = Duration::from_secs(20);

/// Runs `operation` until `deadline`, or for [`OPERATION_LIMIT`] if that is sooner. It receives the resulting deadline.
///
/// # Errors
/// Those of `operation`, and [`SourceError::DeadlinePassed`].
pub async fn within<T>(
    deadline: Deadline,
    operation: impl AsyncFnOnce(Deadline) -> Result<T, SourceError>,
) -> Result<T, SourceError> {
    let deadline = deadline.child(OPERATION_LIMIT);
    let limit = deadline.remaining();
    // Each request keeps the deadline on its own; this also covers what happens between requests.
    tokio::time::timeout(limit, operation(deadline)).await.unwrap_or(Err(SourceError::DeadlinePassed(limit)))
}
