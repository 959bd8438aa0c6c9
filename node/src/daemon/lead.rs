//! Work that one daemon of the cluster does for all.

use tokio::sync::watch;

use crate::lease::Leadership;

/// The role of this process in the election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It leads.
    Leader,
    /// It does not lead, or no longer.
    Follower,
}

/// Runs `work` whenever this process leads, and drops it when it stops leading. Work that ends on its own starts again. Calls `on_change` with
/// the new role before the work starts and after it was dropped, for metrics. Returns once the election has ended.
pub async fn while_leading<F: Future<Output = ()>>(
    mut leadership: watch::Receiver<Leadership>,
    mut on_change: impl FnMut(Role),
    mut work: impl FnMut() -> F,
) {
    while leadership.wait_for(|now| *now == Leadership::Leading).await.is_ok() {
        tracing::info!("leading");
        on_change(Role::Leader);
        until_following(&mut leadership, work()).await;
        on_change(Role::Follower);
        tracing::info!("no longer leading");
    }
}

/// Runs `work` until it ends, or this process stops leading.
async fn until_following(leadership: &mut watch::Receiver<Leadership>, work: impl Future<Output = ()>) {
    tokio::select! {
        biased; // a process that no longer leads must not go on
        _ = leadership.wait_for(|now| *now != Leadership::Leading) => {}
        () = work => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Writes "dropped" when it is dropped.
    struct Work(Arc<Mutex<Vec<&'static str>>>);

    impl Drop for Work {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("dropped");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_runs_between_the_two_changes_of_role_and_only_while_leading() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let (sender, leadership) = watch::channel(Leadership::Unknown);
        let (roles, works) = (log.clone(), log.clone());
        let task = tokio::spawn(async move {
            let on_change = |role| {
                roles.lock().unwrap().push(match role {
                    Role::Leader => "leader",
                    Role::Follower => "follower",
                });
            };
            let work = || {
                works.lock().unwrap().push("started");
                let work = Work(works.clone());
                async move {
                    let _work = work;
                    std::future::pending::<()>().await;
                }
            };
            while_leading(leadership, on_change, work).await;
        });
        let mut expected = Vec::new();
        for _ in 0..2 {
            for other in [Leadership::Unknown, Leadership::Following("b".to_owned())] {
                sender.send_replace(other);
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                assert_eq!(*log.lock().unwrap(), expected);
            }
            sender.send_replace(Leadership::Leading);
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            expected.extend(["leader", "started"]);
            assert_eq!(*log.lock().unwrap(), expected);
            expected.extend(["dropped", "follower"]);
        }
        // The election drops its sender when it ends, and reports Unknown before.
        sender.send_replace(Leadership::Unknown);
        drop(sender);
        task.await.unwrap();
        assert_eq!(*log.lock().unwrap(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_ends_starts_again() {
        let (sender, leadership) = watch::channel(Leadership::Leading);
        let mut starts = 0;
        let work = || {
            starts += 1;
            if starts == 3 {
                sender.send_replace(Leadership::Unknown);
            }
            std::future::ready(())
        };
        let led = while_leading(leadership, |_| {}, work);
        assert!(tokio::time::timeout(std::time::Duration::from_secs(1), led).await.is_err());
        assert_eq!(starts, 3);
    }
}
