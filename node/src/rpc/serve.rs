//! The server: for daemons.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{MAX_MESSAGE, PATIENCE, Reply};
use crate::race::unless;

/// Connections served at once; more wait in the socket's queue.
const MAX_CONNECTIONS: usize = 256;

/// How long to wait when the kernel gives no connection (no file descriptors, no memory).
const PAUSE: Duration = Duration::from_millis(100);

/// The daemon cannot be reached at this path.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The kernel refused. `action` is what was tried, such as "listen on".
    #[error("cannot {action} {path}: {source}; see that the path is writable for this user and shorter than 100 bytes", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something that is no socket has the path.
    #[error("{path} exists and is not a socket: remove it, or give another path", path = path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Others could put a socket of their own in its place.
    #[error("{path} must be a directory of user {uid} that nobody else may write to (mode 0755): remove it or fix its owner and mode", path = path.display())]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// The user it must belong to.
        uid: u32,
    },
}

/// A socket that clients can connect to.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    /// The daemon's own user: it and root may ask.
    uid: u32,
}

/// Listens at `path`, mode 0600. The directory is made (0755) if it is missing. A socket that is there is replaced in one
/// step, be it stale or of a daemon that is about to end: the newest one is asked. Must run inside a tokio runtime.
///
/// # Errors
/// [`BindError`].
pub fn bind(path: &Path) -> Result<Listener, BindError> {
    let uid = own_uid()?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(failed("create", dir))?;
    let found = std::fs::metadata(dir).map_err(failed("examine", dir))?;
    if found.uid() != uid || found.mode() & 0o022 != 0 {
        return Err(BindError::NotPrivate { path: dir.to_owned(), uid });
    }
    check_replaceable(path)?;

    // Under another name first, so that nobody connects before the mode is set, or finds no socket.
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    if check_replaceable(&new)? == Found::Socket {
        std::fs::remove_file(&new).map_err(failed("remove", &new))?;
    }
    let listener = UnixListener::bind(&new).map_err(failed("listen on", &new))?;
    std::fs::set_permissions(&new, Permissions::from_mode(0o600)).map_err(failed("set the mode of", &new))?;
    std::fs::rename(&new, path).map_err(failed("replace", path))?;
    Ok(Listener { listener, uid })
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Socket,
}

fn check_replaceable(path: &Path) -> Result<Found, BindError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => Ok(Found::Socket),
        Ok(_) => Err(BindError::NotASocket { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(failed("examine", path)(error)),
    }
}

fn own_uid() -> Result<u32, BindError> {
    let path = Path::new("/proc/self");
    std::fs::metadata(path).map(|found| found.uid()).map_err(failed("examine", path))
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> BindError + 'a {
    move |source| BindError::Io { action, path: path.to_owned(), source }
}

/// Answers requests with `handler` until `shutdown`; then takes no more and waits for those under way, for `patience` at most.
/// A handler runs to its end even if its client hangs up; it must bound its own time.
pub async fn serve<Q, A, F, Fut>(
    listener: Listener,
    handler: F,
    shutdown: impl Future<Output = ()>,
    patience: Duration,
) where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
    F: Fn(Q) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = A> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let handler = Arc::new(handler);
    let mut shutdown = pin!(shutdown);
    while let Some((place, stream)) = unless(shutdown.as_mut(), accept(&listener, &places)).await {
        if !may_ask(&stream, listener.uid) {
            continue;
        }
        let handler = handler.clone();
        tokio::spawn(async move {
            if let Err(cut) = converse(stream, &*handler).await {
                tracing::warn!("{cut}");
            }
            drop(place);
        });
    }
    drop(listener);
    let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
    if timeout(patience, places.acquire_many(all)).await.is_err() {
        let left = MAX_CONNECTIONS - places.available_permits();
        tracing::warn!(left, "requests are still under way; ending all the same");
    }
}

async fn accept(listener: &Listener, places: &Arc<Semaphore>) -> (OwnedSemaphorePermit, UnixStream) {
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return std::future::pending().await; // never closed
        };
        match listener.listener.accept().await {
            Ok((stream, _)) => return (place, stream),
            Err(error) => {
                tracing::warn!(%error, "no connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Root may, and the daemon's own user.
fn may_ask(stream: &UnixStream, uid: u32) -> bool {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == uid => true,
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), pid = ?peer.pid(), "a user who may not ask was turned away");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "the kernel does not say who asks");
            false
        }
    }
}

/// Why a conversation ended before its end.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("a client did not send its request within {:.0} s and was cut off", PATIENCE.as_secs_f64())]
    Silent,
    #[error("a client hung up before it had sent its request: {0}")]
    NotAsked(io::Error),
    #[error("a client hung up before it had its answer: {0}; what it asked for was done")]
    NotAnswered(io::Error),
    #[error("a client did not take its answer within {:.0} s; what it asked for was done", PATIENCE.as_secs_f64())]
    NotTaken,
    #[error("an answer cannot be sent: {0}; what was asked for was done")]
    Unsendable(String),
}

/// One request and its answer.
async fn converse<Q, A, F, Fut>(mut stream: UnixStream, handler: &F) -> Result<(), Cut>
where
    Q: DeserializeOwned,
    A: Serialize,
    F: Fn(Q) -> Fut,
    Fut: Future<Output = A>,
{
    let request = timeout(PATIENCE, read(&mut stream)).await.map_err(|_| Cut::Silent)?;
    let reply = match request.map_err(Cut::NotAsked)? {
        None => Reply::Refused(format!("it has more than {MAX_MESSAGE} bytes")),
        Some(line) => match serde_json::from_slice(&line) {
            Ok(request) => Reply::Answer(handler(request).await),
            Err(error) => Reply::Refused(format!("it is not understood: {error}")),
        },
    };
    let line = encoded(&reply)?;
    let sent = timeout(PATIENCE, stream.write_all(&line)).await.map_err(|_| Cut::NotTaken)?;
    sent.map_err(Cut::NotAnswered)
}

fn encoded<A: Serialize>(reply: &Reply<A>) -> Result<Vec<u8>, Cut> {
    let mut line = serde_json::to_vec(reply).map_err(|error| Cut::Unsendable(error.to_string()))?;
    if line.len() > MAX_MESSAGE {
        let reason = format!("it has {} bytes, and {MAX_MESSAGE} are allowed", line.len());
        return Err(Cut::Unsendable(reason));
    }
    line.push(b'\n');
    Ok(line)
}

/// The request's line without its end, or `None` if it is too long.
async fn read(stream: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let searched = line.len();
        if stream.read_buf(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = line.iter().skip(searched).position(|byte| *byte == b'\n');
        let length = end.map_or(line.len(), |end| searched + end);
        if length > MAX_MESSAGE {
            return Ok(None);
        }
        if end.is_some() {
            line.truncate(length);
            return Ok(Some(line));
        }
    }
}
