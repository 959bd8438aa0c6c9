//! The client, for plugins: blocking.

use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use socket2::{Domain, SockAddr, Socket, Type};

use super::wire::{MAX_MESSAGE, Reply};
use crate::deadline::Deadline;
use crate::text::printable;

/// There is no answer from the daemon. Sorted by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// There is no daemon. Nothing was sent: do the work without it, or retry later.
    #[error("no daemon at {socket}: {source}; check that its pod runs on this node", socket = socket.display())]
    Absent {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The daemon does not understand the request. Nothing was done: do the work without it.
    #[error("the daemon at {socket} refuses the request: {reason}; check that plugin and daemon have the same version", socket = socket.display())]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// The daemon's reason, escaped and cut. Ours if the request cannot be sent at all.
        reason: String,
    },
    /// The connection ended before the answer. The daemon may or may not complete the request: send it again.
    #[error("the daemon at {socket} closed the connection before it answered ({reason}); the request may or may not be done", socket = socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// Why.
        reason: String,
    },
    /// There is no answer before the deadline. The daemon may or may not complete the request.
    #[error("the daemon at {socket} did not answer within {:.1} s; the request may or may not be done", .waited.as_secs_f64(), socket = socket.display())]
    TimedOut {
        /// The socket.
        socket: PathBuf,
        /// The time from the call to its deadline.
        waited: Duration,
    },
    /// The answer has an unexpected shape. The daemon has completed the request, or has failed to.
    #[error("the answer of the daemon at {socket} cannot be read: {reason}; check that plugin and daemon have the same version", socket = socket.display())]
    Unreadable {
        /// The socket.
        socket: PathBuf,
        /// The parser's message, or ours.
        reason: String,
    },
}

/// Sends a request to the daemon at `socket`, and waits for its answer until `deadline`. Blocks the thread, so do not call it in an async task.
///
/// # Errors
/// [`RpcError`].
pub fn call<Q, A>(socket: &Path, request: &Q, deadline: Deadline) -> Result<A, RpcError>
where
    Q: Serialize,
    A: DeserializeOwned,
{
    let call = Call { socket, deadline, limit: deadline.remaining() };
    let mut line = serde_json::to_vec(request).map_err(|error| call.refused(&error.to_string()))?;
    if line.len() > MAX_MESSAGE {
        return Err(call.refused(&format!("it has {} bytes, more than {MAX_MESSAGE}", line.len())));
    }
    line.push(b'\n');
    let mut stream = call.connect()?;
    call.write(&mut stream, &line)?;
    let line = call.read(&mut stream)?;
    match serde_json::from_slice(&line) {
        Ok(Reply::Answer(answer)) => Ok(answer),
        Ok(Reply::Refused(reason)) => Err(call.refused(&reason)),
        Err(error) => Err(call.unreadable(&error.to_string())),
    }
}

struct Call<'a> {
    socket: &'a Path,
    deadline: Deadline,
    limit: Duration,
}

impl Call<'_> {
    fn connect(&self) -> Result<UnixStream, RpcError> {
        let left = self.left()?;
        let connected = || -> io::Result<UnixStream> {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // SO_SNDTIMEO limits connect(2) too, which blocks while the daemon's accept queue is full. std has no way to set it before.
            socket.set_write_timeout(Some(left))?;
            socket.connect(&SockAddr::unix(self.socket)?)?;
            Ok(UnixStream::from(OwnedFd::from(socket)))
        };
        connected().map_err(|source| match source.kind() {
            // EAGAIN: the accept queue was full until the timeout.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.timed_out(),
            // ENOENT: no socket. ECONNREFUSED: a socket that nobody listens on. EACCES: not root.
            _ => RpcError::Absent { socket: self.socket.to_owned(), source },
        })
    }

    fn write(&self, stream: &mut UnixStream, mut line: &[u8]) -> Result<(), RpcError> {
        while !line.is_empty() {
            stream.set_write_timeout(Some(self.left()?)).map_err(|error| self.failed(&error))?;
            match stream.write(line) {
                Ok(0) => return Err(self.broken("it accepts no more bytes")),
                Ok(count) => line = line.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The daemon may have refused the request before it read all of it. Then its response is there to read.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Ok(())
    }

    /// The line of the answer, without its end.
    fn read(&self, stream: &mut UnixStream) -> Result<Vec<u8>, RpcError> {
        let mut line = Vec::new();
        let mut buffer = [0_u8; 8192];
        loop {
            // A socket timeout limits one read(2), so set it again for each.
            stream.set_read_timeout(Some(self.left()?)).map_err(|error| self.failed(&error))?;
            let arrived = match stream.read(&mut buffer) {
                Ok(0) => return Err(self.broken("there was no complete line")),
                Ok(count) => buffer.get(..count).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(&error)),
            };
            let end = arrived.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(arrived.get(..end.unwrap_or(arrived.len())).unwrap_or_default());
            if line.len() > MAX_MESSAGE {
                return Err(self.unreadable(&format!("it has more than {MAX_MESSAGE} bytes")));
            }
            if end.is_some() {
                return Ok(line);
            }
        }
    }

    /// The time until the deadline. At least 1 ms: a socket timeout of zero would mean none.
    fn left(&self) -> Result<Duration, RpcError> {
        let left = self.deadline.remaining();
        if left.is_zero() { Err(self.timed_out()) } else { Ok(left.max(Duration::from_millis(1))) }
    }

    fn failed(&self, error: &io::Error) -> RpcError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.timed_out(),
            _ => self.broken(&error.to_string()),
        }
    }

    fn timed_out(&self) -> RpcError {
        RpcError::TimedOut { socket: self.socket.to_owned(), waited: self.limit }
    }

    fn broken(&self, reason: &str) -> RpcError {
        RpcError::Broken { socket: self.socket.to_owned(), reason: reason.to_owned() }
    }

    fn refused(&self, reason: &str) -> RpcError {
        RpcError::Refused { socket: self.socket.to_owned(), reason: printable(reason, 500) }
    }

    fn unreadable(&self, reason: &str) -> RpcError {
        RpcError::Unreadable { socket: self.socket.to_owned(), reason: printable(reason, 300) }
    }
}
