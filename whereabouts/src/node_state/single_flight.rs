//! What all callers of a node need, found out by one of them: the others wait for its answer.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::concurrency::{Turn, turn};

/// How long a caller waits for another one's answer, before it finds out itself. An answer takes one request, unless the API server is slow.
const WAIT: Duration = Duration::from_secs(1);

/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Returns what `known` returns as soon as that is something. Until then one caller on this node runs `work`, which makes it known; `file` is
/// its lock. If that caller fails or dies, another one runs its own.
pub(crate) async fn single_flight<T, E>(
    file: &Path,
    known: impl Fn() -> Option<T>,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let end = Instant::now() + WAIT;
    loop {
        if let Some(known) = known() {
            return Ok(known);
        }
        match turn(file) {
            Turn::Own(_lock) => {
                // The caller before may have made it known since the look above.
                return match known() {
                    Some(known) => Ok(known),
                    None => work.await,
                };
            }
            Turn::Others if Instant::now() < end => tokio::time::sleep(PAUSE).await,
            Turn::Others | Turn::Unknown => return work.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_of_many_callers_works_and_all_have_its_answer() {
        let folder = tempfile::tempdir().unwrap();
        let (file, answer, runs) = (folder.path().join("hints/turn"), RefCell::new(None), Cell::new(0));
        let work = || async {
            runs.set(runs.get() + 1);
            tokio::time::sleep(Duration::from_millis(100)).await;
            answer.replace(Some(7));
            Ok::<_, ()>(7)
        };
        let calls = (0..20).map(|_| single_flight(&file, || *answer.borrow(), work()));
        assert_eq!(futures::future::join_all(calls).await, [Ok(7); 20]);
        assert_eq!(runs.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_the_next_caller_works() {
        let folder = tempfile::tempdir().unwrap();
        let (file, runs) = (folder.path().join("turn"), Cell::new(0));
        let work = || async {
            runs.set(runs.get() + 1);
            Err::<(), _>("no")
        };
        let calls = (0..3).map(|_| single_flight(&file, || None, work()));
        assert_eq!(futures::future::join_all(calls).await, [Err("no"); 3]);
        assert_eq!(runs.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_waited_a_second_works_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("turn");
        let slow = single_flight(&file, || None, async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            Ok::<_, ()>(1)
        });
        let began = Instant::now();
        let other = single_flight(&file, || None, async { Ok::<_, ()>(2) });
        let other = async { (other.await, began.elapsed()) };
        let (slow, (other, waited)) = futures::future::join(slow, other).await;
        assert_eq!((slow, other), (Ok(1), Ok(2)));
        assert!(waited >= WAIT && waited < 2 * WAIT, "{waited:?}");
    }

    #[tokio::test]
    async fn without_a_folder_for_the_lock_every_caller_works() {
        let nowhere = Path::new("/proc/nowhere/turn");
        assert_eq!(single_flight(nowhere, || None, async { Ok::<_, ()>(1) }).await, Ok(1));
    }
}
