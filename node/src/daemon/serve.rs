//! Plugin requests and background tasks until the shutdown, and the order in which they end.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::lease::{Election, Leadership};
use crate::rpc::{self, ClientRequest, Listener};

/// How long the shutdown waits for requests in flight. A pod's `terminationGracePeriodSeconds` is 30 s by default: the rest is for releasing the
/// lease.
const DRAIN: Duration = Duration::from_secs(10);

/// The tasks of a daemon besides plugin requests. Dropping it aborts them.
#[derive(Debug, Default)]
pub struct Background {
    tasks: JoinSet<()>,
    election: Option<Election>,
}

impl Background {
    /// Starts a task. It runs until it ends or the daemon stops.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Keeps an election until the daemon stops, and returns who leads.
    pub fn elect(&mut self, election: Election) -> watch::Receiver<Leadership> {
        let leadership = election.leadership();
        self.election = Some(election);
        leadership
    }

    /// Aborts the tasks and waits for their end, then releases the lease. In this order the leader's work has ended before another daemon leads.
    async fn stop(mut self) {
        self.tasks.shutdown().await;
        if let Some(election) = self.election {
            election.release().await;
        }
    }
}

/// Answers plugin requests with `handler` until `shutdown`. Then it accepts no more, waits for those in flight for 10 s at most, and stops
/// `background`.
pub async fn serve<Q, A, F, Fut>(
    listener: Listener,
    handler: F,
    background: Background,
    shutdown: impl Future<Output = ()>,
) where
    Q: ClientRequest,
    A: Serialize + Send + 'static,
    F: Fn(Q) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = A> + Send + 'static,
{
    rpc::serve(listener, handler, shutdown, DRAIN).await;
    background.stop().await;
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;
    use crate::client::{ApiClient, ResourceKind, Timeouts};
    use crate::lease::Timing;
    use crate::names::{DnsLabel, DnsSubdomain};

    type Log = Arc<Mutex<Vec<String>>>;

    /// A client of a server with one lease, which logs each holder that is written.
    async fn server(log: Log) -> ApiClient {
        let lease = Arc::new(Mutex::new(None::<Value>));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (lease, log) = (lease.clone(), log.clone());
            async move {
                let sent = request.into_body().collect_bytes().await.unwrap();
                let mut lease = lease.lock().unwrap();
                if let Ok(sent) = serde_json::from_slice::<Value>(&sent) {
                    log.lock().unwrap().push(format!("holder {}", sent["spec"]["holderIdentity"]));
                    *lease = Some(sent);
                }
                let (code, body) = match &*lease {
                    Some(lease) => (200, lease.clone()),
                    None => (404, json!({"kind": "Status", "reason": "NotFound"})),
                };
                let body = Body::from(body.to_string().into_bytes());
                Ok::<_, std::io::Error>(Response::builder().status(code).body(body).unwrap())
            }
        });
        ApiClient::from_service(service, Timeouts::default()).await
    }

    /// Logs its end.
    struct Work(Log);

    impl Drop for Work {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("work ended".to_owned());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_leaders_work_ends_before_the_lease_is_released() {
        let log = Log::default();
        let path = ResourceKind::LEASES
            .in_namespace(&DnsLabel::new("kube-system").unwrap())
            .object(&DnsSubdomain::new("x-daemon").unwrap());
        let election = Election::start(server(log.clone()).await, path, "me".to_owned(), Timing::default());
        let mut background = Background::default();
        let mut leadership = background.elect(election);
        let work = Work(log.clone());
        background.spawn(async move {
            let _work = work;
            std::future::pending::<()>().await;
        });
        leadership.wait_for(|now| *now == Leadership::Leading).await.unwrap();

        let dir = tempfile::tempdir().unwrap();
        let listener = rpc::bind(&dir.path().join("s")).unwrap();
        serve(listener, |request: Value| async { request }, background, std::future::ready(())).await;
        assert_eq!(*log.lock().unwrap(), ["holder \"me\"", "work ended", "holder \"\""]);
        assert_eq!(*leadership.borrow(), Leadership::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_flight_is_answered_before_background_tasks_end() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let log = Log::default();
        let mut background = Background::default();
        let work = Work(log.clone());
        background.spawn(async move {
            let _work = work;
            std::future::pending::<()>().await;
        });
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = rpc::bind(&path).unwrap();
        let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
        client.write_all(b"1\n").await.unwrap();
        let answered = log.clone();
        let handler = move |request: Value| {
            let answered = answered.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(5)).await;
                answered.lock().unwrap().push("answered".to_owned());
                request
            }
        };
        serve(listener, handler, background, tokio::time::sleep(Duration::from_secs(1))).await;
        assert_eq!(*log.lock().unwrap(), ["answered", "work ended"]);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "{\"answer\":1}\n");
    }
}
