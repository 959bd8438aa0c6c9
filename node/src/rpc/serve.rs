//! The server, for daemons.

use std::fs::{DirBuilder, Metadata, Permissions};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::wire::{MAX_MESSAGE, Reply};

/// The most connections served at the same time, unless the daemon sets another number. More wait in the socket's accept queue.
const MAX_CONNECTIONS: usize = 256;

/// The room for a request, in bytes, before its size is known. Most need one read(2) then.
const USUAL: usize = 1 << 10;

/// A message above this size, in bytes, takes one of the permits for large messages. Nearly all messages are smaller.
const LARGE: usize = 64 << 10;

/// How many large messages are read or served at the same time. With the limit on connections this bounds the memory for messages: connections
/// x 64 KiB + 2 x 1 MiB.
const MAX_LARGE: usize = 2;

/// How long a client may take to send its request, and how long to read its answer.
const CLIENT_LIMIT: Duration = Duration::from_secs(5);

/// The wait after accept(2) failed, as without file descriptors or memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How often a daemon looks whether a newer one took its path over.
const LOOK: Duration = Duration::from_secs(1);

/// How long the path must have led to no daemon before an older one takes it back. A container that failed starts again within seconds.
const DESERTED: Duration = Duration::from_secs(5);

/// The daemon cannot listen at this path.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The kernel refused. `action` is what was tried, such as "listen on".
    #[error("cannot {action} {path}: {source}; check that this user may write there, and that the path is shorter than 100 bytes", path = path.display())]
    Io {
        /// The operation.
        action: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The path exists and is not a socket.
    #[error("{path} exists and is not a socket; remove it, or give another path", path = path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Other users may write to the directory, and could replace the socket by their own.
    #[error("{path} must be a directory of user {uid} that nobody else may write to (mode 0755); remove it, or change its owner and mode", path = path.display())]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// The user it must belong to.
        uid: u32,
    },
}

/// A socket that accepts clients.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    /// The daemon's own user. Only it and root are authorized.
    uid: u32,
    /// The most connections served at the same time.
    connections: usize,
    socket: OwnSocket,
}

/// The socket of a daemon, while it lives: its inode is not used again as long as the listener is open.
#[derive(Clone, Debug)]
pub struct OwnSocket {
    path: PathBuf,
    /// Device and inode. Another one after the daemon took the path back.
    id: Arc<Mutex<(u64, u64)>>,
}

impl OwnSocket {
    fn new(path: &Path, found: &Metadata) -> Self {
        OwnSocket { path: path.to_owned(), id: Arc::new(Mutex::new((found.dev(), found.ino()))) }
    }

    fn id(&self) -> (u64, u64) {
        *self.id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a newer daemon listens at the path: this one is about to end. A path that is missing or cannot be read proves nothing.
    pub fn is_replaced(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) != self.id())
    }

    /// Whether no daemon listens at the path.
    async fn is_deserted(&self) -> bool {
        match std::fs::symlink_metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == self.id() => false,
            // The socket file of a daemon that has ended stays, and connect(2) fails. A daemon that runs ignores a client without a request.
            _ => UnixStream::connect(&self.path).await.is_err_and(|error| {
                matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
            }),
        }
    }

    /// Returns once no daemon has listened at the path for [`DESERTED`].
    async fn deserted(&self) {
        let mut since = None;
        loop {
            tokio::time::sleep(LOOK).await;
            if !self.is_deserted().await {
                since = None;
            } else if since.get_or_insert_with(Instant::now).elapsed() >= DESERTED {
                return;
            }
        }
    }
}

impl Listener {
    /// Its socket.
    pub fn socket(&self) -> OwnSocket {
        self.socket.clone()
    }

    /// Listens at the path again.
    fn take_back(&mut self) -> Result<(), BindError> {
        let new = bind(&self.socket.path)?;
        *self.socket.id.lock().unwrap_or_else(PoisonError::into_inner) = new.socket.id();
        self.listener = new.listener;
        Ok(())
    }

    /// Limits the connections that are served at the same time. More wait in the socket's accept queue.
    #[must_use]
    pub fn limit(self, connections: NonZeroUsize) -> Self {
        Listener { connections: connections.get().min(Semaphore::MAX_PERMITS), ..self }
    }
}

/// Listens at `path`, with mode 0600. Creates the directory (0755) if it is missing. Replaces an existing socket in one step, stale or not: the
/// newest daemon serves, while an older one ends. Must run inside a tokio runtime.
///
/// # Errors
/// [`BindError`].
pub fn bind(path: &Path) -> Result<Listener, BindError> {
    let uid = own_uid()?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(failed("create", dir))?;
    let found = std::fs::metadata(dir).map_err(failed("examine", dir))?;
    // 0022: the write bits of group and others.
    if found.uid() != uid || found.mode() & 0o022 != 0 {
        return Err(BindError::NotPrivate { path: dir.to_owned(), uid });
    }
    check_replaceable(path)?;

    // bind(2) creates the socket with a mode by the umask, and fails if the path exists. So bind under another name, set the mode, and rename:
    // nobody can connect before the mode is right, and clients find a socket at any moment.
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    // A crash between bind(2) and rename(2) leaves it behind.
    if check_replaceable(&new)? == Found::Socket {
        std::fs::remove_file(&new).map_err(failed("remove", &new))?;
    }
    let listener = UnixListener::bind(&new).map_err(failed("listen on", &new))?;
    std::fs::set_permissions(&new, Permissions::from_mode(0o600)).map_err(failed("set the mode of", &new))?;
    let found = std::fs::symlink_metadata(&new).map_err(failed("examine", &new))?;
    std::fs::rename(&new, path).map_err(failed("replace", path))?;
    let socket = OwnSocket::new(path, &found);
    Ok(Listener { listener, uid, connections: MAX_CONNECTIONS, socket })
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

/// The effective user of this process. /proc/self belongs to it; geteuid(2) would need `unsafe` or another crate.
fn own_uid() -> Result<u32, BindError> {
    let path = Path::new("/proc/self");
    std::fs::metadata(path).map(|found| found.uid()).map_err(failed("examine", path))
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> BindError + 'a {
    move |source| BindError::Io { action, path: path.to_owned(), source }
}

/// What becomes of a request whose client disconnects before it has its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHangUp {
    /// The handler runs to its end, so that the request is done as a whole.
    Complete,
    /// The handler is dropped where it is, because what it would still do may be wrong by then. It says itself what it leaves, in the log.
    Abandon,
}

/// A request that daemons answer.
pub trait ClientRequest: DeserializeOwned + Send + 'static {
    /// What becomes of it when its client disconnects.
    fn on_hang_up(&self) -> OnHangUp {
        OnHangUp::Complete
    }
}

/// Answers requests with `handler` until `shutdown`. A newer daemon takes the path over; if that one ends first, this one takes it back: when a
/// rolling update is undone, the older daemon stays. Then it accepts no more, and waits for those in flight, for `drain` at most. A handler must
/// limit its own time.
pub async fn serve<Q, A, F, Fut>(
    mut listener: Listener,
    handler: F,
    shutdown: impl Future<Output = ()>,
    drain: Duration,
) where
    Q: ClientRequest,
    A: Serialize + Send + 'static,
    F: Fn(Q) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = A> + Send + 'static,
{
    let connections = listener.connections;
    let slots = Arc::new(Semaphore::new(connections));
    let large = Arc::new(Semaphore::new(MAX_LARGE));
    let handler = Arc::new(handler);
    let mut shutdown = pin!(shutdown);
    loop {
        let (slot, stream) = tokio::select! {
            biased; // under a flood of requests the shutdown still comes first
            () = &mut shutdown => break,
            accepted = accept_as_only_daemon(&mut listener, &slots) => accepted,
        };
        if !is_authorized(&stream, listener.uid) {
            continue;
        }
        let (handler, large) = (handler.clone(), large.clone());
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &*handler, &large).await {
                tracing::warn!("{error}");
            }
            drop(slot);
        });
    }
    // From here on connect(2) fails, and plugins do their work without the daemon.
    drop(listener);
    // All slots are free once no request is in flight.
    let all = u32::try_from(connections).unwrap_or(u32::MAX);
    if timeout(drain, slots.acquire_many(all)).await.is_err() {
        let left = connections - slots.available_permits();
        tracing::warn!(left, "stopping with requests in flight");
    }
}

/// As [`accept`]. Takes the path back where no other daemon listens.
async fn accept_as_only_daemon(
    listener: &mut Listener,
    slots: &Arc<Semaphore>,
) -> (OwnedSemaphorePermit, UnixStream) {
    loop {
        let socket = listener.socket();
        tokio::select! {
            accepted = accept(listener, slots) => return accepted,
            () = socket.deserted() => {}
        }
        match listener.take_back() {
            Ok(()) => {
                tracing::warn!(path = %socket.path.display(), "no other daemon listens any more; serving again");
            }
            Err(error) => tracing::error!(%error, "no daemon listens, so plugins do without one"),
        }
    }
}

async fn accept(listener: &Listener, slots: &Arc<Semaphore>) -> (OwnedSemaphorePermit, UnixStream) {
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else {
            return std::future::pending().await; // the semaphore is never closed
        };
        match listener.listener.accept().await {
            Ok((stream, _)) => return (slot, stream),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Whether the client is root or the daemon's own user. The kernel recorded the user at connect(2) (SO_PEERCRED), so a client cannot forge it.
fn is_authorized(stream: &UnixStream, uid: u32) -> bool {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == uid => true,
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), pid = ?peer.pid(), "rejected connection: uid not authorized");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "rejected connection: the uid of the client is unknown");
            false
        }
    }
}

/// Why a client has no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("disconnected a client that did not send its request within {:.0} s", CLIENT_LIMIT.as_secs_f64())]
    NoRequest,
    #[error("a client disconnected before it had sent its request: {0}")]
    LostRequest(io::Error),
    #[error("a client disconnected before it had read its answer: {0}; its request was completed")]
    LostAnswer(io::Error),
    #[error("disconnected a client that did not read its answer within {:.0} s; its request was completed", CLIENT_LIMIT.as_secs_f64())]
    NotRead,
    #[error("cannot send an answer: {0}; the request was completed")]
    Unsendable(String),
}

/// Reads one request and sends its answer.
async fn answer<Q, A, F, Fut>(
    mut stream: UnixStream,
    handler: &F,
    large: &Semaphore,
) -> Result<(), Unanswered>
where
    Q: ClientRequest,
    A: Serialize,
    F: Fn(Q) -> Fut,
    Fut: Future<Output = A>,
{
    let received = timeout(CLIENT_LIMIT, read(&mut stream, large)).await;
    let received = received.map_err(|_| Unanswered::NoRequest)?.map_err(Unanswered::LostRequest)?;
    // An older daemon looks whether this one lives.
    let Some((line, _permit)) = received else { return Ok(()) };
    // The permit is held until the answer is sent.
    let request = line.map(|line| serde_json::from_slice(&line));
    let reply = match request {
        None => Reply::Refused(format!("it has more than {MAX_MESSAGE} bytes")),
        Some(Ok(request)) => match handled(request, handler, &mut stream).await {
            Some(answer) => Reply::Answer(answer),
            None => return Ok(()),
        },
        Some(Err(error)) => Reply::Refused(format!("it cannot be parsed: {error}")),
    };
    // A client that does not read must not hold a slot for ever.
    let line = encoded(&reply)?;
    let sent = timeout(CLIENT_LIMIT, stream.write_all(&line)).await.map_err(|_| Unanswered::NotRead)?;
    sent.map_err(Unanswered::LostAnswer)
}

/// What the handler answers. `None` if the request was abandoned.
async fn handled<Q, A, F, Fut>(request: Q, handler: &F, stream: &mut UnixStream) -> Option<A>
where
    Q: ClientRequest,
    F: Fn(Q) -> Fut,
    Fut: Future<Output = A>,
{
    match request.on_hang_up() {
        OnHangUp::Complete => Some(handler(request).await),
        OnHangUp::Abandon => {
            // A request that waited while its client ended must not begin. The runtime looks at its sockets once before it goes on here; until then
            // it does not know that the client has closed its end.
            tokio::task::yield_now().await;
            tokio::select! {
                biased;
                () = hung_up(stream) => None,
                answer = handler(request) => Some(answer),
            }
        }
    }
}

/// Returns once the client has closed its end, or has died. A client that waits for an answer keeps the end for its request open too. What it
/// still sends is not looked at: a client sends one request.
async fn hung_up(stream: &mut UnixStream) {
    let mut ignored = [0_u8; 64];
    while matches!(stream.read(&mut ignored).await, Ok(1..)) {}
}

fn encoded<A: Serialize>(reply: &Reply<A>) -> Result<Vec<u8>, Unanswered> {
    let mut line = serde_json::to_vec(reply).map_err(|error| Unanswered::Unsendable(error.to_string()))?;
    if line.len() > MAX_MESSAGE {
        let reason = format!("it has {} bytes, more than {MAX_MESSAGE}", line.len());
        return Err(Unanswered::Unsendable(reason));
    }
    line.push(b'\n');
    Ok(line)
}

/// The line of a request, `None` if it is too long, and the permit for a large one.
type Received<'a> = (Option<Vec<u8>>, Option<SemaphorePermit<'a>>);

/// Reads the line of the request, without its end. `None` from a client that sends nothing at all.
async fn read<'a>(stream: &mut UnixStream, large: &'a Semaphore) -> io::Result<Option<Received<'a>>> {
    let (mut line, mut permit) = (Vec::with_capacity(USUAL), None);
    loop {
        let searched = line.len();
        if searched >= LARGE && permit.is_none() {
            // Fails only if the semaphore is closed, which it never is.
            permit = large.acquire().await.ok();
        }
        let limit = if permit.is_some() { MAX_MESSAGE + 1 } else { LARGE };
        let room = limit.saturating_sub(searched);
        if stream.take(room as u64).read_buf(&mut line).await? == 0 {
            return if line.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let end = line.iter().skip(searched).position(|byte| *byte == b'\n');
        let length = end.map_or(line.len(), |end| searched + end);
        // Checked after every read, so that a client without a line end cannot fill the memory.
        if length > MAX_MESSAGE {
            return Ok(Some((None, permit)));
        }
        if end.is_some() {
            line.truncate(length);
            return Ok(Some((Some(line), permit)));
        }
    }
}
