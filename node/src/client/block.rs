//! Requests from a program without a runtime of its own.

use std::time::Duration;

use crate::deadline::Deadline;

/// The work did not finish.
#[derive(Debug, thiserror::Error)]
pub enum BlockOnError {
    /// The deadline passed, and the work was cancelled at its current await point.
    #[error("the operation took longer than {:.1} s and was cancelled", .0.as_secs_f64())]
    DeadlinePassed(Duration),
    /// The kernel refused an epoll instance or a timer.
    #[error("cannot start the async runtime: {0}; check the limit on open files (ulimit -n)")]
    Runtime(#[from] std::io::Error),
}

/// Runs `work` on a runtime of this thread, until `deadline` at most. For plugins.
///
/// # Errors
/// [`BlockOnError`].
pub fn block_on<T>(deadline: Deadline, work: impl Future<Output = T>) -> Result<T, BlockOnError> {
    run_here(within(deadline, work))?
}

/// Runs `work`, which has deadlines of its own, on a runtime of this thread. For plugins.
///
/// # Errors
/// [`BlockOnError::Runtime`].
pub fn run_here<T>(work: impl Future<Output = T>) -> Result<T, BlockOnError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let result = runtime.block_on(work);
    // getaddrinfo(3) runs on a blocking thread and has no timeout. Dropping the runtime would wait for it, past the deadline.
    runtime.shutdown_background();
    Ok(result)
}

/// Runs `work` until `deadline` at most, and cancels it then.
///
/// # Errors
/// [`BlockOnError::DeadlinePassed`].
pub async fn within<T>(deadline: Deadline, work: impl Future<Output = T>) -> Result<T, BlockOnError> {
    let limit = deadline.remaining();
    tokio::time::timeout(limit, work).await.map_err(|_| BlockOnError::DeadlinePassed(limit))
}
