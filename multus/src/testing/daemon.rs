//! A daemon of a test: a real socket, and answers by the test.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nad::rpc::{Request, Response, socket};
use node::rpc::ClientRequest;
use tokio::sync::oneshot;

/// Serves on a thread of its own until it is dropped.
pub(crate) struct FakeDaemon {
    folder: tempfile::TempDir,
    received: Arc<Mutex<Vec<String>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl FakeDaemon {
    /// Answers each request with what `answer` returns for it.
    pub(crate) fn new(answer: impl Fn(Request) -> Response + Send + Sync + 'static) -> FakeDaemon {
        FakeDaemon::of_release(answer)
    }

    /// The same for a daemon of another release, which knows other requests.
    pub(crate) fn of_release<Q>(answer: impl Fn(Q) -> Response + Send + Sync + 'static) -> FakeDaemon
    where
        Q: ClientRequest + std::fmt::Debug,
    {
        let folder = tempfile::tempdir().unwrap();
        let (path, received) = (socket(folder.path()), Arc::<Mutex<Vec<String>>>::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let (log, at) = (received.clone(), path.clone());
        let answer = Arc::new(answer);
        let handler = move |request: Q| {
            let name = format!("{request:?}").split('(').next().unwrap().to_owned();
            log.lock().unwrap().push(name);
            let answer = answer.clone();
            async move { answer(request) }
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = node::rpc::bind(&at).unwrap();
                let shutdown = async { drop(stopped.await) };
                node::rpc::serve(listener, handler, shutdown, Duration::from_secs(1)).await;
            });
        });
        while !path.exists() {
            std::thread::yield_now();
        }
        FakeDaemon { folder, received, stop: Some(stop), thread: Some(thread) }
    }

    /// The folder of its socket.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        socket(self.folder.path())
    }

    /// The kinds of the requests so far.
    pub(crate) fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().clone()
    }

    /// Ends it. Its socket stays behind, as after a crash.
    pub(crate) fn kill(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        self.kill();
    }
}
